package smtpd

import (
	"math"
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
	key := s.network(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == cutPhase {
		return nil, errShuttingDown
	}
	limits := s.limits
	if within(addr, s.opt.Extensions.Proxy) {
		// It is counted as its client's as soon as that is known.
		limits.MaxPerAddress = math.MaxInt
	}
	if err := s.gate.enter(key, limits); err != nil {
		return nil, translate(err)
	}
	c := newConn(s, nc, addr)
	s.conns[c] = key
	c.phase = s.phase // it may have waited to be accepted when a shutdown began
	return c, reply{}
}

// recount counts a connection as one from addr, when its client turns out to
// be behind a proxy. It fails if there are too many from there.
func (s *Server) recount(c *conn, addr netip.Addr) error {
	key := s.network(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	from, ok := s.conns[c]
	if !ok || from == key {
		return nil
	}
	if err := s.gate.move(from, key, s.limits); err != nil {
		return err
	}
	s.conns[c] = key
	return nil
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
	s.gate.leave(key)
}

// remoteAddr is the client's address, without a zone, as networks are given;
// the zero Addr, which is in no network, if the connection has none.
func remoteAddr(nc net.Conn) netip.Addr {
	if tcp, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// network is what clients are counted by: the network that an address is in,
// as large as one customer of a provider has it.
func (s *Server) network(a netip.Addr) netip.Prefix {
	bits := s.limits.NetworkIPv4
	if a.Is6() {
		bits = s.limits.NetworkIPv6
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
