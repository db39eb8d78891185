package spooltest

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"restante/spool"
)

// addEntry gives an entry its UID and puts it into a mailbox, at the mailbox's
// present ModSeq, which the caller has raised.
func (m *Memory) addEntry(b *memoryMailbox, e spool.Entry) spool.UID {
	e.UID, e.ModSeq, e.Saved = b.row.UIDNext, b.row.ModSeq, m.now()
	b.row.UIDNext++
	b.entries = append(b.entries, e)
	m.messages[e.Message].info.References++
	return e.UID
}

// removeEntries takes entries out, leaving tombstones at the present ModSeq.
func (m *Memory) removeEntries(b *memoryMailbox, uids []spool.UID) {
	b.entries = slices.DeleteFunc(b.entries, func(e spool.Entry) bool {
		if !slices.Contains(uids, e.UID) {
			return false
		}
		b.gone = append(b.gone, spool.Change{UID: e.UID, ModSeq: b.row.ModSeq, Expunged: true})
		m.unreference(e.Message)
		return true
	})
}

// pick returns the entries with the given UIDs.
func (b *memoryMailbox) pick(uids []spool.UID) []spool.Entry {
	var picked []spool.Entry
	for _, e := range b.entries {
		if slices.Contains(uids, e.UID) {
			picked = append(picked, e)
		}
	}
	return picked
}

func cloneEntry(e spool.Entry) spool.Entry {
	e.Flags.Keywords = slices.Clone(e.Flags.Keywords)
	e.Prefix = slices.Clone(e.Prefix)
	return e
}

// Overview implements spool.Mailboxes.
func (m *Memory) Overview(id spool.MailboxID) (spool.Overview, error) {
	if err := m.enter(OpMailboxes); err != nil {
		return spool.Overview{}, err
	}
	defer m.mu.Unlock()
	b, err := m.byID(id)
	if err != nil {
		return spool.Overview{}, err
	}
	o := spool.Overview{Mailbox: b.counted()}
	for _, e := range b.entries {
		o.UIDs = append(o.UIDs, e.UID)
		if o.FirstUnseen == 0 && e.Flags.System&spool.Seen == 0 {
			o.FirstUnseen = e.UID
		}
		o.Keywords = append(o.Keywords, e.Flags.Keywords...)
	}
	slices.Sort(o.Keywords)
	o.Keywords = slices.Compact(o.Keywords)
	return o, nil
}

// Entries implements spool.Mailboxes.
func (m *Memory) Entries(id spool.MailboxID, from, to spool.UID) iter.Seq2[spool.Entry, error] {
	if err := m.enter(OpMailboxes); err != nil {
		return sequence[spool.Entry](nil, err)
	}
	defer m.mu.Unlock()
	b, err := m.byID(id)
	if err != nil {
		return sequence[spool.Entry](nil, err)
	}
	var list []spool.Entry
	for _, e := range b.entries {
		if e.UID >= from && (to == 0 || e.UID <= to) {
			list = append(list, cloneEntry(e))
		}
	}
	return sequence(list, nil)
}

// Entry implements spool.Mailboxes.
func (m *Memory) Entry(id spool.MailboxID, uid spool.UID) (spool.Entry, error) {
	if err := m.enter(OpMailboxes); err != nil {
		return spool.Entry{}, err
	}
	defer m.mu.Unlock()
	b, err := m.byID(id)
	if err != nil {
		return spool.Entry{}, err
	}
	found := b.pick([]spool.UID{uid})
	if len(found) == 0 {
		return spool.Entry{}, fmt.Errorf("entry %d of mailbox %d: %w", uid, id, spool.ErrNotFound)
	}
	return cloneEntry(found[0]), nil
}

// Forget makes m forget the tombstones of all mailboxes but the last keep of
// each, so that Changes fails with spool.ErrChangesLost. Without it all are
// kept.
func (m *Memory) Forget(keep int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.mailboxes {
		if n := len(b.gone) - keep; n > 0 {
			b.horizon = b.gone[n-1].ModSeq
			b.gone = slices.Delete(b.gone, 0, n)
		}
	}
}

// Changes implements spool.Mailboxes.
func (m *Memory) Changes(id spool.MailboxID, since spool.ModSeq) ([]spool.Change, spool.ModSeq, error) {
	if err := m.enter(OpMailboxes); err != nil {
		return nil, 0, err
	}
	defer m.mu.Unlock()
	b, err := m.byID(id)
	if err != nil {
		return nil, 0, err
	}
	if since < b.horizon {
		return nil, 0, fmt.Errorf("mailbox %d: %w", id, spool.ErrChangesLost)
	}
	all := slices.Clone(b.gone)
	for _, e := range b.entries {
		all = append(all, spool.Change{UID: e.UID, ModSeq: e.ModSeq})
	}
	changes := slices.DeleteFunc(all, func(c spool.Change) bool { return c.ModSeq <= since })
	slices.SortFunc(changes, func(a, b spool.Change) int {
		return cmp.Or(cmp.Compare(a.ModSeq, b.ModSeq), cmp.Compare(a.UID, b.UID))
	})
	return changes, b.row.ModSeq, nil
}

// Flag implements spool.Mailboxes.
func (m *Memory) Flag(id spool.MailboxID, uids []spool.UID, op spool.FlagOp, f spool.Flags, unchangedSince spool.ModSeq) (spool.Flagging, error) {
	if err := m.enter(OpFlag); err != nil {
		return spool.Flagging{}, err
	}
	defer m.mu.Unlock()
	b, err := m.byID(id)
	if err != nil {
		return spool.Flagging{}, err
	}
	var out spool.Flagging
	next := b.row.ModSeq + 1
	for i := range b.entries {
		e := &b.entries[i]
		if !slices.Contains(uids, e.UID) {
			continue
		}
		if e.ModSeq > unchangedSince {
			out.Modified = append(out.Modified, e.UID)
			continue
		}
		out.Before = append(out.Before, e.ModSeq)
		flags := applyFlags(e.Flags, op, f)
		if flags.System != e.Flags.System || !slices.Equal(flags.Keywords, e.Flags.Keywords) {
			e.Flags, e.ModSeq, b.row.ModSeq = flags, next, next
		}
		out.Changed = append(out.Changed, cloneEntry(*e))
	}
	if b.row.ModSeq == next {
		m.notify(id)
	}
	return out, nil
}

// applyFlags returns the flags that an operation makes of old ones. Keywords
// are equal whatever their case, and one that stays keeps its own.
func applyFlags(old spool.Flags, op spool.FlagOp, f spool.Flags) spool.Flags {
	has := func(list []string, k string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, k) })
	}
	var out spool.Flags
	switch op {
	case spool.FlagSet:
		out.System = f.System
	case spool.FlagAdd:
		out.System = old.System | f.System
	case spool.FlagRemove:
		out.System = old.System &^ f.System
	}
	for _, k := range old.Keywords {
		if named := has(f.Keywords, k); op == spool.FlagAdd || named == (op == spool.FlagSet) {
			out.Keywords = append(out.Keywords, k)
		}
	}
	if op != spool.FlagRemove {
		for _, k := range f.Keywords {
			if !has(out.Keywords, k) {
				out.Keywords = append(out.Keywords, k)
			}
		}
	}
	slices.Sort(out.Keywords)
	return out
}

// Copy implements spool.Mailboxes.
func (m *Memory) Copy(from spool.MailboxID, uids []spool.UID, to spool.MailboxID, lost spool.FlagMask) (spool.Copied, error) {
	return m.copyOrMove(OpCopy, from, uids, to, lost)
}

// Move implements spool.Mailboxes.
func (m *Memory) Move(from spool.MailboxID, uids []spool.UID, to spool.MailboxID, lost spool.FlagMask) (spool.Copied, error) {
	return m.copyOrMove(OpMove, from, uids, to, lost)
}

func (m *Memory) copyOrMove(op Op, from spool.MailboxID, uids []spool.UID, to spool.MailboxID, lost spool.FlagMask) (spool.Copied, error) {
	if err := m.enter(op); err != nil {
		return spool.Copied{}, err
	}
	defer m.mu.Unlock()
	source, err := m.byID(from)
	if err != nil {
		return spool.Copied{}, fmt.Errorf("%s: %w", op, err)
	}
	target, err := m.byID(to)
	if err != nil {
		return spool.Copied{}, fmt.Errorf("%s: %w", op, err)
	}
	return m.transfer(source, target, source.pick(uids), lost, op == OpMove), nil
}

// transfer puts entries of one mailbox into another, or the same, and takes
// them out of the first if they move.
func (m *Memory) transfer(source, target *memoryMailbox, entries []spool.Entry, lost spool.FlagMask, move bool) spool.Copied {
	out := spool.Copied{UIDValidity: target.row.UIDValidity}
	if len(entries) == 0 {
		return out
	}
	target.row.ModSeq++
	for _, e := range entries {
		out.Source = append(out.Source, e.UID)
		n := cloneEntry(e)
		n.Flags = n.Flags.Without(lost)
		out.Target = append(out.Target, m.addEntry(target, n))
	}
	m.notify(target.row.ID)
	if move {
		source.row.ModSeq++
		m.removeEntries(source, out.Source)
		m.notify(source.row.ID)
	}
	return out
}

// Expunge implements spool.Mailboxes.
func (m *Memory) Expunge(id spool.MailboxID, uids []spool.UID, story ...spool.Event) ([]spool.UID, error) {
	if err := m.enter(OpExpunge); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	b, err := m.byID(id)
	if err != nil {
		return nil, err
	}
	var out []spool.UID
	for _, e := range b.entries {
		if e.Flags.System&spool.Deleted != 0 && (uids == nil || slices.Contains(uids, e.UID)) {
			out = append(out, e.UID)
			m.note(e.Message, story)
		}
	}
	if len(out) > 0 {
		b.row.ModSeq++
		m.removeEntries(b, out)
		m.notify(id)
	}
	return out, nil
}

// TakeRecent implements spool.Mailboxes.
func (m *Memory) TakeRecent(id spool.MailboxID, upto spool.UID) (spool.UID, error) {
	if err := m.enter(OpMailboxes); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	b, err := m.byID(id)
	if err != nil {
		return 0, err
	}
	from := b.row.Recent
	b.row.Recent = max(from, min(upto, b.row.UIDNext-1)+1)
	return from, nil
}

// Watch implements spool.Mailboxes.
func (m *Memory) Watch(id spool.MailboxID) (<-chan struct{}, func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := make(chan struct{}, 1)
	if m.mailboxes[id] == nil {
		signal(c)
		return c, func() {}
	}
	if m.watchers[id] == nil {
		m.watchers[id] = make(map[chan struct{}]bool)
	}
	m.watchers[id][c] = true
	return c, sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers[id], c)
	})
}

// notify tells those who watch a mailbox that it changed.
func (m *Memory) notify(id spool.MailboxID) {
	for c := range m.watchers[id] {
		signal(c)
	}
	if b := m.mailboxes[id]; b != nil {
		m.accounts.Note(spool.Touched{Account: b.row.Account, Mailbox: id})
	}
}

// Watcher implements spool.Mailboxes.
func (m *Memory) Watcher() spool.Watcher { return m.accounts.New() }

// Watched returns how many accounts and attributes Watchers watch that nobody has
// stopped yet; a test of a room expects 0 when the room is at rest.
func (m *Memory) Watched() int { return m.accounts.Len() }
