// Package wire is the connection that stands between an IMAP client and the
// protocol library. The library reads its commands from a Conn and writes its
// responses to it, over TLS or not; what the library gets wrong about octets
// is put right here, so that it can stay the engine:
//
//   - It frames commands. The library is given one line or one literal at a
//     time, and the next only when it asks for it. When it answers a command of
//     which octets are still to come (a literal that it refuses), these are
//     thrown away. So the octets of a refused message never run as commands.
//   - It refuses, with a reply, what would make the library lose its place or
//     close without a word: overlong commands and literals, quotes that are not
//     closed, a line without a command; and it passes over empty lines.
//   - It gathers what is written and sends it when the client's turn comes: when
//     the library wants input that is not there, or Flush is called. What is
//     written while the client is being waited for (IDLE) goes out at once.
//   - It has the timeouts: by progress rather than by command, so that a long
//     upload over a thin line is let be and a stalled one is not.
//   - It ends connections politely: Stop lets a command end and says BYE.
//   - It answers STARTTLS and ID itself.
//
// Memory is bounded by MaxLine and two buffers; the write buffer is given back
// while nothing is written.
//
// Read is called by one goroutine at a time, as are the methods that say so;
// everything else is safe for concurrent use.
package wire

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Limits of a command, in octets.
const (
	// MaxLine bounds a command's lines together with its literals, but for the
	// message of an APPEND. The library has a limit of its own at 50 KiB.
	MaxLine = 48 << 10
	// MaxLiteral bounds a literal other than APPEND's message; the library
	// takes no larger ones.
	MaxLiteral = 4096
	// maxLost bounds a line that is thrown away.
	maxLost = 1 << 20
	// maxFaults is how many malformed lines in a row end a connection.
	maxFaults = 10
)

const (
	readBuffer  = 4 << 10
	writeBuffer = 32 << 10
	closeWait   = 5 * time.Second
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
	// MaxMessage bounds the message of an APPEND. One that is larger is
	// refused by the library and thrown away here; a client that announces more
	// than 4 times as much is cut off.
	MaxMessage int64
	// StartTLS tells that STARTTLS can be had.
	StartTLS bool
	// Greeted tells that the client had its greeting before it started TLS: the
	// library's is not sent.
	Greeted bool
	// Buffers are shared by the connections of a server; nil for its own.
	Buffers *Buffers
	// Closed is called by every Close.
	Closed func()
}

// Buffers are the write buffers of those connections that have something to
// write. The zero value is ready.
type Buffers struct{ pool sync.Pool }

func (b *Buffers) get(s sink) *bufio.Writer {
	if bw, ok := b.pool.Get().(*bufio.Writer); ok {
		bw.Reset(s)
		return bw
	}
	return bufio.NewWriterSize(s, writeBuffer)
}

func (b *Buffers) put(bw *bufio.Writer) {
	bw.Reset(nil)
	b.pool.Put(bw)
}

// Conn implements net.Conn. Deadlines that the library sets are ignored.
type Conn struct {
	net.Conn
	opt Options
	br  *bufio.Reader

	// What follows belongs to the goroutine that reads.
	line    []byte // the line read last
	pending []byte // what Read hands over next
	cmd     command
	faults  int
	upgrade bool

	// mu guards what follows: the waiting.
	mu       sync.Mutex
	quiet    bool // between commands, or in IDLE
	loginBy  time.Time
	stopping bool
	farewell string

	// wmu guards what follows: the writing.
	wmu      sync.Mutex
	bw       *bufio.Writer // nil while there is nothing to send
	asleep   bool          // the reader waits for the client
	batching bool
	mute     bool // the greeting is being swallowed
	ended    bool // BYE was said
	patience time.Duration
	atStart  bool // of a line
	answered bool // the last line written was the current command's reply
	tag      string
}

// New returns a Conn for a client connection, which it takes over.
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
	w := &Conn{
		Conn:     c,
		opt:      opt,
		patience: opt.Step,
		loginBy:  time.Now().Add(opt.Login),
		mute:     opt.Greeted,
		atStart:  true,
		answered: true,
	}
	w.br = bufio.NewReaderSize(source{w}, readBuffer)
	return w
}

// SetDeadline does nothing.
func (c *Conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// SetAuthenticated tells the Conn that the client has logged in, or is
// nobody again.
func (c *Conn) SetAuthenticated(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loginBy = (time.Time{}); !on {
		c.loginBy = time.Now().Add(c.opt.Login)
	}
}

func (c *Conn) authenticated() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loginBy.IsZero()
}

// Verb is the command being executed, in upper case: for the goroutine that
// executes it.
func (c *Conn) Verb() string { return c.cmd.verb }

// Upgrade tells whether the client was told to start TLS. The Conn has ended
// then without closing the connection under it. For the goroutine that reads,
// or after it.
func (c *Conn) Upgrade() bool { return c.upgrade }

// Stop ends the connection with a BYE: at once if no command is being read or
// executed, else after it. It does not wait.
func (c *Conn) Stop(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return
	}
	c.stopping, c.farewell = true, text
	if c.quiet {
		c.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// Close sends what was written and closes the connection, unless it goes on
// under TLS.
func (c *Conn) Close() error {
	var err error
	if !c.upgrade {
		c.wmu.Lock()
		c.patience = closeWait
		c.flush()
		c.ended = true
		c.wmu.Unlock()
		err = c.Conn.Close()
	}
	if c.opt.Closed != nil {
		c.opt.Closed()
	}
	return err
}

// Abort closes the connection without sending anything more.
func (c *Conn) Abort() { c.Conn.Close() }

// errStopped ends the reading of a connection that was asked to stop.
var errStopped = errors.New("connection is being stopped")

// source is the client's side of the read buffer.
type source struct{ c *Conn }

// Read waits for the client. Whatever was written before is sent first: it may
// be what the client waits for.
func (s source) Read(p []byte) (int, error) {
	c := s.c
	if err := c.prepareWait(); err != nil {
		return 0, err
	}
	c.wmu.Lock()
	err := c.flush()
	c.asleep = true
	c.wmu.Unlock()
	n := 0
	if err == nil {
		n, err = c.Conn.Read(p)
	}
	c.wmu.Lock()
	c.asleep = false
	c.wmu.Unlock()
	return n, err
}

// prepareWait sets the deadline of the next read. Stop cannot come in between:
// it would be missed.
func (c *Conn) prepareWait() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping && c.quiet {
		return errStopped
	}
	deadline := time.Now().Add(c.opt.Step)
	switch {
	case !c.loginBy.IsZero():
		deadline = c.loginBy
	case c.quiet:
		deadline = time.Now().Add(c.opt.Idle)
	}
	return c.Conn.SetReadDeadline(deadline)
}

func (c *Conn) setQuiet(on bool) {
	c.mu.Lock()
	c.quiet = on
	c.mu.Unlock()
}

// ending turns the error of a read into the last words and into what the
// library takes for the end of the connection.
func (c *Conn) ending(err error) error {
	c.mu.Lock()
	stopping, quiet, farewell := c.stopping, c.quiet, c.farewell
	c.mu.Unlock()
	var timeout net.Error
	switch {
	case stopping && quiet:
		c.bye(farewell)
	case errors.As(err, &timeout) && timeout.Timeout():
		c.bye("Autologout; idle for too long")
	default:
		return err
	}
	return io.EOF
}
