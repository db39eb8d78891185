package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
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
