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
// nothing is ever written. walSync waits for the .mem file alone.
//
// It rests on three facts of Badger, which tests hold: a transaction goes
// whole into the memtable that is current when its Commit returns; memtables
// are files named by ascending numbers; a new one is made only inside a
// Commit. The committer alone commits, one transaction at a time, and syncs
// before the next, so no log is left behind unsynced when it is exchanged.
type walSync struct {
	dir  string
	num  int
	file *os.File
}

const walSuffix = ".mem"

func (w *walSync) name(num int) string {
	return filepath.Join(w.dir, fmt.Sprintf("%05d%s", num, walSuffix))
}

// openWAL finds the current log of an open Badger.
func openWAL(dir string) (*walSync, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("spool: find log: %w", err)
	}
	w := &walSync{dir: dir, num: -1}
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
	return w, w.use(w.num)
}

// use opens a log and makes sure that its name is durable.
func (w *walSync) use(num int) error {
	f, err := os.Open(w.name(num))
	if err != nil {
		return fmt.Errorf("spool: open log: %w", err)
	}
	dir, err := os.Open(w.dir)
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("spool: sync directory: %w", err)
	}
	w.close()
	w.num, w.file = num, f
	return nil
}

// sync makes everything committed so far durable.
func (w *walSync) sync() error {
	for {
		_, err := os.Stat(w.name(w.num + 1))
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			return fmt.Errorf("spool: next log: %w", err)
		}
		if err := w.use(w.num + 1); err != nil {
			return err
		}
	}
	if err := datasync(w.file); err != nil {
		return fmt.Errorf("spool: sync log: %w", err)
	}
	return nil
}

func (w *walSync) close() {
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
}
