package imapd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

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
	// plain and secure are the library's servers, for before and after TLS:
	// it only knows by its own STARTTLS whether a connection is safe, and that
	// is not used (see run).
	plain, secure *engine

	// clients are the goroutines of the connections.
	clients sync.WaitGroup
	// stopping is closed when Shutdown begins.
	stopping chan struct{}

	mu        sync.Mutex
	open      map[*client]struct{}
	listeners map[net.Listener]struct{}
	stopped   bool
}

// New returns a Server.
func New(opt Options) *Server {
	s := &Server{
		opt:       opt.withDefaults(),
		stopping:  make(chan struct{}),
		open:      make(map[*client]struct{}),
		listeners: make(map[net.Listener]struct{}),
	}
	s.gate = newGate(s.opt)
	if opt.TLS != nil {
		config := opt.TLS.Clone()
		if opt.Certificates != nil {
			config.ClientAuth = tls.RequestClientCert
		}
		s.tls = sasl.NewHandshaker(config)
	}
	s.plain = newEngine(s.opt, false)
	s.secure = newEngine(s.opt, true)
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
			case <-s.stopping:
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
		close(s.stopping)
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
	s.plain.close()
	s.secure.close()
	return err
}

// abortWait is how long Shutdown waits for sessions whose connection was cut.
const abortWait = 5 * time.Second

// engine is a server of the library's. It takes its connections from a channel
// since there is no other way to give it one.
type engine struct {
	lib   *imapserver.Server
	queue handoff
	start sync.Once
	stop  sync.Once
	done  sync.WaitGroup
	log   *slog.Logger
}

func newEngine(opt Options, secure bool) *engine {
	o := imapserver.Options{
		NewSession: func(c *imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return newSession(c), nil, nil
		},
		Caps:         capabilities(),
		Logger:       libraryLog{opt.Logger},
		InsecureAuth: secure,
	}
	if !secure && opt.TLS != nil {
		// It is never used but makes STARTTLS be announced.
		o.TLSConfig = new(tls.Config)
	}
	return &engine{
		lib:   imapserver.New(&o),
		queue: handoff{conns: make(chan net.Conn), done: make(chan struct{})},
		log:   opt.Logger,
	}
}

// serve hands a connection over to the library.
func (e *engine) serve(c net.Conn) {
	e.start.Do(func() {
		e.done.Go(func() {
			if err := e.lib.Serve(e.queue); err != nil {
				e.log.Error("protocol engine ended", "err", err)
			}
		})
	})
	e.queue.conns <- c
}

// close ends the library's loop; no connection may be handed over after that.
func (e *engine) close() {
	e.start.Do(func() {})
	e.stop.Do(func() { e.queue.Close() })
	e.done.Wait()
}

// handoff is a net.Listener that accepts what it is given.
type handoff struct {
	conns chan net.Conn
	done  chan struct{}
}

func (h handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close may be called once.
func (h handoff) Close() error {
	close(h.done)
	return nil
}

func (handoff) Addr() net.Addr { return &net.TCPAddr{} }

// capabilities is everything that the library can be told to announce; it adds
// what it always has, and APPENDLIMIT from the session.
func capabilities() imap.CapSet {
	caps := make(imap.CapSet)
	for _, c := range []imap.Cap{
		imap.CapIMAP4rev1, imap.CapIMAP4rev2, imap.CapNamespace, imap.CapUIDPlus, imap.CapESearch, imap.CapSearchRes,
		imap.CapListExtended, imap.CapListStatus, imap.CapMove, imap.CapStatusSize, imap.CapBinary, imap.CapChildren,
		imap.CapSpecialUse, imap.CapCreateSpecialUse, imap.CapLiteralPlus, imap.CapUnauthenticate,
	} {
		caps[c] = struct{}{}
	}
	return caps
}

// libraryLog makes log records of the library's lines. A panic is a fault; what
// it did not know how to tell the client mostly is the client's.
type libraryLog struct{ log *slog.Logger }

func (l libraryLog) Printf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	level := slog.LevelDebug
	switch {
	case strings.HasPrefix(text, "panic"):
		level = slog.LevelError
	case strings.HasPrefix(text, "handling"):
		level = slog.LevelWarn
	}
	l.log.Log(context.Background(), level, "imap engine: "+text)
}
