package badger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/spool"
)

// Badger cuts its manifest off at a record whose length points past the end,
// and deletes the tables that it told of from there on. Any bit of it that is
// turned must either be noticed or not matter.
func TestManifestDamageIsNoticed(t *testing.T) {
	_, dir, _ := damageSpools(t)
	opt := badgerOptions(Options{Dir: dir})
	name := filepath.Join(dir, badgerdb.ManifestFilename)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	tables := func() ([]string, error) {
		names, err := tableNames(opt)
		slices.Sort(names)
		return names, err
	}
	want, err := tables()
	if err != nil || len(want) == 0 {
		t.Fatalf("tables %q, %v", want, err)
	}
	for i := range 8 * len(whole) {
		b := bytes.Clone(whole)
		b[i/8] ^= 1 << (i % 8)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := tables(); err == nil && !slices.Equal(got, want) {
			t.Errorf("octet %d, bit %d: tables %q are left, and no error", i/8, i%8, got)
		}
	}
	// A record that was being written when the power failed is no damage.
	for n := range len(whole) {
		if err := os.WriteFile(name, append(bytes.Clone(whole), whole[8:8+min(n, len(whole)-9)]...), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := tables(); n < 8 && (err != nil || !slices.Equal(got, want)) {
			t.Errorf("%d octets of a torn record: %q, %v", n, got, err)
		}
	}
}

// A block of a table that does not match its checksum makes Badger panic, or
// ends its iterations in silence.
func TestTableDamageIsNoticed(t *testing.T) {
	dir, _, _ := damageSpools(t)
	names, err := tableNames(badgerOptions(Options{Dir: dir}))
	if err != nil || len(names) == 0 {
		t.Fatalf("tables %q, %v", names, err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range 64 { // one bit alone may be turned and mean the same when decompressed
		b[len(b)/3+i] ^= 0xa5
	}
	if err := os.WriteFile(names[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if e, err := Open(Options{Dir: dir}); !errors.Is(err, spool.ErrCorrupt) {
		e.Close()
		t.Fatalf("Open: %v, want ErrCorrupt", err)
	}
}

// When a sync fails, nothing that was committed meanwhile is acknowledged
// either, though a later sync may well succeed: the kernel drops the pages that
// it could not write.
func TestNothingIsAcknowledgedAfterAFailedSync(t *testing.T) {
	e := open(t, Options{})
	commit(t, e, []byte("x"), forBob)
	begun, fail := make(chan struct{}), make(chan struct{})
	var syncs atomic.Int32
	e.wal.datasync = func(*os.File) error {
		if syncs.Add(1) > 1 {
			return nil
		}
		close(begun)
		<-fail
		return errors.New("device gone")
	}
	set := func(*tx) error { return nil }
	first := e.submit(func(t *tx) error { return t.set(metaKey("a"), encodeCounter(1)) }, nil)
	<-begun
	var told atomic.Bool
	second := e.submit(func(t *tx) error { return t.set(metaKey("b"), encodeCounter(1)) }, func() { told.Store(true) })
	empty := e.submit(set, nil)
	close(fail)
	for i, c := range []<-chan error{first, second, empty} {
		if err := <-c; !errors.Is(err, spool.ErrUncertain) && !errors.Is(err, spool.ErrReadOnly) {
			t.Errorf("operation %d: %v, want ErrUncertain or ErrReadOnly", i, err)
		}
	}
	if told.Load() {
		t.Error("somebody was told of a change that may be lost")
	}
	if err := e.do(set, nil); !errors.Is(err, spool.ErrReadOnly) {
		t.Errorf("afterwards: %v, want ErrReadOnly", err)
	}
}

// Badger does not tell how much of a transaction it has stored when Commit
// fails.
func TestAmbiguousCommitMakesReadOnly(t *testing.T) {
	e := open(t, Options{})
	commit(t, e, []byte("x"), forBob)
	stop := make(chan struct{})
	err := e.do(func(tx *tx) error {
		if err := tx.set(metaKey("a"), encodeCounter(1)); err != nil {
			return err
		}
		close(stop)
		return e.db.Close() // the Commit that follows is refused
	}, func() { t.Error("somebody was told of it") })
	<-stop
	if !errors.Is(err, spool.ErrUncertain) {
		t.Errorf("commit: %v, want ErrUncertain", err)
	}
	if err := e.fault(); !errors.Is(err, spool.ErrReadOnly) {
		t.Errorf("then: %v, want ErrReadOnly", err)
	}
}
