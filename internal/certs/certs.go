// Package certs keeps the certificate of all listeners: one that the
// administrator gives in files, one that an ACME authority issues (RFC 8555),
// or a self-signed one that it makes and keeps in the state directory.
//
// The certificate can be loaded again at any time without disturbing
// connections: those there are keep the one they began with. If that fails the
// one in use stays in use, and the error says so.
//
// While Run runs, a certificate does not just run out: a self-signed one is
// made anew in its last 30 days (with the same key), one in files is read again
// when the files have changed and complained of when they have not, and one of
// an authority is renewed when a third of its lifetime is left, or 30 days.
// As long as an authority has issued none, the one in use before is served if
// it was a real one, otherwise a self-signed one; one that could not be renewed
// is served for as long as it takes, for most of the mail goes on without a
// good certificate. Each failure to get one is logged with its reason and with
// the time of the next attempt.
//
// TLS 1.2 is the oldest version that is spoken; cipher suites, curves and their
// order are those of crypto/tls, which has had no weak one in its defaults
// since Go 1.22 and follows what is found out about them.
package certs

import (
	"context"
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
	// ACME, unless it is nil, is how to get certificates; no files are given
	// then.
	ACME *ACME
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
	mu      sync.Mutex // guards what follows
	opt     Options
	issuer  *issuer // nil without ACME
	loads   int     // how often opt was taken up
	stop    context.CancelFunc
	current atomic.Pointer[inUse]
	// reloaded tells Run that what it tends is another; it holds one signal.
	reloaded chan struct{}
	// complained is when a certificate in files was last complained of. Only
	// Run uses it.
	complained time.Time
}

// inUse is what is served. It does not change.
type inUse struct {
	// fallback is for who names no server, or one that is not in names.
	fallback *tls.Certificate
	names    map[string]*tls.Certificate
	self     bool // the fallback is of our own making
}

// Open loads the certificate, or makes one. One that has run out is taken, with
// a warning: most of the mail goes on without a good certificate, and none
// would without a daemon.
func Open(opt Options) (*Store, error) {
	s := &Store{reloaded: make(chan struct{}, 1), stop: func() {}}
	opt = opt.withDefaults()
	if err := s.load(opt); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if leaf := s.Leaf(); opt.Now().After(leaf.NotAfter) {
		opt.Logger.Warn("certificate has run out, renew it", "file", opt.Certificate, "name", leaf.Subject.CommonName, "since", leaf.NotAfter)
	}
	return s, nil
}

// Reload loads the certificate again, from wherever the options say. On an
// error, which wraps ErrKept, nothing changes; one in files that has run out is
// an error. Connections keep the certificate they began with. An authority that
// failed is asked again at once.
func (s *Store) Reload(opt Options) error {
	opt = opt.withDefaults()
	if opt.ACME == nil && !opt.selfSigned() {
		pair, err := loadFiles(opt)
		if err == nil && opt.expired(pair) {
			err = fmt.Errorf("%s ran out on %s", opt.Certificate, pair.Leaf.NotAfter.Format(time.DateOnly))
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrKept, err)
		}
	}
	if err := s.load(opt); err != nil {
		return fmt.Errorf("%w: %w", ErrKept, err)
	}
	return nil
}

// load takes up what the options say. On an error all stays as it was.
func (s *Store) load(opt Options) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, issuer := &inUse{}, (*issuer)(nil)
	var err error
	switch {
	case opt.ACME != nil:
		issuer = newIssuer(opt)
		next, err = s.issued(issuer, opt)
	case opt.selfSigned():
		next.self = true
		next.fallback, err = selfSigned(opt)
	default:
		next.fallback, err = loadFiles(opt)
	}
	if err != nil {
		return err
	}
	s.opt, s.issuer = opt, issuer
	s.loads++
	s.current.Store(next)
	s.stop() // what Run is about to do was for the former
	select {
	case s.reloaded <- struct{}{}:
	default:
	}
	return nil
}

// issued is what to serve of what an issuer has. With nothing from the
// authority it is the certificate in use, if that is a good one, or else a
// self-signed one.
func (s *Store) issued(i *issuer, opt Options) (*inUse, error) {
	next := &inUse{names: make(map[string]*tls.Certificate)}
	for _, d := range i.domains {
		if d.pair == nil {
			continue
		}
		next.names[d.name] = d.pair
		if next.fallback == nil {
			next.fallback = d.pair
		}
	}
	if next.fallback != nil {
		return next, nil
	}
	if now := s.current.Load(); now != nil && !now.self && !opt.expired(now.fallback) {
		next.fallback = now.fallback
		return next, nil
	}
	var err error
	next.self = true
	next.fallback, err = selfSigned(opt)
	return next, err
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

// loadFiles loads the administrator's certificate.
func loadFiles(opt Options) (*tls.Certificate, error) {
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

// GetCertificate serves tls.Config: the certificate of the name that the client
// asks for, or else of the first name.
func (s *Store) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := s.current.Load()
	if pair := now.names[strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))]; pair != nil {
		return pair, nil
	}
	return now.fallback, nil
}

// Config returns a configuration for servers, TLS 1.2 or later, that follows
// every Reload.
func (s *Store) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.GetCertificate}
}

// Leaf returns the certificate in use, of the first name if there are several.
// It must not be changed.
func (s *Store) Leaf() *x509.Certificate { return s.current.Load().fallback.Leaf }

// SelfSigned tells whether the certificate in use is one of our own making.
func (s *Store) SelfSigned() bool { return s.current.Load().self }

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
