package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"restante/spool"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const sumLen = 4

// seal appends the checksum of key and payload.
func seal(key, payload []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, payload)
	return binary.BigEndian.AppendUint32(payload, sum)
}

// unseal checks and takes off what seal appended. Badger returns unreadable
// values as empty and without an error; those fail here too.
func unseal(key, value []byte) ([]byte, error) {
	if len(value) < sumLen {
		return nil, fmt.Errorf("%w: record %q is cut short", spool.ErrCorrupt, key)
	}
	payload, tail := value[:len(value)-sumLen], value[len(value)-sumLen:]
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, payload)
	if binary.BigEndian.Uint32(tail) != sum {
		return nil, fmt.Errorf("%w: record %q does not match its checksum", spool.ErrCorrupt, key)
	}
	return payload, nil
}

// enc appends fields to a record.
type enc struct{ b []byte }

func (e *enc) uint(v uint64)   { e.b = binary.AppendUvarint(e.b, v) }
func (e *enc) int(v int64)     { e.b = binary.AppendVarint(e.b, v) }
func (e *enc) byte(v byte)     { e.b = append(e.b, v) }
func (e *enc) raw(v []byte)    { e.b = append(e.b, v...) }
func (e *enc) bytes(v []byte)  { e.uint(uint64(len(v))); e.b = append(e.b, v...) }
func (e *enc) string(v string) { e.uint(uint64(len(v))); e.b = append(e.b, v...) }

func (e *enc) bool(v bool) {
	if v {
		e.byte(1)
	} else {
		e.byte(0)
	}
}

// time writes 0 for the zero time.
func (e *enc) time(t time.Time) {
	if t.IsZero() {
		e.int(0)
		return
	}
	e.int(t.UnixNano())
}

var errRecord = errors.New("malformed record")

// dec reads the fields back. The first error sticks and makes every further
// read return a zero; the caller looks at err once, at the end.
type dec struct {
	b   []byte
	err error
}

func (d *dec) fail() { d.b, d.err = nil, errRecord }

func (d *dec) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *dec) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *dec) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *dec) bool() bool { return d.byte() != 0 }

// take returns the next n octets, which alias the record.
func (d *dec) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *dec) bytes() []byte {
	v := d.take(d.uint())
	if len(v) == 0 {
		return nil
	}
	return append([]byte(nil), v...)
}

func (d *dec) string() string { return string(d.take(d.uint())) }

func (d *dec) time() time.Time {
	v := d.int()
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(0, v)
}

// count reads the length of a list whose elements take at least one octet.
func (d *dec) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

// end reports a sticky error, or octets that nobody read.
func (d *dec) end() error {
	if d.err == nil && len(d.b) != 0 {
		d.err = errRecord
	}
	if d.err != nil {
		return fmt.Errorf("%w: %w", spool.ErrCorrupt, d.err)
	}
	return nil
}

// uint32 reads a number that must fit into 32 bits.
func (d *dec) uint32() uint32 {
	v := d.uint()
	if v > 1<<32-1 {
		d.fail()
	}
	return uint32(v)
}
