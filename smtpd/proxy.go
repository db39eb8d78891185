package smtpd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const (
	// proxyTimeout is for the header of the PROXY protocol to arrive, which
	// a proxy sends before anything else.
	proxyTimeout = 10 * time.Second
	// maxProxyLine is the longest header of version 1, with its CRLF.
	maxProxyLine = 107
	// maxProxyBody bounds what follows the fixed part of version 2.
	maxProxyBody = 2 << 10
)

// proxySignature is how version 2 begins.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

var errProxy = errors.New("no good PROXY header")

// proxied is what a PROXY header says.
type proxied struct {
	// own tells that the proxy speaks for itself (LOCAL), as for its checks.
	own bool
	// from is the client; not valid if the proxy does not say.
	from netip.AddrPort
}

// readProxy reads a header of version 1 or 2, and not an octet more: what
// follows may be the beginning of TLS.
func readProxy(r io.Reader) (proxied, error) {
	head := make([]byte, 1, 16)
	if _, err := io.ReadFull(r, head); err != nil {
		return proxied{}, err
	}
	if head[0] == 'P' {
		return readProxyLine(r)
	}
	head = head[:16]
	if _, err := io.ReadFull(r, head[1:]); err != nil {
		return proxied{}, err
	}
	body := binary.BigEndian.Uint16(head[14:])
	if string(head[:12]) != proxySignature || head[12]>>4 != 2 || body > maxProxyBody {
		return proxied{}, errProxy
	}
	rest := make([]byte, body)
	if _, err := io.ReadFull(r, rest); err != nil {
		return proxied{}, err
	}
	return parseProxyBinary(head[12]&0xf, head[13], rest)
}

// parseProxyBinary reads version 2: a command, a family with its transport,
// and the addresses. What is behind those is passed over.
func parseProxyBinary(command, family byte, rest []byte) (proxied, error) {
	switch command {
	case 0:
		return proxied{own: true}, nil
	case 1:
	default:
		return proxied{}, errProxy
	}
	size := 0
	switch family {
	case 0x11: // TCP over IPv4
		size = 4
	case 0x21: // TCP over IPv6
		size = 16
	case 0x00, 0x31: // unspecified; a Unix socket
		return proxied{}, nil
	default:
		return proxied{}, errProxy
	}
	if len(rest) < 2*size+4 {
		return proxied{}, errProxy
	}
	addr, _ := netip.AddrFromSlice(rest[:size]) // 4 or 16 octets
	return proxied{from: netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(rest[2*size:]))}, nil
}

// readProxyLine reads version 1, whose first octet has been read, octet by
// octet.
func readProxyLine(r io.Reader) (proxied, error) {
	line := append(make([]byte, 0, maxProxyLine), 'P')
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == maxProxyLine {
			return proxied{}, errProxy
		}
		line = line[:len(line)+1]
		if _, err := io.ReadFull(r, line[len(line)-1:]); err != nil {
			return proxied{}, err
		}
	}
	return parseProxyLine(string(line[:len(line)-2]))
}

// parseProxyLine reads "PROXY TCP4 client server port port", or UNKNOWN.
func parseProxyLine(line string) (proxied, error) {
	if line == "PROXY UNKNOWN" || strings.HasPrefix(line, "PROXY UNKNOWN ") {
		return proxied{}, nil
	}
	words := strings.Split(line, " ")
	if len(words) != 6 || words[0] != "PROXY" {
		return proxied{}, errProxy
	}
	from, err := netip.ParseAddr(words[2])
	to, err2 := netip.ParseAddr(words[3])
	port, err3 := strconv.ParseUint(words[4], 10, 16)
	_, err4 := strconv.ParseUint(words[5], 10, 16)
	if errors.Join(err, err2, err3, err4) != nil || from.Zone() != "" || from.Is4() != to.Is4() {
		return proxied{}, errProxy
	}
	if words[1] != "TCP4" && words[1] != "TCP6" || (words[1] == "TCP4") != from.Is4() {
		return proxied{}, errProxy
	}
	return proxied{from: netip.AddrPortFrom(from.Unmap(), uint16(port))}, nil
}

// unwrap reads the PROXY header of a connection that has to have one, and
// tells whether the connection goes on. It comes before everything else, TLS
// included. A client that the proxy does not name is a stranger, wherever the
// proxy is.
func (c *conn) unwrap() bool {
	s := c.session
	if !within(s.addr, c.srv.opt.Extensions.Proxy) {
		return true
	}
	if c.arm(min(proxyTimeout, c.srv.limits.CommandTimeout), true) != nil {
		return false
	}
	p, err := readProxy(c.Conn)
	if err != nil {
		c.srv.log.Warn("connection from a proxy without a good PROXY header", "remote", c.remote(), "error", err)
		return false
	}
	if p.own {
		return true
	}
	s.standFor(p.from.Addr(), p.from.Port())
	s.peer = s.addr
	if err := c.srv.recount(c, s.addr); err != nil {
		if !c.srv.opt.ImplicitTLS {
			c.hangUp(translate(err))
		}
		return false
	}
	return true
}
