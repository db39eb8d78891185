package smtpd

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// xclientAttributes are those of XCLIENT that are understood.
const xclientAttributes = "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"

// xclient is what XCLIENT says of the client that the other end speaks for.
// For each attribute given a bit of has is set; the value is zero where it
// is not to be had ("[UNAVAILABLE]").
type xclient struct {
	has   map[string]bool
	name  string
	addr  netip.Addr
	port  uint16
	esmtp bool
	helo  string
	login string
}

// parseXclient reads the argument of XCLIENT, after Postfix's description of
// it: NAME=value words, the values in xtext.
func parseXclient(arg string) (x xclient, err error) {
	bad := reply{501, code{5, 5, 4}, "Syntax: XCLIENT NAME=value ..."}
	words := strings.Fields(arg)
	if len(words) == 0 {
		return x, bad
	}
	x.has = make(map[string]bool)
	err = parameters(words, func(key, value string, valued bool) error {
		text, ok := parseXtext(value)
		if !ok || !valued || value == "" || len(text) > 255 {
			return bad
		}
		if strings.EqualFold(text, "[UNAVAILABLE]") || strings.EqualFold(text, "[TEMPUNAVAIL]") {
			text = ""
		}
		if !x.set(key, text) {
			return reply{501, code{5, 5, 4}, "Bad attribute " + key}
		}
		x.has[key] = true
		return nil
	})
	return x, err
}

// set takes one attribute; an empty text is one that is not to be had.
func (x *xclient) set(key, text string) bool {
	var err error
	switch key {
	case "NAME":
		x.name = text
	case "ADDR":
		if text != "" {
			if len(text) > 5 && strings.EqualFold(text[:5], "IPV6:") {
				text = text[5:]
			}
			x.addr, err = netip.ParseAddr(text)
			x.addr = x.addr.Unmap().WithZone("")
		}
	case "PORT", "DESTPORT":
		var n uint64
		if text != "" {
			n, err = strconv.ParseUint(text, 10, 16)
		}
		if key == "PORT" {
			x.port = uint16(n)
		}
	case "PROTO":
		x.esmtp = strings.EqualFold(text, "ESMTP")
		return text == "" || x.esmtp || strings.EqualFold(text, "SMTP")
	case "HELO":
		x.helo = text
		return text == "" || goodHelo(text)
	case "LOGIN":
		x.login = text
	case "DESTADDR":
		// Where the client connected to does not matter to us.
	default:
		return false
	}
	return err == nil
}

// goodHelo tells whether a name can be that of HELO.
func goodHelo(name string) bool {
	return name != "" && len(name) <= 255 && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

// xclient has the other end speak for somebody else from now on. The session
// begins anew, with another greeting; who may give the command is still decided
// by the connection.
func (c *conn) xclient(arg string) error {
	s := c.session
	switch {
	case !c.srv.policy.mayXClient(s.peer):
		return reply{550, code{5, 7, 0}, "XCLIENT is not for you"}
	case s.tx.open:
		return errNested
	}
	x, err := parseXclient(arg)
	if err != nil {
		return err
	}
	if x.has["ADDR"] && x.addr != s.addr {
		if err := c.srv.recount(c, x.addr); err != nil {
			c.hangup = true
			return err
		}
	}
	s.become(x)
	c.srv.log.Info("speaks for", "remote", c.Conn.RemoteAddr().String(), "client", c.remote(), "account", s.account)
	c.say(reply{220, code{}, c.srv.opt.Hostname + " ESMTP Service Ready"})
	c.pass("EHLO client")
	return nil
}

// become takes over what XCLIENT has said. What it has not mentioned stays, but
// for the login: that of who speaks, whether by AUTH or by a certificate, is not
// the client's.
func (s *session) become(x xclient) {
	helo, esmtp := s.helo, s.esmtp
	s.forget()
	s.account = x.login
	if x.has["NAME"] {
		s.name = x.name
	}
	if x.has["HELO"] {
		s.helo, s.esmtp = x.helo, esmtp || helo != ""
	}
	if x.has["PROTO"] {
		s.esmtp = x.esmtp
	}
	if x.has["ADDR"] || x.has["PORT"] {
		addr := s.addr
		if x.has["ADDR"] {
			addr = x.addr
		}
		s.standFor(addr, x.port)
	}
}

// standFor sets whom the connection is taken to come from; an address that is
// not valid is in no network.
func (s *session) standFor(addr netip.Addr, port uint16) {
	s.addr = addr
	s.shown = unknownAddr{}
	if addr.IsValid() {
		s.shown = net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, port))
	}
}

// local tells that the client is on this machine, at a Unix socket.
func (s *session) local() bool {
	_, unix := s.conn.Conn.(*net.UnixConn)
	return unix && s.shown == nil
}

// unknownAddr is that of a client that nobody knows.
type unknownAddr struct{}

func (unknownAddr) Network() string { return "tcp" }
func (unknownAddr) String() string  { return "unknown" }

// RemoteAddr is the client's, which a proxy or XCLIENT may have told.
func (c *conn) RemoteAddr() net.Addr {
	if a := c.session.shown; a != nil {
		return a
	}
	return c.Conn.RemoteAddr()
}
