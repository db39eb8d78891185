package imapd

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"restante/imapd/wire"
	"restante/internal/sasl"
)

// handshakeWait bounds a TLS handshake.
const handshakeWait = 30 * time.Second

// client is a network connection, through STARTTLS.
type client struct {
	srv    *Server
	raw    net.Conn
	remote netip.Addr
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	link     *link // what the library has; nil during a handshake
	stopping bool
}

// link is a client's connection as the library knows it: one before STARTTLS
// and another after it.
type link struct {
	*wire.Conn
	client *client
	// channel is the TLS below it, nil without.
	channel *sasl.Channel
	// sessionEnded is set when the session was closed: the library's last act
	// after that is to close the connection.
	sessionEnded atomic.Bool
	done         chan struct{}
	end          sync.Once
}

func (l *link) closed() {
	if l.sessionEnded.Load() {
		l.end.Do(func() { close(l.done) })
	}
}

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
	c := &client{srv: s, raw: conn, remote: remote, ctx: ctx, cancel: cancel, log: s.opt.Logger.With("remote", remote)}
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
		c.raw.Close()
		cancel()
		s.gate.leave(remote)
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
	})
}

// run takes a connection through its life. STARTTLS ends the library's
// connection and begins another, on the engine that lets clients log in, and
// without a second greeting: there is nothing in the state before TLS that may
// be kept (RFC 9051 section 6.2.1), and so the commands can be framed under TLS
// as they are without it.
func (c *client) run() {
	conn, secure := c.raw, c.srv.opt.ImplicitTLS
	var channel *sasl.Channel
	if secure {
		if conn, channel = c.handshake(); conn == nil {
			return
		}
	}
	for greeted := false; ; greeted = true {
		l := c.newLink(conn, channel, greeted)
		if l == nil {
			return
		}
		if secure {
			c.srv.secure.serve(l)
		} else {
			c.srv.plain.serve(l)
		}
		<-l.done
		if !l.Upgrade() {
			return
		}
		secure = true
		if conn, channel = c.handshake(); conn == nil {
			return
		}
	}
}

// handshake returns nil if there is no TLS to be had with this client.
func (c *client) handshake() (net.Conn, *sasl.Channel) {
	c.mu.Lock()
	c.link = nil
	stopping := c.stopping
	c.mu.Unlock()
	if stopping {
		return nil, nil
	}
	conn := tls.Server(c.raw, c.srv.tls.Config())
	ctx, cancel := context.WithTimeout(c.ctx, handshakeWait)
	defer cancel()
	ctx, channel := c.srv.tls.Watch(ctx)
	c.raw.SetDeadline(time.Now().Add(handshakeWait))
	if err := conn.HandshakeContext(ctx); err != nil {
		c.log.Debug("TLS handshake failed", "err", err)
		return nil, nil
	}
	c.raw.SetDeadline(time.Time{})
	return conn, channel(conn.ConnectionState())
}

func (c *client) newLink(conn net.Conn, channel *sasl.Channel, greeted bool) *link {
	l := &link{client: c, channel: channel, done: make(chan struct{})}
	l.Conn = wire.New(conn, wire.Options{
		Idle:       c.srv.opt.IdleTimeout,
		MaxMessage: c.srv.opt.MaxAppend,
		StartTLS:   channel == nil && c.srv.opt.TLS != nil,
		Greeted:    greeted,
		Buffers:    &c.srv.buffers,
		Closed:     l.closed,
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return nil
	}
	c.link = l
	return l
}

// stop ends the client when the command it is executing is done.
func (c *client) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	if c.link == nil {
		c.raw.Close()
		return
	}
	c.link.Stop("Server is shutting down")
}

// abort cuts the connection.
func (c *client) abort() {
	c.cancel()
	c.raw.Close()
}
