package badger

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"restante/spool"
)

const (
	// freeCheck is how often those who take mail in look at the free space.
	freeCheck = time.Second
	// roomRetry is how often a settlement tries for room.
	roomRetry = 100 * time.Millisecond

	// DefaultMinFree is Options.MinFree when that is 0.
	DefaultMinFree = 128 << 20
)

// hardFloor is the free space below which nothing at all is written, of the
// floor below which no mail is taken in. What lies between the two is for
// settlements and deletions, which free space; what lies below is for Badger's
// own work on what it was given before: a log, the table made of one, and the
// outcome of a compaction. Badger writes to files through memory, and a full
// disk kills the process there.
func hardFloor(minFree int64) int64 { return minFree / 2 }

// level is how the disk stands.
type level int

const (
	roomy level = iota
	low         // no mail is taken in
	full        // nothing is written
)

// freeSpace remembers how the disk stood at the last look.
type freeSpace struct {
	mu     sync.Mutex
	at     time.Time
	octets int64
	level  level
	err    error // of the last look
	// statfs tells the free octets; tests put another in.
	statfs func(dir string) (int64, error)
}

func statfs(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("statfs: %w", err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// look finds out how the disk stands unless that is known from the last maxAge.
func (e *Engine) look(maxAge time.Duration) (level, error) {
	f := &e.free
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if !f.at.IsZero() && now.Sub(f.at) < maxAge {
		return f.level, f.err
	}
	octets, err := f.statfs(e.opt.Dir)
	was := f.level
	f.at, f.err = now, err
	if err != nil {
		f.level = full
	} else {
		f.octets, f.level = octets, e.levelOf(octets)
	}
	if f.level != was {
		e.tellLevel(f.level, octets, err)
	}
	return f.level, f.err
}

func (e *Engine) levelOf(free int64) level {
	switch {
	case e.opt.MinFree < 0:
		return roomy
	case free < hardFloor(e.opt.MinFree):
		return full
	case free < e.opt.MinFree:
		return low
	}
	return roomy
}

func (e *Engine) tellLevel(l level, octets int64, err error) {
	at, text := slog.LevelInfo, "free space is enough again, mail is taken in"
	switch l {
	case low:
		at, text = slog.LevelWarn, "free space is low: no mail is taken in, deliveries go on"
	case full:
		at, text = slog.LevelError, "free space is very low: the spool takes no changes until there is more"
	}
	attrs := []any{"dir", e.opt.Dir, "free", octets, "min_free", e.opt.MinFree}
	if err != nil {
		attrs = append(attrs, "err", err)
	}
	e.opt.Logger.Log(context.Background(), at, text, attrs...)
}

// room fails with spool.ErrFull when there is too little space for new mail.
func (e *Engine) room() error {
	l, err := e.look(freeCheck)
	if l == roomy {
		return e.enoughFiles()
	}
	return e.fullError(e.opt.MinFree, err)
}

// mayWrite fails when nothing may be written: after a fault, or with too
// little space for anything. The committer asks before each batch, so that no
// disk fills up between.
func (e *Engine) mayWrite(maxAge time.Duration) error {
	if maxAge == 0 {
		e.examine()
	}
	if err := e.fault(); err != nil {
		return err
	}
	if l, err := e.look(maxAge); l == full {
		return e.fullError(hardFloor(e.opt.MinFree), err)
	}
	return nil
}

// logRoom makes sure, before a batch, that the log has its blocks.
func (e *Engine) logRoom() error {
	if e.opt.MinFree < 0 {
		return nil
	}
	if err := e.wal.reserve(); err != nil {
		return e.fullError(0, err)
	}
	return nil
}

func (e *Engine) fullError(floor int64, err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", spool.ErrFull, err)
	}
	return fmt.Errorf("%w: less than %d octets free in %s", spool.ErrFull, floor, e.opt.Dir)
}
