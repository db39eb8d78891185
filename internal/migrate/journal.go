package migrate

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Journal is the file that says which messages of a source have been taken. A
// line is the hash of one, in hexadecimal; the last may be broken off.
type Journal struct {
	f     *os.File
	name  string
	taken map[[keySize]byte]struct{}
	added int
}

// keySize is how much of a hash is kept: at 2^64 no two messages meet by chance.
const keySize = 16

// syncEvery bounds the lines that a crash of the machine can lose. The daemon
// remembers them for a day.
const syncEvery = 200

// journalHead is the first line.
const journalHead = "restante import 1 "

// OpenJournal reads the journal at path, or begins one. name is what it is
// about; one about something else is refused. With readOnly nothing is made. It
// is locked: two runs at a time would not see what the other takes.
func OpenJournal(path, name string, readOnly bool) (*Journal, error) {
	j := &Journal{name: name, taken: make(map[[keySize]byte]struct{})}
	head := journalHead + hex.EncodeToString(sum(name))
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	switch {
	case errors.Is(err, fs.ErrNotExist) && readOnly:
		return j, nil
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: another run uses it", path), f.Close())
	}
	end, err := j.read(f, head)
	if err == nil && !readOnly {
		// A line that was broken off goes.
		if err = f.Truncate(end); err == nil {
			_, err = f.Seek(end, io.SeekStart)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	j.f = f
	if end == 0 && !readOnly {
		if _, err := f.WriteString(head + "\n"); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return j, nil
}

func sum(parts ...string) []byte {
	h := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return h[:keySize]
}

// read returns where the last whole line ends.
func (j *Journal) read(f *os.File, head string) (end int64, err error) {
	in := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			return end, nil
		}
		if err != nil {
			return 0, err
		}
		end += int64(len(line))
		line = strings.TrimSuffix(line, "\n")
		var key [keySize]byte
		switch b, err := hex.DecodeString(line); {
		case n == 1 && line != head:
			return 0, errors.New("it is no journal, or one of another account or source")
		case n == 1:
		case err != nil || len(b) != keySize:
			return 0, fmt.Errorf("line %d makes no sense", n)
		default:
			copy(key[:], b)
			j.taken[key] = struct{}{}
		}
	}
}

// Has tells whether a message has been taken.
func (j *Journal) Has(place, key string) bool {
	_, ok := j.taken[[keySize]byte(sum(place, key))]
	return ok
}

// Once is the name of a message's deposit.
func (j *Journal) Once(place, key string) string {
	return hex.EncodeToString(sum(j.name, place, key))
}

// Add writes down that a message has been taken.
func (j *Journal) Add(place, key string) error {
	h := [keySize]byte(sum(place, key))
	j.taken[h] = struct{}{}
	if _, err := j.f.WriteString(hex.EncodeToString(h[:]) + "\n"); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if j.added++; j.added%syncEvery == 0 {
		return j.Sync()
	}
	return nil
}

// Sync makes what was written down durable.
func (j *Journal) Sync() error {
	if j.f == nil {
		return nil
	}
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// Close ends it.
func (j *Journal) Close() error {
	if j.f == nil {
		return nil
	}
	return errors.Join(j.Sync(), j.f.Close())
}
