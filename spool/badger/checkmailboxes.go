package badger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/spool"
)

// lostAccount has the mailboxes of which nothing tells whose they were.
const lostAccount = "lost+found"

func emptyHash() [32]byte { return sha256.Sum256(nil) }

func uidOf(key []byte) spool.UID { return spool.UID(binary.BigEndian.Uint32(key[len(key)-4:])) }

func modSeqOf(key []byte) spool.ModSeq { return spool.ModSeq(binary.BigEndian.Uint64(key[9:])) }

// box is what the walk gathers about one mailbox.
type box struct {
	id      spool.MailboxID
	there   bool // its row is
	err     error
	row     spool.Mailbox
	zombie  bool
	counts  spool.Mailbox // what the row should say
	entries indexSum      // journal keys that the entries call for
	journal indexSum      // journal keys of entries that are not deleted
	// stones tells that a tombstone is of an entry that is there.
	stones bool
	index  boxIndex
}

// mailboxes walks rows, entries and journals side by side.
func (c *checker) mailboxes() error {
	its := make(map[byte]*badgerdb.Iterator)
	for _, kind := range []byte{kMailbox, kZombie, kEntry, kJournal, kBlock, kKeyword} {
		it := c.t.keys([]byte{kind})
		defer it.Close()
		it.Rewind()
		its[kind] = it
	}
	for {
		var b box
		found := false
		for _, it := range its {
			for it.Valid() && len(it.Item().Key()) != keyLength(it.Item().Key()[0]) {
				it.Next() // told of as a stray
			}
			if !it.Valid() {
				continue
			}
			if id := mailboxOf(it.Item().Key()); !found || id < b.id {
				b.id, found = id, true
			}
		}
		if !found {
			return nil
		}
		if err := c.gatherBox(its, &b); err != nil {
			return err
		}
		if err := c.judgeBox(&b); err != nil {
			return err
		}
	}
}

// ofBox calls f with the records of a kind that a mailbox has.
func (c *checker) ofBox(it *badgerdb.Iterator, id spool.MailboxID, f func(key, p []byte, err error) error) error {
	for ; it.Valid(); it.Next() {
		key := it.Item().Key()
		if len(key) != keyLength(key[0]) {
			continue
		}
		if mailboxOf(key) != id {
			return nil
		}
		if err := c.count(key[0]); err != nil {
			return err
		}
		if err := openItem(it.Item(), f); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) gatherBox(its map[byte]*badgerdb.Iterator, b *box) error {
	return errors.Join(
		c.ofBox(its[kMailbox], b.id, func(_, p []byte, err error) error {
			b.there = true
			if b.err = err; err == nil {
				b.row, b.err = decodeMailbox(b.id, p)
			}
			return nil
		}),
		c.ofBox(its[kZombie], b.id, func(key, _ []byte, err error) error {
			b.zombie = true
			if err != nil {
				c.find(damageRecord, c.keyText(key), c.rewrite(key, []byte{recordVersion}), "%s", why(err))
			}
			return nil
		}),
		c.ofBox(its[kEntry], b.id, func(key, p []byte, err error) error {
			var n spool.Entry
			if err == nil {
				n, err = decodeEntry(uidOf(key), p)
			}
			if err != nil {
				c.find(damageRecord, c.keyText(key), c.dropBadEntry(key), "%s", why(err))
				b.counts.UIDNext = max(b.counts.UIDNext, uidOf(key)+1)
				b.index.take(uidOf(key), nil)
				return nil
			}
			b.take(&n)
			c.add(&b.entries, journalKey(b.id, n.ModSeq, n.UID))
			return nil
		}),
		c.ofBox(its[kJournal], b.id, func(key, p []byte, err error) error {
			var l journalLine
			if err == nil {
				l, err = decodeJournal(p)
			}
			b.counts.UIDNext = max(b.counts.UIDNext, uidOf(key)+1)
			b.counts.ModSeq = max(b.counts.ModSeq, modSeqOf(key))
			if err != nil {
				c.find(damageRecord, c.keyText(key), c.rewriteJournal(key), "%s", why(err))
				return nil
			}
			if !l.gone {
				c.add(&b.journal, key)
				return nil
			}
			if there, err := c.t.has(entryKey(b.id, uidOf(key))); err != nil || there {
				b.stones = true
				return err
			}
			return nil
		}),
		c.gatherIndex(its, b),
	)
}

func (b *box) take(n *spool.Entry) {
	count(&b.counts, n, 1)
	b.counts.UIDNext = max(b.counts.UIDNext, n.UID+1)
	b.counts.ModSeq = max(b.counts.ModSeq, n.ModSeq)
	b.index.take(n.UID, &n.Flags)
}

// judgeBox tells what is wrong with a mailbox.
func (c *checker) judgeBox(b *box) error {
	name := fmt.Sprintf("mailbox %d", b.id)
	c.highest = max(c.highest, b.id)
	if !b.there && b.zombie {
		return nil // being freed
	}
	if !b.there && b.index.stored && b.counts == (spool.Mailbox{}) {
		c.find(damageStray, name, c.dropIndex(b.id), "it has an index, and neither a row nor entries")
		return nil
	}
	if !b.there || b.err != nil {
		what := "it has entries and no row"
		if b.err != nil {
			what = why(b.err)
		}
		f, err := c.rebuildRow(b)
		if err != nil {
			return err
		}
		c.find(damageMailbox, name, f, "%s", what)
		return nil
	}
	row, counts := &b.row, &b.counts
	c.validity = max(c.validity, row.UIDValidity)
	name = fmt.Sprintf("mailbox %d (%s %s)", b.id, row.Account, row.Name)
	if b.zombie {
		c.find(damageStray, name, c.dropZombie(b.id), "it has the mark of a mailbox to be freed")
	}
	if row.Messages != counts.Messages || row.Unseen != counts.Unseen || row.Deleted != counts.Deleted || row.Size != counts.Size ||
		row.UIDNext < counts.UIDNext || row.ModSeq < counts.ModSeq {
		c.find(damageCounts, name, c.recount(b),
			"its row says %d messages, %d unseen, %d deleted, %d octets, next UID %d, modseq %d; its entries %d, %d, %d, %d, %d, %d",
			row.Messages, row.Unseen, row.Deleted, row.Size, row.UIDNext, row.ModSeq,
			counts.Messages, counts.Unseen, counts.Deleted, counts.Size, counts.UIDNext, counts.ModSeq)
	}
	id, err := load(c.t, nameKey(kName, row.Account, row.Name), decodeCounter)
	switch {
	case errors.Is(err, spool.ErrCorrupt):
		// mailboxNames tells, and the next round comes here again.
	case errors.Is(err, spool.ErrNotFound), err == nil && spool.MailboxID(id) != b.id:
		c.find(damageMailbox, name, c.nameRow(b.id), "its name does not lead to it")
	case err != nil:
		return err
	}
	if b.entries != b.journal || b.stones {
		return c.eachJournal(b.id)
	}
	return nil
}

func (c *checker) dropZombie(id spool.MailboxID) *fix {
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		if _, err := t.row(id); err != nil {
			return errMoved
		}
		return t.delete(mailboxKey(kZombie, id))
	}}
}

// recount adds what was wrong to the counts; what has changed since then has
// changed both alike.
func (c *checker) recount(b *box) *fix {
	was, want := b.row, b.counts
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		row, err := t.row(was.ID)
		if err != nil {
			return errMoved
		}
		row.Messages += want.Messages - was.Messages
		row.Unseen += want.Unseen - was.Unseen
		row.Deleted += want.Deleted - was.Deleted
		row.Size += want.Size - was.Size
		row.UIDNext = max(row.UIDNext, want.UIDNext)
		row.ModSeq = max(row.ModSeq, want.ModSeq)
		return t.setRow(&row)
	}, after: func() { c.e.watch.notify([]spool.MailboxID{was.ID}) }}
}

// nameRow gives a mailbox its name back, or another if that one is taken.
func (c *checker) nameRow(id spool.MailboxID) *fix {
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		row, err := t.row(id)
		if err != nil {
			return errMoved
		}
		return t.claimName(&row)
	}}
}

// claimName stores a row under its name, or under one of its own if another
// mailbox has that.
func (t *tx) claimName(row *spool.Mailbox) error {
	other, err := t.mailboxID(row.Account, row.Name)
	if err != nil && !errors.Is(err, spool.ErrCorrupt) {
		return err
	}
	if err == nil && other != 0 && other != row.ID {
		if taken, err := t.row(other); err == nil && taken.Account == row.Account && taken.Name == row.Name {
			row.Name = fmt.Sprintf("%s (recovered %d)", row.Name, row.ID)
		}
	}
	if err := t.set(nameKey(kName, row.Account, row.Name), encodeCounter(uint64(row.ID))); err != nil {
		return err
	}
	t.arranged(row.Account)
	return t.setRow(row)
}

// rebuildRow makes the row of a mailbox again, from its entries and from the
// name that leads to it. Its UIDs stay, under another UIDVALIDITY. As long as
// it has no row that can be read, no verb changes its entries.
func (c *checker) rebuildRow(b *box) (*fix, error) {
	if c.owners == nil {
		c.owners = make(map[spool.MailboxID][2]string)
		if err := c.eachKey([]byte{kName}, func(key []byte) error {
			id, err := load(c.t, key, decodeCounter)
			account, name, ok := bytes.Cut(key[1:], []byte{0})
			if err == nil && ok {
				c.owners[spool.MailboxID(id)] = [2]string{string(account), string(name)}
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	row := b.counts
	row.ID, row.Account, row.Name = b.id, lostAccount, fmt.Sprintf("mailbox %d", b.id)
	row.UIDNext, row.ModSeq, row.Recent = max(row.UIDNext, 1), max(row.ModSeq, 1), 1
	if owner, ok := c.owners[b.id]; ok {
		row.Account, row.Name = owner[0], owner[1]
	}
	key := mailboxKey(kMailbox, b.id)
	f := &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		if _, err := t.row(b.id); err == nil {
			return errMoved
		}
		if zombie, err := t.has(mailboxKey(kZombie, b.id)); err != nil || zombie {
			return errors.Join(err, errMoved)
		}
		row := row
		validity, err := t.next(metaUIDValidity, uint64(uint32(c.e.opt.Now().Unix())))
		if err != nil {
			return err
		}
		row.UIDValidity = uint32(validity)
		return t.claimName(&row)
	}}
	if b.there {
		f.prepare = func() (string, error) { return c.aside.record(c.t, c.keyText(key), key, nil) }
	}
	return f, nil
}

// mailboxNames looks where the names lead.
func (c *checker) mailboxNames() error {
	return c.each([]byte{kName}, func(key, p []byte, err error) error {
		account, name, ok := bytes.Cut(key[1:], []byte{0})
		if !ok {
			c.stray(key, "a malformed key")
			return nil
		}
		var v uint64
		if err == nil {
			v, err = decodeCounter(p)
		}
		if err != nil {
			c.find(damageRecord, c.keyText(key), c.takeAside(key, nil), "%s", why(err))
			return nil
		}
		id := spool.MailboxID(v)
		c.highest = max(c.highest, id)
		row, err := c.t.row(id)
		switch {
		case errors.Is(err, spool.ErrNoMailbox):
			b := &box{id: id}
			if zombie, err := c.t.has(mailboxKey(kZombie, id)); err != nil {
				return err
			} else if zombie {
				c.stray(key, "a name of a mailbox that was deleted")
				return nil
			}
			if entries, err := c.hasAny(mailboxKey(kEntry, id), mailboxKey(kJournal, id)); err != nil || entries {
				return err // told of with its entries
			}
			f, err := c.rebuildRow(b)
			c.find(damageMailbox, c.keyText(key), f, "its mailbox %d is not there", id)
			return err
		case errors.Is(err, spool.ErrCorrupt):
			return nil // told
		case err != nil:
			return err
		case row.Account != string(account) || row.Name != string(name):
			c.find(damageMailbox, c.keyText(key), c.takeAside(key, nil), "its mailbox %d is %s of %s", id, row.Name, row.Account)
		}
		return nil
	})
}

// hasAny tells whether there is a record with one of the prefixes.
func (c *checker) hasAny(prefixes ...[]byte) (bool, error) {
	for _, prefix := range prefixes {
		it := c.t.keys(prefix)
		it.Rewind()
		there := it.Valid()
		it.Close()
		if there {
			return true, nil
		}
	}
	return false, nil
}

// subscriptions are all in their keys.
func (c *checker) subscriptions() error {
	return c.each([]byte{kSubscribed}, func(key, _ []byte, err error) error {
		if !strings.ContainsRune(string(key[1:]), 0) {
			c.stray(key, "a malformed key")
		} else if err != nil {
			c.find(damageRecord, c.keyText(key), c.rewrite(key, []byte{recordVersion}), "%s", why(err))
		}
		return nil
	})
}
