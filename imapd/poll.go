package imapd

import (
	"restante/imapd/view"
	"restante/imapd/wire"
	"restante/spool"
)

// poll tells the client what other sessions have changed; with expunge, of
// messages that are gone, too. What could not be read now will be at the next
// time.
func (s *session) poll(expunge bool) {
	if s.box == nil {
		return
	}
	sync := s.box.view.Sync
	if !expunge {
		sync = s.box.view.SyncHolding
	}
	events, err := sync()
	if err != nil {
		s.log.Error("reading a mailbox's changes failed", "err", err)
		return
	}
	for _, e := range events {
		if e.Kind == view.Flagged {
			s.box.note(e.Entry.Flags)
		}
	}
	s.tellKeywords()
	var gone []view.Removed
	for _, e := range events {
		switch e.Kind {
		case view.Expunged:
			gone = append(gone, view.Removed{Seq: e.Seq, UID: e.UID})
			continue
		case view.Exists:
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
	s.follow()
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
	s.out.Raw("FLAGS ").Flags(flagList(e.Flags))
	if s.has(condstore) {
		s.out.Raw(" MODSEQ (").Number(uint64(e.ModSeq)).Raw(")")
	}
	s.out.Raw(")").CRLF()
}

// parseIdle tells of changes as they happen (RFC 2177).
func (s *session) parseIdle(*wire.Decoder, call) action { return s.idle }

func (s *session) idle() error {
	var changed <-chan struct{}
	if s.box != nil {
		// Watched before it is looked at for the first time, so that nothing
		// is missed.
		watch, end := s.srv.opt.Mailboxes.Watch(s.box.view.Mailbox())
		defer end()
		changed = watch
	}
	s.out.Raw("+ idling").CRLF()
	s.poll(true)
	err := s.conn.WaitOr(changed, func() error {
		s.recheck()
		s.poll(true)
		return nil
	})
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
