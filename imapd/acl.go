package imapd

import (
	"maps"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/wire"
	"restante/spool"
)

// rightsThatTell are those of which one is enough for MYRIGHTS (RFC 4314 section 4).
const rightsThatTell = rightLookup | rightRead | rightInsert | rightCreate | rightDelete | rightAdmin

// parseACL reads GETACL and MYRIGHTS.
func (s *session) parseACL(d *wire.Decoder, c call) action {
	d.Space()
	name := d.Mailbox(s.rawNames())
	return func() error {
		if c.verb == "GETACL" {
			p, err := s.mailbox(name, rightAdmin)
			if err != nil {
				return s.failure("acl", err)
			}
			return s.getACL(p)
		}
		p, err := s.locate(name)
		if err == nil && p.rights&rightsThatTell == noRights {
			err = spool.ErrNoMailbox
		}
		if err != nil {
			return s.failure("acl", err)
		}
		s.tellRights(p.name, p.rights)
		return nil
	}
}

func (s *session) tellRights(name string, r rights) {
	s.out.Raw("* MYRIGHTS ").Mailbox(name).Raw(" ").Raw(r.String()).CRLF()
}

// getACL tells the whole ACL, the owner first.
func (s *session) getACL(p place) error {
	attributes, err := s.srv.opt.Mailboxes.Attributes(p.row.ID)
	if err != nil {
		return s.failure("acl", err)
	}
	s.out.Raw("* ACL ").Mailbox(p.name)
	t := s.srv.team(p.row.Account)
	if t == nil {
		s.out.Raw(" ").String(p.row.Account).Raw(" ").Raw(allRights.String())
	}
	list := make(map[string]rights)
	for name, value := range attributes {
		if who, is := strings.CutPrefix(name, aclPrefix); is {
			list[who], _ = parseRights(value)
		}
	}
	if t != nil {
		for who := range t.Rights {
			list[identifier(who)] |= t.given(who)
		}
	}
	for _, who := range slices.Sorted(maps.Keys(list)) {
		s.out.Raw(" ").String(who).Raw(" ").String(list[who].String())
	}
	s.out.CRLF()
	return nil
}

// parseSetACL reads SETACL, DELETEACL and LISTRIGHTS.
func (s *session) parseSetACL(d *wire.Decoder, c call) action {
	d.Space()
	name := d.Mailbox(s.rawNames())
	d.Space()
	who := identifier(d.AString())
	var text string
	if c.verb == "SETACL" {
		d.Space()
		text = d.AString()
	}
	return func() error {
		p, err := s.mailbox(name, rightAdmin)
		if err != nil {
			return s.failure("acl", err)
		}
		if c.verb == "LISTRIGHTS" {
			s.listRights(p, who)
			return nil
		}
		return s.changeACL(p, who, text, c.verb == "DELETEACL")
	}
}

// listRights tells what somebody has in any case, and what can be granted: each
// right by itself, and to the owner nothing more.
func (s *session) listRights(p place, who string) {
	s.out.Raw("* LISTRIGHTS ").Mailbox(p.name).Raw(" ").String(who).Raw(" ")
	t := s.srv.team(p.row.Account)
	if t == nil && who == identifier(p.row.Account) {
		s.out.Raw(allRights.String()).CRLF()
		return
	}
	has := noRights
	if t != nil {
		has = t.given(who)
	}
	s.out.String(has.letters())
	for _, c := range (allRights &^ has).letters() {
		s.out.Raw(" ").Raw(string(c))
	}
	s.out.CRLF()
}

// changeACL grants and revokes (RFC 4314 sections 3.1 and 3.2).
func (s *session) changeACL(p place, who, text string, remove bool) error {
	switch {
	case s.srv.team(p.row.Account) == nil && who == identifier(p.row.Account):
		return no(imap.ResponseCodeCannot, "The owner always has all rights")
	case who == "" || strings.HasPrefix(who, "-") || strings.ContainsAny(who, "\x00\r\n") || len(who) > 255:
		return no(imap.ResponseCodeCannot, "There is nobody of that name; rights cannot be denied, only not granted")
	}
	sign := strings.TrimLeft(text, "+-")
	mode := text[:len(text)-len(sign)]
	given, ok := parseRights(sign)
	if !ok || len(mode) > 1 {
		return bad("Unknown right")
	}
	key := aclPrefix + who
	attributes, err := s.srv.opt.Mailboxes.Attributes(p.row.ID)
	if err != nil {
		return s.failure("acl", err)
	}
	r, _ := parseRights(attributes[key])
	switch {
	case remove:
		r = noRights
	case mode == "+":
		r |= given
	case mode == "-":
		r &^= given
	default:
		r = given
	}
	value := r.letters()
	change := map[string]*string{key: &value}
	if r == noRights {
		change[key] = nil
	}
	if err := s.srv.opt.Mailboxes.SetAttributes(p.row.ID, change); err != nil {
		return s.failure("acl", err)
	}
	s.log.Info("rights changed", "mailbox", p.row.Name, "owner", p.row.Account, "who", who, "rights", value)
	return nil
}

// createShared makes a mailbox, which may be another's.
func (s *session) createShared(name string, use spool.Use) (spool.Mailbox, error) {
	owner, inner, parent, err := s.mayCreate(name)
	if err != nil {
		return spool.Mailbox{}, err
	}
	row, err := s.srv.opt.Mailboxes.CreateMailbox(owner, inner, use)
	if err == nil && parent.ID != 0 {
		err = s.inherit(parent.ID, row.ID)
	}
	return row, err
}

// deleteShared removes a mailbox, which may be another's.
func (s *session) deleteShared(name string) error {
	p, err := s.mailbox(name, rightDelete)
	if err != nil {
		return err
	}
	_, err = patiently(s, func() (any, error) { return nil, s.srv.opt.Mailboxes.DeleteMailbox(p.row.Account, p.row.Name) })
	return err
}

// renameShared renames a mailbox, which may be another's and stays its.
func (s *session) renameShared(from, to string) error {
	p, err := s.mailbox(from, rightDelete)
	if err != nil {
		return err
	}
	owner, inner, _, err := s.mayCreate(to)
	switch {
	case err != nil:
		return err
	case owner != p.row.Account, owner != s.account && p.row.Name == spool.Inbox:
		return no(imap.ResponseCodeCannot, "Mailboxes stay with their owner")
	}
	_, err = patiently(s, func() (any, error) { return nil, s.srv.opt.Mailboxes.RenameMailbox(owner, p.row.Name, inner) })
	return err
}
