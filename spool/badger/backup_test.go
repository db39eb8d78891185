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
	"restante/spool/spooltest"
)

func backup(t testing.TB, e *Engine, since Mark) ([]byte, BackupInfo) {
	t.Helper()
	var out bytes.Buffer
	info, err := e.Backup(context.Background(), &out, BackupOptions{Since: since})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), info
}

// restored opens a spool made from backups, which must be a flawless one.
func restored(t testing.TB, opt RestoreOptions, backups ...[]byte) *Engine {
	t.Helper()
	if opt.Dir == "" {
		opt.Dir = filepath.Join(t.TempDir(), "spool")
	}
	if _, err := Restore(context.Background(), opt, readers(backups)...); err != nil {
		t.Fatal(err)
	}
	e := open(t, Options{Dir: opt.Dir, Now: opt.Now})
	if l := e.Losses(); len(l) > 0 {
		t.Fatalf("the restored spool reports losses: %v", l)
	}
	return e
}

func readers(backups [][]byte) (list []io.Reader) {
	for _, b := range backups {
		list = append(list, bytes.NewReader(b))
	}
	return list
}

// dump is every record of a spool but those that a restored one has of its own.
func dump(t testing.TB, e *Engine) map[string]string {
	t.Helper()
	all := make(map[string]string)
	view := e.view()
	defer view.discard()
	reader := e.segments.Reader()
	defer reader.Close()
	collect(view, nil, func(key []byte) {
		if key[0] == kPieces { // where it is does not matter
			id := idOf(key)
			p, err := view.pieces(id)
			for i, ref := range p.refs {
				b, err := reader.Read(ref, id, p.number(i), nil)
				if err != nil {
					t.Error(err)
				}
				all[string(chunkKey(id, uint32(i)))] = string(b)
			}
			if err != nil {
				t.Error(err)
			}
			return
		}
		if string(key) == string(metaKey(metaIdentity)) || string(key) == string(commitsKey()) {
			return
		}
		if err := view.get(key, func(p []byte) error {
			all[string(key)] = string(p)
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	return all
}

func compare(t testing.TB, got, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if w, ok := got[k]; !ok || v != w {
			t.Errorf("record %.60q: there %t, want %.60q, got %.60q", k, ok, v, w)
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("record %.60q is there and should not", k)
		}
	}
}

// Everything that the spool promises must hold when "reopened" means: backed
// up while it runs, and restored somewhere else.
func TestContractOverBackup(t *testing.T) {
	t.Parallel()
	spooltest.Run(t, openOverBackup)
}

func TestModelOverBackup(t *testing.T) {
	t.Parallel()
	spooltest.Compare(t, openOverBackup, 500, 0)
}

func openOverBackup(t *testing.T, now func() time.Time) spooltest.Harness {
	e := open(t, Options{Now: now})
	return spooltest.Harness{
		Store: e,
		Reopen: func(t *testing.T) spool.Store {
			full, _ := backup(t, e, Mark{})
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			e = restored(t, RestoreOptions{UIDs: KeepUIDs, Now: now}, full)
			return e
		},
		Idle: func() { e.settled() },
	}
}

// settleAll settles what can be leased and returns whose tasks those were.
func settleAll(t testing.TB, e *Engine, n int) (ids []mail.ID) {
	t.Helper()
	leases, _, err := e.Lease(spool.Claim{Max: n, Lifetime: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leases {
		if err := e.Settle(context.Background(), l, spool.Settlement{Results: []spool.Result{{Ended: true}}}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, l.Task.ID.Message)
	}
	return ids
}

// A chain of increments must give what a full backup gives, also when Badger
// has compacted the traces of what was deleted in between.
func TestIncrements(t *testing.T) {
	e := open(t, Options{})
	big := make([]byte, 6*chunkSize+17)
	for i := range big {
		big[i] = byte(i * i >> 7)
	}
	both := spool.Message{Deposits: forAlice.Deposits, Tasks: forBob.Tasks, Structure: []byte("structure")}
	settled := make(map[mail.ID]bool)
	var chain [][]byte
	var mark Mark
	for round := range 4 {
		for range 3 {
			commit(t, e, big, both)
			commit(t, e, fmt.Appendf(nil, "round %d", round), forBob)
		}
		if round > 0 {
			for _, id := range settleAll(t, e, 4) {
				settled[id] = true
			}
			inbox, err := e.Mailbox("alice", spool.Inbox)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Expunge(inbox.ID, []spool.UID{spool.UID(round), spool.UID(round + 3)}); err != nil {
				t.Fatal(err)
			}
			e.settled()
		}
		if round == 2 {
			e = reopen(t, e)
		}
		if err := e.db.Flatten(1); err != nil {
			t.Fatal(err)
		}
		b, info := backup(t, e, mark)
		if verified, err := VerifyBackup(bytes.NewReader(b)); err != nil || verified != info {
			t.Fatalf("VerifyBackup: %#v, %v; Backup said %#v", verified, err, info)
		}
		if round > 0 && (info.Since != mark.Version || info.Keys == 0 || int(info.Records) >= len(dump(t, e))) {
			t.Errorf("round %d is no increment: %+v", round, info)
		}
		mark = info.Mark
		chain = append(chain, b)
	}
	want := dump(t, e)
	full, _ := backup(t, e, Mark{})
	for name, backups := range map[string][][]byte{"full": {full}, "chain": chain, "any order": {chain[2], chain[0], chain[3], chain[1]}} {
		t.Run(name, func(t *testing.T) {
			r := restored(t, RestoreOptions{UIDs: KeepUIDs}, backups...)
			compare(t, dump(t, r), want)
			leases, _, err := r.Lease(spool.Claim{Max: 1000, Lifetime: time.Minute})
			if err != nil || len(leases) != 24-len(settled) {
				t.Fatalf("%d leases, want %d; %v", len(leases), 24-len(settled), err)
			}
			for _, l := range leases {
				if settled[l.Task.ID.Message] {
					t.Errorf("%s was settled before the backup and is leased again", l.Task.ID)
				}
			}
		})
	}

	r := restored(t, RestoreOptions{}, full)
	for name, c := range map[string]struct {
		backups [][]byte
		want    error
	}{
		"none":            {nil, ErrBackup},
		"no full one":     {chain[1:], ErrBase},
		"a link missing":  {[][]byte{chain[0], chain[2]}, ErrBase},
		"twice":           {[][]byte{chain[0], chain[1], chain[1]}, ErrBase},
		"two full":        {[][]byte{chain[0], full}, ErrBase},
		"another's":       {[][]byte{chain[0], chain[1], increment(t, r)}, ErrBase},
		"no backup":       {[][]byte{[]byte("Subject: hello\r\n\r\n")}, ErrBackup},
		"nothing":         {[][]byte{{}}, ErrBackup},
		"twice in one":    {[][]byte{append(slices.Clone(chain[0]), chain[0]...)}, ErrBackup},
		"something after": {[][]byte{append(slices.Clone(chain[0]), '\n')}, ErrBackup},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.want, c.backups...) })
	}
	var out bytes.Buffer
	if _, err := r.Backup(context.Background(), &out, BackupOptions{Since: mark}); !errors.Is(err, ErrBase) || out.Len() > 0 {
		t.Errorf("an increment of a restored spool on a backup of the former: %v, %d octets", err, out.Len())
	}
	ahead := Mark{mark.Spool, mark.Version + 1000}
	if _, err := e.Backup(context.Background(), &out, BackupOptions{Since: ahead}); !errors.Is(err, ErrBase) {
		t.Errorf("an increment on what is yet to come: %v", err)
	}
}

func increment(t testing.TB, e *Engine) []byte {
	t.Helper()
	_, info := backup(t, e, Mark{})
	commit(t, e, []byte("x"), forAlice)
	b, _ := backup(t, e, info.Mark)
	return b
}

// refused fails unless Restore refuses backups, and leaves nothing behind.
func refused(t testing.TB, want error, backups ...[]byte) {
	t.Helper()
	parent := t.TempDir()
	_, err := Restore(context.Background(), RestoreOptions{Dir: filepath.Join(parent, "spool")}, readers(backups)...)
	if !errors.Is(err, want) {
		t.Errorf("restore: %v, want %v", err, want)
	}
	if list, err := os.ReadDir(parent); err != nil || len(list) > 0 {
		t.Errorf("it left %v behind, %v", list, err)
	}
}

func TestDamagedBackupIsRefused(t *testing.T) {
	e := open(t, Options{})
	commit(t, e, []byte("Subject: x\r\n\r\nhello\r\n"), forAlice)
	commit(t, e, bytes.Repeat([]byte("0123456789"), 2000), forBob)
	var out bytes.Buffer
	if _, err := e.Backup(context.Background(), &out, BackupOptions{Files: []BackupFile{{"a", []byte("file")}}}); err != nil {
		t.Fatal(err)
	}
	good := out.Bytes()
	if info, err := VerifyBackup(bytes.NewReader(good)); err != nil || info.Files != 1 || info.Octets != int64(len(good)) {
		t.Fatalf("the undamaged of %d octets: %#v, %v", len(good), info, err)
	}
	for cut := 0; cut < len(good); cut += 1 + cut/200 {
		if _, err := VerifyBackup(bytes.NewReader(good[:cut])); !errors.Is(err, ErrBackup) {
			t.Fatalf("cut off at %d: %v", cut, err)
		}
	}
	for i := 0; i < len(good); i += 1 + i/500 {
		bad := slices.Clone(good)
		bad[i] ^= 1 << rand.IntN(8)
		if _, err := VerifyBackup(bytes.NewReader(bad)); !errors.Is(err, ErrBackup) {
			t.Fatalf("octet %d changed: %v", i, err)
		}
	}
	// Restore reads with the same reader; see that it heeds it.
	bad := slices.Clone(good)
	bad[len(bad)/2] ^= 1
	refused(t, ErrBackup, bad)
	refused(t, ErrBackup, good[:len(good)-1])
	refused(t, ErrBackup, good[:len(good)/2])
}

func FuzzBackup(f *testing.F) {
	e := open(f, Options{})
	full, info := backup(f, e, Mark{})
	commit(f, e, []byte("hello"), forBob)
	next, _ := backup(f, e, info.Mark)
	f.Add(full)
	f.Add(next)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := VerifyBackup(bytes.NewReader(b)); err != nil && !errors.Is(err, ErrBackup) {
			t.Errorf("%v is not ErrBackup", err)
		}
	})
}

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

// A spool that has lost commits is not what its backups hold: increments on
// them would miss what is written in the place of the lost.
func TestLossEndsTheChain(t *testing.T) {
	e := open(t, Options{})
	commit(t, e, []byte("hello"), forAlice)
	_, info := backup(t, e, Mark{})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	high := mark{number: e.commits + 5, at: time.Now()}.encode()
	f, err := os.OpenFile(filepath.Join(e.opt.Dir, markName), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(high, 0)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	e = open(t, e.opt)
	if len(e.Losses()) == 0 {
		t.Fatal("the loss is not noticed")
	}
	if _, err := e.Backup(context.Background(), io.Discard, BackupOptions{Since: info.Mark}); !errors.Is(err, ErrBase) {
		t.Fatalf("an increment after a loss: %v", err)
	}
}

// A spool that takes no changes can be saved still, but nothing follows on it.
func TestBackupAfterFault(t *testing.T) {
	e := open(t, Options{})
	commit(t, e, []byte("hello"), forBob)
	_, before := backup(t, e, Mark{})
	e.setFault(spool.ErrReadOnly)
	full, info := backup(t, e, Mark{})
	if info.Spool != (SpoolID{}) {
		t.Errorf("identity %v", info.Spool)
	}
	if _, err := e.Backup(context.Background(), io.Discard, BackupOptions{Since: before.Mark}); !errors.Is(err, ErrBase) {
		t.Errorf("increment: %v", err)
	}
	if ids := settleAll(t, restored(t, RestoreOptions{}, full), 10); len(ids) != 1 {
		t.Errorf("%d tasks", len(ids))
	}
}

// A damaged record must not keep the others from being saved, nor become a
// sound one on the way.
func TestDamagedRecordIsCarried(t *testing.T) {
	e := open(t, Options{})
	bad := commit(t, e, []byte("bad"), forAlice).ID
	good := commit(t, e, []byte("good"), forAlice).ID
	if err := e.do(func(t *tx) error {
		t.entries++
		return t.txn.Set(chunkKey(bad, 0), []byte("something else"))
	}, nil); err != nil {
		t.Fatal(err)
	}
	full, info := backup(t, e, Mark{})
	if info.Damaged != 1 {
		t.Errorf("%d records damaged, want 1", info.Damaged)
	}
	r := restored(t, RestoreOptions{}, full)
	if _, err := readBody(r, bad); !errors.Is(err, spool.ErrCorrupt) {
		t.Errorf("the damaged body: %v", err)
	}
	if b, err := readBody(r, good); err != nil || string(b) != "good" {
		t.Errorf("the other: %q, %v", b, err)
	}
}

func readBody(e *Engine, id mail.ID) ([]byte, error) {
	b, err := e.OpenBody(id)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
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

// Badger passes over what it cannot read of a table. A backup that did the same
// would look complete, and a check would mend what is not broken.
func TestDamagedTableIsNoticed(t *testing.T) {
	e := open(t, Options{})
	noise := make([]byte, chunkSize) // more of it than the block cache holds
	for range 400 {
		for i := range noise {
			noise[i] = byte(rand.Uint32())
		}
		commit(t, e, noise, forBob)
	}
	e = reopen(t, e) // into tables
	if err := e.db.Flatten(1); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(e.opt.Dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	for _, name := range tables {
		hurt(t, name)
	}
	info, err := e.Backup(context.Background(), io.Discard, BackupOptions{})
	if !errors.Is(err, spool.ErrCorrupt) {
		t.Errorf("backup of a spool with damaged tables: %d records, %d damaged, %v", info.Records, info.Damaged, err)
	}
	rep, err := e.Check(context.Background(), spool.CheckOptions{Repair: true})
	if !errors.Is(err, spool.ErrCorrupt) || rep.Remaining > 0 {
		t.Errorf("check: %d findings, %v", rep.Remaining, err)
	}
}

// hurt changes some octets of a file.
func hurt(t testing.TB, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(4) {
		b := make([]byte, 16)
		at := size * (i + 1) / 6
		if _, err := f.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		for i := range b {
			b[i] ^= 0x55
		}
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
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
