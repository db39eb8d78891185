package badger

import (
	"errors"

	"restante/spool"
)

// eachJournal compares the journal of a mailbox with its entries one by one.
func (c *checker) eachJournal(id spool.MailboxID) error {
	if err := c.each(mailboxKey(kEntry, id), func(key, p []byte, err error) error {
		if err != nil || len(key) != keyLength(kEntry) {
			return nil
		}
		n, err := decodeEntry(uidOf(key), p)
		if err != nil {
			return nil
		}
		line := journalKey(id, n.ModSeq, n.UID)
		if there, err := c.t.has(line); err != nil || there {
			return err
		}
		c.find(damageJournal, c.keyText(key), c.addJournal(id, n.UID), "its change %d is not in the journal", n.ModSeq)
		return nil
	}); err != nil {
		return err
	}
	return c.each(mailboxKey(kJournal, id), func(key, p []byte, err error) error {
		if err != nil || len(key) != keyLength(kJournal) {
			return nil
		}
		l, err := decodeJournal(p)
		if err != nil {
			return nil // told
		}
		n, err := c.t.entry(id, uidOf(key))
		switch {
		case errors.Is(err, spool.ErrCorrupt):
			return nil
		case errors.Is(err, spool.ErrNotFound):
			if !l.gone {
				c.find(damageJournal, c.keyText(key), c.buryJournal(key), "its entry is not there")
			}
			return nil
		case err != nil:
			return err
		}
		if n.ModSeq != modSeqOf(key) {
			c.find(damageJournal, c.keyText(key), c.dropJournal(key), "the last change of its entry is %d", n.ModSeq)
		} else if l.gone {
			c.find(damageJournal, c.keyText(key), c.rewriteJournal(key), "it says that its entry is gone")
		}
		return nil
	})
}

// addJournal writes the line of an entry.
func (c *checker) addJournal(id spool.MailboxID, uid spool.UID) *fix {
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		n, err := t.entry(id, uid)
		if err != nil {
			return errMoved
		}
		return t.set(journalKey(id, n.ModSeq, uid), journalLine{}.encode())
	}}
}

// rewriteJournal writes what a line must say: that its entry is there if this
// was its last change, that it is gone if there is none.
func (c *checker) rewriteJournal(key []byte) *fix {
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		if there, err := t.has(key); err != nil || !there {
			return errors.Join(err, errMoved)
		}
		n, err := t.entry(mailboxOf(key), uidOf(key))
		switch {
		case errors.Is(err, spool.ErrNotFound):
			return t.set(key, journalLine{gone: true, at: c.e.opt.Now()}.encode())
		case errors.Is(err, spool.ErrCorrupt):
			return errMoved // the entry first
		case err != nil:
			return err
		case n.ModSeq != modSeqOf(key):
			return t.delete(key)
		}
		return t.set(key, journalLine{}.encode())
	}}
}

// dropJournal deletes a line that a later one of the same entry has replaced.
func (c *checker) dropJournal(key []byte) *fix {
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		n, err := t.entry(mailboxOf(key), uidOf(key))
		if err != nil || n.ModSeq == modSeqOf(key) {
			return errMoved
		}
		return t.delete(key)
	}}
}

// buryJournal makes the line of an entry that is not there a tombstone, of now:
// clients that know the entry are to hear that it is gone.
func (c *checker) buryJournal(key []byte) *fix {
	id := mailboxOf(key)
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		if _, err := t.entry(id, uidOf(key)); !errors.Is(err, spool.ErrNotFound) {
			return errMoved
		}
		if there, err := t.has(key); err != nil || !there {
			return errors.Join(err, errMoved)
		}
		row, err := t.row(id)
		if err != nil {
			return errMoved
		}
		row.ModSeq++
		if err := t.delete(key); err != nil {
			return err
		}
		if err := t.set(journalKey(id, row.ModSeq, uidOf(key)), journalLine{gone: true, at: c.e.opt.Now()}.encode()); err != nil {
			return err
		}
		return t.setRow(&row)
	}, after: func() { c.e.watch.notify([]spool.MailboxID{id}) }}
}

// dropBadEntry takes an entry aside that cannot be read. Counts, journal and
// references, of which it does not tell what they were, are for the next round.
func (c *checker) dropBadEntry(key []byte) *fix {
	f := c.takeAside(key, nil)
	f.after = func() { c.e.watch.notify([]spool.MailboxID{mailboxOf(key)}) }
	return f
}
