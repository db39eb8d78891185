package control

import (
	"errors"
	"net/http"

	"restante/internal/directory"
	"restante/internal/mail"
)

// newAccount is the request of POST /v1/accounts, newPassword the one of an
// account's password, newSecret that of its secrets, which madeSecret answers.
type (
	newAccount struct {
		Name      string   `json:"name"`
		Password  string   `json:"password"`
		Addresses []string `json:"addresses,omitempty"`
		// Application makes it one; Addresses are then what it may send as.
		Application *directory.Application `json:"application,omitempty"`
	}
	newPassword struct {
		Password string `json:"password"`
	}
	newSecret struct {
		Name string `json:"name"`
		IMAP bool   `json:"imap,omitempty"`
	}
	madeSecret struct {
		Secret string `json:"secret"`
	}
)

func (s *Server) getAccounts(w http.ResponseWriter, _ *http.Request) error {
	accounts := s.opt.Accounts.List()
	if accounts == nil {
		accounts = []Account{}
	}
	for i := range accounts {
		if s.opt.Usage == nil || accounts[i].Application != nil {
			continue
		}
		u, err := s.opt.Usage(accounts[i].Name)
		if err != nil {
			return err
		}
		accounts[i].Usage = &u
	}
	writeJSON(w, http.StatusOK, accounts)
	return nil
}

func (s *Server) postAccount(w http.ResponseWriter, r *http.Request) error {
	var req newAccount
	if err := s.readJSON(w, r, &req); err != nil {
		return err
	}
	var err error
	if req.Application != nil {
		err = s.opt.Accounts.AddApplication(req.Name, req.Password, req.Addresses, *req.Application)
	} else {
		err = s.opt.Accounts.Add(req.Name, req.Password, req.Addresses...)
	}
	if err != nil {
		return err
	}
	s.log(r, "account added", "account", req.Name)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) postPassword(w http.ResponseWriter, r *http.Request) error {
	var req newPassword
	if err := s.readJSON(w, r, &req); err != nil {
		return err
	}
	name := r.PathValue("name")
	if err := s.opt.Accounts.SetPassword(name, req.Password); err != nil {
		return accountError(err)
	}
	s.log(r, "password changed", "account", name)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) postSecret(w http.ResponseWriter, r *http.Request) error {
	var req newSecret
	if err := s.readJSON(w, r, &req); err != nil {
		return err
	}
	name := r.PathValue("name")
	secret, err := s.opt.Accounts.AddSecret(name, req.Name, req.IMAP)
	if err != nil {
		return accountError(err)
	}
	s.log(r, "secret added", "account", name, "secret", req.Name)
	writeJSON(w, http.StatusOK, madeSecret{secret})
	return nil
}

func (s *Server) deleteSecret(w http.ResponseWriter, r *http.Request) error {
	name, secret := r.PathValue("name"), r.PathValue("secret")
	if err := s.opt.Accounts.RevokeSecret(name, secret); err != nil {
		return accountError(err)
	}
	s.log(r, "secret revoked", "account", name, "secret", secret)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// deleteAccount removes the account, and with purge=true its mail. The account
// goes first, so that no new mail comes while the old goes; whoever removed an
// account earlier may still purge what it left.
func (s *Server) deleteAccount(w http.ResponseWriter, r *http.Request) error {
	var purge bool
	switch v := r.URL.Query().Get("purge"); v {
	case "true":
		purge = true
	case "", "false":
	default:
		return errorf(CodeBadRequest, "purge: %q is neither true nor false", v)
	}
	// The name as the spool knows it, to be found out while the account is there.
	name, err := s.opt.Accounts.Lookup(r.PathValue("name"))
	there := err == nil
	if there {
		if err := s.opt.Accounts.Remove(name); err != nil {
			return accountError(err)
		}
		s.log(r, "account removed", "account", name)
	}
	if purge {
		if err := s.purge(r, name); err != nil {
			return err
		}
	} else if !there {
		return accountError(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// purge removes the mail of an account; name is "" if the account is gone. One
// that is gone and has no mail is a mistake of who asks.
func (s *Server) purge(r *http.Request, name string) error {
	if name == "" {
		name = r.PathValue("name")
		if !directory.IsShared(name) {
			a, err := qualify(name, s.opt.Origin)
			if err != nil {
				return err
			}
			name = a.Key().String()
		}
		boxes, err := s.opt.Mailboxes.ListMailboxes(name)
		if err != nil {
			return err
		}
		if len(boxes) == 0 {
			return errorf(CodeNotFound, "%s: neither an account nor mail of one", name)
		}
	}
	if err := s.opt.Mailboxes.DeleteAccount(name); err != nil {
		return err
	}
	s.log(r, "mail of account purged", "account", name)
	return nil
}

// accountError tells an unknown account apart from an unknown recipient.
func accountError(err error) error {
	if errors.Is(err, mail.ErrNoSuchUser) {
		return &Error{Message: err.Error(), Code: CodeNotFound}
	}
	return err
}
