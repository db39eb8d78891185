package imapd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"restante/spool"
)

// othersPrefix begins the names of what others share: the account that owns it
// and its name there follow. teamPrefix begins those of what nobody owns: the
// name of a Shared follows, and the name of a mailbox below it.
const (
	othersPrefix = "Other Users" + spool.Separator
	teamPrefix   = "Shared Folders" + spool.Separator
)

// place is a mailbox as the client knows it.
type place struct {
	row spool.Mailbox
	// name is what the client calls it, and rights are what it may do.
	name   string
	rights rights
}

// splitName tells whose mailbox a name is, and what that calls it. A mailbox of
// the account's own that has such a name goes before what others share.
func (s *session) splitName(name string) (owner, inner string, err error) {
	rest, others := strings.CutPrefix(name, othersPrefix)
	below, team := strings.CutPrefix(name, teamPrefix)
	if !others && (!team || len(s.srv.opt.Shared) == 0) {
		return s.account, name, nil
	}
	if _, err := s.srv.opt.Mailboxes.Mailbox(s.account, name); !errors.Is(err, spool.ErrNoMailbox) {
		return s.account, name, err
	}
	if team {
		return s.srv.splitShared(below)
	}
	owner, inner, _ = strings.Cut(rest, spool.Separator)
	owner = identifier(owner)
	if inner == "" || owner == identifier(s.account) {
		return "", "", fmt.Errorf("%.100q: %w", name, spool.ErrNoMailbox)
	}
	return owner, inner, nil
}

// locate looks a mailbox up, whatever the client may do with it.
func (s *session) locate(name string) (place, error) {
	owner, inner, err := s.splitName(name)
	if err != nil {
		return place{}, err
	}
	row, err := s.srv.opt.Mailboxes.Mailbox(owner, inner)
	if err != nil {
		return place{}, err
	}
	if owner == s.account {
		return place{row, row.Name, allRights}, nil
	}
	r, err := s.rightsOf(row)
	return place{row, s.srv.sharedName(row), r}, err
}

// mailbox is locate for who needs rights. To those who have not got them, and may not
// look it up, it is not there (RFC 4314 section 6).
func (s *session) mailbox(name string, need rights) (place, error) {
	p, err := s.locate(name)
	switch {
	case err != nil || p.rights.has(need):
		return p, err
	case p.rights.has(rightLookup):
		return p, errNoPerm
	}
	return p, fmt.Errorf("%.100q: %w", name, spool.ErrNoMailbox)
}

// nameOf is what the client calls a mailbox.
func (s *session) nameOf(row spool.Mailbox) string {
	if row.Account == s.account {
		return row.Name
	}
	return s.srv.sharedName(row)
}

// sharedName is what others call a mailbox.
func (s *Server) sharedName(row spool.Mailbox) string {
	if t := s.team(row.Account); t != nil {
		return t.nameOf(row)
	}
	return othersPrefix + row.Account + spool.Separator + row.Name
}

// rightsOf are the rights of the client in a mailbox. The owner has all.
func (s *session) rightsOf(row spool.Mailbox) (rights, error) {
	if row.Account == s.account {
		return allRights, nil
	}
	attributes, err := s.srv.opt.Mailboxes.Attributes(row.ID)
	if err != nil {
		return noRights, err
	}
	return s.granted(row.Account, attributes), nil
}

// granted are the rights of the client in a mailbox of another, which has these
// attributes.
func (s *session) granted(owner string, attributes map[string]string) rights {
	r := rightsFor(attributes, s.account)
	if t := s.srv.team(owner); t != nil {
		r |= t.given(s.account) | t.given(anyone)
	}
	return r
}

// shared are the mailboxes of others that the client may see, under the names
// that they have for it.
func (s *session) shared() (list []spool.Mailbox, err error) {
	var ids []spool.MailboxID
	for _, who := range []string{identifier(s.account), anyone} {
		some, err := s.srv.opt.Mailboxes.HaveAttribute(aclPrefix + who)
		if err != nil {
			return nil, err
		}
		ids = append(ids, some...)
	}
	var rows []spool.Mailbox
	for i := range s.srv.opt.Shared {
		t := &s.srv.opt.Shared[i]
		if t.Account == s.account || t.given(s.account)|t.given(anyone) == noRights {
			continue
		}
		some, err := s.srv.opt.Mailboxes.ListMailboxes(t.Account)
		if err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if slices.ContainsFunc(rows, func(row spool.Mailbox) bool { return row.ID == id }) {
			continue
		}
		row, err := s.srv.opt.Mailboxes.MailboxByID(id)
		if errors.Is(err, spool.ErrNoMailbox) || err == nil && (row.Account == s.account || s.srv.gone(row.Account)) {
			continue
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	for _, row := range rows {
		r, err := s.rightsOf(row)
		if errors.Is(err, spool.ErrNoMailbox) || err == nil && !r.has(rightLookup) {
			continue
		}
		if err != nil {
			return nil, err
		}
		row.Name, row.Use = s.srv.sharedName(row), spool.UseNone
		list = append(list, row)
	}
	return list, nil
}

// nearest returns the nearest mailbox above a name that is there; its ID is 0 if
// there is none.
func (s *session) nearest(owner, name string) (spool.Mailbox, error) {
	names := slices.Collect(above(name))
	if s.srv.team(owner) != nil {
		names = append(names, spool.Inbox) // all others are below it
	}
	for _, parent := range names {
		row, err := s.srv.opt.Mailboxes.Mailbox(owner, parent)
		if !errors.Is(err, spool.ErrNoMailbox) {
			return row, err
		}
	}
	return spool.Mailbox{}, nil
}

// mayCreate returns the owner of a new mailbox and its name there, with the
// mailbox above it, whose ACL it inherits.
func (s *session) mayCreate(name string) (owner, inner string, parent spool.Mailbox, err error) {
	if owner, inner, err = s.splitName(name); err != nil {
		return "", "", parent, errNoPerm
	}
	if parent, err = s.nearest(owner, inner); err != nil || owner == s.account {
		return owner, inner, parent, err
	}
	if parent.ID == 0 {
		return "", "", parent, errNoPerm
	}
	r, err := s.rightsOf(parent)
	if err == nil && !r.has(rightCreate) {
		err = errNoPerm
	}
	return owner, inner, parent, err
}

// inherit gives a new mailbox the ACL of the one above it.
func (s *session) inherit(from, to spool.MailboxID) error {
	attributes, err := s.srv.opt.Mailboxes.Attributes(from)
	if err != nil {
		return err
	}
	change := make(map[string]*string)
	for name, value := range attributes {
		if strings.HasPrefix(name, aclPrefix) {
			change[name] = &value
		}
	}
	if len(change) == 0 {
		return nil
	}
	return s.srv.opt.Mailboxes.SetAttributes(to, change)
}

// recheck looks again what the client may do with the selected mailbox, if it is
// another's. Who may not read it any more has it closed.
func (s *session) recheck() {
	if s.box == nil || !s.box.foreign {
		return
	}
	attributes, err := s.srv.opt.Mailboxes.Attributes(s.box.view.Mailbox())
	switch {
	case errors.Is(err, spool.ErrNoMailbox):
		return // its messages are gone too
	case err != nil:
		s.log.Error("rights cannot be read", "err", err)
		s.box.rights = noRights
	default:
		s.box.rights = s.granted(s.box.owner, attributes)
	}
	if !s.box.rights.has(rightRead) {
		s.leave()
		s.out.Raw("* OK [CLOSED] You may not read the mailbox any more").CRLF()
	}
}
