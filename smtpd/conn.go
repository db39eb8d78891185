package smtpd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"restante/internal/sasl"
)

const (
	// outBuffer is how much of replies is gathered before it is sent.
	outBuffer = 8 << 10
	// freeErrors is how many refused commands are answered at once.
	freeErrors = 5
	// lingerTime and lingerSize bound how long a closed connection is read
	// for its last reply to arrive.
	lingerTime = time.Second
	lingerSize = 256 << 10
)

// conn is the connection as go-smtp sees it. Read gives the library one
// command at a time, checked, and Write takes what it answers; see the package
// comment. Everything but enter runs in the connection's own goroutine.
type conn struct {
	net.Conn // as it was accepted
	srv      *Server
	session  *session

	stream net.Conn // Conn, or TLS over it
	in     *input
	tls    *tls.ConnectionState // nil without TLS
	// channel is the same, as SASL sees it.
	channel *sasl.Channel

	out     []byte  // replies to be sent
	lib     []byte  // what the library has written since its last Read
	feed    []byte  // what the library reads next
	instead []byte  // is sent in place of what the library writes, if replaced
	pushed  string  // a line to be read again
	cmd     command // the command being answered

	replaced  bool
	started   bool // TLS is established, if the listener asks for it
	challenge bool // the next line is an answer to a SASL challenge
	hangup    bool // the connection ends after the next reply
	ended     bool // nothing more is read or written
	linger    bool // it was us who ended it
	closed    bool

	errors, refused int       // see Limits
	junk            int       // commands that led to nothing; see maxJunk
	until           time.Time // when the transaction must have come further

	// fresh is until when the client is served though the server shuts down:
	// one that has just come, on a reload, has not seen it coming.
	fresh time.Time

	mu    sync.Mutex
	phase phase
	idle  bool // the read in progress may be interrupted by a shutdown
}

// freshTime is how long a connection is fresh.
const freshTime = time.Second

func newConn(s *Server, nc net.Conn, addr netip.Addr) *conn {
	c := &conn{Conn: nc, srv: s, stream: nc, in: newInput(nc, &s.buffers), fresh: time.Now().Add(freshTime)}
	c.session = &session{conn: c, srv: s, addr: addr, peer: addr}
	return c
}

// Read is called by the library when it has answered a command and wants the
// next. A panic in what is ours ends the connection, as go-smtp does for what
// it calls.
func (c *conn) Read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			c.srv.log.Error("panic", "remote", c.remote(), "panic", v, "stack", string(debug.Stack()))
			c.ended = true
			n, err = 0, io.EOF
		}
	}()
	for len(c.feed) == 0 {
		if !c.started && !c.start() {
			c.ended = true
		}
		c.endReply()
		if c.ended {
			return 0, io.EOF
		}
		c.next()
	}
	n = copy(p, c.feed)
	c.feed = c.feed[n:]
	return n, nil
}

// start establishes TLS where a connection begins with it; the greeting is
// held until then. Otherwise it sees whether a stranger can wait.
func (c *conn) start() bool {
	c.started = true
	if !c.unwrap() {
		return false
	}
	if c.srv.opt.ImplicitTLS {
		if !c.handshake() {
			return false
		}
		c.session.certified()
		return true
	}
	return c.listenFirst()
}

// listenFirst holds the greeting back for a moment. Whoever speaks before it
// (RFC 5321 section 3.1) does not look at replies, and is sent away. It tells
// whether the client is still there.
func (c *conn) listenFirst() bool {
	delay := c.srv.opt.GreetDelay
	if delay <= 0 || !c.srv.opt.RefuseEarly || !c.stranger() {
		return true
	}
	if c.arm(delay, true) != nil {
		return true // the next read says so
	}
	switch _, err := c.in.Peek(1); {
	case err == nil:
		c.say(errEarly)
		c.hangup = true
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return false
	}
	return true
}

// stranger tells whether the client is one that nobody has vouched for.
func (c *conn) stranger() bool {
	return c.srv.opt.Role == Relay && c.session.account == "" && !c.srv.trusts(c.session.addr)
}

// Write takes a part of the library's reply.
func (c *conn) Write(p []byte) (int, error) {
	if c.ended {
		return 0, net.ErrClosed
	}
	c.lib = append(c.lib, p...)
	return len(p), nil
}

// Close sends what is still to be sent and closes the connection.
func (c *conn) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	defer c.srv.release(c)
	if !c.ended {
		c.out = append(c.out, c.lib...)
		c.flush()
		c.ended = true
	}
	if c.linger {
		c.lingerOn()
	}
	c.in.free()
	return c.stream.Close()
}

// lingerOn waits a moment for the client to close. Closing while input is
// unread would make the kernel reset the connection, and the client might
// never see the reply that says why.
func (c *conn) lingerOn() {
	w, ok := c.stream.(interface{ CloseWrite() error })
	if !ok || w.CloseWrite() != nil || c.arm(lingerTime, true) != nil {
		return
	}
	io.CopyN(io.Discard, c.Conn, lingerSize)
}

// say sets the reply that is sent in place of the library's.
func (c *conn) say(r reply) { c.instead, c.replaced = r.wire(), true }

// silence drops what the library is going to reply.
func (c *conn) silence() { c.instead, c.replaced = nil, true }

// endReply sends the library's reply to the last command.
func (c *conn) endReply() {
	text := c.lib
	c.lib = nil
	if c.replaced {
		text = c.instead
		c.instead, c.replaced = nil, false
	}
	if len(text) > 0 && !c.ended {
		c.send(text)
	}
	c.cmd = command{}
}

// send puts one reply into the output, keeps the accounts of errors and ends
// the connection if the reply does.
func (c *conn) send(text []byte) {
	last := text[bytes.LastIndexByte(text[:len(text)-1], '\n')+1:]
	c.challenge = bytes.HasPrefix(last, []byte("334"))
	c.out = append(c.out, text...)
	if last[0] == '4' || last[0] == '5' {
		c.logRefusal(string(bytes.TrimSpace(last)))
		if c.errors >= freeErrors {
			c.session.wait(c.srv.limits.ErrorDelay)
		}
		if !c.tolerate(last[0] == '5') && !bytes.HasPrefix(last, []byte("421")) {
			c.logRefusal(errTooMany.String())
			c.out = append(c.out, errTooMany.wire()...)
			c.hangup = true
		}
	}
	switch {
	case c.hangup || bytes.HasPrefix(last, []byte("421")):
		c.end()
	case len(c.out) > outBuffer:
		c.flush()
	}
}

// tolerate counts a refusal and tells whether there may be more. A recipient
// that is to come another time is no fault of the client's: those beyond the
// limit are sent along by clients that do not know it.
func (c *conn) tolerate(permanent bool) bool {
	switch {
	case c.cmd.verb != "RCPT":
		c.errors++
	case permanent:
		c.refused++
	}
	return c.errors <= c.srv.limits.MaxErrors && c.refused <= c.srv.limits.MaxRefused
}

func (c *conn) logRefusal(status string) {
	s := c.session
	args := []any{"remote", c.remote(), "status", status, "helo", s.helo, "account", s.account, "command", c.cmd.verb}
	// The arguments of AUTH are secret, those of unknown commands may be.
	if c.cmd.verb == "MAIL" || c.cmd.verb == "RCPT" {
		args = append(args, "argument", c.cmd.arg)
	}
	if s.tx.open {
		args = append(args, "from", s.tx.from.String())
	}
	c.srv.log.Info("refused", args...)
}

func (c *conn) remote() string { return c.RemoteAddr().String() }

// flush sends the replies gathered so far.
func (c *conn) flush() {
	if len(c.out) == 0 || c.ended {
		return
	}
	c.mu.Lock()
	if c.phase != cutPhase {
		c.Conn.SetWriteDeadline(time.Now().Add(c.srv.limits.WriteTimeout))
	}
	c.mu.Unlock()
	_, err := c.stream.Write(c.out)
	c.out = c.out[:0]
	if err != nil {
		c.ended = true
	}
}

// end sends what there is and makes it the last.
func (c *conn) end() {
	c.flush()
	c.ended = true
	c.linger = true
}

// hangUp tells the client why the connection ends, and ends it.
func (c *conn) hangUp(r reply) {
	if !c.ended {
		c.hangup = true
		c.send(r.wire())
	}
}

// readFailed ends the connection after a failed read: with a reply if the
// client is still there.
func (c *conn) readFailed(err error) {
	switch {
	case errors.Is(err, errShuttingDown), c.stopping():
		c.hangUp(errShuttingDown)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.hangUp(errTimeout)
	default:
		c.ended = true
	}
}

// arm sets the deadline of the next read. It fails with errShuttingDown if
// there must be none: when the server shuts down, and the client is idle or
// all are cut off.
func (c *conn) arm(d time.Duration, idle bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.phase == cutPhase || c.phase == drainPhase && idle && now.After(c.fresh) {
		return errShuttingDown
	}
	c.idle = idle
	t := now.Add(d)
	if c.phase == drainPhase && idle && c.fresh.Before(t) {
		t = c.fresh
	}
	if !c.until.IsZero() && c.until.Before(t) {
		t = c.until
	}
	return c.Conn.SetReadDeadline(t)
}

// enter tells the connection, from another goroutine, how far the shutdown
// has come. It wakes the reads that must not go on.
func (c *conn) enter(p phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = p
	switch {
	case p == cutPhase:
		c.Conn.SetReadDeadline(time.Unix(1, 0))
	case c.idle:
		c.Conn.SetReadDeadline(c.fresh) // mostly long ago
	}
	if p == cutPhase {
		c.Conn.SetWriteDeadline(time.Now().Add(time.Second))
	}
}

func (c *conn) stopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase == cutPhase || c.phase == drainPhase && c.idle
}
