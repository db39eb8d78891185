package badger

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"restante/spool"
)

// compactions is a log handler that counts the compactions of a Flatten, and
// calls meet, if it is not nil, at each of them.
type compactions struct {
	n    atomic.Int64
	meet func()
}

func (c *compactions) Enabled(context.Context, slog.Level) bool { return true }
func (c *compactions) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *compactions) WithGroup(string) slog.Handler            { return c }

func (c *compactions) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "badger: "+flattening) {
		c.n.Add(1)
		if c.meet != nil {
			c.meet()
		}
	}
	return nil
}

// fillLevels stores what takes several compactions to flatten.
func fillLevels(t *testing.T, e *Engine) {
	t.Helper()
	rnd := rand.NewChaCha8([32]byte{7})
	for i := range uint32(4 * memTableSize / chunkSize) {
		if err := e.do(func(t *tx) error {
			noise := make([]byte, chunkSize, chunkSize+sumLen)
			rnd.Read(noise)
			return t.set(binary.BigEndian.AppendUint32(metaKey("test"), i*2654435761), noise)
		}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// maintainNow has the maintenance loop compact.
func maintainNow(e *Engine) {
	e.stats.freed.Store(e.worthwhile())
	e.stats.lastCommit.Store(0)
}

// awaitCompaction has the maintenance loop compact until there was something to
// compact: on a slow disk what was stored is still on its way to the tables when
// it looks for the first time.
func awaitCompaction(t *testing.T, e *Engine, begun <-chan struct{}) {
	t.Helper()
	for range 60 {
		maintainNow(e)
		select {
		case <-begun:
			return
		case <-time.After(2 * time.Second):
		}
	}
	t.Fatal("nothing is compacted")
}

// Badger's Flatten cannot be told to stop: Close ends it between two of its
// compactions.
func TestCloseEndsFlatten(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	log := new(compactions)
	e := open(t, Options{Logger: slog.New(log)})
	e.closePatience = time.Minute
	fillLevels(t, e)
	begun := make(chan struct{})
	log.meet = func() {
		if log.n.Load() == 1 {
			close(begun)
			for !e.isClosing() {
				time.Sleep(time.Millisecond)
			}
		}
	}
	awaitCompaction(t, e, begun)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if e.stats.freed.Load() == 0 {
		t.Error("flattening was not ended: was there more than one compaction?")
	}
	if n := log.n.Load(); n > 2 {
		t.Errorf("%d compactions were begun, want the one at work and one that was ended", n)
	}
	log.meet = nil
	e = reopen(t, e)
	if err := e.flatten(); err != nil {
		t.Errorf("flatten after the other was ended: %v", err)
	}
}

// When a compaction does not end, Close leaves Badger as a kill would; what was
// acknowledged is there.
func TestCloseLeavesACompaction(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	log := new(compactions)
	e := open(t, Options{Logger: slog.New(log)})
	e.closePatience = 50 * time.Millisecond
	at := commit(t, e, []byte("kept"), forAlice).Deposited[0]
	fillLevels(t, e)
	begun, release := make(chan struct{}), make(chan struct{})
	log.meet = func() {
		if log.n.Load() == 1 {
			close(begun)
		}
		<-release
	}
	awaitCompaction(t, e, begun)
	start := time.Now()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("closing took %v", took)
	}
	if _, err := Open(Options{Dir: e.opt.Dir}); !errors.Is(err, spool.ErrInUse) {
		t.Errorf("open while Badger is left: %v, want ErrInUse", err)
	}
	close(release)
	var other *Engine
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var err error
		if other, err = Open(Options{Dir: e.opt.Dir}); err == nil {
			break
		}
		if !errors.Is(err, spool.ErrInUse) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
	defer other.Close()
	if n, err := other.Entry(at.Mailbox, at.UID); err != nil {
		t.Error(err)
	} else if got, err := readBody(other, n.Message); err != nil || string(got) != "kept" {
		t.Errorf("body %q, %v", got, err)
	}
	if l := other.Losses(); len(l) > 0 {
		t.Errorf("losses %+v", l)
	}
}
