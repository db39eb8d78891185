package badger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"restante/spool"
)

// setFree makes the engine believe that so much is free.
func setFree(e *Engine, octets int64) {
	e.free.mu.Lock()
	defer e.free.mu.Unlock()
	e.free.at = time.Time{}
	e.free.statfs = func(string) (int64, error) { return octets, nil }
}

func lease(t testing.TB, e *Engine) spool.Lease {
	t.Helper()
	leases, _, err := e.Lease(spool.Claim{Max: 1, Lifetime: time.Minute})
	if err != nil || len(leases) != 1 {
		t.Fatalf("lease: %v, %v", leases, err)
	}
	return leases[0]
}

var delivered = spool.Settlement{Attempted: true, Results: []spool.Result{{Ended: true}}}

// Below the first floor what frees space goes on, below the second nothing
// that writes; reading always does, and with space accepting resumes.
func TestTwoFloors(t *testing.T) {
	e := open(t, Options{})
	ctx := context.Background()
	at := commit(t, e, []byte("kept"), forAlice).Deposited[0]
	for range 3 {
		commit(t, e, []byte("queued"), forBob)
	}
	early := lease(t, e)
	late := stage(t, e, []byte("staged before"))

	setFree(e, DefaultMinFree-1)
	if _, err := e.Create(); !errors.Is(err, spool.ErrFull) {
		t.Errorf("low: Create: %v, want ErrFull", err)
	}
	if _, err := late.Commit(ctx, forAlice); !errors.Is(err, spool.ErrFull) {
		t.Errorf("low: Commit: %v, want ErrFull", err)
	}
	if err := e.Settle(ctx, lease(t, e), delivered); err != nil {
		t.Errorf("low: Settle: %v", err)
	}
	if _, err := e.Flag(at.Mailbox, []spool.UID{at.UID}, spool.FlagAdd, spool.Flags{System: spool.Deleted}, spool.ModSeqUnbounded); err != nil {
		t.Errorf("low: Flag: %v", err)
	}

	setFree(e, hardFloor(DefaultMinFree)-1)
	e.settlePatience = 0
	if err := e.Settle(ctx, early, delivered); !errors.Is(err, spool.ErrFull) {
		t.Errorf("full: Settle: %v, want ErrFull", err)
	}
	if _, _, err := e.Lease(spool.Claim{Max: 1, Lifetime: time.Minute}); !errors.Is(err, spool.ErrFull) {
		t.Errorf("full: Lease: %v, want ErrFull", err)
	}
	if _, err := e.Expunge(at.Mailbox, nil); !errors.Is(err, spool.ErrFull) {
		t.Errorf("full: Expunge: %v, want ErrFull", err)
	}
	if err := e.Healthy(); err != nil {
		t.Errorf("full: %v; a full disk is no fault", err)
	}
	if _, err := e.Entry(at.Mailbox, at.UID); err != nil {
		t.Errorf("full: Entry: %v", err)
	}

	setFree(e, DefaultMinFree)
	if err := e.Settle(ctx, early, delivered); err != nil {
		t.Errorf("with space again: Settle: %v", err)
	}
	if gone, err := e.Expunge(at.Mailbox, nil); err != nil || len(gone) != 1 {
		t.Errorf("with space again: Expunge: %v, %v", gone, err)
	}
	commit(t, e, []byte("new"), forAlice)
}

// What was staged and is thrown away while nothing may be written is freed
// later, without a restart.
func TestSweepWaitsForRoom(t *testing.T) {
	e := open(t, Options{})
	const gone = spool.MailboxID(99)
	if err := e.do(func(t *tx) error {
		return errors.Join(t.set(journalKey(gone, 1, 1), journalLine{}.encode()), t.set(mailboxKey(kZombie, gone), []byte{recordVersion}))
	}, nil); err != nil {
		t.Fatal(err)
	}
	setFree(e, 0)
	e.sweeper.mailbox(gone)
	for e.sweeper.backlog() == 0 || e.sweeperBusy() {
		time.Sleep(time.Millisecond)
	}
	setFree(e, DefaultMinFree)
	signal(e.sweeper.wake)
	e.settled()
	if n := count0(t, e, kJournal) + count0(t, e, kZombie); n != 0 {
		t.Errorf("%d records are left", n)
	}
}

func (e *Engine) sweeperBusy() bool {
	e.sweeper.mu.Lock()
	defer e.sweeper.mu.Unlock()
	return e.sweeper.busy
}

func TestOpenOnAFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	if _, err := Open(Options{Dir: dir, MinFree: 1 << 60}); !errors.Is(err, spool.ErrFull) {
		t.Errorf("open: %v, want ErrFull", err)
	}
}

// readOnly checks what a fault leaves: no change, no lease, all reading.
func readOnly(t *testing.T, e *Engine, at spool.Deposited) {
	t.Helper()
	if _, err := e.Create(); !errors.Is(err, spool.ErrReadOnly) {
		t.Errorf("Create: %v, want ErrReadOnly", err)
	}
	if _, err := e.Flag(at.Mailbox, []spool.UID{at.UID}, spool.FlagAdd, spool.Flags{System: spool.Seen}, spool.ModSeqUnbounded); !errors.Is(err, spool.ErrReadOnly) {
		t.Errorf("Flag: %v, want ErrReadOnly", err)
	}
	if _, _, err := e.Lease(spool.Claim{Max: 1, Lifetime: time.Minute}); !errors.Is(err, spool.ErrReadOnly) {
		t.Errorf("Lease: %v, want ErrReadOnly", err)
	}
	if err := e.Healthy(); !errors.Is(err, spool.ErrReadOnly) {
		t.Errorf("Healthy: %v, want ErrReadOnly", err)
	}
	n, err := e.Entry(at.Mailbox, at.UID)
	if err != nil {
		t.Fatalf("Entry: %v", err)
	}
	if got, err := readBody(e, n.Message); err != nil || string(got) != "kept" {
		t.Errorf("body %q, %v", got, err)
	}
}

func TestFailedSync(t *testing.T) {
	e := open(t, Options{})
	at := commit(t, e, []byte("kept"), forAlice).Deposited[0]
	s := stage(t, e, []byte("unlucky"))
	if err := e.do(func(*tx) error { // the committer's own
		e.wal.datasync = func(*os.File) error { return syscall.EIO }
		return nil
	}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(context.Background(), forAlice); !errors.Is(err, spool.ErrUncertain) || !errors.Is(err, syscall.EIO) {
		t.Errorf("commit: %v, want ErrUncertain for EIO", err)
	}
	readOnly(t, e, at)
}

func TestFailedCommit(t *testing.T) {
	e := open(t, Options{})
	at := commit(t, e, []byte("kept"), forAlice).Deposited[0]
	s := stage(t, e, []byte("unlucky"))
	if err := e.do(func(t *tx) error { // it fails in Badger, which does not say why
		t.txn.Discard()
		return t.set(metaKey(metaMailbox), encodeCounter(1))
	}, nil); err == nil {
		t.Error("a discarded transaction was committed")
	}
	if _, err := s.Commit(context.Background(), forAlice); err != nil {
		t.Errorf("a change that failed took another with it: %v", err)
	}
	if err := e.do(func(tx *tx) error {
		err := tx.set(metaKey(metaMailbox), encodeCounter(1))
		tx.txn.Discard()
		return err
	}, nil); !errors.Is(err, spool.ErrUncertain) {
		t.Errorf("commit: %v, want ErrUncertain", err)
	}
	readOnly(t, e, at)
}

// A table that Badger cannot write would stop the committer for ever, some
// memtables later.
func TestFailedFlush(t *testing.T) {
	t.Parallel() // it mostly waits
	e := open(t, Options{})
	at := commit(t, e, []byte("kept"), forAlice).Deposited[0]
	for id := range 200 { // there are files in its way
		name := filepath.Join(e.opt.Dir, fmt.Sprintf("%06d.sst", id+1))
		if f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			f.Close()
		}
	}
	body := make([]byte, inlineSize)
	var err error
	for i := 0; err == nil; i++ {
		if i > 5*memTableSize/inlineSize {
			t.Fatal("the engine has not noticed")
		}
		s, err2 := e.Create()
		if err = err2; err == nil {
			s.Write(body)
			_, err = s.Commit(context.Background(), forAlice)
		}
	}
	if !errors.Is(err, spool.ErrReadOnly) {
		t.Errorf("%v, want ErrReadOnly", err)
	}
	readOnly(t, e, at)
}
