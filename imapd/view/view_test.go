package view

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"restante/imapd/wire"
	"restante/spool"
	"restante/spool/spooltest"
)

const account = "alice"

func mailbox(t interface{ Fatal(...any) }, store spool.Store, name string) spool.MailboxID {
	row, err := store.CreateMailbox(account, name, spool.UseNone)
	if err != nil {
		t.Fatal(err)
	}
	return row.ID
}

func deposit(t interface{ Fatal(...any) }, store spool.Store, name string, flags spool.Flags) spool.UID {
	staged, err := store.Create()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(staged, "Subject: x\r\n\r\n")
	receipt, err := staged.Commit(context.Background(), spool.Message{
		Deposits: []spool.Deposit{{Account: account, Mailbox: name, Flags: flags}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return receipt.Deposited[0].UID
}

func open(t interface{ Fatal(...any) }, store spool.Store, id spool.MailboxID) *View {
	v, _, err := Open(store, id)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func describe(events []Event) []string {
	var out []string
	for _, e := range events {
		switch e.Kind {
		case Expunged:
			out = append(out, fmt.Sprintf("%d gone", e.Seq))
		case Exists:
			out = append(out, fmt.Sprintf("%d there", e.Seq))
		case Flagged:
			out = append(out, fmt.Sprintf("%d(uid %d) flags %d", e.Seq, e.Entry.UID, e.Entry.Flags.System))
		}
	}
	return out
}

func expect(t *testing.T, got []Event, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if g := describe(got); !slices.Equal(g, want) {
		t.Errorf("events %q, want %q", g, want)
	}
}

func TestSync(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	id := mailbox(t, store, "box")
	for range 5 {
		deposit(t, store, "box", spool.Flags{})
	}
	v := open(t, store, id)
	ev, err := v.Sync()
	expect(t, ev, err)

	deposit(t, store, "box", spool.Flags{})
	flag(t, store, id, spool.Flagged, 2)
	ev, err = v.Sync()
	expect(t, ev, err, "6 there", fmt.Sprintf("2(uid 2) flags %d", spool.Flagged))

	flag(t, store, id, spool.Deleted, 1, 3)
	expunge(t, store, id)
	deposit(t, store, "box", spool.Flags{})
	flag(t, store, id, spool.Seen, 4)
	ev, err = v.SyncHolding()
	expect(t, ev, err, "7 there", fmt.Sprintf("4(uid 4) flags %d", spool.Seen))
	if seq, ok := v.Seq(4); !ok || seq != 4 {
		t.Errorf("message 4 has number %d while expunges are held", seq)
	}
	for e := range v.Entries([]spool.UID{1, 3}) {
		t.Errorf("entry %d is expunged and was read", e.UID)
	}
	ev, err = v.Sync()
	expect(t, ev, err, "3 gone", "1 gone")
	if seq, _ := v.Seq(4); seq != 2 {
		t.Errorf("message 4 has number %d, want 2", seq)
	}
}

func TestArrivedAndGoneUnseen(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	id := mailbox(t, store, "box")
	v := open(t, store, id)
	deposit(t, store, "box", spool.Flags{System: spool.Deleted})
	deposit(t, store, "box", spool.Flags{})
	expunge(t, store, id)
	ev, err := v.Sync()
	expect(t, ev, err, "1 there")
	if uid, _ := v.UID(1); uid != 2 {
		t.Errorf("number 1 is UID %d, want 2", uid)
	}
}

func TestOwnChangesAreNotRepeated(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	id := mailbox(t, store, "box")
	deposit(t, store, "box", spool.Flags{})
	deposit(t, store, "box", spool.Flags{})
	v := open(t, store, id)
	v.Own(flag(t, store, id, spool.Seen, 1, 2))
	ev, err := v.Sync()
	expect(t, ev, err)

	v.Own(flag(t, store, id, spool.Answered, 1, 2))
	flag(t, store, id, spool.Flagged, 2)
	ev, err = v.Sync()
	expect(t, ev, err, fmt.Sprintf("2(uid 2) flags %d", spool.Seen|spool.Answered|spool.Flagged))

	flag(t, store, id, spool.Deleted, 1)
	changed, err := store.Entry(id, 1)
	if err != nil {
		t.Fatal(err)
	}
	if v.Knows(1, changed.ModSeq) || !v.Knows(1, changed.ModSeq-1) {
		t.Error("the client knows the state that it was told last, and no later one")
	}
}

// Told stays where the client stopped to hear of everything.
func TestMissed(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	id := mailbox(t, store, "box")
	uid := deposit(t, store, "box", spool.Flags{})
	v := open(t, store, id)
	told := v.Told()
	flag(t, store, id, spool.Seen, uid)
	if _, err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	if v.Told() <= told {
		t.Fatalf("told up to %d, and before up to %d", v.Told(), told)
	}
	told = v.Told()
	flag(t, store, id, spool.Flagged, uid)
	for range 2 {
		before := v.Told()
		if _, err := v.Sync(); err != nil {
			t.Fatal(err)
		}
		v.Missed(before)
		deposit(t, store, "box", spool.Flags{})
	}
	if _, err := v.Sync(); err != nil || v.Told() != told || v.ModSeq() <= told {
		t.Errorf("told up to %d, want %d; the view is at %d, %v", v.Told(), told, v.ModSeq(), err)
	}
}

func TestRemove(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	id := mailbox(t, store, "box")
	for range 4 {
		deposit(t, store, "box", spool.Flags{})
	}
	v := open(t, store, id)
	flag(t, store, id, spool.Deleted, 1, 3, 4)
	gone, err := store.Expunge(id, []spool.UID{1, 3})
	if err != nil {
		t.Fatal(err)
	}
	if seqs := v.Remove(gone); !slices.Equal(seqs, []Removed{{3, 3}, {1, 1}}) {
		t.Errorf("announced %v, want 3 and 1", seqs)
	}
	expunge(t, store, id)
	ev, err := v.Sync()
	expect(t, ev, err, "2 gone")
}

func TestDeletedMailboxEmptiesTheView(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	id := mailbox(t, store, "box")
	deposit(t, store, "box", spool.Flags{})
	deposit(t, store, "box", spool.Flags{})
	v := open(t, store, id)
	if err := store.DeleteMailbox(account, "box"); err != nil {
		t.Fatal(err)
	}
	ev, err := v.SyncHolding()
	expect(t, ev, err)
	for range v.Entries([]spool.UID{1, 2}) {
		t.Error("an entry of a deleted mailbox")
	}
	ev, err = v.Sync()
	expect(t, ev, err, "2 gone", "1 gone")
	ev, err = v.Sync()
	expect(t, ev, err)
	if _, _, err := Open(store, id); !errors.Is(err, spool.ErrNoMailbox) {
		t.Errorf("open gives %v", err)
	}
}

// forgetful is a store whose journal is never there.
type forgetful struct{ *spooltest.Memory }

func (forgetful) Changes(spool.MailboxID, spool.ModSeq) ([]spool.Change, spool.ModSeq, error) {
	return nil, 0, spool.ErrChangesLost
}

func TestJournalLost(t *testing.T) {
	store := forgetful{spooltest.NewMemory(spooltest.MemoryOptions{})}
	id := mailbox(t, store, "box")
	for range 3 {
		deposit(t, store, "box", spool.Flags{})
	}
	v := open(t, store, id)
	flag(t, store, id, spool.Deleted, 1)
	expunge(t, store, id)
	flag(t, store, id, spool.Flagged, 3)
	deposit(t, store, "box", spool.Flags{})
	ev, err := v.Sync()
	expect(t, ev, err, "1 gone", "3 there", fmt.Sprintf("2(uid 3) flags %d", spool.Flagged))
	ev, err = v.Sync()
	expect(t, ev, err)
}

func TestFailureChangesNothing(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	id := mailbox(t, store, "box")
	deposit(t, store, "box", spool.Flags{})
	v := open(t, store, id)
	flag(t, store, id, spool.Seen, 1)
	calls := 0
	store.Hook(func(op spooltest.Op) error {
		if calls++; op == spooltest.OpMailboxes && calls == 2 {
			return spool.ErrReadOnly
		}
		return nil
	})
	if ev, err := v.Sync(); !errors.Is(err, spool.ErrReadOnly) || ev != nil {
		t.Fatalf("got %v, %v", ev, err)
	}
	ev, err := v.Sync()
	expect(t, ev, err, fmt.Sprintf("1(uid 1) flags %d", spool.Seen))
}

func TestSets(t *testing.T) {
	v := &View{uids: []spool.UID{2, 3, 7, 9}}
	empty := &View{}
	seq := func(r ...wire.Range) []wire.Range { return r }
	uid := seq
	for _, c := range []struct {
		name string
		view *View
		seq  []wire.Range
		uid  []wire.Range
		want []spool.UID
		err  error
	}{
		{"1:2", v, seq(wire.Range{Start: 1, Stop: 2}), nil, []spool.UID{2, 3}, nil},
		{"3:*", v, seq(wire.Range{Start: 3, Stop: 0}), nil, []spool.UID{7, 9}, nil},
		{"*", v, seq(wire.Range{}), nil, []spool.UID{9}, nil},
		{"9:*", v, seq(wire.Range{Start: 9, Stop: 0}), nil, []spool.UID{9}, nil},
		{"2:5", v, seq(wire.Range{Start: 2, Stop: 5}), nil, nil, ErrNumber},
		{"1:*", empty, seq(wire.Range{Start: 1, Stop: 0}), nil, nil, nil},
		{"1 in an empty one", empty, seq(wire.Range{Start: 1, Stop: 1}), nil, nil, ErrNumber},
		{"uid 3:8", v, nil, uid(wire.Range{Start: 3, Stop: 8}), []spool.UID{3, 7}, nil},
		{"uid 4:6", v, nil, uid(wire.Range{Start: 4, Stop: 6}), nil, nil},
		{"uid *", v, nil, uid(wire.Range{}), []spool.UID{9}, nil},
		{"uid 100:*", v, nil, uid(wire.Range{Start: 100, Stop: 0}), []spool.UID{9}, nil},
		{"uid all", v, nil, uid(wire.Range{Start: 1, Stop: 1<<32 - 1}), []spool.UID{2, 3, 7, 9}, nil},
		{"uid 1:* in an empty one", empty, nil, uid(wire.Range{Start: 1, Stop: 0}), nil, nil},
	} {
		var got []spool.UID
		var err error
		if c.seq != nil {
			got, err = c.view.BySeq(c.seq)
		} else {
			got = c.view.ByUID(c.uid)
		}
		if !errors.Is(err, c.err) || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, %v; want %v, %v", c.name, got, err, c.want, c.err)
		}
	}
}

// client is what a client believes: it knows nothing but the events.
type client struct {
	view *View
	// known are the UIDs by number, 0 where the client has not asked yet.
	known []spool.UID
	flags map[spool.UID]spool.SystemFlags
}

func (c *client) apply(t *rapid.T, events []Event) {
	for _, e := range events {
		switch e.Kind {
		case Expunged:
			if e.Seq == 0 || int(e.Seq) > len(c.known) {
				t.Fatalf("expunge of number %d of %d", e.Seq, len(c.known))
			}
			c.known = slices.Delete(c.known, int(e.Seq)-1, int(e.Seq))
		case Exists:
			if int(e.Seq) < len(c.known) {
				t.Fatalf("EXISTS shrinks from %d to %d", len(c.known), e.Seq)
			}
			for len(c.known) < int(e.Seq) {
				c.known = append(c.known, 0)
			}
		case Flagged:
			if uid := c.known[e.Seq-1]; uid != 0 && uid != e.Entry.UID {
				t.Fatalf("flags of number %d, which is UID %d, came for UID %d", e.Seq, uid, e.Entry.UID)
			}
			c.known[e.Seq-1] = e.Entry.UID
			c.flags[e.Entry.UID] = e.Entry.Flags.System
		}
	}
}

// ask is FETCH 1:* (UID FLAGS) with the client's own numbers.
func (c *client) ask(t *rapid.T) {
	if int(c.view.Len()) != len(c.known) {
		t.Fatalf("the view has %d messages, the client %d", c.view.Len(), len(c.known))
	}
	uids := c.view.Numbered(nil, 1, c.view.Len())
	for e, err := range c.view.Entries(uids) {
		if err != nil {
			t.Fatal(err)
		}
		seq, _ := c.view.Seq(e.UID)
		if uid := c.known[seq-1]; uid != 0 && uid != e.UID {
			t.Fatalf("number %d was UID %d and is UID %d", seq, uid, e.UID)
		}
		c.known[seq-1] = e.UID
		c.flags[e.UID] = e.Flags.System
		c.view.Own([]spool.Entry{e})
	}
}

// TestClientsAgree lets several sessions change one mailbox in any order, and
// holds what each client believes, from its events alone, against the mailbox.
func TestClientsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store := spooltest.NewMemory(spooltest.MemoryOptions{})
		id := mailbox(t, store, "box")
		other := mailbox(t, store, "other")
		var clients []*client
		for range 3 {
			clients = append(clients, &client{view: open(t, store, id), flags: make(map[spool.UID]spool.SystemFlags)})
		}
		pick := func(t *rapid.T) *client { return rapid.SampledFrom(clients).Draw(t, "client") }
		some := func(t *rapid.T, c *client) []spool.UID {
			var uids []spool.UID
			for _, uid := range c.view.Numbered(nil, 1, c.view.Len()) {
				if rapid.Bool().Draw(t, "chosen") {
					uids = append(uids, uid)
				}
			}
			return uids
		}
		announce := func(c *client, list []Removed) {
			for _, r := range list {
				c.apply(t, []Event{{Kind: Expunged, Seq: r.Seq, UID: r.UID}})
			}
		}
		sync := func(c *client, f func() ([]Event, error)) {
			events, err := f()
			if err != nil {
				t.Fatal(err)
			}
			c.apply(t, events)
		}
		t.Repeat(map[string]func(*rapid.T){
			"deposit": func(t *rapid.T) { deposit(t, store, "box", spool.Flags{}) },
			"store": func(t *rapid.T) {
				c := pick(t)
				f := rapid.SampledFrom([]spool.SystemFlags{spool.Seen, spool.Deleted, spool.Flagged}).Draw(t, "flag")
				out, err := store.Flag(id, some(t, c), rapid.SampledFrom([]spool.FlagOp{spool.FlagAdd, spool.FlagRemove, spool.FlagSet}).Draw(t, "op"), spool.Flags{System: f}, spool.ModSeqUnbounded)
				if err != nil {
					t.Fatal(err)
				}
				c.view.Own(out.Changed)
				for _, e := range out.Changed {
					c.flags[e.UID] = e.Flags.System
				}
			},
			"expunge": func(t *rapid.T) {
				c := pick(t)
				gone, err := store.Expunge(id, nil)
				if err != nil {
					t.Fatal(err)
				}
				announce(c, c.view.Remove(gone))
			},
			"move": func(t *rapid.T) {
				c := pick(t)
				to := rapid.SampledFrom([]spool.MailboxID{id, other}).Draw(t, "to")
				moved, err := store.Move(id, some(t, c), to, spool.FlagMask{})
				if err != nil {
					t.Fatal(err)
				}
				announce(c, c.view.Remove(moved.Source))
			},
			"sync":    func(t *rapid.T) { c := pick(t); sync(c, c.view.Sync) },
			"holding": func(t *rapid.T) { c := pick(t); sync(c, c.view.SyncHolding) },
			"fetch":   func(t *rapid.T) { pick(t).ask(t) },
		})
		for _, c := range clients {
			sync(c, c.view.Sync)
			flags := make(map[spool.UID]spool.SystemFlags)
			var want []spool.UID
			for e, err := range store.Entries(id, 1, 0) {
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, e.UID)
				flags[e.UID] = e.Flags.System
			}
			for _, uid := range c.known {
				if f, ok := c.flags[uid]; ok && uid != 0 && f != flags[uid] {
					t.Fatalf("the client believes that UID %d has flags %d, it has %d", uid, f, flags[uid])
				}
			}
			c.ask(t)
			if !slices.Equal(c.known, want) {
				t.Fatalf("the client believes %v, the mailbox has %v", c.known, want)
			}
		}
	})
}

func flag(t *testing.T, store spool.Store, id spool.MailboxID, f spool.SystemFlags, uids ...spool.UID) []spool.Entry {
	t.Helper()
	out, err := store.Flag(id, uids, spool.FlagAdd, spool.Flags{System: f}, spool.ModSeqUnbounded)
	if err != nil {
		t.Fatal(err)
	}
	return out.Changed
}

func expunge(t *testing.T, store spool.Store, id spool.MailboxID) {
	t.Helper()
	if _, err := store.Expunge(id, nil); err != nil {
		t.Fatal(err)
	}
}
