package badger

import (
	"encoding/binary"
	"errors"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/spool"
)

// journalKeep is how many tombstones of a mailbox are kept. Clients that were
// away for longer are told that the changes are lost, and look at all entries.
const journalKeep = 10_000

// A line of the journal for UID 0, which no entry has, is the horizon: the
// tombstones up to its ModSeq are gone.
const horizonUID spool.UID = 0

// trimJournals trims those mailboxes from which more than journalKeep entries
// have gone since they were trimmed last, which their rows tell.
func (e *Engine) trimJournals() error {
	var due []spool.Mailbox
	if err := e.read(func(t *tx) error {
		var err error
		collect(t, []byte{kMailbox}, func(key []byte) {
			m, err2 := t.row(mailboxOf(key))
			if err2 != nil {
				err = err2 // damaged; the check tells
				return
			}
			if gone(&m)-e.trimmed[m.ID] > e.journalKeep {
				due = append(due, m)
			}
		})
		return err
	}); err != nil && len(due) == 0 {
		return err
	}
	for i := range due {
		if err := e.trimJournal(due[i].ID); err != nil {
			return err
		}
		e.trimmed[due[i].ID] = gone(&due[i])
	}
	return nil
}

// gone is how many entries have ever left a mailbox: at least as many as it
// has tombstones.
func gone(m *spool.Mailbox) int { return int(m.UIDNext) - 1 - int(m.Messages) }

// trimJournal deletes all but the last journalKeep tombstones of a mailbox.
func (e *Engine) trimJournal(id spool.MailboxID) error {
	stones := 0
	if err := e.tombstones(id, func([]byte) bool { stones++; return true }); err != nil {
		return err
	}
	for excess := stones - e.journalKeep; excess > 0; {
		var keys [][]byte
		if err := e.tombstones(id, func(key []byte) bool {
			keys = append(keys, key)
			return len(keys) < min(sweepStep, excess)
		}); err != nil || len(keys) == 0 {
			return err
		}
		if err := e.step(func(t *tx) error { return t.trim(id, keys) }, nil); err != nil {
			if errors.Is(err, spool.ErrNoMailbox) {
				return nil // the sweeper has it
			}
			return err
		}
		excess -= len(keys)
		e.stats.trimmed.Add(int64(len(keys)))
	}
	return nil
}

// tombstones calls f with the keys of a mailbox's tombstones, the oldest first,
// until it returns false.
func (e *Engine) tombstones(id spool.MailboxID, f func(key []byte) bool) error {
	return e.read(func(t *tx) error {
		prefix := mailboxKey(kJournal, id)
		it := t.txn.NewIterator(badgerdb.IteratorOptions{Prefix: prefix, PrefetchValues: true, PrefetchSize: 100})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			stone := false
			if err := it.Item().Value(func(v []byte) error {
				p, err := unseal(key, v)
				stone = err == nil && len(p) == 2 && p[1] != 0 && horizonOf(key) == 0
				return nil
			}); err != nil {
				return err
			}
			if stone && !f(key) {
				return nil
			}
		}
		return nil
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
	return t.set(journalKey(id, m, horizonUID), []byte{recordVersion, 1})
}
