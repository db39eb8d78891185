package recall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
	"restante/spool/spooltest"
)

func deposit(t *testing.T, store spool.Store, mailbox, structure string) mail.ID {
	t.Helper()
	staged, err := store.Create()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(staged, "body")
	r, err := staged.Commit(context.Background(), spool.Message{
		Structure: []byte(structure),
		Deposits:  []spool.Deposit{{Account: "alice", Mailbox: mailbox, Prefix: []byte("Return-Path: <>\r\n")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.ID
}

func inbox(t *testing.T, store spool.Store) spool.MailboxID {
	t.Helper()
	m, err := store.Mailbox("alice", spool.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	return m.ID
}

// world is a mailbox with some messages.
type world struct {
	*testing.T
	store *spooltest.Memory
	m     *Mailboxes
	id    spool.MailboxID
}

func newWorld(t *testing.T, messages int) *world {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	for range messages {
		deposit(t, store, "", "s")
	}
	return &world{t, store, NewMailboxes(store), inbox(t, store)}
}

// check holds what is recalled of some UIDs against the spool.
func (w *world) check(uids []spool.UID, must bool) {
	w.Helper()
	list, ok, err := w.m.Recall(w.id, uids)
	if err != nil || ok != must {
		w.Fatalf("recalled: %v, %v", ok, err)
	}
	if !ok {
		return
	}
	var want, got []spool.Entry
	for e, err := range w.store.Entries(w.id, 1, 0) {
		if err != nil {
			w.Fatal(err)
		}
		if _, is := slices.BinarySearch(uids, e.UID); is {
			want = append(want, e)
		}
	}
	for e := range list {
		got = append(got, *e)
	}
	if !reflect.DeepEqual(got, want) {
		w.Fatalf("%d entries are recalled, the spool has %d, or others", len(got), len(want))
	}
}

// numbers are UIDs from 1 up to n.
func numbers(n int) []spool.UID {
	list := make([]spool.UID, n)
	for i := range list {
		list[i] = spool.UID(i + 1)
	}
	return list
}

// TestRecall does random things to a mailbox: what is recalled must be what the
// spool has, at any time.
func TestRecall(t *testing.T) {
	w := newWorld(t, 600)
	if _, err := w.store.CreateMailbox("alice", "other", ""); err != nil {
		t.Fatal(err)
	}
	other, err := w.store.Mailbox("alice", "other")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	some := func(n int) (list []spool.UID) {
		row, err := w.store.MailboxByID(w.id)
		if err != nil {
			t.Fatal(err)
		}
		for uid := spool.UID(1); uid < row.UIDNext; uid++ {
			if rng.IntN(int(row.UIDNext)) < n {
				list = append(list, uid)
			}
		}
		return list
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for step := range 120 {
		switch rng.IntN(6) {
		case 0:
			for range rng.IntN(20) {
				deposit(t, w.store, "", "s")
			}
		case 1:
			_, err := w.store.Flag(w.id, some(5), spool.FlagAdd, spool.Flags{System: spool.Seen, Keywords: []string{fmt.Sprint("k", step)}}, spool.ModSeqUnbounded)
			must(err)
		case 2:
			_, err := w.store.Flag(w.id, some(5), spool.FlagAdd, spool.Flags{System: spool.Deleted}, spool.ModSeqUnbounded)
			must(err)
			_, err = w.store.Expunge(w.id, nil)
			must(err)
		case 3:
			_, err := w.store.Move(w.id, some(3), other.ID, spool.FlagMask{})
			must(err)
		case 4: // more than is read one by one
			_, err := w.store.Flag(w.id, some(500), spool.FlagSet, spool.Flags{System: spool.Flagged}, spool.ModSeqUnbounded)
			must(err)
		}
		w.check(numbers(3000), true)
		if uids := some(200); len(uids) >= leastRecalled {
			w.check(uids, true)
		}
		if b, _ := w.m.boxes.get(w.id); b != nil {
			size, last := 0, spool.UID(0)
			for _, bl := range b.blocks {
				if len(bl.entries) == 0 || len(bl.entries) > blockSize {
					t.Fatalf("a block of %d entries", len(bl.entries))
				}
				for i := range bl.entries {
					size += sizeOf(&bl.entries[i])
					if bl.entries[i].UID <= last {
						t.Fatal("entries are not in order")
					}
					last = bl.entries[i].UID
				}
			}
			if size != b.size || w.m.boxes.young[w.id].size != size {
				t.Fatalf("%d octets are counted as %d, and remembered as %d", size, b.size, w.m.boxes.young[w.id].size)
			}
		}
	}
	// Who reads is not disturbed.
	before, _, err := w.m.Recall(w.id, numbers(3000))
	must(err)
	n := 0
	for range before {
		if n++; n == 1 {
			_, err := w.store.Flag(w.id, numbers(3000), spool.FlagAdd, spool.Flags{System: spool.Deleted}, spool.ModSeqUnbounded)
			must(err)
			_, err = w.store.Expunge(w.id, nil)
			must(err)
			w.check(numbers(3000), true)
		}
	}
	if n < 100 {
		t.Errorf("%d entries were read", n)
	}
	must(w.store.DeleteAccount("alice"))
	if _, ok, err := w.m.Recall(w.id, numbers(3000)); ok || !errors.Is(err, spool.ErrNoMailbox) {
		t.Errorf("of a mailbox that is gone: %v, %v", ok, err)
	}
	if len(w.m.boxes.young)+len(w.m.boxes.old) > 0 || w.m.boxes.size != 0 {
		t.Errorf("it is still remembered, with %d octets", w.m.boxes.size)
	}
}

// Few of many are not worth reading all.
func TestRecallOfFew(t *testing.T) {
	w := newWorld(t, 1000)
	w.check(numbers(leastRecalled-1), false)
	w.check(numbers(leastRecalled), false)
	w.check(numbers(250), true)
	w.check(numbers(leastRecalled), true) // now that it is known
}

// An error of the spool is told, and nothing is made up.
func TestRecallFails(t *testing.T) {
	w := newWorld(t, 300)
	broken := errors.New("broken")
	for _, known := range []bool{false, true} {
		if known {
			w.check(numbers(300), true)
		}
		w.store.Fail(broken, spooltest.OpMailboxes)
		if _, ok, err := w.m.Recall(w.id, numbers(300)); ok || !errors.Is(err, broken) {
			t.Errorf("known: %v: %v, %v", known, ok, err)
		}
		w.store.Fail(nil, spooltest.OpMailboxes)
	}
	w.check(numbers(300), true)
}

func TestGather(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	b := NewBodies(store)
	var ids []mail.ID
	for i := range 10 {
		ids = append(ids, deposit(t, store, "", fmt.Sprint("structure ", i)))
	}
	ids = append(ids, mail.ID{}, deposit(t, store, "", ""))
	read := 0
	store.Hook(func(op spooltest.Op) error {
		read++
		return nil
	})
	for i := range 3 {
		for _, list := range [][]mail.ID{ids[:5], ids[2:], {ids[4], ids[1], ids[1]}, nil} {
			got, err := b.Gather(list, false)
			if err != nil {
				t.Fatal(err)
			}
			want, err := store.Gather(list, false)
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if string(got[i].Structure) != string(want[i].Structure) || errors.Is(got[i].Err, spool.ErrNotFound) != errors.Is(want[i].Err, spool.ErrNotFound) {
					t.Errorf("%+v, the spool has %+v", got[i], want[i])
				}
			}
		}
		if read -= 4; i > 0 && read != 1 { // of the IDs that have nothing
			t.Errorf("%d times the spool was asked again", read)
		}
		read = 0
	}
	store.Hook(nil)
	if got, err := b.Gather(ids[:1], true); err != nil || string(got[0].Body) != "body" {
		t.Errorf("with bodies: %q, %v", got, err)
	}
}

// TestMemory: what is remembered is bounded, and forgotten when it is not used.
func TestMemory(t *testing.T) {
	var turn func()
	m := memory[int, string]{limit: 100, after: func(_ time.Duration, f func()) *time.Timer {
		turn = f
		return new(time.Timer)
	}}
	for i := range 1000 {
		m.put(i, "x", 10)
		m.get(3) // is used all the time
		if m.size > 100 || len(m.young) > 10 || len(m.old) > 10 {
			t.Fatalf("%d octets, %d and %d values", m.size, len(m.young), len(m.old))
		}
		if _, ok := m.get(i); !ok {
			t.Fatalf("%d is forgotten at once", i)
		}
	}
	if _, ok := m.get(3); !ok {
		t.Error("what is used is forgotten")
	}
	if _, ok := m.get(900); ok {
		t.Error("what is not used is remembered")
	}
	m.put(3, "y", 500)
	if v, ok := m.get(3); !ok || v != "y" || m.size != 500 {
		t.Errorf("%q, %v, %d octets", v, ok, m.size)
	}
	turn()
	if _, ok := m.get(3); !ok {
		t.Error("what was used lately is forgotten")
	}
	turn()
	turn()
	if len(m.young)+len(m.old) > 0 || m.size != 0 || m.timer != nil {
		t.Errorf("%d and %d values are remembered, %d octets", len(m.young), len(m.old), m.size)
	}
	m.put(1, "x", 10)
	m.forget(1)
	if _, ok := m.get(1); ok || m.size != 0 {
		t.Error("not forgotten")
	}
}

// TestGatherMuch: what the spool has not read in one go is read at the next, whatever
// is remembered already.
func TestGatherMuch(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	b := NewBodies(store)
	var ids []mail.ID
	for i := range 15 {
		ids = append(ids, deposit(t, store, "", fmt.Sprint(i, strings.Repeat("s", 300_000))))
	}
	for _, known := range []mail.ID{ids[0], ids[9], ids[10]} {
		if _, err := b.Gather([]mail.ID{known}, false); err != nil {
			t.Fatal(err)
		}
	}
	for rest, n := ids, 0; len(rest) > 0; n++ {
		got, err := b.Gather(rest, false)
		if err != nil || len(got) == 0 || n > len(ids) {
			t.Fatalf("%d results, %v", len(got), err)
		}
		for i, g := range got {
			if want := fmt.Sprint(len(ids) - len(rest) + i); g.Err != nil || !strings.HasPrefix(string(g.Structure), want+"s") {
				t.Errorf("message %s: %.10q, %v", want, g.Structure, g.Err)
			}
		}
		if n == 0 && len(got) == len(ids) {
			t.Error("all at once")
		}
		rest = rest[len(got):]
	}
}
