package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"restante/spool"
)

// What Badger says of its own work in its log is all there is to learn of it.
func TestBackgroundFailures(t *testing.T) {
	const long = stillFailing + time.Second
	for _, c := range []struct {
		name      string
		said      string
		ago       time.Duration
		levelZero int
		fatal     bool
		starved   bool
	}{
		{name: "nothing", levelZero: levelZeroStall},
		{name: "something else", said: "Error while reading the weather", levelZero: levelZeroStall},
		{name: "a memtable", said: "error flushing memtable to disk: input/output error, retrying", fatal: true},
		{name: "a memtable, long ago", said: "error flushing memtable to disk: input/output error, retrying", ago: long, fatal: true},
		{name: "a memtable that finds no file", said: "error flushing memtable to disk: open 3.sst: too many open files, retrying", starved: true},
		{name: "it found none long ago", said: "error flushing memtable to disk: open 3.sst: too many open files in system, retrying", ago: long},
		{name: "a compaction", said: "While running doCompact: input/output error", levelZero: 1},
		{name: "compactions, and tables pile up", said: "While running doCompact: input/output error", levelZero: levelZeroStall - 3, fatal: true},
		{name: "a compaction long ago, and tables pile up", said: "[Compactor: 1] LOG Compact FAILED with error: x", ago: long, levelZero: levelZeroStall},
	} {
		b := new(background)
		if c.said != "" {
			b.hear(c.said)
		}
		for _, at := range []interface{ Add(int64) int64 }{&b.compacted, &b.refused} {
			at.Add(-int64(c.ago))
		}
		err := b.fatal(func() int { return c.levelZero })
		if c.fatal != errors.Is(err, spool.ErrReadOnly) || c.fatal != (err != nil) {
			t.Errorf("%s: %v, fatal is %t", c.name, err, c.fatal)
		}
		if b.starved() != c.starved {
			t.Errorf("%s: starved is %t, want %t", c.name, b.starved(), c.starved)
		}
	}
}

// Damage that a table takes while the engine runs: Badger would lose the rest
// of the table in its next compaction, without a word.
func TestDamageWhileRunning(t *testing.T) {
	e := open(t, Options{})
	for i := range 200 {
		commit(t, e, fmt.Appendf(nil, "Subject: %d\r\n\r\n", i), forAlice)
	}
	if err := e.turnLog(); err != nil {
		t.Fatal(err)
	}
	var tables []string
	for end := time.Now().Add(time.Minute); len(tables) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("there is no table")
		}
		n := 0
		for _, l := range e.db.Levels() {
			n += l.NumTables
		}
		if n > 0 {
			tables, _ = filepath.Glob(filepath.Join(e.opt.Dir, "*.sst"))
		}
	}
	e.maintenance("verify tables", e.scrub)
	if err := e.fault(); err != nil {
		t.Fatalf("before the damage: %v", err)
	}
	f, err := os.OpenFile(tables[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 64)
	if _, err := f.ReadAt(b, 200); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] ^= 0xa5
	}
	if _, err := f.WriteAt(b, 200); err != nil {
		t.Fatal(err)
	}
	e.maintenance("verify tables", e.scrub)
	if err := e.fault(); !errors.Is(err, spool.ErrReadOnly) || !errors.Is(err, spool.ErrCorrupt) {
		t.Errorf("fault %v, want ErrReadOnly for ErrCorrupt", err)
	}
	if _, err := e.Create(); !errors.Is(err, spool.ErrReadOnly) {
		t.Errorf("Create: %v, want ErrReadOnly", err)
	}
}
