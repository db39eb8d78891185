package control

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"restante/spool"
)

// Mailbox is a mailbox of an account, or one that shall be made.
type Mailbox struct {
	// Name has its levels divided by "/".
	Name string `json:"name"`
	// Use is a special use of RFC 6154 without its backslash.
	Use        spool.Use `json:"use,omitempty"`
	Subscribed bool      `json:"subscribed,omitempty"`

	UIDValidity uint32    `json:"uid_validity,omitempty"`
	UIDNext     spool.UID `json:"uid_next,omitempty"`
	Messages    uint32    `json:"messages"`
	// Size is the sum of the messages', in octets.
	Size int64 `json:"size"`
}

// mailboxesReady fails when the daemon has no mailboxes to offer.
func (s *Server) mailboxesReady() error {
	if s.opt.Intake == nil {
		return errorf(CodeUnavailable, "this daemon has no mailboxes to offer here")
	}
	return nil
}

// account is the full name of the account that a request is about.
func (s *Server) account(r *http.Request) (string, error) {
	if err := s.mailboxesReady(); err != nil {
		return "", err
	}
	name, err := s.opt.Accounts.Lookup(r.PathValue("name"))
	if err != nil {
		return "", accountError(err)
	}
	return name, nil
}

func (s *Server) getMailboxes(w http.ResponseWriter, r *http.Request) error {
	account, err := s.account(r)
	if err != nil {
		return err
	}
	rows, err := s.opt.Mailboxes.ListMailboxes(account)
	if err != nil {
		return err
	}
	subscribed, err := s.opt.Mailboxes.Subscriptions(account)
	if err != nil {
		return err
	}
	list := make([]Mailbox, 0, len(rows))
	for _, row := range rows {
		list = append(list, mailboxView(row, slices.Contains(subscribed, row.Name)))
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

func mailboxView(row spool.Mailbox, subscribed bool) Mailbox {
	return Mailbox{
		Name: row.Name, Use: row.Use, Subscribed: subscribed, UIDValidity: row.UIDValidity,
		UIDNext: row.UIDNext, Messages: row.Messages, Size: row.Size,
	}
}

// postMailbox makes a mailbox, unless it is there; the answer is how it is now.
// With an empty name it makes those that a new account has.
func (s *Server) postMailbox(w http.ResponseWriter, r *http.Request) error {
	account, err := s.account(r)
	if err != nil {
		return err
	}
	var req Mailbox
	if err := s.readJSON(w, r, &req); err != nil {
		return err
	}
	if s.opt.Provision != nil {
		if err := s.opt.Provision(account); err != nil {
			return err
		}
	}
	if req.Name == "" {
		req.Name = spool.Inbox
	}
	if err := checkUse(req.Use); err != nil {
		return err
	}
	name := spool.CanonicalName(req.Name)
	_, err = s.opt.Mailboxes.CreateMailbox(account, name, req.Use)
	made := err == nil
	if err != nil && !errors.Is(err, spool.ErrMailboxExists) {
		return err
	}
	if req.Subscribed {
		if err := s.opt.Mailboxes.Subscribe(account, name, true); err != nil {
			return err
		}
	}
	row, err := s.opt.Mailboxes.Mailbox(account, name)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if made {
		s.log(r, "mailbox made", "account", account, "mailbox", name)
		status = http.StatusCreated
	}
	writeJSON(w, status, mailboxView(row, req.Subscribed))
	return nil
}

func checkUse(u spool.Use) error {
	switch u {
	case spool.UseNone, spool.UseArchive, spool.UseDrafts, spool.UseFlagged, spool.UseJunk, spool.UseSent, spool.UseTrash:
		return nil
	}
	return errorf(CodeBadRequest, "use: there is no special use %q", u)
}

func accountPath(account, rest string) string {
	return "/v1/accounts/" + url.PathEscape(account) + rest
}

// Mailboxes returns an account's mailboxes by name, INBOX first.
func (c *Client) Mailboxes(ctx context.Context, account string) ([]Mailbox, error) {
	var list []Mailbox
	err := c.call(ctx, "GET", accountPath(account, "/mailboxes"), nil, nil, &list)
	return list, err
}

// MakeMailbox makes a mailbox, unless there is one of the name, and those of a
// new account; of m the name, the use and the subscription count. It returns it
// as it is then.
func (c *Client) MakeMailbox(ctx context.Context, account string, m Mailbox) (Mailbox, error) {
	var made Mailbox
	in := Mailbox{Name: m.Name, Use: m.Use, Subscribed: m.Subscribed}
	err := c.call(ctx, "POST", accountPath(account, "/mailboxes"), nil, in, &made)
	return made, err
}
