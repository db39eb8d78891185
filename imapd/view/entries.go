package view

import (
	"errors"
	"fmt"
	"iter"

	"restante/spool"
)

const (
	// batchSize is how many entries are read before the first is handed on. A
	// client that reads slowly so never keeps an iteration of the engine open.
	batchSize = 256
	// maxGap is how many unwanted entries are read in passing, rather than
	// beginning a new iteration.
	maxGap = 8
)

// recaller is a spool.Mailboxes that may have the entries of UIDs in memory.
type recaller interface {
	Recall(id spool.MailboxID, uids []spool.UID) (list iter.Seq[*spool.Entry], ok bool, err error)
}

// Entries reads the entries of messages in the view; the UIDs must ascend.
// Those that are gone meanwhile are passed over. It stops at an error.
func (v *View) Entries(uids []spool.UID) iter.Seq2[spool.Entry, error] {
	return func(yield func(spool.Entry, error) bool) {
		if r, is := v.src.(recaller); is {
			// If it fails the entries are read as far as they can be.
			if list, ok, err := r.Recall(v.id, uids); ok && err == nil {
				for e := range list {
					if !yield(*e, nil) {
						return
					}
				}
				return
			}
		}
		for len(uids) > 0 {
			n := min(batchSize, len(uids))
			batch, err := v.read(uids[:n])
			uids = uids[n:]
			for _, e := range batch {
				if !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(spool.Entry{}, err)
				return
			}
		}
	}
}

// read reads a batch, run by run. An entry is never followed by one with a
// lower UID.
func (v *View) read(uids []spool.UID) ([]spool.Entry, error) {
	batch := make([]spool.Entry, 0, len(uids))
	for len(uids) > 0 {
		n := v.run(uids)
		var err error
		batch, err = v.readRun(batch, uids[:n])
		if errors.Is(err, spool.ErrNoMailbox) {
			return batch, nil
		}
		if err != nil {
			return batch, fmt.Errorf("read entries: %w", err)
		}
		uids = uids[n:]
	}
	return batch, nil
}

// run returns how many of the first UIDs lie close enough together in the
// mailbox to be read in one go.
func (v *View) run(uids []spool.UID) int {
	last, _ := v.Seq(uids[0])
	for i, uid := range uids[1:] {
		seq := last + 1
		if next, ok := v.UID(seq); !ok || next != uid {
			seq, _ = v.Seq(uid)
		}
		if seq > last+1+maxGap {
			return i + 1
		}
		last = seq
	}
	return len(uids)
}

func (v *View) readRun(batch []spool.Entry, uids []spool.UID) ([]spool.Entry, error) {
	if len(uids) == 1 {
		e, err := v.src.Entry(v.id, uids[0])
		switch {
		case errors.Is(err, spool.ErrNotFound):
			return batch, nil
		case err != nil:
			return batch, err
		}
		return append(batch, e), nil
	}
	for e, err := range v.src.Entries(v.id, uids[0], uids[len(uids)-1]) {
		if err != nil {
			return batch, err
		}
		for len(uids) > 0 && uids[0] < e.UID {
			uids = uids[1:]
		}
		if len(uids) > 0 && uids[0] == e.UID {
			batch = append(batch, e)
		}
	}
	return batch, nil
}
