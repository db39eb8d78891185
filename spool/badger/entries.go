package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/spool"
)

// entryStep bounds the entries that one transaction changes, well within what
// Badger allows.
const entryStep = 1000

var errUIDs = errors.New("spool: mailbox has no UIDs left")

// addEntry stores an entry under the next UID, at the row's present ModSeq,
// which the caller has raised; the caller stores the row and the index, and
// counts the reference.
func (t *tx) addEntry(m *spool.Mailbox, x *indexing, n *spool.Entry, now time.Time) error {
	if m.UIDNext == math.MaxUint32 {
		return errUIDs
	}
	n.UID, n.ModSeq, n.Saved = m.UIDNext, m.ModSeq, now
	m.UIDNext++
	count(m, n, 1)
	if err := x.change(n.UID, nil, &n.Flags); err != nil {
		return err
	}
	return t.putEntry(m.ID, n)
}

// count adds an entry to the row's counts, or takes it out with by -1.
func count(m *spool.Mailbox, n *spool.Entry, by int) {
	m.Messages += uint32(by)
	m.Size += int64(by) * n.Size
	if n.Flags.System&spool.Seen == 0 {
		m.Unseen += uint32(by)
	}
	if n.Flags.System&spool.Deleted != 0 {
		m.Deleted += uint32(by)
	}
}

func (t *tx) putEntry(id spool.MailboxID, n *spool.Entry) error {
	if err := t.set(entryKey(id, n.UID), encodeEntry(n)); err != nil {
		return err
	}
	return t.set(journalKey(id, n.ModSeq, n.UID), journalLine{}.encode())
}

// removeEntry deletes an entry, leaves its tombstone, and drops its reference.
// The caller stores the row and the index.
func (t *tx) removeEntry(m *spool.Mailbox, x *indexing, n *spool.Entry, now time.Time) error {
	count(m, n, -1)
	if err := x.change(n.UID, &n.Flags, nil); err != nil {
		return err
	}
	if err := t.delete(entryKey(m.ID, n.UID)); err != nil {
		return err
	}
	if err := t.delete(journalKey(m.ID, n.ModSeq, n.UID)); err != nil {
		return err
	}
	if err := t.set(journalKey(m.ID, m.ModSeq, n.UID), journalLine{gone: true, at: now}.encode()); err != nil {
		return err
	}
	return t.unref(n.Message, 1)
}

func (t *tx) entry(id spool.MailboxID, uid spool.UID) (spool.Entry, error) {
	return load(t, entryKey(id, uid), func(p []byte) (spool.Entry, error) { return decodeEntry(uid, p) })
}

// walkFrom is how many entries are worth beginning an iteration.
const walkFrom = 8

// present loads those of the given entries that are there.
func (t *tx) present(id spool.MailboxID, uids []spool.UID) ([]spool.Entry, error) {
	list := make([]spool.Entry, 0, len(uids))
	w := walker{t: t, prefix: mailboxKey(kEntry, id)}
	if len(uids) < walkFrom {
		w.jump = walkTries
	}
	defer w.close()
	for _, uid := range uids {
		var n spool.Entry
		err := w.get(entryKey(id, uid), func(p []byte) (err error) {
			n, err = decodeEntry(uid, p)
			return err
		})
		if errors.Is(err, spool.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("mailbox %d, UID %d: %w", id, uid, err)
		}
		list = append(list, n)
	}
	return list, nil
}

// Entries implements spool.Mailboxes.
func (e *Engine) Entries(id spool.MailboxID, from, to spool.UID) iter.Seq2[spool.Entry, error] {
	return func(yield func(spool.Entry, error) bool) {
		err := e.read(func(t *tx) error {
			if _, err := t.row(id); err != nil {
				return err
			}
			prefix := mailboxKey(kEntry, id)
			it := t.txn.NewIterator(badgerdb.IteratorOptions{Prefix: prefix})
			defer it.Close()
			for it.Seek(entryKey(id, from)); it.Valid(); it.Next() {
				key := it.Item().Key()
				uid := spool.UID(binary.BigEndian.Uint32(key[len(prefix):]))
				if to != 0 && uid > to {
					return nil
				}
				n, err := itemEntry(it.Item(), uid)
				if !yield(n, err) {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			yield(spool.Entry{}, err)
		}
	}
}

// Entry implements spool.Mailboxes.
func (e *Engine) Entry(id spool.MailboxID, uid spool.UID) (n spool.Entry, err error) {
	err = e.read(func(t *tx) error {
		if _, err := t.row(id); err != nil {
			return err
		}
		n, err = t.entry(id, uid)
		return err
	})
	return n, err
}

// Changes implements spool.Mailboxes. journalBounds says how far back it goes.
func (e *Engine) Changes(id spool.MailboxID, since spool.ModSeq) (list []spool.Change, upTo spool.ModSeq, err error) {
	err = e.read(func(t *tx) error {
		m, err := t.row(id)
		if err != nil {
			return err
		}
		upTo = m.ModSeq
		if since >= upTo {
			return nil
		}
		prefix := mailboxKey(kJournal, id)
		it := t.txn.NewIterator(badgerdb.IteratorOptions{Prefix: prefix})
		defer it.Close()
		for it.Seek(journalKey(id, since+1, 0)); it.Valid(); it.Next() {
			key := it.Item().Key()
			if horizonOf(key) != 0 {
				return fmt.Errorf("mailbox %d: %w", id, spool.ErrChangesLost)
			}
			c := spool.Change{
				ModSeq: spool.ModSeq(binary.BigEndian.Uint64(key[len(prefix):])),
				UID:    spool.UID(binary.BigEndian.Uint32(key[len(prefix)+8:])),
			}
			if err := it.Item().Value(func(v []byte) error {
				l, err := openJournal(key, v)
				c.Expunged = l.gone
				return err
			}); err != nil {
				return fmt.Errorf("journal of mailbox %d: %w", id, err)
			}
			list = append(list, c)
		}
		return nil
	})
	return list, upTo, err
}

// inSteps runs a change of a mailbox over slices of the UIDs, each in a
// transaction of its own. Two slices may be separated by other changes, or by
// a crash; no client can tell that from two commands.
func inSteps(uids []spool.UID, f func(uids []spool.UID) error) error {
	for part := range slices.Chunk(uids, entryStep) {
		if err := f(part); err != nil {
			return err
		}
	}
	return nil
}

// Flag implements spool.Mailboxes.
func (e *Engine) Flag(id spool.MailboxID, uids []spool.UID, op spool.FlagOp, f spool.Flags, unchangedSince spool.ModSeq) (spool.Flagging, error) {
	if err := e.enter(); err != nil {
		return spool.Flagging{}, err
	}
	defer e.leave()
	var out spool.Flagging
	if len(uids) == 0 {
		_, err := e.MailboxByID(id)
		return out, err
	}
	// All slices are on their way before the first is waited for, so that they
	// share the waits for the device.
	type step struct {
		out  spool.Flagging
		done <-chan error
	}
	var steps []*step
	for part := range slices.Chunk(uids, entryStep) {
		st, changed := new(step), false
		st.done = e.submit(func(t *tx) (err error) {
			st.out, changed, err = t.flag(id, part, op, f, unchangedSince)
			return err
		}, func() {
			if changed {
				e.watch.notify([]spool.MailboxID{id})
			}
		})
		steps = append(steps, st)
	}
	var errs []error
	for _, st := range steps {
		if err := <-st.done; err != nil {
			errs = append(errs, err)
			continue
		}
		out.Changed = append(out.Changed, st.out.Changed...)
		out.Before = append(out.Before, st.out.Before...)
		out.Modified = append(out.Modified, st.out.Modified...)
	}
	return out, errors.Join(errs...)
}

func (t *tx) flag(id spool.MailboxID, uids []spool.UID, op spool.FlagOp, f spool.Flags, unchangedSince spool.ModSeq) (out spool.Flagging, changed bool, err error) {
	m, err := t.row(id)
	if err != nil {
		return out, false, err
	}
	entries, err := t.present(id, uids)
	if err != nil {
		return out, false, err
	}
	next, index := m.ModSeq+1, t.index(id)
	for i := range entries {
		n := &entries[i]
		if n.ModSeq > unchangedSince {
			out.Modified = append(out.Modified, n.UID)
			continue
		}
		out.Before = append(out.Before, n.ModSeq)
		flags := applyFlags(n.Flags, op, f)
		if flags.System != n.Flags.System || !slices.Equal(flags.Keywords, n.Flags.Keywords) {
			if err := t.delete(journalKey(id, n.ModSeq, n.UID)); err != nil {
				return out, false, err
			}
			count(&m, n, -1)
			if err := index.change(n.UID, &n.Flags, &flags); err != nil {
				return out, false, err
			}
			n.Flags, n.ModSeq, m.ModSeq = flags, next, next
			count(&m, n, 1)
			if err := t.putEntry(id, n); err != nil {
				return out, false, err
			}
			changed = true
		}
		out.Changed = append(out.Changed, *n)
	}
	if changed {
		err = errors.Join(index.flush(), t.setRow(&m))
	}
	return out, changed, err
}

// applyFlags returns what an operation makes of flags. Keywords have no case,
// and one that stays keeps the case it has.
func applyFlags(old spool.Flags, op spool.FlagOp, f spool.Flags) spool.Flags {
	find := func(list []string, k string) int {
		return slices.IndexFunc(list, func(s string) bool { return strings.EqualFold(s, k) })
	}
	out := spool.Flags{Keywords: slices.Clone(old.Keywords)}
	switch op {
	case spool.FlagSet:
		out.System = f.System
		out.Keywords = slices.DeleteFunc(out.Keywords, func(k string) bool { return find(f.Keywords, k) < 0 })
	case spool.FlagAdd:
		out.System = old.System | f.System
	case spool.FlagRemove:
		out.System = old.System &^ f.System
		out.Keywords = slices.DeleteFunc(out.Keywords, func(k string) bool { return find(f.Keywords, k) >= 0 })
		return out
	}
	for _, k := range f.Keywords {
		if find(out.Keywords, k) < 0 {
			out.Keywords = append(out.Keywords, k)
		}
	}
	slices.Sort(out.Keywords)
	return out
}

// Expunge implements spool.Mailboxes.
func (e *Engine) Expunge(id spool.MailboxID, uids []spool.UID, story ...spool.Event) ([]spool.UID, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	m, err := e.MailboxByID(id)
	if err != nil || m.Deleted == 0 {
		return nil, err
	}
	if uids == nil {
		if uids, err = e.deletedUIDs(id); err != nil {
			return nil, err
		}
	}
	return e.remove(id, uids, true, story...)
}

// remove takes entries out of a mailbox: all of them, or those that have
// \Deleted set. The messages' stories tell of it.
func (e *Engine) remove(id spool.MailboxID, uids []spool.UID, deletedOnly bool, story ...spool.Event) (out []spool.UID, err error) {
	err = inSteps(uids, func(uids []spool.UID) error {
		var part []spool.UID
		err := e.do(func(t *tx) (err error) {
			part, err = t.remove(id, uids, deletedOnly, e.opt.Now(), story...)
			return err
		}, func() {
			if len(part) > 0 {
				e.watch.notify([]spool.MailboxID{id})
			}
		})
		if err == nil {
			out = append(out, part...)
		}
		return err
	})
	return out, err
}

func (t *tx) remove(id spool.MailboxID, uids []spool.UID, deletedOnly bool, now time.Time, story ...spool.Event) (out []spool.UID, err error) {
	m, err := t.row(id)
	if err != nil {
		return nil, err
	}
	entries, err := t.present(id, uids)
	if err != nil {
		return nil, err
	}
	m.ModSeq++
	index := t.index(id)
	story = spool.Dated(story, now)
	for i := range entries {
		n := &entries[i]
		if deletedOnly && n.Flags.System&spool.Deleted == 0 {
			continue
		}
		if err := errors.Join(t.removeEntry(&m, index, n, now), t.note(n.Message, story)); err != nil {
			return nil, err
		}
		out = append(out, n.UID)
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, errors.Join(index.flush(), t.setRow(&m))
}
