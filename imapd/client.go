package imapd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"restante/imapd/wire"
)

// handshakeWait bounds a TLS handshake.
const handshakeWait = 30 * time.Second

func addrOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// admit begins to serve a connection unless there are too many.
func (s *Server) admit(conn net.Conn) {
	remote := addrOf(conn)
	if !s.gate.enter(remote) {
		s.opt.Logger.Warn("too many connections", "remote", remote)
		if !s.opt.ImplicitTLS {
			conn.SetWriteDeadline(time.Now().Add(time.Second))
			io.WriteString(conn, "* BYE Too many connections\r\n")
		}
		conn.Close()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &session{
		srv: s, raw: conn, remote: remote, ctx: ctx, cancel: cancel, log: s.opt.Logger.With("remote", remote),
		conn: wire.New(conn, wire.Options{Idle: s.opt.IdleTimeout, Buffers: &s.buffers}),
	}
	c.out = c.conn.Encode()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		cancel()
		conn.Close()
		s.gate.leave(remote)
		return
	}
	s.open[c] = struct{}{}
	s.clients.Go(func() {
		c.run()
		c.conn.Close()
		c.raw.Close()
		cancel()
		s.gate.leave(remote)
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
	})
}

// run takes a connection through its life. A panic costs no more than this
// session.
func (s *session) run() {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic in a session", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			s.conn.Abort()
		}
		s.end()
	}()
	if s.srv.opt.ImplicitTLS && !s.handshake() {
		return
	}
	s.out.Raw("* OK [CAPABILITY ").Raw(s.capabilities()).Raw("] restante is ready").CRLF()
	s.loop()
}

// loop answers commands until the session is over.
func (s *session) loop() {
	for !s.over {
		err := s.await()
		if err == nil {
			err = s.command()
		}
		if err != nil {
			s.goodbye(err)
			return
		}
	}
}

// goodbye says the last words, if there is somebody to hear them.
func (s *session) goodbye(err error) {
	text, _ := s.conn.Stopping()
	switch {
	case errors.Is(err, errBye):
		return
	case errors.Is(err, wire.ErrStopped):
	case errors.Is(err, wire.ErrTimeout):
		text = "Autologout; idle for too long"
	case errors.Is(err, errFaults):
		text = "Too many malformed commands"
	case errors.Is(err, wire.ErrLost):
		text = "Command is too large"
	default:
		return
	}
	if !s.broken {
		s.out.Raw("* BYE ").Raw(text).CRLF()
	}
}

// handshake sets TLS up. It is false if there is none to be had with this client.
func (s *session) handshake() bool {
	conn := tls.Server(s.raw, s.srv.tls.Config())
	ctx, cancel := context.WithTimeout(s.ctx, handshakeWait)
	defer cancel()
	defer context.AfterFunc(s.srv.ending, func() { s.raw.Close() })()
	ctx, channel := s.srv.tls.Watch(ctx)
	s.raw.SetDeadline(time.Now().Add(handshakeWait))
	if err := conn.HandshakeContext(ctx); err != nil {
		s.log.Debug("TLS handshake failed", "err", err)
		return false
	}
	s.raw.SetDeadline(time.Time{})
	s.channel = channel(conn.ConnectionState())
	s.conn.Upgrade(conn)
	return true
}

// stop ends the session when the command it is executing is done.
func (s *session) stop() { s.conn.Stop("Server is shutting down") }

// abort cuts the connection.
func (s *session) abort() {
	s.cancel()
	s.raw.Close()
}
