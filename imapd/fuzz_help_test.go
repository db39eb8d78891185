package imapd

import (
	"context"
	"net"

	"restante/imapd/wire"
	"restante/spool"
)

func spoolFlags() spool.Flags { return spool.Flags{} }

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
