package badger

import (
	"errors"
	"slices"
	"testing"
	"time"

	"restante/spool"
)

func TestTrimJournal(t *testing.T) {
	e := open(t, Options{})
	e.journal.least, e.journal.most = 300, 300
	var at spool.Deposited
	for range 1000 {
		at = commit(t, e, nil, forAlice).Deposited[0]
	}
	id := at.Mailbox
	expunge := func(from, to spool.UID) spool.ModSeq {
		t.Helper()
		var uids []spool.UID
		for u := from; u < to; u++ {
			uids = append(uids, u)
		}
		if _, err := e.Flag(id, uids, spool.FlagAdd, spool.Flags{System: spool.Deleted}, spool.ModSeqUnbounded); err != nil {
			t.Fatal(err)
		}
		if gone, err := e.Expunge(id, uids); err != nil || len(gone) != len(uids) {
			t.Fatalf("expunge: %d, %v", len(gone), err)
		}
		m, err := e.MailboxByID(id)
		if err != nil {
			t.Fatal(err)
		}
		return m.ModSeq
	}
	first := expunge(1, 401)
	var since spool.ModSeq
	for u := spool.UID(401); u < 900; u += 10 {
		if u == 791 {
			m, err := e.MailboxByID(id)
			if err != nil {
				t.Fatal(err)
			}
			since = m.ModSeq
		}
		expunge(u, u+10)
	}
	before, _, err := e.Changes(id, since)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second time has nothing to do
		if err := e.trimJournals(); err != nil {
			t.Fatal(err)
		}
		stones := 0
		if err := e.tombstones(id, func([]byte, time.Time) bool { stones++; return true }); err != nil || stones != e.journal.most {
			t.Fatalf("%d tombstones are left, %v", stones, err)
		}
	}
	if _, _, err := e.Changes(id, first-1); !errors.Is(err, spool.ErrChangesLost) {
		t.Errorf("changes since before the horizon: %v, want ErrChangesLost", err)
	}
	after, _, err := e.Changes(id, since)
	if err != nil || !slices.Equal(before, after) {
		t.Errorf("changes since after it: %d lines, before %d, %v", len(after), len(before), err)
	}
	for _, c := range after {
		if c.UID == horizonUID {
			t.Error("the horizon is told as a change")
		}
	}
	if err := e.DeleteMailbox("alice", spool.Inbox); err == nil {
		t.Error("INBOX was deleted")
	}
	if err := e.DeleteAccount("alice"); err != nil {
		t.Fatal(err)
	}
	e.settled()
	if n := count0(t, e, kJournal); n != 0 {
		t.Errorf("%d lines of the journal are left", n)
	}
}

// Tombstones are kept for their time, within the bounds of their number.
func TestTombstonesAge(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Now()
	e := open(t, Options{Now: func() time.Time { return now }})
	e.journal.least, e.journal.most = 3, 20
	var at spool.Deposited
	for range 80 {
		at = commit(t, e, nil, forAlice).Deposited[0]
	}
	next := spool.UID(1)
	expunge := func(n int) {
		t.Helper()
		var uids []spool.UID
		for range n {
			uids = append(uids, next)
			next++
		}
		if _, err := e.remove(at.Mailbox, uids, false); err != nil {
			t.Fatal(err)
		}
	}
	want := func(n int) {
		t.Helper()
		if err := e.trimJournals(); err != nil {
			t.Fatal(err)
		}
		stones := 0
		if err := e.tombstones(at.Mailbox, func(_ []byte, at time.Time) bool { stones++; return true }); err != nil || stones != n {
			t.Errorf("%d tombstones are left, %v; want %d", stones, err, n)
		}
	}
	expunge(5)
	want(5)
	now = now.Add(20 * day)
	expunge(6)
	want(11)
	now = now.Add(10*day + trimSlack + time.Hour)
	want(6) // the first five are too old
	now = now.Add(60 * day)
	want(3) // so are all the others, but the least stay
	expunge(15)
	want(15) // the least are others now
	expunge(9)
	want(20) // the most
	now = now.Add(29 * day)
	expunge(2)
	want(22) // two more are not worth a walk
	e = reopen(t, e)
	e.journal.least, e.journal.most = 3, 20
	want(20) // but after a start it is not known how many there are
	now = now.Add(2*day + trimSlack)
	want(3)
}

// Tombstones of before their time was noted count as old.
func TestTombstonesWithoutTime(t *testing.T) {
	e := open(t, Options{})
	e.journal.least, e.journal.most = 3, 20
	at := commit(t, e, nil, forAlice).Deposited[0]
	force(t, e, func(t *tx) error {
		for n := range spool.ModSeq(10) {
			if err := t.set(journalKey(at.Mailbox, 100+n, 1000), []byte{recordVersion, 1}); err != nil {
				return err
			}
		}
		m, err := t.row(at.Mailbox)
		m.ModSeq, m.UIDNext = 200, 1001
		return errors.Join(err, t.setRow(&m))
	})
	changes, _, err := e.Changes(at.Mailbox, 99)
	if err != nil || len(changes) != 10 || !changes[0].Expunged {
		t.Fatalf("changes %+v, %v", changes, err)
	}
	if err := e.trimJournals(); err != nil {
		t.Fatal(err)
	}
	if changes, _, err := e.Changes(at.Mailbox, 106); err != nil || len(changes) != 3 {
		t.Errorf("changes %+v, %v", changes, err)
	}
	if _, _, err := e.Changes(at.Mailbox, 105); !errors.Is(err, spool.ErrChangesLost) {
		t.Errorf("%v, want ErrChangesLost", err)
	}
}
