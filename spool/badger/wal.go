package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// walSync makes commits durable, instead of Badger's SyncWrites. That waits
// for the device twice for every transaction: once for the log of the memtable
// (the .mem file), and once for a value log in which, with our threshold,
// hardly anything is ever written. walSync waits for the .mem file alone, and
// for the value log when something was.
//
// It rests on three facts of Badger, which tests hold: a transaction goes
// whole into the memtable that is current when its Commit returns; memtables
// are files named by ascending numbers; a new one is made only inside a
// Commit, when the one before is full.
//
// The committer looks after each Commit which log it went into, and so misses
// none; syncLoop syncs the logs in their order. Within a log Badger reads
// nothing behind a gap, so it does not matter in which order its pages reach
// the device. From one log to the next it would matter: a later transaction
// must not survive an earlier one. So when the log may be full the committer
// waits until all of it is durable before it commits again (mayChange).
type walSync struct {
	dir string

	// The committer's: the current log, and a bound of what is in it.
	num    int
	file   *os.File
	filled int64
	early  int // changes that mayChange did not tell of
	// reserved tells that the log has its blocks, so that writing to it
	// through memory cannot meet a full disk.
	reserved bool

	// names makes the names of logs durable; it is held open, since that must
	// not fail for want of a file.
	names *os.File

	// syncLoop's: the log that it synced last.
	synced *os.File
	// datasync waits for the device; tests put one in that fails.
	datasync func(*os.File) error
}

const walSuffix = ".mem"

// valueThreshold is the size in octets from which Badger puts a value into its
// value log; it allows no higher one. A task with thousands of recipients is
// as large.
const valueThreshold = 1 << 20

func (w *walSync) name(num int) string {
	return filepath.Join(w.dir, fmt.Sprintf("%05d%s", num, walSuffix))
}

// path is the current log's name as the kernel knows it.
func (w *walSync) path() string {
	name, err := filepath.Abs(w.name(w.num))
	if err == nil {
		if real, err := filepath.EvalSymlinks(name); err == nil {
			return real
		}
	}
	return name
}

// openWAL finds the current log of an open Badger.
func openWAL(dir string) (*walSync, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("spool: find log: %w", err)
	}
	w := &walSync{dir: dir, num: -1, datasync: datasync}
	for _, entry := range list {
		if stem, ok := strings.CutSuffix(entry.Name(), walSuffix); ok {
			if num, err := strconv.Atoi(stem); err == nil {
				w.num = max(w.num, num)
			}
		}
	}
	if w.num < 0 {
		return nil, errors.New("spool: Badger has no log in " + dir)
	}
	if w.file, err = os.OpenFile(w.name(w.num), os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("spool: open log: %w", err)
	}
	if w.names, err = os.Open(dir); err != nil {
		w.file.Close()
		return nil, fmt.Errorf("spool: open directory: %w", err)
	}
	adviseRandom(w.path())
	return w, nil
}

// mayChange tells whether the next Commit may begin a new log.
func (w *walSync) mayChange() bool { return w.filled >= memTableSize }

// follow returns the log that the last Commit went into, with up to n octets;
// told is what mayChange said before it.
func (w *walSync) follow(n int64, told bool) (*os.File, error) {
	// Looked at before it is opened: a process without files to spare is told
	// so even of a name that is not there.
	_, err := os.Lstat(w.name(w.num + 1))
	var next *os.File
	if err == nil {
		next, err = os.OpenFile(w.name(w.num+1), os.O_RDWR, 0)
	}
	switch {
	case err == nil:
		if !told {
			w.early++
		}
		w.num++
		w.file, w.filled, w.reserved = next, 0, false
		adviseRandom(w.path())
	case !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("spool: next log: %w", err)
	}
	w.filled += n
	return w.file, nil
}

// logSize is the most that a log comes to: Badger exchanges it before the
// first transaction after memTableSize, and a transaction is at most 15 % of
// that; there is more around each record than Badger counts.
const logSize = memTableSize + memTableSize/4

// reserve gives the current log its blocks.
func (w *walSync) reserve() error {
	if w.reserved {
		return nil
	}
	if err := reserve(w.file, logSize); err != nil {
		return fmt.Errorf("reserve space for the log: %w", err)
	}
	w.reserved = true
	return nil
}

// sync makes groups durable.
func (w *walSync) sync(list []*group) error {
	dirty := false
	for _, g := range list {
		if g.err != nil || g.log == nil {
			continue
		}
		if g.log != w.synced {
			if err := w.change(g.log, dirty); err != nil {
				return err
			}
		}
		dirty = true
	}
	if !dirty {
		return nil
	}
	return w.data()
}

// change goes on to another log, whose name is made durable, and leaves the
// one before.
func (w *walSync) change(log *os.File, dirty bool) error {
	if dirty {
		if err := w.data(); err != nil {
			return err
		}
	}
	if w.synced != nil {
		w.synced.Close()
	}
	w.synced = log
	if err := w.names.Sync(); err != nil {
		return fmt.Errorf("spool: sync directory: %w", err)
	}
	return nil
}

// syncValues makes the value log durable. The committer calls it after a
// Commit that wrote to it; it is rare enough to wait for, and to sync all of
// its files instead of finding out which.
func (w *walSync) syncValues() error {
	names, err := filepath.Glob(filepath.Join(w.dir, "*.vlog"))
	if err != nil {
		return fmt.Errorf("spool: value log: %w", err)
	}
	for _, name := range append(names, w.dir) {
		f, err := os.Open(name)
		if err == nil {
			err = errors.Join(w.datasync(f), f.Close())
		}
		if err != nil {
			return fmt.Errorf("spool: sync value log: %w", err)
		}
	}
	return nil
}

func (w *walSync) data() error {
	if err := w.datasync(w.synced); err != nil {
		return fmt.Errorf("spool: sync log: %w", err)
	}
	return nil
}

// close ends both sides' use of the logs.
func (w *walSync) close() {
	if w.synced != nil && w.synced != w.file {
		w.synced.Close()
	}
	w.file.Close()
	w.names.Close()
}
