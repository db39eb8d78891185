package smtpd

import (
	"net"
	"net/netip"
	"time"
)

// listener gives go-smtp our connections, and not more than there may be.
type listener struct {
	net.Listener
	srv *Server
}

// Accept waits for a connection that the limits allow. The others are told
// so, if that can be done without waiting for them.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c, why := l.srv.admit(nc)
		if c != nil {
			return c, nil
		}
		if !l.srv.opt.ImplicitTLS {
			nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			nc.Write(why.wire())
		}
		nc.Close()
		l.srv.log.Info("refused", "remote", nc.RemoteAddr().String(), "status", why.String())
	}
}

// admit makes and counts a connection, or tells why there cannot be one.
func (s *Server) admit(nc net.Conn) (*conn, reply) {
	addr := remoteAddr(nc)
	key := network(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.phase != running:
		return nil, errShuttingDown
	case len(s.conns) >= s.limits.MaxConnections:
		return nil, reply{421, code{4, 3, 2}, "Too many connections, try again later"}
	case s.perAddr[key] >= s.limits.MaxPerAddress:
		return nil, reply{421, code{4, 7, 0}, "Too many connections from your address"}
	}
	c := newConn(s, nc, addr)
	s.conns[c] = key
	s.perAddr[key]++
	return c, reply{}
}

// release ends the counting of a connection.
func (s *Server) release(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, ok := s.conns[c]
	if !ok {
		return
	}
	delete(s.conns, c)
	if s.perAddr[key]--; s.perAddr[key] == 0 {
		delete(s.perAddr, key)
	}
}

// remoteAddr is the client's address, without a zone, as networks are given; the
// zero Addr, which is in no network,
// if the connection has none.
func remoteAddr(nc net.Conn) netip.Addr {
	if tcp, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// network is what connections are counted by.
func network(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
