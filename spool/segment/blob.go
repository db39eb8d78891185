package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"restante/internal/mail"
	"restante/spool"
)

// A blob in a segment:
//
//	magic:4 crc:4 length:4 number:4 owner:10 payload
//
// crc is CRC-32C of all that follows it.
const (
	magic   = "RSG1"
	headLen = 4 + 4 + 4 + 4 + 10 // of a mail.ID
	crcFrom = 8
)

// MaxBlob is the largest blob, in octets.
const MaxBlob = 1 << 20

// Ref is where a blob is.
type Ref struct {
	Segment uint32
	Offset  uint32
	// Length is that of the payload, in octets.
	Length uint32
}

// takes is what the blob occupies in its segment.
func (r Ref) takes() int64 { return int64(headLen) + int64(r.Length) }

// end is where the blob ends in its segment.
func (r Ref) end() int64 { return int64(r.Offset) + r.takes() }

// Room is how large a buffer must be to read a blob of some length into it.
func Room(length uint32) int { return headLen + int(length) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// head makes the head of a blob.
func head(owner mail.ID, number uint32, length int, parts [][]byte) []byte {
	h := make([]byte, headLen)
	copy(h, magic)
	binary.BigEndian.PutUint32(h[8:], uint32(length))
	binary.BigEndian.PutUint32(h[12:], number)
	copy(h[16:], owner[:])
	sum := crc32.Checksum(h[crcFrom:], castagnoli)
	for _, p := range parts {
		sum = crc32.Update(sum, castagnoli, p)
	}
	binary.BigEndian.PutUint32(h[4:], sum)
	return h
}

// open checks a blob as it was read, and returns its payload.
func open(blob []byte, owner mail.ID, number uint32) ([]byte, error) {
	length := len(blob) - headLen
	want := head(owner, number, length, [][]byte{blob[headLen:]})
	if !bytes.Equal(blob[:headLen], want) {
		return nil, fmt.Errorf("%w: blob %s/%d does not match its checksum", spool.ErrCorrupt, owner, number)
	}
	return blob[headLen:], nil
}

// read reads the blob at ref. The payload is in buf if that is large enough.
func read(f *os.File, ref Ref, owner mail.ID, number uint32, buf []byte) ([]byte, error) {
	if ref.Length > MaxBlob {
		return nil, fmt.Errorf("%w: blob %s/%d of %d octets", spool.ErrCorrupt, owner, number, ref.Length)
	}
	n := headLen + int(ref.Length)
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := f.ReadAt(buf, int64(ref.Offset)); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: segment %d ends before blob %s/%d", spool.ErrCorrupt, ref.Segment, owner, number)
	} else if err != nil {
		return nil, fmt.Errorf("spool: read segment: %w", err)
	}
	return open(buf, owner, number)
}

// Found is a blob that Scan has found.
type Found struct {
	Owner  mail.ID
	Number uint32
	Ref    Ref
}

// scan calls f with the blobs of a segment that match their checksums. What
// does not is passed over, up to the next that does.
func scan(r io.ReaderAt, size int64, segment uint32, f func(Found) error) error {
	buf := make([]byte, headLen+MaxBlob)
	for off := int64(0); off+int64(headLen) <= size; {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("spool: scan segment: %w", err)
		}
		got := buf[:n]
		at := bytes.Index(got, []byte(magic))
		switch {
		case at < 0:
			off += int64(max(n-len(magic)+1, 1))
			continue
		case at > 0:
			off += int64(at)
			continue
		case n < headLen:
			return nil
		}
		length := binary.BigEndian.Uint32(got[8:])
		if int64(length) > min(MaxBlob, int64(n-headLen)) {
			off++
			continue
		}
		found := Found{Number: binary.BigEndian.Uint32(got[12:]), Ref: Ref{segment, uint32(off), length}}
		copy(found.Owner[:], got[16:])
		if _, err := open(got[:headLen+int(length)], found.Owner, found.Number); err != nil {
			off++
			continue
		}
		if err := f(found); err != nil {
			return err
		}
		off = found.Ref.end()
	}
	return nil
}
