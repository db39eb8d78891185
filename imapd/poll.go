package imapd

import (
	"slices"

	"restante/imapd/view"
	"restante/imapd/wire"
	"restante/spool"
)

// poll tells the client what other sessions have changed; with expunge, of
// messages that are gone, too. What could not be read now will be at the next
// time.
func (s *session) poll(expunge bool) {
	if s.box != nil && s.notify.hears() {
		s.pollSelected(expunge)
	}
	s.pollOthers()
}

// pollSelected tells of the selected mailbox.
func (s *session) pollSelected(expunge bool) {
	told, last := s.box.view.Told(), s.box.view.Len()
	sync := s.box.view.Sync
	if !expunge {
		sync = s.box.view.SyncHolding
	}
	events, err := sync()
	if err != nil {
		s.log.Error("reading a mailbox's changes failed", "err", err)
		return
	}
	if n := s.notify; n != nil && !n.selected.has(flagChange) {
		all := len(events)
		events = slices.DeleteFunc(events, func(e view.Event) bool { return e.Kind == view.Flagged })
		if len(events) < all {
			s.box.view.Missed(told)
		}
	}
	for _, e := range events {
		if e.Kind == view.Flagged {
			s.box.note(e.Entry.Flags)
		}
	}
	s.box.listen()
	s.tellKeywords()
	var gone []view.Removed
	var fresh []spool.UID
	for _, e := range events {
		switch e.Kind {
		case view.Expunged:
			gone = append(gone, view.Removed{Seq: e.Seq, UID: e.UID})
			last--
			continue
		case view.Exists:
			fresh = s.box.view.Numbered(nil, last+1, e.Seq)
			s.tellGone(gone)
			gone = nil
			s.out.Raw("* ").Number32(e.Seq).Raw(" EXISTS").CRLF()
		case view.Flagged:
			s.tellGone(gone)
			gone = nil
			s.tellFlags(e.Seq, e.Entry)
		}
	}
	s.tellGone(gone)
	s.tellRecent()
	s.follow(fresh)
	s.box.mine = nil
}

// tellKeywords announces keywords that are new to the client.
func (s *session) tellKeywords() {
	if !s.box.moreKeywords {
		return
	}
	s.box.moreKeywords = false
	s.out.Raw("* FLAGS ").Flags(s.box.flags()).CRLF()
	if s.box.changes() {
		s.out.Raw("* OK [PERMANENTFLAGS ").Flags(s.box.permanent()).Raw("] Permanent flags").CRLF()
	}
}

// tellGone announces messages that have left the view.
func (s *session) tellGone(list []view.Removed) {
	if len(list) == 0 {
		return
	}
	s.forget(list)
	if s.has(qresync | uidonly) {
		uids := make([]spool.UID, len(list))
		for i, r := range list { // from the highest down
			uids[len(list)-1-i] = r.UID
		}
		s.out.Raw("* VANISHED ").Raw(numberSet(uids)).CRLF()
		return
	}
	for _, r := range list {
		s.out.Raw("* ").Number32(r.Seq).Raw(" EXPUNGE").CRLF()
	}
}

// tellFlags announces flags. The UID comes along, since not every client has it.
func (s *session) tellFlags(seq uint32, e spool.Entry) {
	s.beginFetch(seq, e.UID)
	if !s.has(uidonly) {
		s.out.Raw("UID ").Number32(uint32(e.UID)).Raw(" ")
	}
	s.writeFlags(s.out.Raw("FLAGS "), &e)
	if s.has(condstore) {
		s.out.Raw(" MODSEQ (").Number(uint64(e.ModSeq)).Raw(")")
	}
	s.out.Raw(")").CRLF()
}

// parseIdle tells of changes as they happen (RFC 2177).
func (s *session) parseIdle(*wire.Decoder, call) action { return s.idle }

func (s *session) idle() error {
	s.out.Raw("+ idling").CRLF()
	err := s.listen(true)
	if err != nil {
		return err
	}
	line, err := s.conn.Line(maxResponse)
	if err != nil {
		return err
	}
	if !equalFold(line, "DONE") {
		return bad("Expected DONE")
	}
	return nil
}

// listen waits for the client, and tells it meanwhile what happens; with expunge, of
// messages that are gone, too.
func (s *session) listen(expunge bool) error {
	var selected, others <-chan struct{}
	if s.box != nil && s.notify.hears() {
		// Watched before it is looked at for the first time, so that nothing is missed.
		watch, end := s.srv.opt.Mailboxes.Watch(s.box.view.Mailbox())
		defer end()
		selected = watch
	}
	if s.notify != nil && s.notify.watch != nil {
		others = s.notify.watch.Changed()
	}
	tell := func() error {
		s.recheck()
		if s.poll(expunge); s.broken {
			return errBye
		}
		return nil
	}
	if err := tell(); err != nil {
		return err
	}
	return s.conn.WaitOr(tell, selected, others)
}
