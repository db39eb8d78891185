package smtpd

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
)

var (
	errNoHelo   = reply{503, code{5, 5, 1}, "Send EHLO or HELO first"}
	errNoMail   = reply{503, code{5, 5, 1}, "Send MAIL first"}
	errNoRcpt   = reply{554, code{5, 5, 1}, "No valid recipients"}
	errNested   = reply{503, code{5, 5, 1}, "A transaction is in progress"}
	errArgument = reply{501, code{5, 5, 4}, "This command has no argument"}
	errUnknown  = reply{500, code{5, 5, 1}, "Command not recognized"}
	errNotHere  = reply{502, code{5, 5, 1}, "Command not implemented"}
)

// dispatch checks a command against the state of the dialogue. What is in
// order it passes to the library, always in the same few words; what is not it
// returns the reply to.
func (c *conn) dispatch(cmd command) error {
	s := c.session
	switch cmd.verb {
	case "EHLO", "HELO", "LHLO":
		return c.hello(cmd)
	case "XCLIENT":
		if len(c.srv.opt.Extensions.XClient) == 0 {
			return errUnknown
		}
		return c.xclient(cmd.arg)
	case "STARTTLS":
		return c.startTLS(cmd.arg)
	case "AUTH":
		return c.auth(cmd.arg)
	case "MAIL":
		return c.mail(cmd.arg)
	case "RCPT":
		return c.rcpt(cmd.arg)
	case "DATA":
		switch {
		case cmd.arg != "":
			return errArgument
		case !s.tx.open:
			return errNoMail
		case len(s.tx.rcpts) == 0:
			return s.noRecipients()
		}
		s.body = &body{conn: c}
		c.passBody()
	case "BDAT":
		return c.bdat(cmd.arg)
	case "RSET", "QUIT":
		if cmd.arg != "" {
			return errArgument
		}
		c.pass(cmd.verb)
	case "NOOP":
		c.pass("NOOP")
	case "VRFY":
		c.pass("VRFY")
	case "HELP", "EXPN", "TURN", "ETRN", "SEND", "SOML", "SAML":
		return errNotHere
	default:
		return errUnknown
	}
	return nil
}

// pass has the library read a command.
func (c *conn) pass(line string) { c.feed = []byte(line + "\r\n") }

// passBody has the library begin a transfer and believe that the message is
// empty: the session reads the body from us.
func (c *conn) passBody() { c.feed = []byte("DATA\r\n.\r\n") }

func (c *conn) hello(cmd command) error {
	switch lmtp := c.srv.opt.Role == LMTP; {
	case lmtp && cmd.verb != "LHLO":
		return errHelloLMTP
	case !lmtp && cmd.verb == "LHLO":
		return errUnknown
	}
	name, _, _ := strings.Cut(cmd.arg, " ")
	if !goodHelo(name) {
		return reply{501, code{5, 5, 4}, "Tell your name: a domain or an address literal"}
	}
	c.session.helo = name
	c.session.esmtp = cmd.verb != "HELO"
	lines := []string{c.srv.opt.Hostname}
	if c.session.esmtp {
		lines = c.capabilities()
	}
	// This reply has no enhanced codes (RFC 2034 section 3).
	var text []byte
	for i, line := range lines {
		mark := '-'
		if i == len(lines)-1 {
			mark = ' '
		}
		text = fmt.Appendf(text, "250%c%s\r\n", mark, line)
	}
	c.instead, c.replaced = text, true
	if cmd.verb == "LHLO" {
		cmd.verb = "EHLO" // to the library they are the same
	}
	c.pass(cmd.verb + " client")
	return nil
}

// startTLS does what STARTTLS asks for (RFC 3207). Whatever the client said in
// the clear is forgotten, and what it sent along with the command never was
// under TLS and is not to be taken for something that was.
func (c *conn) startTLS(arg string) error {
	switch {
	case arg != "":
		return errArgument
	case c.tls != nil:
		return reply{503, code{5, 5, 1}, "TLS is already in use"}
	case c.srv.opt.TLS == nil, c.session.local():
		return errNotHere
	case c.in.Buffered() > 0:
		c.hangup = true
		return reply{503, code{5, 5, 1}, "Nothing may be sent along with STARTTLS"}
	}
	c.send(reply{220, code{2, 0, 0}, "Ready to start TLS"}.wire())
	c.flush()
	if c.ended || !c.handshake() {
		c.ended = true
		return nil
	}
	c.session.forget()
	c.session.certified()
	c.silence()
	c.pass("RSET")
	return nil
}

// handshake puts TLS between us and the network.
func (c *conn) handshake() bool {
	limit := c.srv.limits.CommandTimeout
	if c.arm(limit, true) != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(c.srv.ctx, limit)
	defer cancel()
	ctx, channel := c.srv.tls.Watch(ctx)
	tc := tls.Server(c.Conn, c.srv.tls.Config())
	if err := tc.HandshakeContext(ctx); err != nil {
		c.srv.log.Info("TLS handshake failed", "remote", c.remote(), "error", err)
		return false
	}
	c.channel = channel(tc.ConnectionState())
	c.stream, c.tls = tc, &c.channel.State
	c.in.Reset(tc)
	return true
}

// auth checks AUTH (RFC 4954 section 4); the session does the rest.
func (c *conn) auth(arg string) error {
	s := c.session
	mechanism, initial, _ := strings.Cut(arg, " ")
	initial = strings.Trim(initial, " ")
	if err := s.checkAuth(strings.ToUpper(mechanism)); err != nil {
		return err
	}
	if !isBase64(initial) {
		return errBase64
	}
	c.pass(strings.TrimSuffix("AUTH "+strings.ToUpper(mechanism)+" "+initial, " "))
	return nil
}

func (c *conn) mail(arg string) error {
	s := c.session
	switch {
	case s.helo == "":
		return errNoHelo
	case s.tx.open:
		return errNested
	}
	if err := c.srv.policy.transaction(s.client()); err != nil {
		return err
	}
	m, err := parseMail(arg, s.offer())
	if err != nil {
		return err
	}
	if s.envelope, s.granted, err = s.wishes(m); err != nil {
		return err
	}
	s.asked = m
	c.pass("MAIL FROM:<>")
	return nil
}

func (c *conn) rcpt(arg string) error {
	s := c.session
	switch {
	case !s.tx.open:
		return errNoMail
	case len(s.tx.rcpts) >= c.srv.limits.MaxRecipients:
		return reply{452, code{4, 5, 3}, "Too many recipients, send the others another time"}
	}
	r, err := parseRcpt(arg, s.offer())
	if err != nil {
		return err
	}
	s.rcpt = r
	c.pass("RCPT TO:<to@recipient>")
	return nil
}

// bdat begins the transfer of a message in chunks (RFC 3030). Where a command
// is refused its chunk follows all the same, and is read and thrown away; where
// nobody can know how long it is, only closing the connection keeps its octets
// from being read as commands.
func (c *conn) bdat(arg string) error {
	size, last, err := parseBdat(arg)
	if err != nil {
		c.hangup = true
		return err
	}
	s := c.session
	b := &body{conn: c, chunked: true, left: size, last: last}
	switch {
	case !s.tx.open:
		err = errNoMail
	case len(s.tx.rcpts) == 0:
		err = s.noRecipients()
	}
	if err != nil {
		if !b.drain() {
			c.hangup = true
		}
		return err
	}
	s.body = b
	c.passBody()
	return nil
}
