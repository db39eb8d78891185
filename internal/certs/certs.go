// Package certs keeps the certificate of all listeners: one that the
// administrator gives in files, or a self-signed one that it makes and keeps in
// the state directory.
//
// The certificate can be loaded again at any time without disturbing
// connections. If that fails the one in use stays in use, and the error says
// so. A self-signed certificate is renewed when it is opened or reloaded in
// its last 30 days; a daemon that ran for two years without either would serve
// one that has run out.
package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options is where the certificate is.
type Options struct {
	// Certificate is a PEM file with the chain, leaf first, and Key a PEM file
	// with its key. Both empty: self-signed.
	Certificate, Key string
	// Directory is where a self-signed certificate is kept, in the files
	// self-signed.crt and self-signed.key. It is made if it is missing.
	Directory string
	// Hostname is the name in a self-signed certificate.
	Hostname string
	// Logger is told of a certificate made, and of one that has run out; nil
	// is none.
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// ErrKept is wrapped by errors of Reload: the former certificate is in use.
var ErrKept = errors.New("keeping the certificate in use")

// Store holds the certificate in use. It is safe for concurrent use.
type Store struct {
	mu      sync.Mutex // serialises Reload
	current atomic.Pointer[tls.Certificate]
	self    atomic.Bool
}

// Open loads the certificate, or makes one. One that has run out is taken, with
// a warning: most of the mail goes on without a good certificate, and none
// would without a daemon.
func Open(opt Options) (*Store, error) {
	s := new(Store)
	opt = opt.withDefaults()
	pair, err := load(opt)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if opt.expired(pair) {
		opt.Logger.Warn("certificate has run out, renew it", "file", opt.Certificate, "since", pair.Leaf.NotAfter)
	}
	s.use(pair, opt)
	return s, nil
}

// Reload loads the certificate again, from wherever the options say. On an
// error, which wraps ErrKept, nothing changes; one that has run out is an
// error. Connections keep the certificate they began with.
func (s *Store) Reload(opt Options) error {
	opt = opt.withDefaults()
	s.mu.Lock()
	defer s.mu.Unlock()
	pair, err := load(opt)
	if err == nil && opt.expired(pair) {
		err = fmt.Errorf("%s ran out on %s", opt.Certificate, pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKept, err)
	}
	s.use(pair, opt)
	return nil
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func (o Options) selfSigned() bool { return o.Certificate == "" && o.Key == "" }

func (o Options) expired(pair *tls.Certificate) bool { return o.Now().After(pair.Leaf.NotAfter) }

func (s *Store) use(pair *tls.Certificate, opt Options) {
	s.current.Store(pair)
	s.self.Store(opt.selfSigned())
}

func load(opt Options) (*tls.Certificate, error) {
	if opt.selfSigned() {
		return selfSigned(opt)
	}
	if opt.Certificate == "" || opt.Key == "" {
		return nil, errors.New("a certificate and a key go together")
	}
	return loadPair(opt.Certificate, opt.Key)
}

func loadPair(certificate, key string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		// The library's error names a file only if it cannot be read.
		return nil, fmt.Errorf("%s and %s: %w", certificate, key, err)
	}
	return &pair, nil
}

// GetCertificate serves tls.Config.
func (s *Store) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.current.Load(), nil
}

// Config returns a configuration for servers, TLS 1.2 or later, that follows
// every Reload.
func (s *Store) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.GetCertificate}
}

// Leaf returns the certificate in use. It must not be changed.
func (s *Store) Leaf() *x509.Certificate { return s.current.Load().Leaf }

// SelfSigned tells whether the certificate in use is one of our own making.
func (s *Store) SelfSigned() bool { return s.self.Load() }

// Fingerprint returns SHA-256 of the certificate in use as a person compares
// it: upper-case pairs of hexadecimal digits with colons.
func (s *Store) Fingerprint() string {
	sum := sha256.Sum256(s.Leaf().Raw)
	pairs := make([]string, len(sum))
	for i := range sum {
		pairs[i] = strings.ToUpper(hex.EncodeToString(sum[i : i+1]))
	}
	return strings.Join(pairs, ":")
}
