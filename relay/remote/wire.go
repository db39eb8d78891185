package remote

import (
	"bufio"
	"errors"
	"net"
	"strings"
	"time"
)

// Timeouts bound what waits for a next hop. Fields that are zero have the
// values of RFC 5321 section 4.5.3.2, where it has one.
type Timeouts struct {
	// Dial is for one connection, 30 s; with TLS, as long again.
	Dial time.Duration
	// Command is for the greeting and for each reply to a command, 5 min.
	Command time.Duration
	// Block is for the sending of each 64 KiB of a body, 3 min.
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
type wire struct {
	conn  net.Conn
	br    *bufio.Reader
	bw    *bufio.Writer
	limit Timeouts
}

func newWire(conn net.Conn, limit Timeouts) *wire {
	return &wire{
		conn:  conn,
		br:    bufio.NewReaderSize(conn, 4<<10),
		bw:    bufio.NewWriterSize(conn, 16<<10),
		limit: limit,
	}
}

// put buffers a command. It guards against line ends, whoever let them in.
func (w *wire) put(command string) error {
	if strings.ContainsAny(command, "\r\n\x00") {
		return errCommand
	}
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.limit.Command)); err != nil {
		return err
	}
	if _, err := w.bw.WriteString(command); err != nil {
		return err
	}
	_, err := w.bw.WriteString("\r\n")
	return err
}

func (w *wire) flush() error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.limit.Command)); err != nil {
		return err
	}
	return w.bw.Flush()
}

// read reads one reply within a time.
func (w *wire) read(within time.Duration) (reply, error) {
	if err := w.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return reply{}, err
	}
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
