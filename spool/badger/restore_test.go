package badger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func TestRestoreTarget(t *testing.T) {
	e := open(t, Options{})
	commit(t, e, []byte("hello"), forAlice)
	full, _ := backup(t, e, Mark{})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if _, err := Restore(ctx, RestoreOptions{Dir: dir}, bytes.NewReader(full)); !errors.Is(err, os.ErrExist) {
		t.Errorf("into a directory with something in it: %v", err)
	}
	if _, err := Restore(ctx, RestoreOptions{Dir: e.opt.Dir}, bytes.NewReader(full)); !errors.Is(err, os.ErrExist) {
		t.Errorf("onto a spool: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "file")); err != nil {
		t.Fatal(err)
	}
	no := errors.New("no")
	if _, err := Restore(ctx, RestoreOptions{Dir: dir, Finish: func(RestoreInfo) error { return no }}, bytes.NewReader(full)); !errors.Is(err, no) {
		t.Errorf("Finish failed: %v", err)
	}
	restored(t, RestoreOptions{Dir: dir}, full)
	if list, _ := filepath.Glob(dir + RestoringSuffix + "*"); len(list) > 0 {
		t.Errorf("left behind: %v", list)
	}
	if _, err := Restore(ctx, RestoreOptions{Dir: filepath.Join(t.TempDir(), "s"), MinFree: 1 << 60}, bytes.NewReader(full)); !errors.Is(err, spool.ErrFull) {
		t.Errorf("onto a full disk: %v", err)
	}
}

// The largest records must go through, in whatever company they come.
func TestLargeRecordsAreRestored(t *testing.T) {
	e := open(t, Options{})
	for _, octets := range []int{30, 90, 115, 140} { // for each of ten thousand recipients
		m := spool.Message{Tasks: []spool.Task{{Destination: forBob.Tasks[0].Destination}}}
		for i := range maxRecipients {
			to := mail.Address{Local: fmt.Sprintf("%0*d", octets-20, i), Domain: "example.net"}
			m.Tasks[0].Recipients = append(m.Tasks[0].Recipients, mail.Recipient{To: to})
		}
		commit(t, e, make([]byte, 5*chunkSize), m)
	}
	full, _ := backup(t, e, Mark{})
	compare(t, dump(t, restored(t, RestoreOptions{UIDs: KeepUIDs}, full)), dump(t, e))
}

// A client must not take what comes after the restored state for what it saw
// after the backup.
func TestRestoreRenewsUIDValidity(t *testing.T) {
	e := open(t, Options{})
	commit(t, e, []byte("hello"), forAlice)
	if _, err := e.CreateMailbox("alice", "Archive", spool.UseNone); err != nil {
		t.Fatal(err)
	}
	full, _ := backup(t, e, Mark{})
	r := restored(t, RestoreOptions{}, full)
	seen := make(map[uint32]bool)
	for _, name := range []string{spool.Inbox, "Archive", "New"} {
		was, err := e.CreateMailbox("alice", name, spool.UseNone) // what it had, or got after the backup
		if errors.Is(err, spool.ErrMailboxExists) {
			was, err = e.Mailbox("alice", name)
		}
		if err != nil {
			t.Fatal(err)
		}
		seen[was.UIDValidity] = true
	}
	if _, err := r.CreateMailbox("alice", "New", spool.UseNone); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{spool.Inbox, "Archive", "New"} {
		m, err := r.Mailbox("alice", name)
		if err != nil {
			t.Fatal(err)
		}
		if seen[m.UIDValidity] && name != "New" {
			t.Errorf("%s has a UIDVALIDITY that was given before", name)
		}
		seen[m.UIDValidity] = true
		was, _ := e.Mailbox("alice", name)
		if name != "New" && m.UIDValidity <= was.UIDValidity {
			t.Errorf("%s: UIDVALIDITY %d after %d", name, m.UIDValidity, was.UIDValidity)
		}
	}
}

func TestRestoreHolds(t *testing.T) {
	e := open(t, Options{})
	warned := forBob
	warned.Tasks = slices.Clone(warned.Tasks)
	warned.Tasks[0].Warn, warned.Tasks[0].Expire = time.Hour, 2*time.Hour
	id := commit(t, e, []byte("hello"), warned).Tasks[0]
	full, _ := backup(t, e, Mark{})
	r := restored(t, RestoreOptions{Queue: AsHeld}, full)
	if leases, next, err := r.Lease(spool.Claim{Max: 10, Lifetime: time.Minute}); err != nil || len(leases) > 0 || next >= 0 {
		t.Fatalf("%d leases, next %v, %v", len(leases), next, err)
	}
	if err := r.Release(id); err != nil {
		t.Fatal(err)
	}
	if ids := settleAll(t, r, 10); len(ids) != 1 {
		t.Fatalf("released, and %d leased", len(ids))
	}
}

// The backup is a moment of a spool that goes on: what was acknowledged before
// is in it once, what was settled before is not, and all of it fits together.
func TestBackupUnderLoad(t *testing.T) {
	e := open(t, Options{})
	l := &backupLoad{e: e, live: make(map[mail.ID][32]byte)}
	stop := make(chan struct{})
	var work sync.WaitGroup
	for i := range 4 {
		work.Go(func() { l.run(stop, uint64(i)) })
	}
	var mark Mark
	var chain [][]byte
	var before []map[mail.ID][32]byte
	var ended []map[mail.ID]bool
	for range 3 {
		time.Sleep(150 * time.Millisecond)
		live, done := l.state()
		b, info := backup(t, e, mark)
		mark = info.Mark
		chain, before, ended = append(chain, b), append(before, live), append(ended, done)
	}
	close(stop)
	work.Wait()
	if l.err != nil {
		t.Fatal(l.err)
	}
	for n := range chain {
		r := restored(t, RestoreOptions{}, chain[:n+1]...)
		checkRestored(t, r, before[n], ended[n], l)
		r.Close()
	}
}

// backupLoad is a mixed load that remembers what it was told.
type backupLoad struct {
	e *Engine

	mu    sync.Mutex
	live  map[mail.ID][32]byte // acknowledged, and not being settled yet
	ended map[mail.ID]bool     // settled
	all   map[mail.ID][32]byte // ever tried
	err   error
}

func (l *backupLoad) state() (map[mail.ID][32]byte, map[mail.ID]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	live, ended := make(map[mail.ID][32]byte), make(map[mail.ID]bool)
	for id, h := range l.live {
		live[id] = h
	}
	for id := range l.ended {
		ended[id] = true
	}
	return live, ended
}

func (l *backupLoad) run(stop <-chan struct{}, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	for {
		select {
		case <-stop:
			return
		default:
		}
		if err := l.step(rnd); err != nil {
			l.mu.Lock()
			l.err = err
			l.mu.Unlock()
			return
		}
	}
}

func (l *backupLoad) step(rnd *rand.Rand) error {
	switch rnd.IntN(4) {
	case 0, 1:
		body := make([]byte, rnd.IntN(2000)+rnd.IntN(2)*rnd.IntN(6*chunkSize))
		for i := range body {
			body[i] = byte(rnd.Uint32())
		}
		s, err := l.e.Create()
		if err != nil {
			return err
		}
		if _, err := s.Write(body); err != nil {
			return err
		}
		l.mu.Lock()
		if l.all == nil {
			l.all, l.ended = make(map[mail.ID][32]byte), make(map[mail.ID]bool)
		}
		l.all[s.ID()] = sha256.Sum256(body)
		l.mu.Unlock()
		m := forBob
		if rnd.IntN(2) == 0 {
			m.Deposits = forAlice.Deposits
		}
		if _, err := s.Commit(context.Background(), m); err != nil {
			return err
		}
		l.mu.Lock()
		l.live[s.ID()] = sha256.Sum256(body)
		l.mu.Unlock()
	case 2:
		leases, _, err := l.e.Lease(spool.Claim{Max: 2, Lifetime: time.Minute})
		if err != nil {
			return err
		}
		for _, lease := range leases {
			id := lease.Task.ID.Message
			l.mu.Lock()
			delete(l.live, id)
			l.mu.Unlock()
			if err := l.e.Settle(context.Background(), lease, spool.Settlement{Results: []spool.Result{{Ended: true}}}); err != nil {
				return err
			}
			l.mu.Lock()
			l.ended[id] = true
			l.mu.Unlock()
		}
	case 3:
		inbox, err := l.e.Mailbox("alice", spool.Inbox)
		if errors.Is(err, spool.ErrNoMailbox) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = l.e.Expunge(inbox.ID, []spool.UID{spool.UID(rnd.IntN(int(inbox.UIDNext)) + 1)})
		return err
	}
	return nil
}

func checkRestored(t *testing.T, r *Engine, live map[mail.ID][32]byte, ended map[mail.ID]bool, l *backupLoad) {
	t.Helper()
	leases, _, err := r.Lease(spool.Claim{Max: 1 << 20, Lifetime: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[mail.ID]bool)
	for _, lease := range leases {
		id := lease.Task.ID.Message
		if got[id] {
			t.Errorf("%s is there twice", id)
		}
		got[id] = true
		if ended[id] {
			t.Errorf("%s was settled before the backup and is leased again", id)
		}
		b, err := readBody(r, id)
		if err != nil || sha256.Sum256(b) != l.all[id] {
			t.Errorf("body of %s: %d octets, %v", id, len(b), err)
		}
	}
	for id := range live {
		// It may have been settled between the look at it and the backup.
		l.mu.Lock()
		maybe := !l.ended[id]
		l.mu.Unlock()
		if !got[id] && maybe {
			t.Errorf("%s was acknowledged before the backup and is not in it", id)
		}
	}
	r.settled()
	report, err := r.Check(context.Background(), spool.CheckOptions{Bodies: true, Found: func(f spool.Finding) { t.Errorf("check: %+v", f) }})
	if err != nil {
		t.Errorf("check: %+v, %v", report, err)
	}
	t.Logf("%d live, %d settled before, %d restored", len(live), len(ended), len(leases))
}

// Whoever takes a backup slowly must not hold up the mail.
func TestSlowBackupHoldsNobodyUp(t *testing.T) {
	e := open(t, Options{})
	first := commit(t, e, make([]byte, 4*chunkSize), forBob).ID
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := e.Backup(context.Background(), w, BackupOptions{})
		done <- errors.Join(err, w.Close())
	}()
	begun := make([]byte, 1)
	if _, err := io.ReadFull(r, begun); err != nil {
		t.Fatal(err)
	}
	if ids := settleAll(t, e, 10); len(ids) != 1 || ids[0] != first {
		t.Fatalf("settled %v", ids)
	}
	commit(t, e, []byte("later"), forBob)
	e.settled()
	rest, err := io.ReadAll(r)
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	r2 := restored(t, RestoreOptions{}, append(begun, rest...))
	if ids := settleAll(t, r2, 10); len(ids) != 1 || ids[0] != first {
		t.Errorf("the backup is not of when it began: %v", ids)
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Backup(ctx, io.Discard, BackupOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Badger goes on counting, after reopening, from the highest version that it
// finds. If the last commits were deletions and a compaction had dropped their
// traces, that would be lower than before, and an increment would take new
// records for old ones.
func TestVersionsNeverGoBack(t *testing.T) {
	e := open(t, Options{})
	for range 10 {
		commit(t, e, []byte("hello"), forBob)
	}
	settleAll(t, e, 10)
	_, before := backup(t, e, Mark{})
	e = reopen(t, e) // the log becomes a table
	if err := e.db.Flatten(1); err != nil {
		t.Fatal(err)
	}
	e = reopen(t, e)
	_, after := backup(t, e, Mark{})
	if after.Version < before.Version {
		t.Fatalf("version %d, then %d", before.Version, after.Version)
	}
	commit(t, e, []byte("new"), forBob)
	if _, info := backup(t, e, after.Mark); info.Records < 5 {
		t.Errorf("the increment carries %d records", info.Records)
	}
}

// More than a transaction holds, of short bodies and of long ones.
func TestManyBodiesAreRestored(t *testing.T) {
	e := open(t, Options{})
	const n = 400
	want := make(map[mail.ID]int)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				size := 8 << 10
				if i%200 == 0 {
					size = 200 << 10
				}
				id := commit(t, e, letter(size), forAlice).ID
				mu.Lock()
				want[id] = size
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	full, _ := backup(t, e, Mark{})
	r := restored(t, RestoreOptions{UIDs: KeepUIDs}, full)
	for id, size := range want {
		if got, err := readBody(r, id); err != nil || !bytes.Equal(got, letter(size)) {
			t.Fatalf("%s: %d octets, want %d, %v", id, len(got), size, err)
		}
	}
	if rep, list := check(t, r, false); rep.Findings != 0 {
		t.Errorf("%+v", list)
	}
}
