package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// inMemory is how much of a message is kept in memory before it goes to a file.
const inMemory = 1 << 20

// collected is a whole message: what is in memory, then what is in a file.
type collected struct {
	front bytes.Buffer
	size  int64
	file  *os.File // nil if memory was enough
}

// reader reads the message from its beginning, as often as it is called.
func (c *collected) reader() io.Reader {
	front := bytes.NewReader(c.front.Bytes())
	if c.file == nil {
		return front
	}
	return io.MultiReader(front, io.NewSectionReader(c.file, 0, c.size-int64(c.front.Len())))
}

// Close gives up the file, which has no name any more.
func (c *collected) Close() {
	if c.file != nil {
		c.file.Close()
	}
}

// errTooLong is a message larger than the limit.
var errTooLong = errors.New("message too large")

// collect reads a message of at most limit octets to its end.
func collect(r io.Reader, limit int64) (*collected, error) {
	r = io.LimitReader(r, limit+1)
	c := &collected{}
	n, err := io.CopyN(&c.front, r, inMemory)
	c.size = n
	if err == nil {
		err = c.spill(r)
	}
	if err == io.EOF {
		err = nil
	}
	if err == nil && c.size > limit {
		err = fmt.Errorf("%w: more than %d octets", errTooLong, limit)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// spill takes the rest of a message to a file.
func (c *collected) spill(r io.Reader) (err error) {
	if c.file, err = os.CreateTemp("", "restante-sendmail"); err != nil {
		return err
	}
	if err = os.Remove(c.file.Name()); err != nil {
		return err
	}
	n, err := io.Copy(c.file, r)
	c.size += n
	return err
}

// untilDot ends at a line that is nothing but a dot.
type untilDot struct {
	r     *bufio.Reader
	start bool   // at the start of a line
	held  []byte // read, not yet given out
	err   error
}

func (u *untilDot) Read(p []byte) (int, error) {
	if len(u.held) == 0 {
		if u.err != nil {
			return 0, u.err
		}
		u.next()
	}
	n := copy(p, u.held)
	u.held = u.held[n:]
	if n == 0 && u.err != nil {
		return 0, u.err
	}
	return n, nil
}

// next reads a line, or as much of one as the buffer holds. What it holds is
// valid until the next call, when all of it has been given out.
func (u *untilDot) next() {
	line, err := u.r.ReadSlice('\n')
	if u.start && (string(line) == ".\n" || string(line) == ".\r\n" || string(line) == "." && err == io.EOF) {
		u.held, u.err = nil, io.EOF
		return
	}
	u.held, u.start = line, err == nil
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		u.err = err
	}
}
