package imapd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"restante/spool"
)

// Shared is a mailbox that several work in and that no account owns: the INBOX of an
// account of its own in the spool, and what else that has, below it.
type Shared struct {
	// Name is what it is called, one level below "Shared Folders".
	Name string
	// Account is whose the mailboxes are in the spool. Nobody logs in as it.
	Account string
	// Rights are letters of RFC 4314 for accounts, or for "anyone". They hold in all of
	// its mailboxes, and SETACL cannot take them away.
	Rights map[string]string
}

// ReaderRights, MemberRights and ManagerRights are usual ones for a Shared: who only
// reads, who works in it, and who also says who else may.
const (
	ReaderRights  = "lr"
	MemberRights  = "lrswipkxte"
	ManagerRights = MemberRights + "a"
)

// ProvisionShared makes the mailbox of a Shared, unless it is there.
func ProvisionShared(boxes spool.Mailboxes, account string) error {
	_, err := boxes.Mailbox(account, spool.Inbox)
	if !errors.Is(err, spool.ErrNoMailbox) {
		return err
	}
	// Another session may be doing the same.
	if _, err = boxes.CreateMailbox(account, spool.Inbox, spool.UseNone); errors.Is(err, spool.ErrMailboxExists) {
		err = nil
	}
	return err
}

// given are the rights that cannot be taken away from somebody.
func (t *Shared) given(who string) rights {
	r, _ := parseRights(t.Rights[identifier(who)])
	return r
}

// nameOf is what clients call one of its mailboxes.
func (t *Shared) nameOf(row spool.Mailbox) string {
	if row.Name == spool.Inbox {
		return teamPrefix + t.Name
	}
	return teamPrefix + t.Name + spool.Separator + row.Name
}

// team returns the Shared whose mailboxes an account in the spool has, nil if that is
// none.
func (s *Server) team(account string) *Shared {
	i := slices.IndexFunc(s.opt.Shared, func(t Shared) bool { return t.Account == account })
	if i < 0 {
		return nil
	}
	return &s.opt.Shared[i]
}

// gone tells whether an account in the spool was that of a Shared that is none any
// more: there is no name for what it has. No account has a separator in its name.
func (s *Server) gone(account string) bool {
	return strings.Contains(account, spool.Separator) && s.team(account) == nil
}

// splitShared is splitName for what stands after teamPrefix.
func (s *Server) splitShared(rest string) (owner, inner string, err error) {
	name, inner, below := strings.Cut(rest, spool.Separator)
	i := slices.IndexFunc(s.opt.Shared, func(t Shared) bool { return t.Name == name })
	if i < 0 || below && inner == "" {
		return "", "", fmt.Errorf("%.100q: %w", rest, spool.ErrNoMailbox)
	}
	if !below {
		inner = spool.Inbox
	}
	return s.opt.Shared[i].Account, inner, nil
}
