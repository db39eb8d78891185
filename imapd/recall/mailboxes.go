package recall

import (
	"errors"
	"iter"
	"slices"
	"sync"

	"restante/spool"
)

// Mailboxes is a spool.Mailboxes that remembers entries. It is safe for concurrent
// use.
type Mailboxes struct {
	spool.Mailboxes
	boxes memory[spool.MailboxID, *mailbox]
}

// NewMailboxes returns a Mailboxes before another.
func NewMailboxes(of spool.Mailboxes) *Mailboxes {
	return &Mailboxes{Mailboxes: of, boxes: memory[spool.MailboxID, *mailbox]{limit: maxEntries}}
}

const (
	// leastRecalled is of how many entries a reader must want to know for the
	// mailbox to be looked at as a whole.
	leastRecalled = 100
	// perEntry is what an entry costs beyond its prefix and keywords.
	perEntry = 200
	// maxRead is how many changed entries are read one by one; more are read by
	// reading all.
	maxRead = 200
	// blockSize is how many entries a block has.
	blockSize = 256
)

// mailbox is what is remembered of one.
type mailbox struct {
	mu sync.Mutex
	// upto is up to where blocks are what the mailbox's journal says.
	upto   spool.ModSeq
	loaded bool
	blocks []*block
	size   int
}

// block is some entries, by UID. It never changes: one that has another takes its
// place, so that who reads is not disturbed.
type block struct{ entries []spool.Entry }

func (b *block) last() spool.UID { return b.entries[len(b.entries)-1].UID }

// Recall returns the entries of UIDs, which ascend, out of memory, as of now. It is
// not ok where that is of no use: for few of many, or in a mailbox that is too large.
func (m *Mailboxes) Recall(id spool.MailboxID, uids []spool.UID) (list iter.Seq[*spool.Entry], ok bool, err error) {
	if len(uids) < leastRecalled {
		return nil, false, nil
	}
	b, known := m.boxes.get(id)
	if !known {
		row, err := m.MailboxByID(id)
		if err != nil {
			return nil, false, err
		}
		if n := int(row.Messages); n/4 > len(uids) || n*perEntry > maxEntries {
			return nil, false, nil
		}
		b = new(mailbox)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.size
	switch err := b.update(m.Mailboxes, id); {
	case err != nil:
		m.boxes.forget(id)
		return nil, false, err
	case b.size > maxEntries:
		m.boxes.forget(id)
	case !known || b.size != was:
		m.boxes.put(id, b, b.size)
	}
	return pick(b.blocks, uids), true, nil
}

// pick iterates over the entries of UIDs that are there.
func pick(blocks []*block, uids []spool.UID) iter.Seq[*spool.Entry] {
	return func(yield func(*spool.Entry) bool) {
		for _, b := range blocks {
			if len(uids) > 0 && b.last() < uids[0] {
				continue
			}
			for i := range b.entries {
				e := &b.entries[i]
				for len(uids) > 0 && uids[0] < e.UID {
					uids = uids[1:]
				}
				if len(uids) == 0 {
					return
				}
				if uids[0] == e.UID && !yield(e) {
					return
				}
			}
		}
	}
}

// update makes blocks what the mailbox is.
func (b *mailbox) update(from spool.Mailboxes, id spool.MailboxID) error {
	if !b.loaded {
		return b.load(from, id)
	}
	changes, upto, err := from.Changes(id, b.upto)
	switch {
	case errors.Is(err, spool.ErrChangesLost), err == nil && len(changes) > maxRead:
		return b.load(from, id)
	case err != nil:
		return err
	}
	changed := make([]change, 0, len(changes))
	for _, c := range changes {
		now := change{uid: c.UID}
		if !c.Expunged {
			e, err := from.Entry(id, c.UID)
			switch {
			case errors.Is(err, spool.ErrNotFound): // gone since then
			case err != nil:
				return err
			default:
				now.entry = &e
			}
		}
		changed = append(changed, now)
	}
	b.apply(changed)
	b.upto = upto
	return nil
}

// load reads all entries. They may be newer than the row, but not older: what has
// changed meanwhile is read again the next time.
func (b *mailbox) load(from spool.Mailboxes, id spool.MailboxID) error {
	row, err := from.MailboxByID(id)
	if err != nil {
		return err
	}
	b.loaded, b.blocks, b.size = false, nil, 0
	entries := make([]spool.Entry, 0, blockSize)
	for e, err := range from.Entries(id, 1, 0) {
		if err != nil {
			return err
		}
		if entries = append(entries, e); len(entries) == blockSize {
			b.add(entries)
			entries = make([]spool.Entry, 0, blockSize)
		}
	}
	if len(entries) > 0 {
		b.add(entries)
	}
	b.upto, b.loaded = row.ModSeq, true
	return nil
}

func (b *mailbox) add(entries []spool.Entry) {
	b.blocks = append(b.blocks, &block{entries})
	for i := range entries {
		b.size += sizeOf(&entries[i])
	}
}

func sizeOf(e *spool.Entry) int {
	n := perEntry + len(e.Prefix)
	for _, k := range e.Flags.Keywords {
		n += 16 + len(k)
	}
	return n
}

// change is an entry that is another now, or with nil none any more.
type change struct {
	uid   spool.UID
	entry *spool.Entry
}

// apply takes over changes. Blocks that have changed are made anew.
func (b *mailbox) apply(changed []change) {
	slices.SortFunc(changed, func(a, c change) int { return int(int64(a.uid) - int64(c.uid)) })
	blocks := make([]*block, 0, len(b.blocks)+1)
	for i, old := range b.blocks {
		n := 0
		for n < len(changed) && (changed[n].uid <= old.last() || i == len(b.blocks)-1 && len(old.entries) < blockSize) {
			n++
		}
		if n == 0 {
			blocks = append(blocks, old)
			continue
		}
		blocks = appendBlocks(blocks, b.merge(old.entries, changed[:n]))
		changed = changed[n:]
	}
	b.blocks = appendBlocks(blocks, b.merge(nil, changed))
}

// merge returns entries with changes, both by UID.
func (b *mailbox) merge(entries []spool.Entry, changed []change) []spool.Entry {
	out := make([]spool.Entry, 0, len(entries)+len(changed))
	for _, c := range changed {
		n, found := slices.BinarySearchFunc(entries, c.uid, func(e spool.Entry, uid spool.UID) int { return int(int64(e.UID) - int64(uid)) })
		out = append(out, entries[:n]...)
		entries = entries[n:]
		if found {
			b.size -= sizeOf(&entries[0])
			entries = entries[1:]
		}
		if c.entry != nil {
			b.size += sizeOf(c.entry)
			out = append(out, *c.entry)
		}
	}
	return append(out, entries...)
}

// appendBlocks appends entries in blocks that are not too large.
func appendBlocks(blocks []*block, entries []spool.Entry) []*block {
	for part := range slices.Chunk(entries, blockSize) {
		blocks = append(blocks, &block{part})
	}
	return blocks
}
