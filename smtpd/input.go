package smtpd

import (
	"bufio"
	"bytes"
	"io"
	"sync"
)

const (
	// smallBuffer is what an idle connection has for input: a group of
	// commands as most clients send them.
	smallBuffer = 512
	// largeBuffer holds the longest line there is, that of AUTH. A connection
	// has it while more comes at a time than the small one holds.
	largeBuffer = 16 << 10
)

// input is what the client has sent and nobody has read. It does what a
// bufio.Reader does, with a buffer that is large only when that is needed: a
// connection that waits, as most do, costs little.
type input struct {
	r          io.Reader
	large      *sync.Pool // of *[]byte
	buf        []byte
	small      []byte
	borrowed   *[]byte // the large buffer that buf is, if it is one
	begin, end int
	err        error // of the last read, for the next call
}

func newInput(r io.Reader, large *sync.Pool) *input {
	small := make([]byte, smallBuffer)
	return &input{r: r, large: large, buf: small, small: small}
}

// Reset begins to read from r; nothing of before is left.
func (in *input) Reset(r io.Reader) {
	in.r, in.begin, in.end, in.err = r, 0, 0, nil
}

// Buffered is how many octets can be read without waiting.
func (in *input) Buffered() int { return in.end - in.begin }

// hasLine tells whether a line can be read without waiting.
func (in *input) hasLine() bool { return bytes.IndexByte(in.buf[in.begin:in.end], '\n') >= 0 }

// Peek returns the next n octets, or fewer and why, without reading them. It
// waits for them. The result is valid until the next call.
func (in *input) Peek(n int) ([]byte, error) {
	for in.Buffered() < n && in.err == nil {
		if !in.fill() {
			return in.buf[in.begin:in.end], bufio.ErrBufferFull
		}
	}
	var err error
	if in.Buffered() < n {
		n, err = in.Buffered(), in.takeErr()
	}
	return in.buf[in.begin : in.begin+n], err
}

// Discard reads n octets that are there.
func (in *input) Discard(n int) (int, error) {
	n = min(n, in.Buffered())
	in.begin += n
	return n, nil
}

// ReadSlice reads until delim, which the result includes. It fails with
// bufio.ErrBufferFull, and what there is, if no buffer can hold so much. The
// result is valid until the next call.
func (in *input) ReadSlice(delim byte) ([]byte, error) {
	seen := 0
	for {
		if i := bytes.IndexByte(in.buf[in.begin+seen:in.end], delim); i >= 0 {
			line := in.buf[in.begin : in.begin+seen+i+1]
			in.begin += len(line)
			return line, nil
		}
		seen = in.Buffered()
		if in.err != nil || !in.fill() {
			line, err := in.buf[in.begin:in.end], error(bufio.ErrBufferFull)
			if in.err != nil {
				err = in.takeErr()
			}
			in.begin = in.end
			return line, err
		}
	}
}

// Read reads what is buffered, or else from below.
func (in *input) Read(p []byte) (int, error) {
	if in.Buffered() == 0 {
		if in.err != nil {
			return 0, in.takeErr()
		}
		return in.r.Read(p)
	}
	n := copy(p, in.buf[in.begin:in.end])
	in.begin += n
	return n, nil
}

// fill reads once, and tells whether there was room to.
func (in *input) fill() bool {
	if in.begin > 0 {
		in.end = copy(in.buf, in.buf[in.begin:in.end])
		in.begin = 0
	}
	if in.end == len(in.buf) {
		if in.borrowed != nil {
			return false
		}
		in.grow()
	}
	var n int
	n, in.err = in.r.Read(in.buf[in.end:])
	in.end += n
	return true
}

func (in *input) takeErr() error {
	err := in.err
	in.err = nil
	return err
}

// grow gives the input a large buffer.
func (in *input) grow() {
	if in.borrowed != nil {
		return
	}
	b, ok := in.large.Get().(*[]byte)
	if !ok {
		large := make([]byte, largeBuffer)
		b = &large
	}
	in.end = copy(*b, in.buf[in.begin:in.end])
	in.begin, in.buf, in.borrowed = 0, *b, b
}

// shrink gives the large buffer back, if what is in it fits into a small one.
func (in *input) shrink() {
	if in.borrowed == nil || in.Buffered() > smallBuffer {
		return
	}
	in.end = copy(in.small, in.buf[in.begin:in.end])
	in.begin, in.buf = 0, in.small
	in.large.Put(in.borrowed)
	in.borrowed = nil
}

// free gives the buffers back for good.
func (in *input) free() {
	if in.borrowed != nil {
		in.large.Put(in.borrowed)
	}
	in.buf, in.small, in.borrowed, in.begin, in.end = nil, nil, nil, 0, 0
}
