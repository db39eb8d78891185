package standin

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// Web is a web server with a certificate of an authority for tests. It answers
// by host name, whatever address the name has elsewhere: Dial leads to it. It is
// safe for concurrent use.
type Web struct {
	srv *httptest.Server

	mu       sync.Mutex
	pages    map[string]http.HandlerFunc // "host/path"
	requests []string
}

// NewWeb starts a web server, by HTTPS on a free port of 127.0.0.1.
func NewWeb(cert *Certificate) *Web {
	w := &Web{pages: make(map[string]http.HandlerFunc)}
	w.srv = httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	w.start(cert)
	return w
}

// NewWebAt is NewWeb at an address of this machine, "127.0.0.9:443", for those
// that cannot be told of another port.
func NewWebAt(addr string, cert *Certificate) (*Web, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("standin: %w", err)
	}
	w := &Web{pages: make(map[string]http.HandlerFunc)}
	w.srv = &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(w.serve)}}
	w.start(cert)
	return w, nil
}

func (w *Web) start(cert *Certificate) {
	w.srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert.Certificate}, MinVersion: tls.VersionTLS12}
	w.srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.srv.StartTLS()
}

func (w *Web) serve(rw http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	name := strings.ToLower(host) + r.URL.Path
	w.mu.Lock()
	w.requests = append(w.requests, name)
	page := w.pages[name]
	w.mu.Unlock()
	if page == nil {
		http.NotFound(rw, r)
		return
	}
	page(rw, r)
}

// Handle sets what answers for "host/path"; nil takes it away.
func (w *Web) Handle(name string, page http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pages[name] = page
}

// Policy publishes an MTA-STS policy of a domain, in lines.
func (w *Web) Policy(domain string, lines ...string) {
	w.Handle("mta-sts."+domain+"/.well-known/mta-sts.txt", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/plain")
		rw.Write([]byte(strings.Join(lines, "\r\n") + "\r\n"))
	})
}

// Requests returns what was asked for so far, "host/path".
func (w *Web) Requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.requests...)
}

// Addr is "127.0.0.1:port".
func (w *Web) Addr() string { return w.srv.Listener.Addr().String() }

// Dial connects to the server, whatever the address.
func (w *Web) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", w.Addr())
}

// Close stops the server and waits for the requests in progress.
func (w *Web) Close() { w.srv.Close() }
