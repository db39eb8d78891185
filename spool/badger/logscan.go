package badger

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"restante/spool"
)

// Badger reads each of its logs up to the first record that it cannot make
// sense of, and drops the rest without a word. Where that is not the last log,
// the counter in the storage does not tell, since a later log has a higher one.
// So before Badger opens the logs we look through them for our commit numbers:
// from one log to the next, they must go on without a gap.

// The layout of Badger's logs: a header, then records of meta, user meta, the
// lengths of key and value and an expiry as varints, the key with its version,
// the value, and a CRC-32C of all that.
const (
	logHeader  = 20
	versionLen = 8
	bitTxn     = 1 << 6
	bitFinTxn  = 1 << 7
	maxLogPart = 1 << 26 // no key or value is as large
)

// findGaps returns the runs of commits that are missing between logs.
func findGaps(dir string) ([]spool.Loss, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"+walSuffix))
	if err != nil {
		return nil, err
	}
	num := func(name string) int {
		n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), walSuffix))
		if err != nil {
			return -1
		}
		return n
	}
	slices.SortFunc(names, func(a, b string) int { return num(a) - num(b) })
	var gaps []spool.Loss
	var last mark
	lost := false // a log had something in it, and none of it is left
	for _, name := range names {
		first, end, err := scanLog(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process has the spool open; Badger will say so
		}
		if err != nil {
			return nil, err
		}
		if first.number == 0 {
			started, err := begun(name)
			if err != nil {
				return nil, err
			}
			lost = lost || started
			continue
		}
		if last.number == 0 && lost {
			last.number = first.number - 2 // the one before was in it, at least
		}
		if last.number > 0 && first.number > last.number+1 {
			gaps = append(gaps, spool.Loss{First: last.number + 1, Last: first.number - 1, From: last.at, To: first.at})
		}
		last = end
	}
	return gaps, nil
}

// begun tells whether something was ever written to a log.
func begun(name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	b := make([]byte, 64)
	n, err := f.ReadAt(b, logHeader)
	if err == io.EOF {
		err = nil
	}
	return bytes.ContainsFunc(b[:n], func(r rune) bool { return r != 0 }), err
}

// scanLog returns the first and the last whole commit of a log, as Badger will
// read it; zero marks if there is none.
func scanLog(name string) (first, last mark, err error) {
	f, err := os.Open(name)
	if err != nil {
		return first, last, err
	}
	defer f.Close()
	if _, err := f.Seek(logHeader, io.SeekStart); err != nil {
		return first, last, err
	}
	return scanRecords(bufio.NewReaderSize(f, 256<<10))
}

func scanRecords(r *bufio.Reader) (first, last mark, err error) {
	s := logReader{r: r}
	var version uint64
	var found mark // in the transaction that is being read
	for {
		rec, ok, err := s.next()
		if err != nil || !ok {
			return first, last, err
		}
		ts := ^binary.BigEndian.Uint64(rec.key[len(rec.key)-versionLen:])
		switch {
		case rec.meta&bitTxn != 0:
			if version == 0 {
				version = ts
			}
			if version != ts {
				return first, last, nil
			}
			if key := rec.key[:len(rec.key)-versionLen]; bytes.Equal(key, commitsKey()) {
				payload, err := unseal(key, rec.value)
				if err == nil {
					found, err = decodeCommits(payload)
				}
				if err != nil {
					return first, last, nil // not ours after all
				}
			}
		case rec.meta&bitFinTxn != 0:
			if end, err := strconv.ParseUint(string(rec.value), 10, 64); err != nil || end != version {
				return first, last, nil
			}
			if found.number > 0 {
				if first.number == 0 {
					first = found
				}
				last = found
			}
			version, found = 0, mark{}
		case version != 0:
			return first, last, nil
		}
	}
}

// logRecord is one record of a log; its slices live until the next.
type logRecord struct {
	meta       byte
	key, value []byte
}

type logReader struct {
	r   *bufio.Reader
	buf []byte
}

// next reads a record; ok is false where the log ends, or makes no sense.
func (s *logReader) next() (rec logRecord, ok bool, err error) {
	head, err := s.r.Peek(2 + 3*binary.MaxVarintLen64)
	if err != nil && err != io.EOF {
		return rec, false, err
	}
	if len(head) < 2 {
		return rec, false, nil
	}
	rec.meta = head[0]
	at := 2
	var lengths [3]uint64 // key, value, expiry
	for i := range lengths {
		v, n := binary.Uvarint(head[at:])
		if n <= 0 {
			return rec, false, nil
		}
		lengths[i], at = v, at+n
	}
	klen, vlen := lengths[0], lengths[1]
	if klen < versionLen || klen > maxLogPart || vlen > maxLogPart {
		return rec, false, nil
	}
	n := at + int(klen) + int(vlen) + crc32.Size
	if cap(s.buf) < n {
		s.buf = make([]byte, n)
	}
	b := s.buf[:n]
	if _, err := io.ReadFull(s.r, b); err == io.EOF || err == io.ErrUnexpectedEOF {
		return rec, false, nil
	} else if err != nil {
		return rec, false, err
	}
	body, sum := b[:n-crc32.Size], b[n-crc32.Size:]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(sum) {
		return rec, false, nil
	}
	rec.key, rec.value = body[at:at+int(klen)], body[at+int(klen):]
	return rec, true, nil
}
