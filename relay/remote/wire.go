package remote

import (
	"bufio"
	"errors"
	"net"
	"strings"
	"sync"
	"time"
)

// Timeouts bound what waits for a next hop. Fields that are zero have the
// values of RFC 5321 section 4.5.3.2, where it has one.
type Timeouts struct {
	// Dial is for one connection, 30 s; with TLS, as long again.
	Dial time.Duration
	// Command is for the greeting and for each reply to a command, 5 min.
	Command time.Duration
	// Block is for the sending of commands, and of each 64 KiB of a body, 3 min.
	Block time.Duration
	// End is for the reply to the end of the body, 10 min.
	End time.Duration
	// Total is for one attempt, all next hops together, 2 h.
	Total time.Duration
}

func (t Timeouts) normal() Timeouts {
	or := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	or(&t.Dial, 30*time.Second)
	or(&t.Command, 5*time.Minute)
	or(&t.Block, 3*time.Minute)
	or(&t.End, 10*time.Minute)
	or(&t.Total, 2*time.Hour)
	return t
}

// errCommand tells of a command that must not be sent as it is.
var errCommand = errors.New("line end or NUL in a command")

// wire is a connection with a deadline on all it does. A reply's deadline is
// for the whole of it, so that a reply that trickles costs no more than none.
// What is put is held back, however much it is, until flush: commands that may
// go together, and a message after them, are one write.
type wire struct {
	conn    net.Conn
	br      *bufio.Reader
	limit   Timeouts
	buffers *buffers

	// until is when the reply that is waited for must be there, armed what the
	// connection was told of it: what is buffered already needs no deadline.
	until, armed time.Time
	// out is what was put, in a buffer of the pool while there is something:
	// a connection that waits has none.
	out    []byte
	pooled *[]byte
}

func newWire(conn net.Conn, limit Timeouts, b *buffers) *wire {
	w := &wire{conn: conn, limit: limit, buffers: b}
	w.br = bufio.NewReaderSize(w, 4<<10)
	return w
}

const (
	smallBuffer = 8 << 10
	// largeBuffer is the most that is kept for use: a block in which every
	// octet had to be doubled, and an envelope.
	largeBuffer = 2*block + 64<<10
)

// buffers are used again by all connections of a courier.
type buffers struct {
	out  sync.Pool // of *[]byte, what is sent
	body sync.Pool // of *[block]byte, what is read
}

func newBuffers() *buffers {
	return &buffers{
		out:  sync.Pool{New: func() any { b := make([]byte, 0, smallBuffer); return &b }},
		body: sync.Pool{New: func() any { return new([block]byte) }},
	}
}

// room makes sure that there is a buffer to append to.
func (w *wire) room() {
	if w.pooled == nil {
		w.pooled = w.buffers.out.Get().(*[]byte)
		w.out = (*w.pooled)[:0]
	}
}

// put holds a command back. It guards against line ends, whoever let them in.
func (w *wire) put(command string) error {
	if strings.ContainsAny(command, "\r\n\x00") {
		return errCommand
	}
	w.room()
	w.out = append(append(w.out, command...), "\r\n"...)
	return nil
}

// flush sends what was put.
func (w *wire) flush() error { return w.flushWithin(w.limit.Block) }

func (w *wire) flushWithin(within time.Duration) error {
	if len(w.out) == 0 {
		return nil
	}
	err := w.conn.SetWriteDeadline(time.Now().Add(within))
	if err == nil {
		_, err = w.conn.Write(w.out)
	}
	if cap(w.out) <= largeBuffer {
		*w.pooled = w.out[:0]
		w.buffers.out.Put(w.pooled)
	}
	w.out, w.pooled = nil, nil
	return err
}

// Read is for the buffered reader alone.
func (w *wire) Read(p []byte) (int, error) {
	if w.until != w.armed {
		if err := w.conn.SetReadDeadline(w.until); err != nil {
			return 0, err
		}
		w.armed = w.until
	}
	return w.conn.Read(p)
}

// read reads one reply within a time.
func (w *wire) read(within time.Duration) (reply, error) {
	w.until = time.Now().Add(within)
	return readReply(w.br)
}

// ask sends one command and reads its reply.
func (w *wire) ask(command string) (reply, error) {
	if err := w.put(command); err != nil {
		return reply{}, err
	}
	if err := w.flush(); err != nil {
		return reply{}, err
	}
	return w.read(w.limit.Command)
}
