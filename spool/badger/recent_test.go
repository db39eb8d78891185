package badger

import (
	"testing"

	"restante/spool"
)

// TestRecentCostsNoCommit shows when what sessions were told of is stored: with
// the next change of the mailbox, whatever it is, or by Close.
func TestRecentCostsNoCommit(t *testing.T) {
	e := open(t, Options{})
	mail := spool.Message{Deposits: []spool.Deposit{{Account: "alice", Mailbox: "INBOX"}}}
	box := commit(t, e, []byte("one"), mail).Deposited[0].Mailbox
	take := func(upto, want spool.UID) {
		t.Helper()
		if from, err := e.TakeRecent(box, upto); from != want || err != nil {
			t.Errorf("recent from %d on, %v, want %d", from, err, want)
		}
	}
	stored := func(want spool.UID) {
		t.Helper()
		v := e.view()
		defer v.discard()
		if m, err := v.storedRow(box); m.Recent != want || err != nil {
			t.Errorf("the stored row says recent from %d on, %v, want %d", m.Recent, err, want)
		}
	}
	before := e.stats.commits.Load()
	take(1, 1)
	take(1, 2)
	if n := e.stats.commits.Load() - before; n != 0 {
		t.Errorf("%d commits", n)
	}
	stored(1)
	commit(t, e, []byte("two"), mail)
	stored(2)
	take(2, 2)
	if _, err := e.Flag(box, []spool.UID{1}, spool.FlagAdd, spool.Flags{System: spool.Deleted}, spool.ModSeqUnbounded); err != nil {
		t.Fatal(err)
	}
	stored(3)
	commit(t, e, []byte("three"), mail)
	take(3, 3)
	if _, err := e.Expunge(box, nil); err != nil {
		t.Fatal(err)
	}
	stored(4)
	commit(t, e, []byte("four"), mail)
	take(4, 4)
	stored(4)

	other, err := e.CreateMailbox("alice", "Other", spool.UseNone)
	if err != nil {
		t.Fatal(err)
	}
	gone, err := e.CreateMailbox("alice", "Gone", spool.UseNone)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Copy(box, []spool.UID{2}, gone.ID, spool.FlagMask{}); err != nil {
		t.Fatal(err)
	}
	if from, err := e.TakeRecent(gone.ID, 1); from != 1 || err != nil {
		t.Fatal(from, err)
	}
	if err := e.DeleteMailbox("alice", "Gone"); err != nil {
		t.Fatal(err)
	}
	e = reopen(t, e)
	stored(5)
	take(0, 5)
	if from, err := e.TakeRecent(other.ID, 0); from != 1 || err != nil {
		t.Errorf("of an empty mailbox: %d, %v", from, err)
	}
}
