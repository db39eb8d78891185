package badger

import (
	"encoding/binary"
	"errors"
	"time"

	"restante/spool"
)

// A line of the journal for UID 0, which no entry has, is the horizon: the
// tombstones up to its ModSeq are gone.
const horizonUID spool.UID = 0

// trimJournals trims the mailboxes that may have tombstones to spare, which
// their rows tell.
func (e *Engine) trimJournals() error {
	now := e.opt.Now()
	var due []spool.Mailbox
	looked := make(map[spool.MailboxID]trimState, len(e.trimmed))
	if err := e.read(func(t *tx) error {
		var err error
		collect(t, []byte{kMailbox}, func(key []byte) {
			m, err2 := t.row(mailboxOf(key))
			if err2 != nil {
				err = err2 // damaged; the check tells
				return
			}
			st, ok := e.trimmed[m.ID]
			if ok {
				looked[m.ID] = st
			}
			if e.journal.due(&m, st, ok, now) {
				due = append(due, m)
			}
		})
		return err
	}); err != nil && len(due) == 0 {
		return err
	}
	e.trimmed = looked // without those that are gone
	for i := range due {
		st, err := e.trimJournal(due[i].ID, now)
		if err != nil {
			return err
		}
		st.gone = gone(&due[i])
		e.trimmed[due[i].ID] = st
	}
	return nil
}

// gone is how many entries have ever left a mailbox: at least as many as it
// has tombstones.
func gone(m *spool.Mailbox) int { return int(m.UIDNext) - 1 - int(m.Messages) }

// trimJournal deletes the tombstones of a mailbox that are over the bounds.
func (e *Engine) trimJournal(id spool.MailboxID, now time.Time) (st trimState, err error) {
	old, young := 0, false
	if err := e.tombstones(id, func(_ []byte, at time.Time) bool {
		if young = young || now.Sub(at) <= e.journal.age; !young {
			old++
		}
		st.stones++
		return true
	}); err != nil {
		return st, err
	}
	for excess := e.journal.excess(st.stones, old); ; {
		var keys [][]byte
		st.oldest = now
		if err := e.tombstones(id, func(key []byte, at time.Time) bool {
			if len(keys) == min(sweepStep, excess) {
				st.oldest = at
				return false
			}
			keys = append(keys, key)
			return true
		}); err != nil || len(keys) == 0 {
			return st, err
		}
		if err := e.step(func(t *tx) error { return t.trim(id, keys) }, nil); err != nil {
			if errors.Is(err, spool.ErrNoMailbox) {
				err = nil // the sweeper has it
			}
			return st, err
		}
		excess -= len(keys)
		st.stones -= len(keys)
		e.stats.trimmed.Add(int64(len(keys)))
	}
}

// tombstones calls f with the keys and times of a mailbox's tombstones, the
// oldest first, until it returns false. It ends early when the engine closes.
func (e *Engine) tombstones(id spool.MailboxID, f func(key []byte, at time.Time) bool) error {
	return e.read(func(t *tx) error {
		it := t.keys(mailboxKey(kJournal, id))
		defer it.Close()
		for n := 1; ; n++ {
			if n == 1 {
				it.Rewind()
			} else {
				it.Next()
			}
			if !it.Valid() {
				return nil
			}
			if n%1024 == 0 && e.isClosing() {
				return spool.ErrClosed
			}
			key := it.Item().KeyCopy(nil)
			var l journalLine
			if err := it.Item().Value(func(v []byte) (err error) {
				l, err = openJournal(key, v)
				return err
			}); err != nil && !errors.Is(err, spool.ErrCorrupt) {
				return err
			}
			if l.gone && horizonOf(key) == 0 && !f(key, l.at) {
				return nil
			}
		}
	})
}

// horizonOf returns the ModSeq of a journal key that is a horizon, else 0.
func horizonOf(key []byte) spool.ModSeq {
	tail := key[len(mailboxKey(kJournal, 0)):]
	if len(tail) != 8+4 || spool.UID(binary.BigEndian.Uint32(tail[8:])) != horizonUID {
		return 0
	}
	return spool.ModSeq(binary.BigEndian.Uint64(tail))
}

// trim deletes tombstones and moves the horizon to the last of them.
func (t *tx) trim(id spool.MailboxID, keys [][]byte) error {
	if _, err := t.row(id); err != nil {
		return err
	}
	var old [][]byte
	last := keys[len(keys)-1]
	it := t.keys(mailboxKey(kJournal, id))
	for it.Rewind(); it.Valid() && string(it.Item().Key()) <= string(last); it.Next() {
		if horizonOf(it.Item().Key()) != 0 {
			old = append(old, it.Item().KeyCopy(nil))
		}
	}
	it.Close()
	for _, key := range append(old, keys...) {
		if err := t.delete(key); err != nil {
			return err
		}
	}
	m := spool.ModSeq(binary.BigEndian.Uint64(last[len(mailboxKey(kJournal, 0)):]))
	return t.set(journalKey(id, m, horizonUID), journalLine{gone: true}.encode())
}
