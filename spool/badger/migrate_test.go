package badger

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/spool"
)

// testdata/v1.backup is a spool of format 1, as it was before formats were
// numbered any higher.
func restoreV1(t testing.TB, dir string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "v1.backup"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := Restore(context.Background(), RestoreOptions{Dir: dir, UIDs: KeepUIDs}, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if info.Format != 1 {
		t.Fatalf("the stored spool has format %d", info.Format)
	}
}

func format(t testing.TB, e *Engine) uint64 {
	t.Helper()
	v := e.view()
	defer v.discard()
	n, err := load(v, metaKey(metaFormat), decodeCounter)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFormat1IsMigrated(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	restoreV1(t, dir)
	dropIdentity(t, dir)
	noon := time.Date(2026, 11, 20, 12, 30, 0, 0, time.UTC)
	e := open(t, Options{Dir: dir, Now: func() time.Time { return noon }})
	if v := format(t, e); v != formatVersion {
		t.Fatalf("format %d after opening", v)
	}
	id, err := e.Identity()
	if err != nil || id == (SpoolID{}) {
		t.Errorf("identity %v, %v", id, err)
	}
	leases, _, err := e.Lease(spool.Claim{Max: 10, Lifetime: time.Minute})
	if err != nil || len(leases) != 1 || leases[0].Cause != spool.CauseWarn || len(leases[0].Task.Recipients) != 1 {
		t.Errorf("leases %+v, %v", leases, err)
	}
	if err := e.Release(spool.TaskID{Message: leases[0].Task.ID.Message, N: 1}); err != nil {
		t.Errorf("the held task: %v", err)
	}
	for account, want := range map[string]map[string]uint32{
		"alice@example.org": {"INBOX": 1, "Archive": 1}, "bob@example.org": {"INBOX": 1},
	} {
		boxes, err := e.ListMailboxes(account)
		if err != nil || len(boxes) != len(want) {
			t.Errorf("%s has %v, %v", account, boxes, err)
		}
		for _, m := range boxes {
			if m.Messages != want[m.Name] {
				t.Errorf("%s of %s: %d messages", m.Name, account, m.Messages)
			}
			for entry, err := range e.Entries(m.ID, 1, 0) {
				if err != nil {
					t.Error(err)
				} else if b, err := readBody(e, entry.Message); err != nil || !bytes.HasPrefix(b, []byte("Subject: ")) {
					t.Errorf("message %v: %q, %v", entry.Message, b, err)
				}
			}
		}
	}
	_, err = e.Check(context.Background(), spool.CheckOptions{Bodies: true, Found: func(f spool.Finding) { t.Errorf("check: %+v", f) }})
	if err != nil {
		t.Error(err)
	}
	// What it is for: an increment.
	_, info := backup(t, e, Mark{})
	commit(t, e, []byte("x"), forAlice)
	if _, next := backup(t, e, info.Mark); next.Since == 0 {
		t.Errorf("no increment: %+v", next)
	}
	e = reopen(t, e)
	if again, err := e.Identity(); err != nil || again != id {
		t.Errorf("identity %v after reopening, was %v; %v", again, id, err)
	}
}

// dropIdentity makes of a restored spool one as format 1 had it: restoring
// gives every spool an identity.
func dropIdentity(t testing.TB, dir string) {
	t.Helper()
	raw(t, dir, func(t *tx) error { return t.delete(metaKey(metaIdentity)) })
}

// Each migration may end at any of its transactions, and is done again.
func TestMigrationsResume(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	e := open(t, Options{Dir: dir})
	crash := errors.New("crash")
	key := func(n int) []byte { return metaKey("test" + string(rune('a'+n))) }
	const steps = 3
	fails := 0
	var ran []string
	step := func(e *Engine, n int) error {
		return e.do(func(t *tx) error { return t.set(key(n), encodeCounter(uint64(n))) }, nil)
	}
	list := append(migrations(),
		migration{"three steps", func(e *Engine) error {
			ran = append(ran, "three")
			for n := range steps {
				if fails == n {
					fails++
					return crash
				}
				if err := step(e, n); err != nil {
					return err
				}
			}
			return nil
		}},
		migration{"one more", func(e *Engine) error {
			ran = append(ran, "one")
			if ok, err := e.view().has(key(steps - 1)); err != nil || !ok {
				t.Errorf("the migration before is not complete: %t, %v", ok, err)
			}
			if fails == steps {
				fails++
				return crash
			}
			return step(e, steps)
		}},
	)
	for range steps + 1 {
		if err := e.checkFormat(list); !errors.Is(err, crash) {
			t.Fatalf("migration: %v", err)
		}
	}
	if err := e.checkFormat(list); err != nil {
		t.Fatal(err)
	}
	if v := format(t, e); v != uint64(len(list)+1) {
		t.Errorf("format %d", v)
	}
	if n := len(ran); n != steps+1+2 || ran[n-1] != "one" || ran[n-2] != "one" {
		t.Errorf("ran %v", ran)
	}
	if err := e.checkFormat(list); err != nil || len(ran) != steps+3 {
		t.Errorf("migrated again: %v, %v", ran, err)
	}
	if err := e.checkFormat(migrations()); err == nil {
		t.Error("a newer format was accepted")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); err == nil {
		t.Error("a newer format was opened")
	}
}

// raw changes a closed spool behind the engine's back.
func raw(t testing.TB, dir string, f func(*tx) error) {
	t.Helper()
	db, err := badgerdb.Open(badgerOptions(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)}))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	change := &tx{txn: db.NewTransaction(true)}
	if err := errors.Join(f(change), change.commit(), db.Sync()); err != nil {
		t.Fatal(err)
	}
}
