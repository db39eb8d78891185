package badger

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// lostFoundName is the directory in the spool where Check puts what it takes
// out: bodies as ID.eml, what was known of them as ID.json, and single records
// as lines of records.jsonl. Nothing in it is ever read again, or deleted.
const lostFoundName = "lost+found"

type lostFound struct {
	dir     string
	records *os.File
}

func newLostFound(spool string) *lostFound {
	return &lostFound{dir: filepath.Join(spool, lostFoundName)}
}

// used returns the directory if there is anything in it.
func (l *lostFound) used() string {
	list, err := os.ReadDir(l.dir)
	if err != nil || len(list) == 0 {
		return ""
	}
	return l.dir
}

func (l *lostFound) close() error {
	if l.records == nil {
		return nil
	}
	return l.records.Close()
}

// create makes a file of a new name, which begins and ends so.
func (l *lostFound) create(stem, suffix string) (*os.File, error) {
	if err := os.Mkdir(l.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	name := stem
	for i := 2; ; i++ {
		f, err := os.OpenFile(filepath.Join(l.dir, name+suffix), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
		name = fmt.Sprintf("%s-%d", stem, i)
	}
}

// keep makes a file and its name durable, and closes it.
func (l *lostFound) keep(f *os.File) error {
	err := errors.Join(f.Sync(), f.Close())
	return errors.Join(err, syncDir(l.dir), syncDir(filepath.Dir(l.dir)))
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// asideRecord is one line of records.jsonl.
type asideRecord struct {
	Time time.Time `json:"time"`
	// Record names it; Key and Value are what was stored, in hexadecimal.
	Record string `json:"record"`
	Key    string `json:"key"`
	Value  string `json:"value"`
	// Content is what could be read of it, if anything.
	Content any `json:"content,omitempty"`
}

// record keeps the record under a key as it is stored.
func (l *lostFound) record(t *tx, name string, key []byte, content any) (string, error) {
	line := asideRecord{Time: time.Now(), Record: name, Key: hex.EncodeToString(key), Content: content}
	if item, err := t.txn.Get(key); err == nil {
		v, err := item.ValueCopy(nil)
		if err == nil {
			line.Value = hex.EncodeToString(v)
		}
	}
	b, err := json.Marshal(line)
	if err != nil {
		return "", err
	}
	first := l.records == nil
	if first {
		if err := os.Mkdir(l.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		f, err := os.OpenFile(filepath.Join(l.dir, "records.jsonl"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return "", err
		}
		l.records = f
	}
	if _, err := l.records.Write(append(b, '\n')); err != nil {
		return "", err
	}
	if err := l.records.Sync(); err != nil {
		return "", err
	}
	if first {
		err = errors.Join(syncDir(l.dir), syncDir(filepath.Dir(l.dir)))
	}
	return l.records.Name(), err
}
