package imapd

import (
	"restante/imapd/wire"
	"restante/spool"
)

// parseReplace reads REPLACE (RFC 8508): a message takes the place of another, in
// one step.
func (s *session) parseReplace(d *wire.Decoder, c call) action {
	d.Space()
	set := d.Set()
	d.Space()
	in := &incoming{s: s, d: d, op: "replace", name: d.Mailbox(s.rawNames()), most: 1}
	if d.Err() != nil {
		return nil
	}
	if len(set.Ranges) != 1 || set.Ranges[0].Start != set.Ranges[0].Stop {
		d.Fail("One message can be replaced")
		return nil
	}
	old, err := s.replaceable(set, c.uid)
	if err == nil {
		in.freed.octets, in.freed.messages = old.Size, 1
		err = in.read()
	}
	if err != nil {
		in.abort()
		return d.Refuse(err)
	}
	if d.End(); d.Err() != nil {
		in.abort()
		return nil
	}
	return func() error {
		defer in.abort()
		return s.replace(in, old.UID)
	}
}

// replaceable returns the message that a command names.
func (s *session) replaceable(set wire.Set, byUID bool) (spool.Entry, error) {
	uids, err := s.resolve(set, byUID)
	if err != nil {
		return spool.Entry{}, err
	}
	if err := s.mayExpunge(); err != nil {
		return spool.Entry{}, err
	}
	if len(uids) == 0 {
		return spool.Entry{}, no(codeExpungeIssued, "There is no such message")
	}
	e, err := s.srv.opt.Mailboxes.Entry(s.box.view.Mailbox(), uids[0])
	if err != nil {
		return e, s.failure("replace", err)
	}
	return e, nil
}

// replace stores the message and removes the former. If that is gone meanwhile,
// the new one is not stored.
func (s *session) replace(in *incoming, old spool.UID) error {
	here := s.box.view.Mailbox()
	deposited, err := in.commit(spool.Place{Mailbox: here, UID: old})
	if err != nil {
		return err
	}
	s.out.Raw("* OK [").Raw(appendUID(deposited)).Raw("] Replacement is stored").CRLF()
	s.tellGone(s.box.view.Remove([]spool.UID{old}))
	return s.highest()
}
