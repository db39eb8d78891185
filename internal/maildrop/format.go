package maildrop

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
)

// A file is
//
//	magic
//	the envelope's length, 8 hexadecimal digits, and a line feed
//	the envelope
//	the body
//	SHA-256 of all of that, 32 octets
const (
	magic     = "restante maildrop 1\n"
	lengthLen = 8 + 1
	frontLen  = len(magic) + lengthLen
	// MaxEnvelope bounds an envelope, in octets.
	MaxEnvelope = 1 << 20
	// overhead is what a file may have beside the body.
	overhead = int64(frontLen + MaxEnvelope + sha256.Size)
)

// errDamaged is wrapped by everything that is wrong with a file's content.
var errDamaged = errors.New("damaged")

// encoder writes a file; close writes its end.
type encoder struct {
	w   io.Writer
	sum hash.Hash
	err error
}

func newEncoder(w io.Writer, envelope []byte) *encoder {
	e := &encoder{w: w, sum: sha256.New()}
	if len(envelope) > MaxEnvelope {
		e.err = fmt.Errorf("envelope of %d octets, %d are allowed", len(envelope), MaxEnvelope)
	}
	_, _ = fmt.Fprintf(e, "%s%08x\n", magic, len(envelope)) // e keeps the error
	_, _ = e.Write(envelope)
	return e
}

func (e *encoder) Write(p []byte) (n int, err error) {
	if e.err != nil {
		return 0, e.err
	}
	e.sum.Write(p)
	n, e.err = e.w.Write(p)
	return n, e.err
}

func (e *encoder) close() error {
	if e.err == nil {
		_, e.err = e.w.Write(e.sum.Sum(nil))
	}
	return e.err
}

// decode reads a file of a size. It reads all of it once, to see that it is
// whole, and returns the envelope and a reader of the body. An error wraps
// errDamaged unless it is r's own.
func decode(r io.ReaderAt, size int64) (envelope []byte, body *io.SectionReader, err error) {
	front := make([]byte, frontLen)
	if size < int64(frontLen+sha256.Size) {
		return nil, nil, fmt.Errorf("%w: %d octets are too few", errDamaged, size)
	}
	if err := readAt(r, front, 0); err != nil {
		return nil, nil, err
	}
	if string(front[:len(magic)]) != magic || front[frontLen-1] != '\n' {
		return nil, nil, fmt.Errorf("%w: it does not begin as a message does", errDamaged)
	}
	n, err := strconv.ParseUint(string(front[len(magic):frontLen-1]), 16, 32)
	end := size - sha256.Size
	if err != nil || n > MaxEnvelope || int64(n) > end-int64(frontLen) {
		return nil, nil, fmt.Errorf("%w: the envelope's length makes no sense", errDamaged)
	}
	sum := sha256.New()
	if k, err := io.Copy(sum, io.NewSectionReader(r, 0, end)); err != nil {
		return nil, nil, err
	} else if k < end {
		return nil, nil, fmt.Errorf("%w: it became shorter", errDamaged)
	}
	want := make([]byte, sha256.Size)
	if err := readAt(r, want, end); err != nil {
		return nil, nil, err
	}
	if string(sum.Sum(nil)) != string(want) {
		return nil, nil, fmt.Errorf("%w: it does not match its hash", errDamaged)
	}
	envelope = make([]byte, n)
	if err := readAt(r, envelope, int64(frontLen)); err != nil {
		return nil, nil, err
	}
	begin := int64(frontLen) + int64(n)
	return envelope, io.NewSectionReader(r, begin, end-begin), nil
}

// readAt fills p; what is shorter than it was is damaged.
func readAt(r io.ReaderAt, p []byte, at int64) error {
	n, err := r.ReadAt(p, at)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it became shorter", errDamaged)
	}
	return err
}
