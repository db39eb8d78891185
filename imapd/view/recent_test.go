package view

import (
	"errors"
	"slices"
	"testing"

	"restante/spool"
	"restante/spool/spooltest"
)

// recents are the UIDs that are recent in a view; it must count as many.
func recents(t *testing.T, v *View) (list []spool.UID) {
	t.Helper()
	for _, uid := range v.uids {
		if v.Recent(uid) {
			list = append(list, uid)
		}
	}
	if n := v.CountRecent(); n != uint32(len(list)) {
		t.Errorf("%d messages are said to be recent, %v are", n, list)
	}
	return list
}

// TestRecentInOneView has two views take turns in hearing what is new, and one
// that only looks.
func TestRecentInOneView(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	id := mailbox(t, store, "box")
	a, b, looking, untracked := open(t, store, id), open(t, store, id), open(t, store, id), open(t, store, id)
	for v, take := range map[*View]bool{a: true, b: true, looking: false} {
		if err := v.TrackRecent(take); err != nil {
			t.Fatal(err)
		}
	}
	sync := func(v *View, want ...spool.UID) {
		t.Helper()
		if _, err := v.Sync(); err != nil {
			t.Fatal(err)
		}
		if got := recents(t, v); !slices.Equal(got, want) {
			t.Errorf("recent are %v, want %v", got, want)
		}
	}
	var u []spool.UID
	arrive := func(n int) {
		for range n {
			u = append(u, deposit(t, store, "box", spool.Flags{}))
		}
	}
	arrive(2)
	sync(looking, u[0], u[1])
	sync(untracked)
	sync(a, u[0], u[1])
	sync(b)
	arrive(2)
	sync(b, u[2], u[3])
	sync(a, u[0], u[1])
	arrive(1)
	sync(a, u[0], u[1], u[4])
	sync(looking, u[0], u[1]) // others were told of the rest
	arrive(1)
	sync(a, u[0], u[1], u[4], u[5])
	if len(a.recent.spans) != 2 {
		t.Errorf("neighbours are kept as %v", a.recent.spans)
	}
	flag := func(uids ...spool.UID) {
		if _, err := store.Flag(id, uids, spool.FlagAdd, spool.Flags{System: spool.Deleted}, spool.ModSeqUnbounded); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Expunge(id, nil); err != nil {
			t.Fatal(err)
		}
	}
	flag(u[0], u[1], u[5])
	sync(a, u[4])
	if len(a.recent.spans) != 1 {
		t.Errorf("messages that are gone are kept as %v", a.recent.spans)
	}
	sync(b, u[2], u[3])

	// What cannot be found out now is found out at the next time.
	arrive(1)
	failed := errors.New("broken")
	calls := 0
	store.Hook(func(op spooltest.Op) error {
		if calls++; op == spooltest.OpMailboxes && calls == 2 {
			return failed
		}
		return nil
	})
	if _, err := b.Sync(); !errors.Is(err, failed) {
		t.Errorf("sync: %v", err)
	}
	store.Hook(nil)
	sync(b, u[2], u[3], u[6])
	// Another view begins with none; a mailbox that is deleted has none either.
	c := open(t, store, id)
	if err := c.TrackRecent(true); err != nil || len(recents(t, c)) != 0 {
		t.Errorf("%v, recent are %v", err, recents(t, c))
	}
	arrive(1)
	d := open(t, store, id)
	if err := store.DeleteMailbox(account, "box"); err != nil {
		t.Fatal(err)
	}
	if err := d.TrackRecent(true); err != nil || len(recents(t, d)) != 0 {
		t.Errorf("of a deleted mailbox: %v, recent are %v", err, recents(t, d))
	}
}
