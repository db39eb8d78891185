package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
)

const (
	kindHTTP = "http-01"
	kindTLS  = "tls-alpn-01"
)

const (
	// visit bounds a stranger's connection to a responder, maxVisits how many
	// there are at a time.
	visit     = 10 * time.Second
	maxVisits = 32
)

// responder answers challenges, from respond to close: while a certificate is
// being got. There is nothing else to be had from it.
type responder struct {
	mu      sync.Mutex
	tokens  map[string]string           // by path
	certs   map[string]*tls.Certificate // by domain
	work    sync.WaitGroup
	closers []func()
	offered []string
}

// respond opens the listeners. It fails if none can be opened; if only one can,
// that must do.
func (i *issuer) respond() (*responder, error) {
	r := &responder{tokens: make(map[string]string), certs: make(map[string]*tls.Certificate)}
	var failures []error
	open := func(kind, address string, listen func() (net.Listener, error), serve func(net.Listener)) {
		if listen == nil {
			if address == "" {
				return
			}
			listen = func() (net.Listener, error) { return net.Listen("tcp", address) }
		}
		l, err := listen()
		if err != nil {
			failures = append(failures, fmt.Errorf("answer challenges of the kind %s: %w", kind, err))
			return
		}
		r.offered = append(r.offered, kind)
		serve(l)
	}
	open(kindHTTP, i.HTTPAddress, i.ListenHTTP, r.serveHTTP)
	open(kindTLS, i.TLSAddress, i.ListenTLS, r.serveTLS)
	if len(r.offered) == 0 {
		return nil, errors.Join(append(failures, errors.New("no way to answer challenges"))...)
	}
	for _, err := range failures {
		i.log.Warn("one kind of challenge cannot be answered", "error", err)
	}
	return r, nil
}

// kinds are those of challenges that can be answered.
func (r *responder) kinds() []string { return slices.Clone(r.offered) }

// close ends the listeners and waits for who is being answered.
func (r *responder) close() {
	for _, f := range r.closers {
		f()
	}
	r.work.Wait()
}

// prepare makes the answer to a challenge ready, until forget.
func (r *responder) prepare(client *acme.Client, c *acme.Challenge, domain string) (forget func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.Type == kindHTTP {
		text, err := client.HTTP01ChallengeResponse(c.Token)
		if err != nil {
			return nil, err
		}
		path := client.HTTP01ChallengePath(c.Token)
		r.tokens[path] = text
		return func() { r.mu.Lock(); defer r.mu.Unlock(); delete(r.tokens, path) }, nil
	}
	pair, err := client.TLSALPN01ChallengeCert(c.Token, domain)
	if err != nil {
		return nil, err
	}
	r.certs[domain] = &pair
	return func() { r.mu.Lock(); defer r.mu.Unlock(); delete(r.certs, domain) }, nil
}

func (r *responder) serveHTTP(l net.Listener) {
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			r.mu.Lock()
			text, ok := r.tokens[req.URL.Path]
			r.mu.Unlock()
			if !ok {
				http.NotFound(w, req)
				return
			}
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = w.Write([]byte(text)) // who went away asks again
		}),
		ReadTimeout: visit, WriteTimeout: visit, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	server.SetKeepAlivesEnabled(false)
	r.work.Go(func() { _ = server.Serve(newCrowd(l)) }) // until it is closed
	r.closers = append(r.closers, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
	})
}

// serveTLS answers TLS-ALPN-01 (RFC 8737): all there is to it is the handshake.
func (r *responder) serveTLS(l net.Listener) {
	crowd := newCrowd(l)
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{acme.ALPNProto},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			pair := r.certs[strings.ToLower(hello.ServerName)]
			if pair == nil || !slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto}) {
				return nil, errors.New("nothing to be had here")
			}
			return pair, nil
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.work.Go(func() {
		for {
			conn, err := crowd.Accept()
			if err != nil {
				return
			}
			r.work.Go(func() {
				defer conn.Close()
				ctx, cancel := context.WithTimeout(ctx, visit)
				defer cancel()
				_ = tls.Server(conn, config).HandshakeContext(ctx) // the authority tells
			})
		}
	})
	r.closers = append(r.closers, func() { cancel(); crowd.Close() })
}

// crowd is a listener with at most maxVisits connections at a time.
type crowd struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newCrowd(l net.Listener) *crowd {
	return &crowd{Listener: l, places: make(chan struct{}, maxVisits), closed: make(chan struct{})}
}

// Accept waits for a place, then for a connection.
func (c *crowd) Accept() (net.Conn, error) {
	select {
	case c.places <- struct{}{}:
	case <-c.closed:
		return nil, net.ErrClosed
	}
	conn, err := c.Listener.Accept()
	if err != nil {
		<-c.places
		return nil, err
	}
	return &visitor{Conn: conn, leave: sync.OnceFunc(func() { <-c.places })}, nil
}

// Close also wakes an Accept that waits for a place.
func (c *crowd) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Listener.Close()
}

type visitor struct {
	net.Conn
	leave func()
}

func (v *visitor) Close() error {
	defer v.leave()
	return v.Conn.Close()
}
