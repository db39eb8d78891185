package imapd

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"restante/imapd/wire"
	"restante/internal/logbuffer"
	"restante/spool"
)

func spoolFlags() spool.Flags { return spool.Flags{} }

// newQuietHouse is newHouse for tests that go on for long: only errors are logged.
func newQuietHouse(t testing.TB) (*house, *logbuffer.Buffer) {
	errs := new(logbuffer.Buffer)
	h := newHouse(t, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelError}))
	})
	return h, errs
}

// script is a connection to a client that says something without waiting, and then
// hangs up.
type script struct {
	in  io.Reader
	out bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// serveLoggedIn runs a session on a connection, as if the account had logged in,
// and returns a channel that is closed when it has ended.
func (s *Server) serveLoggedIn(conn net.Conn, account string) <-chan struct{} {
	ctx, cancel := context.WithCancel(context.Background())
	c := &session{
		srv: s, raw: conn, ctx: ctx, cancel: cancel, log: s.opt.Logger,
		conn: wire.New(conn, wire.Options{Buffers: &s.buffers}),
	}
	c.out = c.conn.Encode()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		defer c.conn.Close()
		if c.enter(account, account) == nil {
			c.loop()
		}
		c.end()
	}()
	return done
}
