package webhook

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	"restante/relay"
)

const (
	// idleTime is how long a connection is kept for the next delivery.
	idleTime = 10 * time.Second
	// maxClients bounds the routes whose connections are kept.
	maxClients = 64
	// maxFields bounds the header of an answer, in octets.
	maxFields = 64 << 10
)

// clients has the connections of each route. Routes are never changed, only
// replaced, so that the same pointer means the same TLS policy.
type clients struct {
	mu   sync.Mutex
	list map[*relay.Route]*http.Transport
}

// of returns the connections of a route.
func (l *clients) of(c *Courier, r *relay.Route) *http.Transport {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.list[r]; t != nil {
		return t
	}
	if len(l.list) >= maxClients {
		// Those of routes that a reload has replaced are among them.
		l.drop()
	}
	if l.list == nil {
		l.list = make(map[*relay.Route]*http.Transport)
	}
	t := c.transport(r)
	l.list[r] = t
	return t
}

// drop forgets all; requests that are under way end as they would have.
func (l *clients) drop() {
	for r, t := range l.list {
		t.CloseIdleConnections()
		delete(l.list, r)
	}
}

func (l *clients) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
}

// transport makes the connections of a route. It takes no proxy from the
// environment: where mail goes is the configuration's to say.
func (c *Courier) transport(r *relay.Route) *http.Transport {
	config := &tls.Config{RootCAs: c.opt.RootCAs, MinVersion: max(r.MinTLS, tls.VersionTLS12)}
	if r.RootCAs != nil {
		config.RootCAs = r.RootCAs
	}
	if r.Certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return r.Certificate() }
	}
	limit := c.opt.Timeouts
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, limit.Connect)
			defer cancel()
			conn, err := c.opt.Dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return patient{conn, limit.Write}, nil
		},
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    limit.Connect,
		ResponseHeaderTimeout:  limit.Answer,
		IdleConnTimeout:        idleTime,
		MaxIdleConnsPerHost:    maxClients,
		MaxResponseHeaderBytes: maxFields,
		DisableCompression:     true,
	}
}

// patient is a connection with a deadline for every write: the transport has
// one for the answer only.
type patient struct {
	net.Conn
	limit time.Duration
}

func (p patient) Write(b []byte) (int, error) {
	if err := p.Conn.SetWriteDeadline(time.Now().Add(p.limit)); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}
