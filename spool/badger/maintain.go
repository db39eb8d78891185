package badger

import (
	"errors"
	"fmt"
	"time"

	"restante/spool"
)

const (
	// maintainEvery is how often the engine looks whether there is something
	// to do; maintainIdle is how long there must have been no commit.
	maintainEvery = time.Second
	maintainIdle  = 5 * time.Second
	// trimEvery is how often the journals are looked at.
	trimEvery = 10 * time.Minute
	// verifyEvery is how often the tables are read and compared with their
	// checksums.
	verifyEvery = 24 * time.Hour
	// compactAfter is how many octets of bodies must have been freed before
	// it is worth to look for their space.
	compactAfter = 64 << 20
)

// maintainLoop is the housekeeping that Badger does not do by itself. While
// mail comes and goes its compactions give the space of what has gone back.
// When a large queue has drained and nothing comes after it they stop, with
// the tombstones in memory and the bodies on disk: then, in a quiet moment, the
// log is filled up so that its tombstones become a table, and all levels are
// compacted into one.
func (e *Engine) maintainLoop() {
	defer close(e.maintained)
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	trimmed := time.Now().Add(time.Minute - trimEvery) // the first soon after the start
	verified := time.Now()                             // by Open
	for {
		select {
		case <-e.closing:
			return
		case <-tick.C:
		}
		if e.mayWrite(0) != nil {
			continue // it has told why
		}
		if time.Since(trimmed) >= trimEvery {
			trimmed = time.Now()
			e.maintenance("trim journals", e.trimJournals)
		}
		if len(e.sparse(sparseAfter)) > 0 {
			e.maintenance("empty segments", func() error { return e.emptySparse(sparseAfter) })
		}
		if time.Since(verified) >= verifyEvery && e.quiet() {
			verified = time.Now()
			e.maintenance("verify tables", e.scrub)
		}
		if e.stats.freed.Load() >= e.worthwhile() && e.quiet() {
			e.maintenance("compact", e.compact)
		}
	}
}

// worthwhile is how many octets must have been freed before all tables are
// written anew: as many as half of what there is.
func (e *Engine) worthwhile() int64 {
	var size int64
	for _, l := range e.db.Levels() {
		size += l.Size
	}
	return max(compactAfter, size/2)
}

// quiet tells whether nothing has been committed for a while.
func (e *Engine) quiet() bool {
	return time.Since(time.Unix(0, e.stats.lastCommit.Load())) >= maintainIdle
}

// maintenance runs one piece of it and notes what it took.
func (e *Engine) maintenance(name string, f func() error) {
	start := time.Now()
	err := f()
	took := time.Since(start)
	e.stats.maintained(took)
	switch {
	case err == nil:
		e.opt.Logger.Debug("spool maintenance", "what", name, "took", took)
	case errors.Is(err, spool.ErrClosed), errors.Is(err, spool.ErrFull), errors.Is(err, spool.ErrReadOnly):
	default:
		e.opt.Logger.Warn("spool maintenance", "what", name, "err", err)
	}
}

// scrub looks for damage that tables have taken on the device since they were
// read last. A compaction that meets it takes it for the end of the table, drops
// the rest of the table's records, and says nothing: so no more are made then.
func (e *Engine) scrub() error {
	err := recheckTables(badgerOptions(e.opt)) // Badger itself would look at what it has in its cache
	if errors.Is(err, spool.ErrCorrupt) {
		e.setFault(fmt.Errorf("%w: %w", spool.ErrReadOnly, err))
	}
	return err
}

// compact gives the space of what was freed back. Commits go on meanwhile.
func (e *Engine) compact() error {
	freed := e.stats.freed.Load()
	if err := e.turnLog(); err != nil {
		return err
	}
	if err := e.flatten(); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	e.stats.freed.Add(-freed)
	return nil
}

// flatten has Badger compact all levels into one. It takes seconds or minutes
// and cannot be told to stop; but it says in its log when it goes from one
// compaction to the next, and badgerLog ends it there when the engine closes.
// It is not a verb in progress: Close does not wait for all of it.
func (e *Engine) flatten() error {
	done := make(chan error, 1)
	go func() {
		err := spool.ErrClosed // if it is ended
		defer func() { done <- err }()
		err = e.db.Flatten(1)
	}()
	return <-done
}

// turnLog fills the log with something that means nothing until Badger begins
// the next; it has no other way to be told.
func (e *Engine) turnLog() error {
	first := e.stats.log.Load()
	key := metaKey(metaFiller)
	for range 2 * memTableSize / chunkSize {
		if e.stats.log.Load() != first {
			break
		}
		if err := e.step(func(t *tx) error { return t.set(key, make([]byte, chunkSize, chunkSize+sumLen)) }, nil); err != nil {
			return err
		}
	}
	return e.step(func(t *tx) error { return t.delete(key) }, nil)
}
