package imapd

import (
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"restante/spool"
)

// storeBatch is how many messages are flagged in one transaction.
const storeBatch = 1000

var errReadOnly = no(codeReadOnly, "Mailbox was opened read-only")

// Store changes flags.
func (s *session) Store(w *imapserver.FetchWriter, numSet imap.NumSet, store *imap.StoreFlags, _ *imap.StoreOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	uids, err := s.resolve(numSet)
	if err != nil {
		return err
	}
	if s.box.readOnly {
		return errReadOnly
	}
	flags, err := parseFlags(store.Flags)
	if err != nil {
		return err
	}
	// Of what others have changed meanwhile the client must be told, even
	// with .SILENT (RFC 9051 section 6.4.6).
	stale, err := s.box.view.Stale()
	if err != nil {
		return s.failure("store", err)
	}
	op := map[imap.StoreFlagsOp]spool.FlagOp{
		imap.StoreFlagsSet: spool.FlagSet,
		imap.StoreFlagsAdd: spool.FlagAdd,
		imap.StoreFlagsDel: spool.FlagRemove,
	}[store.Op]
	_, byUID := numSet.(imap.UIDSet)
	done := 0
	for batch := range slices.Chunk(uids, storeBatch) {
		out, err := s.srv.opt.Mailboxes.Flag(s.box.view.Mailbox(), batch, op, flags, spool.ModSeqUnbounded)
		if err != nil {
			return s.failure("store", err)
		}
		done += len(out.Changed)
		if err := s.stored(w, out.Changed, store.Silent, byUID, stale); err != nil {
			return err
		}
	}
	return some(numSet, len(uids), done)
}

// stored tells the client of flags that it has set.
func (s *session) stored(w *imapserver.FetchWriter, changed []spool.Entry, silent, byUID bool, stale map[spool.UID]bool) error {
	for _, e := range changed {
		s.box.note(e.Flags)
		if silent && stale[e.UID] {
			continue // the next poll tells
		}
		s.box.view.Own([]spool.Entry{e})
		if silent {
			continue
		}
		seq, _ := s.box.view.Seq(e.UID)
		r := w.CreateMessage(seq)
		if byUID {
			r.WriteUID(imap.UID(e.UID))
		}
		r.WriteFlags(flagList(e.Flags))
		if err := r.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Copy copies messages to another mailbox, or the same.
func (s *session) Copy(numSet imap.NumSet, dest string) (*imap.CopyData, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	copied, err := s.transfer("copy", numSet, dest, s.srv.opt.Mailboxes.Copy)
	if err != nil {
		return nil, err
	}
	return copyData(copied), nil
}

// Move moves messages.
func (s *session) Move(w *imapserver.MoveWriter, numSet imap.NumSet, dest string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.box != nil && s.box.readOnly {
		return errReadOnly
	}
	moved, err := s.transfer("move", numSet, dest, s.srv.opt.Mailboxes.Move)
	if err != nil || len(moved.Source) == 0 {
		return err
	}
	if err := w.WriteCopyData(copyData(moved)); err != nil {
		return err
	}
	for _, seq := range s.box.view.Remove(moved.Source) {
		if err := w.WriteExpunge(seq); err != nil {
			return err
		}
	}
	return nil
}

type transfer func(from spool.MailboxID, uids []spool.UID, to spool.MailboxID) (spool.Copied, error)

func (s *session) transfer(op string, numSet imap.NumSet, dest string, f transfer) (spool.Copied, error) {
	uids, err := s.resolve(numSet)
	if err != nil {
		return spool.Copied{}, err
	}
	row, err := s.srv.opt.Mailboxes.Mailbox(s.account, dest)
	if err != nil {
		return spool.Copied{}, s.tryCreate(op, err)
	}
	copied, err := f(s.box.view.Mailbox(), uids, row.ID)
	if err != nil {
		return spool.Copied{}, s.tryCreate(op, err)
	}
	if len(copied.Source) == 0 {
		return copied, some(numSet, len(uids), 0)
	}
	return copied, nil
}

// copyData is nil if nothing was copied: an empty set cannot be written.
func copyData(c spool.Copied) *imap.CopyData {
	if len(c.Source) == 0 {
		return nil
	}
	return &imap.CopyData{UIDValidity: c.UIDValidity, SourceUIDs: uidSet(c.Source), DestUIDs: uidSet(c.Target)}
}

func uidSet(uids []spool.UID) imap.UIDSet {
	var set imap.UIDSet
	for _, uid := range uids {
		set.AddNum(imap.UID(uid))
	}
	return set
}

// Expunge removes messages that have \Deleted set. The library calls it for
// CLOSE too, which never fails and says nothing.
func (s *session) Expunge(w *imapserver.ExpungeWriter, set *imap.UIDSet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.box == nil {
		return bad("No mailbox is selected")
	}
	closing := s.link.Verb() == "CLOSE"
	if s.box.readOnly {
		if closing {
			return nil
		}
		return errReadOnly
	}
	var uids []spool.UID
	if set != nil {
		var err error
		if uids, err = s.resolve(*set); err != nil || len(uids) == 0 {
			return err
		}
	}
	gone, err := s.srv.opt.Mailboxes.Expunge(s.box.view.Mailbox(), uids)
	if err != nil {
		err = s.failure("expunge", err)
		if closing {
			return nil
		}
		return err
	}
	for _, seq := range s.box.view.Remove(gone) {
		if err := w.WriteExpunge(seq); err != nil {
			return err
		}
	}
	return nil
}
