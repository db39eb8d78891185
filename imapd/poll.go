package imapd

import (
	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"restante/imapd/view"
)

// Poll tells the client what other sessions have changed. The library calls it
// after every command. Only an error of the connection is returned, since it
// would end it: what could not be read now will be at the next time.
func (s *session) Poll(w *imapserver.UpdateWriter, allowExpunge bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.poll(w, allowExpunge)
}

func (s *session) poll(w *imapserver.UpdateWriter, allowExpunge bool) error {
	if s.box == nil {
		return nil
	}
	sync := s.box.view.Sync
	if !allowExpunge {
		sync = s.box.view.SyncHolding
	}
	events, err := sync()
	if err != nil {
		s.log.Error("reading a mailbox's changes failed", "err", err)
		return nil
	}
	for _, e := range events {
		if e.Kind == view.Flagged {
			s.box.note(e.Entry.Flags)
		}
	}
	if s.box.moreKeywords {
		s.box.moreKeywords = false
		if err := w.WriteMailboxFlags(s.box.flags()); err != nil {
			return err
		}
	}
	for _, e := range events {
		switch e.Kind {
		case view.Expunged:
			err = w.WriteExpunge(e.Seq)
		case view.Exists:
			err = w.WriteNumMessages(e.Seq)
		case view.Flagged:
			err = w.WriteMessageFlags(e.Seq, imap.UID(e.Entry.UID), flagList(e.Entry.Flags))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Idle tells of changes as they happen, until stop is closed.
func (s *session) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	changed, end, ok := s.beginIdle()
	if !ok {
		return nil
	}
	defer s.idling.Done()
	defer end()
	for {
		if err := s.idlePoll(w, stop); err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		case <-changed:
		}
	}
}

// beginIdle watches the mailbox before it is looked at for the first time, so
// that nothing is missed. It is not ok if the session has ended.
func (s *session) beginIdle() (changed <-chan struct{}, end func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, false
	}
	end = func() {}
	if s.box != nil {
		changed, end = s.srv.opt.Mailboxes.Watch(s.box.view.Mailbox())
	}
	s.idling.Add(1)
	return changed, end, true
}

func (s *session) idlePoll(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-stop:
		// The client may have gone on to another command.
		return nil
	default:
	}
	return s.link.Batch(func() error { return s.poll(w, true) })
}
