package imapd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"restante/imapd/recall"
	"restante/imapd/wire"
	"restante/internal/sasl"
)

// Server serves IMAP on any number of listeners. New makes one; after Shutdown
// it is of no more use.
type Server struct {
	opt     Options
	buffers wire.Buffers
	gate    *gate
	tls     *sasl.Handshaker // nil without Options.TLS

	// clients are the goroutines of the connections.
	clients sync.WaitGroup
	// ending is done when Shutdown begins.
	ending context.Context
	finish context.CancelFunc

	mu        sync.Mutex
	open      map[*session]struct{}
	listeners map[net.Listener]struct{}
	stopped   bool
}

// New returns a Server.
func New(opt Options) *Server {
	s := &Server{
		opt:       opt.withDefaults(),
		open:      make(map[*session]struct{}),
		listeners: make(map[net.Listener]struct{}),
	}
	s.opt.Mailboxes, s.opt.Bodies = recall.NewMailboxes(opt.Mailboxes), recall.NewBodies(opt.Bodies)
	s.ending, s.finish = context.WithCancel(context.Background())
	s.gate = newGate(s.opt)
	if opt.TLS != nil {
		config := opt.TLS.Clone()
		if opt.Certificates != nil {
			config.ClientAuth = tls.RequestClientCert
		}
		s.tls = sasl.NewHandshaker(config)
	}
	return s
}

// Serve accepts connections until ctx is done, the listener fails or Shutdown
// is called, closes the listener, and returns nil or why the listener failed.
// The sessions go on until Shutdown.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if s.opt.ImplicitTLS && s.opt.TLS == nil {
		ln.Close()
		return errors.New("imapd: implicit TLS without a TLS configuration")
	}
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		ln.Close()
		return nil
	}
	s.listeners[ln] = struct{}{}
	s.mu.Unlock()
	defer func() {
		ln.Close()
		s.mu.Lock()
		delete(s.listeners, ln)
		s.mu.Unlock()
	}()
	defer context.AfterFunc(ctx, func() { ln.Close() })()

	for pause := time.Duration(0); ; {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			s.admit(conn)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		case isTemporary(err):
			// Mostly too many open files: some will be closed.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.opt.Logger.Warn("accept failed", "err", err, "retry", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			case <-s.ending.Done():
			}
		default:
			return fmt.Errorf("imapd: accept: %w", err)
		}
	}
}

func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// Shutdown stops listening and ends all sessions: each with a BYE, after the
// command it is executing. When ctx is done first, connections are cut and its
// error is returned. No goroutine is left when it returns, unless a verb of
// the spool hangs.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.stopped {
		s.stopped = true
		s.finish()
	}
	for ln := range s.listeners {
		ln.Close()
	}
	for c := range s.open {
		c.stop()
	}
	s.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		s.clients.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = fmt.Errorf("imapd: shutdown: %w", ctx.Err())
		s.mu.Lock()
		for c := range s.open {
			c.abort()
		}
		s.mu.Unlock()
		select {
		case <-ended:
		case <-time.After(abortWait):
			return err
		}
	}
	return err
}

// abortWait is how long Shutdown waits for sessions whose connection was cut.
const abortWait = 5 * time.Second
