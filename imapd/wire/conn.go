// Package wire is the line between an IMAP server and its client: octets and the
// grammar of commands and responses (RFC 9051 section 9), without their meaning.
//
//   - A Conn has the deadlines, the buffers and the layers (TLS, compression) of
//     a connection. What is written is gathered, and sent when the client's turn
//     comes: when input is wanted that is not there. A connection that is silent
//     has no buffers.
//   - A Decoder reads one command. Nothing of it is done before it was read to
//     its end. Whatever is left of a command that is refused, literals included,
//     is thrown away: so the octets of a refused message never run as commands.
//   - An Encoder writes responses.
//
// Memory is bounded: by MaxLine and MaxLiterals for a command, but for the message
// of an APPEND, which is streamed; and by two buffers.
//
// Reading and writing are for the goroutine that serves the connection; Stop and
// Abort can be called by any.
package wire

import (
	"bufio"
	"compress/flate"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	readBuffer  = 8 << 10
	writeBuffer = 32 << 10
	closeWait   = 5 * time.Second
	// warm is how long a silent connection keeps its buffers.
	warm = 2 * time.Second
)

// Options are what a Conn needs to know. The durations have defaults.
type Options struct {
	// Idle is how long a client may be silent between commands and in IDLE
	// once it has logged in: 35 minutes if 0. (RFC 9051 section 5.4 asks for 30.)
	Idle time.Duration
	// Step is how long it may be silent inside a command, and how long one
	// buffer may take to be written: 2 minutes if 0.
	Step time.Duration
	// Login is how long it may take from the beginning until it has logged in:
	// 3 minutes if 0.
	Login time.Duration
	// Buffers are shared by the connections of a server; nil for its own.
	Buffers *Buffers
}

// Buffers are those of connections that are at work. The zero value is ready.
type Buffers struct{ readers, writers sync.Pool }

// Conn is a connection.
type Conn struct {
	opt Options
	net net.Conn // the outermost layer but compression
	out io.Writer
	in  io.Reader
	// zip and unzip are compression's, nil without.
	zip   *flate.Writer
	unzip *inflater

	br    *bufio.Reader // nil while the client is silent
	first [1]byte
	has   bool // first has an octet that was read before br was there
	bw    []byte
	pool  *[]byte
	werr  error // of a write: nothing more is written

	mu       sync.Mutex
	quiet    bool // waiting for a command, or in IDLE
	loginBy  time.Time
	stopping bool
	farewell string
	base     net.Conn // the innermost layer, for deadlines of Stop
}

// New returns a Conn for a client's connection, which it takes over.
func New(c net.Conn, opt Options) *Conn {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&opt.Idle, 35*time.Minute)
	def(&opt.Step, 2*time.Minute)
	def(&opt.Login, 3*time.Minute)
	if opt.Buffers == nil {
		opt.Buffers = new(Buffers)
	}
	w := &Conn{opt: opt, base: c, loginBy: time.Now().Add(opt.Login)}
	w.layer(c)
	return w
}

func (c *Conn) layer(n net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.net, c.in, c.out = n, n, n
}

// Upgrade goes on under TLS, which has been set up on the connection below.
// Octets that came before are an error: Buffered tells of them.
func (c *Conn) Upgrade(tls net.Conn) {
	c.release()
	c.layer(tls)
}

// Compress goes on under DEFLATE in both directions (RFC 4978).
func (c *Conn) Compress() error {
	if err := c.Flush(); err != nil {
		return err
	}
	var in io.Reader = c.net
	if n := c.Buffered(); n > 0 {
		early, _ := c.br.Peek(n)
		in = io.MultiReader(bytesReader(append([]byte(nil), early...)), c.net)
		c.br.Discard(n)
	}
	zip, err := flate.NewWriter(c.net, flate.BestSpeed)
	if err != nil {
		return err
	}
	c.zip, c.out = zip, zip
	c.unzip = newInflater(in)
	c.in = c.unzip
	return nil
}

// Compressed tells whether Compress was called.
func (c *Conn) Compressed() bool { return c.zip != nil }

// bytesReader is a reader of octets without more methods.
func bytesReader(b []byte) io.Reader { return &octets{b} }

type octets struct{ b []byte }

func (o *octets) Read(p []byte) (int, error) {
	if len(o.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, o.b)
	o.b = o.b[n:]
	return n, nil
}

// SetAuthenticated tells that the client has logged in, or is nobody again.
func (c *Conn) SetAuthenticated(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loginBy = (time.Time{}); !on {
		c.loginBy = time.Now().Add(c.opt.Login)
	}
}

// ErrStopped ends the wait for a client when Stop was called; ErrTimeout when it
// was silent for too long.
var (
	ErrStopped = errors.New("connection is being stopped")
	ErrTimeout = errors.New("client was silent for too long")
)

// Stop ends the connection with a BYE: at once if a command is being waited for,
// else after it. It does not wait. The first text counts.
func (c *Conn) Stop(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return
	}
	c.stopping, c.farewell = true, text
	if c.quiet {
		c.base.SetReadDeadline(time.Unix(1, 0))
	}
}

// Stopping tells whether Stop was called, and with what.
func (c *Conn) Stopping() (text string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.farewell, c.stopping
}

// Abort closes the connection without sending anything more.
func (c *Conn) Abort() { c.base.Close() }

// Close sends what was written and closes the connection.
func (c *Conn) Close() error {
	c.opt.Step = closeWait
	err := c.Flush()
	c.release()
	if c.unzip != nil {
		c.unzip.close()
	}
	if cerr := c.net.Close(); err == nil {
		err = cerr
	}
	return err
}

// Buffered is how many octets have come that were not read yet.
func (c *Conn) Buffered() int {
	if c.br == nil {
		return 0
	}
	return c.br.Buffered()
}

// reader returns the read buffer.
func (c *Conn) reader() *bufio.Reader {
	if c.br == nil {
		if br, ok := c.opt.Buffers.readers.Get().(*bufio.Reader); ok {
			br.Reset(source{c})
			c.br = br
		} else {
			c.br = bufio.NewReaderSize(source{c}, readBuffer)
		}
	}
	return c.br
}

// release gives the read buffer back.
func (c *Conn) release() {
	if c.br != nil && c.br.Buffered() == 0 {
		c.br.Reset(nil)
		c.opt.Buffers.readers.Put(c.br)
		c.br = nil
	}
}

// Write takes in octets of responses.
func (c *Conn) Write(p []byte) (int, error) {
	if c.werr != nil {
		return 0, c.werr
	}
	if len(c.bw)+len(p) > writeBuffer {
		if err := c.send(c.bw); err != nil {
			return 0, err
		}
		c.bw = c.bw[:0]
		if len(p) > writeBuffer {
			return len(p), c.send(p)
		}
	}
	c.grab()
	c.bw = append(c.bw, p...)
	return len(p), nil
}

// grab makes sure that there is a write buffer.
func (c *Conn) grab() {
	if c.pool != nil {
		return
	}
	if b, ok := c.opt.Buffers.writers.Get().(*[]byte); ok {
		c.pool = b
	} else {
		b := make([]byte, 0, writeBuffer+1024)
		c.pool = &b
	}
	c.bw = (*c.pool)[:0]
}

// send writes to the connection.
func (c *Conn) send(p []byte) error {
	if c.werr != nil || len(p) == 0 {
		return c.werr
	}
	c.base.SetWriteDeadline(time.Now().Add(c.opt.Step))
	_, c.werr = c.out.Write(p)
	return c.werr
}

// Flush sends what was written, and gives the buffer back.
func (c *Conn) Flush() error {
	if c.pool == nil {
		return c.werr
	}
	err := c.send(c.bw)
	if err == nil && c.zip != nil {
		err = c.zip.Flush()
		c.werr = err
	}
	if cap(c.bw) <= writeBuffer+4096 {
		*c.pool = c.bw[:0]
		c.opt.Buffers.writers.Put(c.pool)
	}
	c.pool, c.bw = nil, nil
	return err
}
