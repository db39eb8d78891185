package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, opt Options) *Store {
	t.Helper()
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSelfSigned(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	opt := Options{Directory: filepath.Join(t.TempDir(), "tls"), Hostname: "mail.example.org", Now: func() time.Time { return now }}
	s := open(t, opt)
	leaf := s.Leaf()
	for _, name := range []string{"mail.example.org", "localhost", "127.0.0.1", "::1"} {
		if err := leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if leaf.IsCA || leaf.PublicKeyAlgorithm != x509.ECDSA || leaf.NotAfter.Sub(leaf.NotBefore) > 825*24*time.Hour || !s.SelfSigned() {
		t.Errorf("got %+v", leaf)
	}
	if f := s.Fingerprint(); len(f) != 32*3-1 || strings.ToUpper(f) != f {
		t.Errorf("got %s", f)
	}
	for name, mode := range map[string]os.FileMode{selfKey: 0o600, selfCertificate: 0o644} {
		info, err := os.Stat(filepath.Join(opt.Directory, name))
		if err != nil || info.Mode().Perm()&^mode != 0 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}

	if again := open(t, opt); again.Fingerprint() != s.Fingerprint() {
		t.Error("not kept")
	}
	renewed := func(what string, want, sameKey bool) {
		t.Helper()
		n := open(t, opt)
		if got := n.Fingerprint() != s.Fingerprint(); got != want {
			t.Errorf("%s: new is %v", what, got)
		}
		if got := n.Leaf().PublicKey.(*ecdsa.PublicKey).Equal(s.Leaf().PublicKey); got != sameKey {
			t.Errorf("%s: same key is %v", what, got)
		}
		s = n
	}
	now = s.Leaf().NotAfter.Add(-renewal - time.Hour)
	renewed("31 days left", false, true)
	now = s.Leaf().NotAfter.Add(-renewal + time.Hour)
	renewed("29 days left", true, true)
	now = s.Leaf().NotBefore.Add(-time.Hour)
	renewed("clock set back", true, true)
	opt.Hostname = "other.example.org"
	renewed("another name", true, true)
	opt.Hostname = ""
	renewed("no name", true, true)
	if err := os.WriteFile(filepath.Join(opt.Directory, selfCertificate), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	renewed("damaged certificate", true, true)
	if err := os.WriteFile(filepath.Join(opt.Directory, selfKey), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	renewed("damaged key", true, false)
}

// serve answers TLS connections with the store's certificate until the test ends.
func serve(t *testing.T, s *Store) (address string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", s.Config())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// An error is the client's to see.
			c.Write([]byte("hello"))
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func dial(address string, config *tls.Config) (*x509.Certificate, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", address, config)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if b, err := io.ReadAll(c); string(b) != "hello" {
		return nil, err
	}
	return c.ConnectionState().PeerCertificates[0], nil
}

func TestReloadIsSeenByNewConnections(t *testing.T) {
	selfDir, dir := t.TempDir(), t.TempDir()
	s := open(t, Options{Directory: selfDir, Hostname: "self.example"})
	address := serve(t, s)
	expect := func(name string) {
		t.Helper()
		roots := x509.NewCertPool()
		roots.AddCert(s.Leaf())
		got, err := dial(address, &tls.Config{RootCAs: roots, ServerName: name})
		if err != nil || got.Subject.CommonName != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	expect("self.example")
	if _, err := dial(address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is taken")
	}

	// Files, for which another store's serve.
	open(t, Options{Directory: dir, Hostname: "given.example"})
	given := Options{Certificate: filepath.Join(dir, selfCertificate), Key: filepath.Join(dir, selfKey)}
	if err := s.Reload(given); err != nil || s.SelfSigned() {
		t.Fatal(err)
	}
	expect("given.example")

	other := filepath.Join(selfDir, selfKey)
	for what, bad := range map[string]Options{
		"key of another": {Certificate: given.Certificate, Key: other},
		"no key":         {Certificate: given.Certificate},
		"missing":        {Certificate: filepath.Join(dir, "none"), Key: given.Key},
		"not PEM":        {Certificate: filepath.Join(dir, "bad"), Key: given.Key},
		"no directory":   {},
	} {
		if err := os.WriteFile(filepath.Join(dir, "bad"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Reload(bad); !errors.Is(err, ErrKept) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := Open(bad); err == nil || errors.Is(err, ErrKept) {
			t.Errorf("%s: Open: %v", what, err)
		}
		expect("given.example")
	}
	if err := s.Reload(Options{Directory: selfDir, Hostname: "self.example"}); err != nil || !s.SelfSigned() {
		t.Error(err)
	}
	expect("self.example")
}

func TestExpired(t *testing.T) {
	dir := t.TempDir()
	open(t, Options{Directory: dir})
	var log bytes.Buffer
	opt := Options{
		Certificate: filepath.Join(dir, selfCertificate), Key: filepath.Join(dir, selfKey),
		Now:    func() time.Time { return time.Now().AddDate(3, 0, 0) },
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	s := open(t, opt)
	if !strings.Contains(log.String(), "level=WARN") {
		t.Errorf("no warning: %s", &log)
	}
	if err := s.Reload(opt); !errors.Is(err, ErrKept) {
		t.Errorf("Reload took it: %v", err)
	}
}
