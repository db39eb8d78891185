package badger

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"restante/spool"
)

// spareFiles is how many file descriptors are kept for Badger's next log: the
// log, ours of the same, the table made of the one before, and some for those
// who take one in the same moment.
const spareFiles = 8

// starvedFor is how long after Badger was refused a file no new log is begun.
const starvedFor = 3 * time.Second

// spares are file descriptors that are held so that Badger can have them. If
// it cannot make its next log (EMFILE), it is left without a memtable, and
// every read panics from then on. So the committer holds some while a log
// fills up, and gives them free in the moment in which the next one may begin;
// if it has not got them it takes no more changes until there are enough.
type spares struct {
	dir   string
	files []*os.File // the committer's
	// short tells that there were too few the last time.
	short atomic.Bool
}

// hold takes as many as it has not got.
func (s *spares) hold() error {
	for len(s.files) < spareFiles {
		f, err := os.Open(s.dir)
		if err != nil {
			s.free() // somebody can do something with them
			return err
		}
		s.files = append(s.files, f)
	}
	return nil
}

// free gives all of them back.
func (s *spares) free() {
	for _, f := range s.files {
		f.Close()
	}
	s.files = s.files[:0]
}

// nextLog makes sure that Badger can begin another log in the commit that
// follows. turn tells that it may.
func (e *Engine) nextLog(turn bool) error {
	s := &e.spares
	if !turn {
		// Not at once: the table of the log before needs its own.
		if e.wal.filled > memTableSize/2 && len(s.files) == 0 && !e.background.starved() {
			s.hold() // the turn tells if it fails
		}
		return nil
	}
	err := s.hold()
	if err == nil && e.background.starved() {
		err = syscall.EMFILE
	}
	s.free()
	if err == nil {
		return nil
	}
	if !s.short.Swap(true) {
		e.opt.Logger.Error("too few files can be opened: the spool takes no changes until there are more", "err", err)
	}
	return fmt.Errorf("%w: %w", spool.ErrFull, err)
}

// enoughFiles fails while too few files can be opened, and finds out when that
// is over.
func (e *Engine) enoughFiles() error {
	s := &e.spares
	if !s.short.Load() {
		return nil
	}
	probe := spares{dir: s.dir}
	err := probe.hold()
	probe.free()
	if err == nil && e.background.starved() {
		err = syscall.EMFILE
	}
	if err != nil {
		return fmt.Errorf("%w: %w", spool.ErrFull, err)
	}
	if s.short.Swap(false) {
		e.opt.Logger.Info("files can be opened again, mail is taken in")
	}
	return nil
}

// withoutMemtable tells whether Badger failed to make a memtable: then it
// cannot be read any more either.
func withoutMemtable(err error) bool {
	return err != nil && strings.Contains(err.Error(), "cannot create new mem table")
}

// errUnreadable is what reading fails with then.
var errUnreadable = errors.New("the storage has lost its memory: restart")
