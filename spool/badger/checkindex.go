package badger

import (
	"encoding/binary"
	"errors"
	"fmt"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/spool"
)

// damageUIDs: the index of a mailbox and its entries differ.
const damageUIDs = "mailbox-index"

// boxIndex is what the index of a mailbox should say, of what was read of its
// entries, and what of it was found.
type boxIndex struct {
	blocks map[uint32]*block
	// unread are the UIDs whose flags are not known.
	unread   map[uint32]*bitmap
	keywords map[string]int
	// lost tells that keywords of an entry are not known.
	lost bool
	// stored tells that there is an index at all.
	stored bool
}

// take notes an entry; flags are nil if it cannot be read.
func (x *boxIndex) take(uid spool.UID, f *spool.Flags) {
	if x.blocks == nil {
		x.blocks, x.unread, x.keywords = make(map[uint32]*block), make(map[uint32]*bitmap), make(map[string]int)
	}
	n := blockOf(uid)
	if x.blocks[n] == nil {
		x.blocks[n] = new(block)
	}
	if f == nil {
		if x.unread[n] == nil {
			x.unread[n] = new(bitmap)
		}
		x.unread[n].set(uid, true)
		x.lost = true
		f = &spool.Flags{System: spool.Seen}
	}
	x.blocks[n].set(uid, f)
	for _, k := range f.Keywords {
		x.keywords[k]++
	}
}

// same tells whether a stored block is as it should be, whatever it says of
// the flags of entries that cannot be read.
func (x *boxIndex) same(n uint32, stored block) bool {
	want := x.blocks[n]
	if want == nil {
		return false
	}
	if u := x.unread[n]; u != nil {
		for i, word := range u {
			stored.unseen[i] &^= word
			stored.deleted[i] &^= word
		}
	}
	return stored == *want
}

// gatherIndex compares the stored index of a mailbox with its entries, which
// have been gathered before.
func (c *checker) gatherIndex(its map[byte]*badgerdb.Iterator, b *box) error {
	missing := len(b.index.blocks)
	err := c.ofBox(its[kBlock], b.id, func(key, p []byte, err error) error {
		b.index.stored = true
		var got block
		if err == nil {
			got, err = decodeBlock(p)
		}
		n := binary.BigEndian.Uint32(key[9:])
		if b.index.blocks[n] != nil {
			missing--
		}
		switch {
		case err != nil:
			c.find(damageRecord, c.keyText(key), c.recallBlock(b.id, n), "%s", why(err))
		case !b.index.same(n, got) && b.there:
			c.find(damageUIDs, c.keyText(key), c.recallBlock(b.id, n), "it does not match the entries")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if missing > 0 && b.there {
		for n := range b.index.blocks {
			if there, err := c.t.has(blockKey(b.id, n)); err != nil {
				return err
			} else if !there {
				c.find(damageUIDs, c.keyText(blockKey(b.id, n)), c.recallBlock(b.id, n), "it is missing")
			}
		}
	}
	return c.gatherKeywords(its, b)
}

func (c *checker) gatherKeywords(its map[byte]*badgerdb.Iterator, b *box) error {
	right := 0
	err := c.ofBox(its[kKeyword], b.id, func(key, p []byte, err error) error {
		b.index.stored = true
		var r keywordRecord
		if err == nil {
			r, err = decodeKeyword(p)
		}
		switch {
		case err != nil:
			c.find(damageRecord, c.keyText(key), c.recallKeywords(b.id), "%s", why(err))
			right++
		case string(keywordKey(b.id, r.keyword)) == string(key) && uint64(b.index.keywords[r.keyword]) == r.entries:
			right++
		case b.there && !b.index.lost:
			c.find(damageUIDs, c.keyText(key), c.recallKeywords(b.id), "%q is said to be of %d entries, and is of %d",
				r.keyword, r.entries, b.index.keywords[r.keyword])
			right++
		}
		return nil
	})
	if missing := len(b.index.keywords) - right; err == nil && missing > 0 && b.there && !b.index.lost {
		c.find(damageUIDs, fmt.Sprintf("mailbox %d, keywords", b.id), c.recallKeywords(b.id), "%d are missing", missing)
	}
	return err
}

// recallBlock makes a record of the index anew.
func (c *checker) recallBlock(id spool.MailboxID, n uint32) *fix {
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		if _, err := t.row(id); err != nil {
			return errMoved
		}
		b, err := t.recallBlock(id, n)
		if err != nil {
			return err
		}
		if b.present == (bitmap{}) {
			return t.delete(blockKey(id, n))
		}
		return t.set(blockKey(id, n), b.encode())
	}, after: func() { c.e.watch.notify([]spool.MailboxID{id}) }}
}

// recallKeywords counts the keywords of a mailbox anew.
func (c *checker) recallKeywords(id spool.MailboxID) *fix {
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		if _, err := t.row(id); err != nil {
			return errMoved
		}
		_, keywords := t.recallIndex(id)
		var stale [][]byte
		collect(t, mailboxKey(kKeyword, id), func(key []byte) { stale = append(stale, key) })
		for _, key := range stale {
			if err := t.delete(key); err != nil {
				return err
			}
		}
		for k, n := range keywords {
			r := keywordRecord{k, uint64(n)}
			if err := t.set(keywordKey(id, k), r.encode()); err != nil {
				return err
			}
		}
		return nil
	}}
}

// dropIndex deletes the index of a mailbox that is not there.
func (c *checker) dropIndex(id spool.MailboxID) *fix {
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		if _, err := t.row(id); !errors.Is(err, spool.ErrNoMailbox) {
			return errMoved
		}
		var keys [][]byte
		for _, kind := range []byte{kBlock, kKeyword} {
			collect(t, mailboxKey(kind, id), func(key []byte) { keys = append(keys, key) })
		}
		for _, key := range keys[:min(len(keys), entryStep)] { // the next round has the rest
			if err := t.delete(key); err != nil {
				return err
			}
		}
		return nil
	}}
}
