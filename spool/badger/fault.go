package badger

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"restante/spool"
)

// background is what Badger says of its own work in its log, the only place
// where it does: it tries for ever what fails, and stops the writers without a
// word when it has fallen too far behind.
type background struct {
	flush      atomic.Pointer[string] // the first failure to write a table
	compaction atomic.Pointer[string] // the last failure to compact
	compacted  atomic.Int64           // when that was, Unix nanoseconds
	refused    atomic.Int64           // likewise, when Badger was refused a file
	failures   atomic.Int64
	closing    atomic.Bool // Close has begun
}

// flattening is how Badger begins to tell of each compaction of a Flatten, and
// of nothing else, in the goroutine that called it and without locks.
const flattening = "Attempting to compact with"

// mayEnd ends the goroutine of a Flatten when the engine closes.
func (b *background) mayEnd(format string) {
	if strings.HasPrefix(format, flattening) && b.closing.Load() {
		runtime.Goexit()
	}
}

// hear looks for the messages that matter.
func (b *background) hear(text string) {
	switch {
	case strings.Contains(text, syscall.EMFILE.Error()), strings.Contains(text, syscall.ENFILE.Error()):
		// It tries again, and no other log is begun meanwhile.
		b.refused.Store(time.Now().UnixNano())
	case strings.Contains(text, "error flushing memtable"):
		b.flush.CompareAndSwap(nil, &text)
	case strings.Contains(text, "While running doCompact"), strings.Contains(text, "LOG Compact FAILED"):
		text = text[:min(len(text), 500)] // it lists every table
		b.compaction.Store(&text)
		b.compacted.Store(time.Now().UnixNano())
	default:
		return
	}
	b.failures.Add(1)
}

// stillFailing is how long ago a compaction may have failed, which Badger tries
// many times in a second, to count as one that fails.
const stillFailing = 10 * time.Second

func since(at *atomic.Int64) time.Duration { return time.Since(time.Unix(0, at.Load())) }

// starved tells whether Badger was refused a file just now.
func (b *background) starved() bool { return since(&b.refused) < starvedFor }

// fatal returns why Badger cannot go on. levelZero tells how many tables wait to
// be compacted.
func (b *background) fatal(levelZero func() int) error {
	if text := b.flush.Load(); text != nil {
		return fmt.Errorf("%w: %s", spool.ErrReadOnly, *text)
	}
	text := b.compaction.Load()
	if text != nil && since(&b.compacted) < stillFailing && levelZero() >= levelZeroStall-3 {
		return fmt.Errorf("%w: %s", spool.ErrReadOnly, *text)
	}
	return nil
}

// examine turns the engine read-only before Badger, which cannot do its own
// work any more, stops the committer for good or loses its memtable: when a
// table could not be written, when compactions fail and the tables pile up,
// when no file can be made.
func (e *Engine) examine() {
	if err := e.background.fatal(func() int { return e.db.Levels()[0].NumTables }); err != nil {
		e.setFault(err)
	}
	if err := unix.Access(e.opt.Dir, unix.W_OK|unix.X_OK); err != nil {
		e.setFault(fmt.Errorf("%w: %s: %w", spool.ErrReadOnly, e.opt.Dir, err))
	}
}

// fault returns the error that made the engine read-only, or nil.
func (e *Engine) fault() error {
	if p := e.broken.Load(); p != nil {
		return *p
	}
	return nil
}

func (e *Engine) setFault(err error) {
	if e.broken.CompareAndSwap(nil, &err) {
		e.opt.Logger.Error("the spool takes no changes any more; restart after mending the cause", "err", err)
	}
}

// closePatience is how long Close waits for Badger to end its own work; all
// that was acknowledged is in its logs already, as after kill -9.
const closePatience = 3 * time.Second

// closeBadger ends the housekeeping and closes Badger. It gives up waiting when
// a compaction takes too long, or when Badger, after a fault, tries one for
// ever; the directory stays locked until the process ends then.
func (e *Engine) closeBadger() error {
	done := make(chan error, 1)
	go func() {
		<-e.maintained
		done <- e.db.Close()
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(e.closePatience):
	}
	if err := e.fault(); err != nil {
		return fmt.Errorf("spool: Badger could not end its work, and is left: %w", err)
	}
	e.opt.Logger.Info("closing without waiting for a compaction; opening does what is left of it")
	return nil
}
