package milter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// inMemory is the largest new body that is not put into a file.
const inMemory = 64 << 10

// errStore is wrapped by failures to keep a new body: they are ours, and no
// reason to let a message go on unjudged.
var errStore = errors.New("keeping the new body")

// replacement is a body in the place of the old one, as it comes in. Its line
// ends become CRLF: a bare CR or LF might be taken for an end of the message
// further down the road.
type replacement struct {
	dir   string
	limit int64

	given   bool // there is a new body, though it may be empty
	size    int64
	afterCR bool
	mem     []byte
	file    *os.File
}

// write appends a piece of the body.
func (r *replacement) write(p []byte) error {
	r.given = true
	out := make([]byte, 0, len(p)+len(p)/16+2)
	for _, c := range p {
		switch {
		case c == '\n' && !r.afterCR:
			out = append(out, '\r', '\n')
		case c != '\n' && r.afterCR:
			out = append(out, '\n', c)
		default:
			out = append(out, c)
		}
		r.afterCR = c == '\r'
	}
	return r.store(out)
}

func (r *replacement) store(p []byte) error {
	if r.size += int64(len(p)); r.size > r.limit {
		return protocolError("a new body of more than %d octets", r.limit)
	}
	if r.file == nil && len(r.mem)+len(p) <= inMemory {
		r.mem = append(r.mem, p...)
		return nil
	}
	if r.file == nil {
		f, err := os.CreateTemp(r.dir, "milter-*")
		if err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
		}
		r.file = f
		// Without a name it is gone when nobody has it open, even after a crash.
		if err := os.Remove(f.Name()); err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
		}
		if _, err := f.Write(r.mem); err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
		}
		r.mem = nil
	}
	if _, err := r.file.Write(p); err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	return nil
}

// reader returns the new body from its beginning, nil if there is none. It is
// the caller's to close.
func (r *replacement) reader() (io.ReadCloser, error) {
	if !r.given {
		return nil, nil
	}
	if r.afterCR {
		r.afterCR = false
		if err := r.store([]byte("\n")); err != nil {
			return nil, err
		}
	}
	if r.file == nil {
		return io.NopCloser(bytes.NewReader(r.mem)), nil
	}
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("%w: %w", errStore, err)
	}
	f := r.file
	r.file = nil
	return f, nil
}

// drop throws the new body away, unless a reader has it.
func (r *replacement) drop() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
	r.mem = nil
}
