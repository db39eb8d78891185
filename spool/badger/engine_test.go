package badger

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func open(t testing.TB, opt Options) *Engine {
	t.Helper()
	if opt.Dir == "" {
		opt.Dir = filepath.Join(t.TempDir(), "spool")
	}
	e, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func reopen(t testing.TB, e *Engine) *Engine {
	t.Helper()
	// Close leaves a Badger that is slow to end, which then still has the lock.
	e.closePatience = time.Minute
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, e.opt)
}

func stage(t testing.TB, e *Engine, body []byte) spool.Staged {
	t.Helper()
	s, err := e.Create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(body); err != nil {
		t.Fatal(err)
	}
	return s
}

func commit(t testing.TB, e *Engine, body []byte, m spool.Message) spool.Receipt {
	t.Helper()
	r, err := stage(t, e, body).Commit(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	forAlice = spool.Message{Deposits: []spool.Deposit{{Account: "alice"}}}
	forBob   = spool.Message{Tasks: []spool.Task{{
		Destination: spool.Destination{Route: "mx", Domain: "example.net"},
		Recipients:  []mail.Recipient{{To: mail.Address{Local: "bob", Domain: "example.net"}}},
	}}}
)

func count0(t testing.TB, e *Engine, prefix ...byte) int {
	t.Helper()
	keys, err := e.firstKeys(prefix, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return len(keys)
}

func TestSecondOpenIsRefused(t *testing.T) {
	e := open(t, Options{})
	if _, err := Open(e.opt); !errors.Is(err, spool.ErrInUse) {
		t.Fatalf("second open: %v, want ErrInUse", err)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	e := open(t, Options{})
	if err := e.do(func(t *tx) error {
		return t.set(metaKey(metaFormat), encodeCounter(formatVersion+1))
	}, nil); err != nil {
		t.Fatal(err)
	}
	e.Close()
	if _, err := Open(e.opt); err == nil {
		t.Fatal("a newer format was opened")
	}
}

// A body that was streamed in but never committed must not stay for ever: not
// after Abort, and not after a crash.
func TestOrphansAreSwept(t *testing.T) {
	e := open(t, Options{})
	big := bytes.Repeat([]byte("0123456789abcdef"), 5*chunkSize/16)
	stage(t, e, big).Abort()
	if n := e.segments.Space().Live; n != 0 {
		t.Fatalf("%d live octets after Abort", n)
	}
	stage(t, e, big)
	if n := e.segments.Space().Live; n < int64(len(big))-chunkSize {
		t.Fatalf("%d live octets while staging", n)
	}
	kept := commit(t, e, big, forAlice)
	e = reopen(t, e)
	e.counting.Wait()
	if n := e.segments.Space().Live; n < int64(len(big)) || n > int64(len(big))+chunkSize {
		t.Fatalf("%d live octets after reopening, want those of the kept message", n)
	}
	b, err := e.OpenBody(kept.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil || !bytes.Equal(got, big) {
		t.Fatalf("kept body: %d octets, %v", len(got), err)
	}
}

func TestDamageIsReported(t *testing.T) {
	e := open(t, Options{})
	r := commit(t, e, []byte("Subject: x\r\n\r\nhello\r\n"), forAlice)
	for _, damaged := range [][]byte{nil, []byte("Subject: y\r\n\r\nhello\r\n\x00\x00\x00\x00")} {
		if err := e.do(func(t *tx) error {
			t.entries++
			return t.txn.Set(chunkKey(r.ID, 0), damaged)
		}, nil); err != nil {
			t.Fatal(err)
		}
		b, err := e.OpenBody(r.ID)
		if err != nil {
			t.Fatal(err)
		}
		n, err := b.ReadAt(make([]byte, 5), 0)
		if n != 0 || !errors.Is(err, spool.ErrCorrupt) {
			t.Errorf("ReadAt of a damaged body: %d, %v; want ErrCorrupt", n, err)
		}
		b.Close()
	}
}

// One operation that fails half way must leave nothing, and the others of its
// batch must not notice.
func TestFailureInABatchIsAlone(t *testing.T) {
	e := open(t, Options{})
	block := make(chan struct{})
	first := e.submit(func(*tx) error { <-block; return nil }, nil)
	bad := errors.New("bad")
	var outcomes []<-chan error
	for i := range 10 {
		key := metaKey(string(rune('a' + i)))
		outcomes = append(outcomes, e.submit(func(t *tx) error {
			if err := t.set(key, encodeCounter(1)); err != nil || i%3 != 0 {
				return err
			}
			if i == 6 {
				panic("on purpose")
			}
			return bad
		}, nil))
	}
	close(block)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	for i, c := range outcomes {
		err := <-c
		if failed := i%3 == 0; failed != (err != nil) {
			t.Errorf("operation %d: %v", i, err)
		}
		stored, err := e.view().has(metaKey(string(rune('a' + i))))
		if err != nil || stored == (i%3 == 0) {
			t.Errorf("operation %d: stored %t, %v", i, stored, err)
		}
	}
}

// The bounds of a batch are ours, not Badger's: many large operations at once
// must all succeed.
func TestBatchesStayWithinBadgersBounds(t *testing.T) {
	e := open(t, Options{})
	body := make([]byte, chunkSize)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			s, err := e.Create()
			if err == nil {
				_, err = s.Write(body)
			}
			if err == nil {
				_, err = s.Commit(context.Background(), forAlice)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	m, err := e.Mailbox("alice", spool.Inbox)
	if err != nil || m.Messages != 200 {
		t.Fatalf("%d messages, %v", m.Messages, err)
	}
}

// When a commit fails in a way that does not tell what is stored, nobody is
// told 250 any more.
func TestFaultMakesReadOnly(t *testing.T) {
	e := open(t, Options{})
	commit(t, e, []byte("x"), forBob)
	leases, _, err := e.Lease(spool.Claim{Max: 1, Lifetime: time.Minute})
	if err != nil || len(leases) != 1 {
		t.Fatalf("Lease: %d, %v", len(leases), err)
	}
	e.setFault(spool.ErrReadOnly)
	if _, err := e.Create(); !errors.Is(err, spool.ErrReadOnly) {
		t.Errorf("Create: %v", err)
	}
	if err := e.Subscribe("alice", "x", true); !errors.Is(err, spool.ErrReadOnly) {
		t.Errorf("Subscribe: %v", err)
	}
	err = e.Settle(context.Background(), leases[0], spool.Settlement{Results: []spool.Result{{Ended: true}}})
	if !errors.Is(err, spool.ErrReadOnly) {
		t.Errorf("Settle: %v", err)
	}
	if e.Healthy() == nil {
		t.Error("Healthy says nothing")
	}
}

// Everything that a message brought goes with its last reference.
func TestNothingIsLeftBehind(t *testing.T) {
	e := open(t, Options{})
	for _, size := range []int{0, 10, 3 * chunkSize, 9 * chunkSize} {
		both := forAlice
		both.Tasks = forBob.Tasks
		both.Structure = []byte("structure")
		commit(t, e, make([]byte, size), both)
	}
	if _, err := e.CreateMailbox("alice", "Archive", spool.UseArchive); err != nil {
		t.Fatal(err)
	}
	inbox, _ := e.Mailbox("alice", spool.Inbox)
	archive, _ := e.Mailbox("alice", "Archive")
	if _, err := e.Move(inbox.ID, []spool.UID{1, 2}, archive.ID, spool.FlagMask{}); err != nil {
		t.Fatal(err)
	}
	leases, _, err := e.Lease(spool.Claim{Max: 10, Lifetime: time.Minute})
	if err != nil || len(leases) != 4 {
		t.Fatalf("%d leases, %v", len(leases), err)
	}
	for _, l := range leases {
		if err := e.Settle(context.Background(), l, spool.Settlement{Results: []spool.Result{{Ended: true}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.DeleteAccount("alice"); err != nil {
		t.Fatal(err)
	}
	e.settled()
	for _, kind := range []byte{kMessage, kRefs, kStructure, kChunk, kPieces, kGarbage, kTask, kQueue, kTimer, kDestination, kName, kMailbox, kEntry, kJournal, kBlock, kKeyword, kZombie} {
		if n := count0(t, e, kind); n != 0 {
			t.Errorf("%d records of kind %q are left", n, kind)
		}
	}
}

// A destination that failed and has nothing left to send must not be held in
// memory and on disk for ever.
func TestIdleDestinationIsForgotten(t *testing.T) {
	now := time.Now()
	e := open(t, Options{Now: func() time.Time { return now }})
	commit(t, e, []byte("x"), forBob)
	lease := func() []spool.Lease {
		leases, _, err := e.Lease(spool.Claim{Max: 10, Lifetime: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return leases
	}
	if err := e.Settle(context.Background(), lease()[0], spool.Settlement{
		Results:     []spool.Result{{Ended: true}},
		Destination: spool.Reach{Outcome: spool.Unreached, Backoff: time.Hour},
	}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Hour)
	lease()
	if n := count0(t, e, kDestination); n != 1 {
		t.Fatalf("%d destination records soon after the back-off, want 1", n)
	}
	now = now.Add(forgetAfter)
	lease()
	if err := e.do(func(*tx) error { return nil }, nil); err != nil { // behind the forgetting
		t.Fatal(err)
	}
	lease()
	if n, m := count0(t, e, kDestination), len(e.queue.dests); n != 0 || m != 0 {
		t.Fatalf("%d records and %d nodes are left", n, m)
	}
}
