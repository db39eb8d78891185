package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/spool"
)

// The index of a mailbox says which UIDs it has and which of them are unseen
// or deleted, in one short record for each blockUIDs of them, and how many
// entries have each keyword. Opening a mailbox reads it instead of the entries.
// Every change of an entry changes it in the same transaction.

// indexing gathers what an operation changes of a mailbox's index, and stores
// it in the end, each record once.
type indexing struct {
	t        *tx
	id       spool.MailboxID
	blocks   map[uint32]*block
	keywords map[string]int
}

func (t *tx) index(id spool.MailboxID) *indexing {
	return &indexing{t: t, id: id, blocks: make(map[uint32]*block), keywords: make(map[string]int)}
}

// change notes the flags that an entry had and has, nil if it is not there.
func (x *indexing) change(uid spool.UID, old, now *spool.Flags) error {
	n := blockOf(uid)
	b := x.blocks[n]
	if b == nil {
		b = new(block)
		var err error
		*b, err = x.t.block(x.id, n)
		if errors.Is(err, spool.ErrCorrupt) {
			*b, err = x.t.recallBlock(x.id, n)
		}
		if err != nil {
			return err
		}
		x.blocks[n] = b
	}
	b.set(uid, now)
	x.count(old, -1)
	x.count(now, 1)
	return nil
}

func (x *indexing) count(f *spool.Flags, by int) {
	if f != nil {
		for _, k := range f.Keywords {
			x.keywords[k] += by
		}
	}
}

// flush stores what was noted.
func (x *indexing) flush() error {
	for n, b := range x.blocks {
		key := blockKey(x.id, n)
		var err error
		if b.present == (bitmap{}) {
			err = x.t.delete(key)
		} else {
			err = x.t.set(key, b.encode())
		}
		if err != nil {
			return err
		}
	}
	for k, by := range x.keywords {
		if by == 0 {
			continue
		}
		key := keywordKey(x.id, k)
		r, err := load(x.t, key, decodeKeyword)
		switch {
		case errors.Is(err, spool.ErrCorrupt):
			continue // the check counts it again
		case err != nil && !errors.Is(err, spool.ErrNotFound):
			return err
		}
		if left := int64(r.entries) + int64(by); left <= 0 {
			err = x.t.delete(key)
		} else {
			r = keywordRecord{k, uint64(left)}
			err = x.t.set(key, r.encode())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// block loads a block; one that is not stored has no UIDs.
func (t *tx) block(id spool.MailboxID, n uint32) (block, error) {
	b, err := load(t, blockKey(id, n), decodeBlock)
	if errors.Is(err, spool.ErrNotFound) {
		return block{}, nil
	}
	return b, err
}

// recallBlock makes a block out of the entries. Those that cannot be read are
// there, with no flags that are known.
func (t *tx) recallBlock(id spool.MailboxID, n uint32) (b block, err error) {
	it := t.keys(mailboxKey(kEntry, id))
	defer it.Close()
	for it.Seek(entryKey(id, spool.UID(n)*blockUIDs)); it.Valid() && len(it.Item().Key()) == keyLength(kEntry); it.Next() {
		uid := uidOf(it.Item().Key())
		if blockOf(uid) != n {
			break
		}
		entry, err := itemEntry(it.Item(), uid)
		if err != nil {
			entry.Flags = spool.Flags{System: spool.Seen}
		}
		b.set(uid, &entry.Flags)
	}
	return b, nil
}

// itemEntry reads the entry that an iterator stands at.
func itemEntry(item *badgerdb.Item, uid spool.UID) (n spool.Entry, err error) {
	err = item.Value(func(v []byte) error {
		p, err := unseal(item.Key(), v)
		if err == nil {
			n, err = decodeEntry(uid, p)
		}
		return err
	})
	n.UID = uid
	return n, err
}

// eachBlock calls f with the blocks of a mailbox, in order, until it returns
// false. One that cannot be read is made out of the entries.
func (t *tx) eachBlock(id spool.MailboxID, f func(n uint32, b *block) bool) error {
	it := t.keys(mailboxKey(kBlock, id))
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		key := it.Item().Key()
		if len(key) != keyLength(kBlock) {
			continue // malformed: Check tells
		}
		n := binary.BigEndian.Uint32(key[9:])
		var b block
		err := it.Item().Value(func(v []byte) error {
			p, err := unseal(key, v)
			if err == nil {
				b, err = decodeBlock(p)
			}
			return err
		})
		if errors.Is(err, spool.ErrCorrupt) {
			b, err = t.recallBlock(id, n)
		}
		if err != nil {
			return fmt.Errorf("index of mailbox %d: %w", id, err)
		}
		if !f(n, &b) {
			return nil
		}
	}
	return nil
}

// usedKeywords returns the keywords of a mailbox, sorted. A record that cannot
// be read is passed over; the check tells of it.
func (t *tx) usedKeywords(id spool.MailboxID) (list []string, err error) {
	it := t.keys(mailboxKey(kKeyword, id))
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		key := it.Item().Key()
		err := it.Item().Value(func(v []byte) error {
			p, err := unseal(key, v)
			if err != nil {
				return err
			}
			r, err := decodeKeyword(p)
			if err == nil {
				list = append(list, r.keyword)
			}
			return err
		})
		if err != nil && !errors.Is(err, spool.ErrCorrupt) {
			return nil, err
		}
	}
	slices.Sort(list)
	return list, nil
}

// Overview implements spool.Mailboxes. It reads one short record for each 256
// UIDs.
func (e *Engine) Overview(id spool.MailboxID) (o spool.Overview, err error) {
	err = e.read(func(t *tx) error {
		if o.Mailbox, err = t.row(id); err != nil {
			return err
		}
		if o.Keywords, err = t.usedKeywords(id); err != nil {
			return err
		}
		o.UIDs = make([]spool.UID, 0, o.Mailbox.Messages)
		return t.eachBlock(id, func(n uint32, b *block) bool {
			o.UIDs = b.present.uids(o.UIDs, n)
			if o.FirstUnseen == 0 {
				o.FirstUnseen = b.unseen.first(n)
			}
			return true
		})
	})
	return o, err
}

// deletedUIDs returns the UIDs that have \Deleted.
func (e *Engine) deletedUIDs(id spool.MailboxID) (uids []spool.UID, err error) {
	err = e.read(func(t *tx) error {
		return t.eachBlock(id, func(n uint32, b *block) bool {
			uids = b.deleted.uids(uids, n)
			return true
		})
	})
	return uids, err
}

// indexMailboxes leads to the format that has the index of mailboxes. Each of
// its transactions stores what does not change while it runs.
func indexMailboxes(e *Engine) error {
	t := e.view()
	defer t.discard()
	var ids []spool.MailboxID
	collect(t, []byte{kMailbox}, func(key []byte) {
		if len(key) == keyLength(kMailbox) {
			ids = append(ids, mailboxOf(key))
		}
	})
	for _, id := range ids {
		if err := e.indexMailbox(t, id); err != nil {
			return fmt.Errorf("mailbox %d: %w", id, err)
		}
	}
	return nil
}

func (e *Engine) indexMailbox(t *tx, id spool.MailboxID) error {
	made, keywords := t.recallIndex(id)
	for part := range slices.Chunk(slices.Sorted(maps.Keys(made)), entryStep) {
		if err := e.do(func(t *tx) error {
			for _, n := range part {
				if err := t.set(blockKey(id, n), made[n].encode()); err != nil {
					return err
				}
			}
			return nil
		}, nil); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(keywords)), entryStep) {
		if err := e.do(func(t *tx) error {
			for _, k := range part {
				r := keywordRecord{k, uint64(keywords[k])}
				if err := t.set(keywordKey(id, k), r.encode()); err != nil {
					return err
				}
			}
			return nil
		}, nil); err != nil {
			return err
		}
	}
	return nil
}

// recallIndex makes the whole index of a mailbox out of its entries.
func (t *tx) recallIndex(id spool.MailboxID) (blocks map[uint32]*block, keywords map[string]int) {
	blocks, keywords = make(map[uint32]*block), make(map[string]int)
	it := t.keys(mailboxKey(kEntry, id))
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if len(it.Item().Key()) != keyLength(kEntry) {
			continue
		}
		uid := uidOf(it.Item().Key())
		n, err := itemEntry(it.Item(), uid)
		if err != nil {
			n.Flags = spool.Flags{System: spool.Seen}
		}
		b := blocks[blockOf(uid)]
		if b == nil {
			b = new(block)
			blocks[blockOf(uid)] = b
		}
		b.set(uid, &n.Flags)
		for _, k := range n.Flags.Keywords {
			keywords[k]++
		}
	}
	return blocks, keywords
}
