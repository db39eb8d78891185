package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/relay"
)

// fault is why a connection cannot be used: always transient, and the next
// hop's or our own, not the message's.
type fault struct {
	status mail.Status
	cause  error // nil where the status says it all
	// again tells that a fresh connection to the same host is worth making.
	again bool
}

func (f *fault) Unwrap() error { return f.cause }

func (f *fault) Error() string { return f.status.String() }

// again marks a fault as one that a fresh connection may be without.
func again(err error) error {
	if f := (*fault)(nil); errors.As(err, &f) {
		f.again = true
	}
	return err
}

// errClearText wraps a TLS handshake that failed and need not have been made.
var errClearText = errors.New("TLS failed, the clear may do")

// session is a connection to a next hop that is past EHLO, STARTTLS and AUTH.
type session struct {
	wire   *wire
	route  *relay.Route
	remote string // "name [address]"
	target target
	ext    map[string]string // EHLO keywords in upper case, with their parameters
	tls    string            // version, "" in the clear
	// verified is what the certificate was held against: "PKIX", "DANE",
	// "MTA-STS", "" for nothing. certain tells that the host is the one that was
	// meant, too.
	verified string
	certain  bool
	// state is that of TLS, nil in the clear.
	state *tls.ConnectionState
	// job is the one that it was opened for, greeted the name in its greeting.
	job     *relay.Job
	greeted string
	// dirty tells that a transaction was begun that RSET has to end.
	dirty bool
	// gone tells that the next hop takes no more on this connection.
	gone bool
	// sent counts the transactions, done those that came to a verdict.
	sent, done int
	// place is the session's in the pool, once it had one; manners what is
	// remembered of its host.
	place   *idler
	manners *manners
}

// fault makes an error of a status, with the session's host.
func (s *session) fault(status mail.Status) error {
	status.Remote = s.remote
	return &fault{status: status}
}

// broken makes a fault of a connection that failed while something was done.
func (s *session) broken(doing string, err error) error {
	return s.fault(transient(4, 2, doing+": "+reason(err)))
}

// reason says what went wrong with a connection, without its addresses.
func reason(err error) string {
	op := (*net.OpError)(nil)
	switch {
	case timedOut(err):
		return "timed out"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed by the next hop"
	case errors.Is(err, net.ErrClosed):
		return "given up"
	case errors.As(err, &op):
		return mail.Line(op.Err.Error(), maxText)
	}
	return mail.Line(err.Error(), maxText)
}

func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// begin makes a session of a connection. An error is a *fault, or wraps
// errClearText if the route would do without TLS and clear is not yet set. ctx
// is watched by the caller of the session too: closing the connection is what
// ends it.
func (c *Courier) begin(ctx context.Context, job *relay.Job, l *line, clear bool) (*session, error) {
	s := &session{route: job.Route, job: job, target: l.t, remote: l.t.remote(), manners: &c.manners}
	s.wire = newWire(l.conn, c.opt.Timeouts, c.buffers)
	stop := context.AfterFunc(ctx, func() { l.conn.Close() })
	err := c.open(ctx, s, l.t, clear)
	s.job = nil // a kept session must not hold on to a message
	if !stop() && err == nil {
		err = s.fault(transient(4, 2, "given up"))
	}
	if err != nil {
		s.close()
		return nil, err
	}
	c.manners.mind(l.t.address(), s.ext, time.Now())
	return s, nil
}

// distrust remembers that the host does not do what it offers.
func (s *session) distrust(keyword string) {
	s.manners.distrust(s.target.address(), keyword, time.Now())
}

// open takes a fresh connection through greeting, EHLO, TLS and login.
func (c *Courier) open(ctx context.Context, s *session, t target, clear bool) error {
	if s.route.TLS == relay.TLSImplicit {
		if err := c.handshake(s, t); err != nil {
			return err
		}
	}
	greeting, err := s.wire.read(c.opt.Timeouts.Command)
	if err != nil {
		return s.broken("greeting", err)
	}
	if greeting.code != 220 {
		return s.fault(soft("greeting: ", greeting.status(s.remote)))
	}
	s.greeted, _, _ = strings.Cut(mail.Line(greeting.lines[0], maxText), " ")
	helo := s.route.Helo
	if helo == "" {
		helo = c.opt.Hostname
	}
	if err := s.hello(helo); err != nil {
		return err
	}
	if err := c.startTLS(s, t, helo, clear); err != nil {
		return err
	}
	return c.authenticate(ctx, s)
}

// hello sends EHLO, or HELO to those that do not know it, or LHLO (RFC 2033),
// and notes what is offered.
func (s *session) hello(name string) error {
	s.ext = make(map[string]string)
	verb := "EHLO"
	if s.route.LMTP {
		verb = "LHLO"
	}
	rep, err := s.wire.ask(verb + " " + name)
	if err != nil {
		return s.broken(verb, err)
	}
	if rep.is(5) && !s.route.LMTP {
		if rep, err = s.wire.ask("HELO " + name); err != nil {
			return s.broken("HELO", err)
		}
		rep.lines = rep.lines[:1]
	}
	if rep.code != 250 {
		return s.fault(soft(verb+": ", rep.status(s.remote)))
	}
	for _, line := range rep.lines[1:] {
		keyword, params, _ := strings.Cut(line, " ")
		if k, p, ok := strings.Cut(keyword, "="); ok && strings.EqualFold(k, "AUTH") {
			// "AUTH=LOGIN", from before RFC 2554.
			keyword, params = k, p+" "+params
		}
		keyword = strings.ToUpper(keyword)
		if had := s.ext[keyword]; had != "" {
			params = had + " " + params
		}
		s.ext[keyword] = params
	}
	return nil
}

func (s *session) offers(keyword string) bool {
	_, ok := s.ext[keyword]
	return ok
}

// reset ends a transaction that was left open.
func (s *session) reset() error {
	rep, err := s.wire.ask("RSET")
	if err != nil {
		return s.broken("RSET", err)
	}
	if !rep.is(2) {
		return s.fault(soft("RSET: ", rep.status(s.remote)))
	}
	s.dirty = false
	return nil
}

// close drops the connection without a word.
func (s *session) close() {
	if s.wire != nil {
		s.wire.conn.Close()
	}
}

// quit ends the session in form. It must not be used inside a body.
func (s *session) quit(within time.Duration) {
	if s.wire.put("QUIT") == nil && s.wire.flushWithin(within) == nil {
		// The reply is waited for so that the next hop does not see a reset;
		// what it says does not matter.
		s.wire.read(within)
	}
	s.close()
}
