package certs

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
)

const directory = "https://ca.example:14000/dir"

// authority stands in for one: it issues what is asked, or fails.
type authority struct {
	t     *testing.T
	now   time.Time
	fail  error
	asked []string
	log   bytes.Buffer
}

func (a *authority) options(dir string, domains ...string) Options {
	return Options{
		Directory: dir, Hostname: "mail.example.org", Now: func() time.Time { return a.now },
		ACME:   &ACME{Directory: directory, Domains: domains, HTTPAddress: "127.0.0.1:0"},
		Logger: slog.New(slog.NewTextHandler(&a.log, nil)),
	}
}

// of makes a store's issuer ask the authority.
func (a *authority) of(s *Store) *issuer {
	i := s.issuer
	i.obtain = func(_ context.Context, name string) (*tls.Certificate, error) {
		a.asked = append(a.asked, name)
		if a.fail != nil {
			return nil, a.fail
		}
		key, chain := a.issue(name, 90*24*time.Hour)
		if err := os.MkdirAll(i.dir, 0o700); err != nil {
			a.t.Fatal(err)
		}
		return i.store(name, key, chain)
	}
	return i
}

func (a *authority) issue(name string, lifetime time.Duration) (*ecdsa.PrivateKey, [][]byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := sign(key, Options{Hostname: name, Now: func() time.Time { return a.now.Add(lifetime - 2*365*24*time.Hour + time.Hour) }})
	if err != nil {
		a.t.Fatal(err)
	}
	return key, [][]byte{der}
}

// serves tells whose certificate a client is shown that asks for a name.
func serves(t *testing.T, s *Store, name string) string {
	t.Helper()
	pair, err := s.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf.Subject.CommonName
}

func TestAuthority(t *testing.T) {
	a := &authority{t: t, now: time.Now(), fail: errors.New("the name does not resolve")}
	dir := t.TempDir()
	opt := a.options(dir, "mail.example.org", "imap.example.org")
	s := open(t, opt)
	a.of(s)
	if !s.SelfSigned() {
		t.Error("there is a certificate before there was one")
	}
	told := func(words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(a.log.String(), w) {
				t.Errorf("%q is missing in the log:\n%s", w, &a.log)
			}
		}
		a.log.Reset()
	}
	// It fails, and is left alone for a while, ever longer.
	var last time.Duration
	for n := range 8 {
		a.asked = nil
		pause := s.tend(t.Context())
		for range 3 {
			s.tend(t.Context())
		}
		if len(a.asked) != 2 {
			t.Fatalf("round %d: asked for %v", n, a.asked)
		}
		wait := s.issuer.domains[0].again.Sub(a.now)
		if wait < last || wait > 7*time.Hour || pause <= 0 || pause > longestNap {
			t.Errorf("round %d: again in %v after %v, a nap of %v", n, wait, last, pause)
		}
		last = wait - wait/5
		a.now = a.now.Add(7 * time.Hour)
	}
	told("cannot get a certificate", "the name does not resolve", "domain=imap.example.org", "again_in=")
	if !s.SelfSigned() || serves(t, s, "mail.example.org") != "mail.example.org" {
		t.Error("no certificate meanwhile")
	}

	// What is got is served by name, and kept.
	a.fail = nil
	s.tend(t.Context())
	told("got a certificate", "domain=mail.example.org")
	for asked, want := range map[string]string{"": "mail.example.org", "IMAP.example.org.": "imap.example.org", "else.example": "mail.example.org"} {
		if got := serves(t, s, asked); got != want || s.SelfSigned() {
			t.Errorf("asked for %q, showed %q", asked, got)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "acme", "ca.example_14000", "imap.example.org.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	again := open(t, opt)
	if again.SelfSigned() || again.Fingerprint() != s.Fingerprint() {
		t.Error("not kept")
	}
	elsewhere := a.options(dir, "mail.example.org")
	elsewhere.ACME.Directory = "https://other.example/"
	if open(t, elsewhere).Fingerprint() == s.Fingerprint() {
		t.Error("another authority's certificate is taken")
	}

	// Renewal: not before its time; what fails changes nothing.
	old := s.Fingerprint()
	a.asked = nil
	a.now = s.Leaf().NotAfter.Add(-31 * 24 * time.Hour)
	if s.tend(t.Context()); len(a.asked) != 0 {
		t.Errorf("renewed too early: %v", a.asked)
	}
	a.now = s.Leaf().NotAfter.Add(-29 * 24 * time.Hour)
	a.fail = &acme.Error{StatusCode: 429, Header: http.Header{"Retry-After": {"36000"}}, ProblemType: "urn:ietf:params:acme:error:rateLimited"}
	s.tend(t.Context())
	told("cannot renew a certificate, it stays in use", "rateLimited")
	if wait := s.issuer.domains[0].again.Sub(a.now); wait < 10*time.Hour {
		t.Errorf("asked to wait 10 hours, waits %v", wait)
	}
	a.now = a.now.Add(40 * 24 * time.Hour)
	s.tend(t.Context())
	told("it has run out")
	if s.Fingerprint() != old {
		t.Error("the certificate is gone for want of another")
	}
	a.fail = nil
	a.now = a.now.Add(30 * time.Hour)
	s.tend(t.Context())
	if s.Fingerprint() == old || s.SelfSigned() {
		t.Error("not renewed")
	}
}

// TestReloadToAuthority changes from files to an authority that is not there.
func TestReloadToAuthority(t *testing.T) {
	a := &authority{t: t, now: time.Now(), fail: errors.New("not there")}
	dir, files := t.TempDir(), t.TempDir()
	open(t, Options{Directory: files, Hostname: "given.example"})
	s := open(t, Options{Certificate: filepath.Join(files, selfCertificate), Key: filepath.Join(files, selfKey), Directory: dir})
	if err := s.Reload(a.options(dir, "mail.example.org")); err != nil {
		t.Fatal(err)
	}
	a.of(s)
	s.tend(t.Context())
	if s.SelfSigned() || serves(t, s, "") != "given.example" {
		t.Error("a good certificate was given up")
	}
	// A Reload asks again at once.
	a.asked = nil
	if err := s.Reload(a.options(dir, "mail.example.org")); err != nil {
		t.Fatal(err)
	}
	a.fail = nil
	a.of(s)
	s.tend(t.Context())
	if len(a.asked) != 1 || serves(t, s, "") != "mail.example.org" {
		t.Errorf("asked %v, serving %s", a.asked, serves(t, s, ""))
	}
	// What was stored and is damaged is got anew.
	if err := os.WriteFile(s.issuer.file("mail.example.org"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s = open(t, a.options(dir, "mail.example.org")); !s.SelfSigned() {
		t.Error("a damaged certificate is served")
	}
	a.of(s)
	if s.tend(t.Context()); s.SelfSigned() {
		t.Error("not got anew")
	}
}

// TestReloadEndsAttempt reloads in the middle of an attempt.
func TestReloadEndsAttempt(t *testing.T) {
	a := &authority{t: t, now: time.Now()}
	dir := t.TempDir()
	s := open(t, a.options(dir, "mail.example.org"))
	began := make(chan struct{})
	s.issuer.obtain = func(ctx context.Context, _ string) (*tls.Certificate, error) {
		close(began)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	<-began
	if err := s.Reload(Options{Directory: dir, Hostname: "x.example"}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if strings.Contains(a.log.String(), "cannot get") {
		t.Errorf("a reload counts as a failure: %s", &a.log)
	}
}

func TestStoreRefusesMisfits(t *testing.T) {
	a := &authority{t: t, now: time.Now()}
	i := newIssuer(a.options(t.TempDir(), "mail.example.org"))
	if err := os.MkdirAll(i.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	key, chain := a.issue("other.example.org", time.Hour)
	if _, err := i.store("mail.example.org", key, chain); err == nil {
		t.Error("another's certificate is taken")
	}
	key, _ = a.issue("mail.example.org", time.Hour)
	if _, err := i.store("mail.example.org", key, chain); err == nil {
		t.Error("a certificate of another key is taken")
	}
	key, chain = a.issue("mail.example.org", -time.Hour)
	if _, err := i.store("mail.example.org", key, chain); err == nil {
		t.Error("one that has run out is taken")
	}
	if _, err := os.Stat(i.file("mail.example.org")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is stored: %v", err)
	}
}

func TestResponder(t *testing.T) {
	var web, alpn net.Listener
	keep := func(l *net.Listener) func() (net.Listener, error) {
		return func() (n net.Listener, err error) {
			n, err = net.Listen("tcp", "127.0.0.1:0")
			*l = n
			return n, err
		}
	}
	i := &issuer{ACME: ACME{ListenHTTP: keep(&web), ListenTLS: keep(&alpn)}, log: slog.New(slog.DiscardHandler)}
	r, err := i.respond()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	client := &acme.Client{Key: crypto.Signer(key)}
	get := func(path string) (int, string) {
		t.Helper()
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
		resp, err := c.Get("http://" + web.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	path := client.HTTP01ChallengePath("token")
	if code, _ := get(path); code != 404 {
		t.Errorf("before: %d", code)
	}
	forget, err := r.prepare(client, &acme.Challenge{Type: kindHTTP, Token: "token"}, "a.example")
	if err != nil {
		t.Fatal(err)
	}
	if code, text := get(path); code != 200 || !strings.HasPrefix(text, "token.") {
		t.Errorf("%d %q", code, text)
	}
	for _, p := range []string{"/", path + "x", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/../../etc/passwd"} {
		if code, _ := get(p); code != 404 {
			t.Errorf("%s: %d", p, code)
		}
	}
	forget()
	if code, _ := get(path); code != 404 {
		t.Errorf("after: %d", code)
	}

	forget, err = r.prepare(client, &acme.Challenge{Type: kindTLS, Token: "token"}, "a.example")
	if err != nil {
		t.Fatal(err)
	}
	shake := func(name string, protos ...string) (*x509.Certificate, error) {
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", alpn.Addr().String(),
			&tls.Config{ServerName: name, NextProtos: protos, InsecureSkipVerify: true})
		if err != nil {
			return nil, err
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0], nil
	}
	cert, err := shake("a.example", acme.ALPNProto)
	if err != nil || len(cert.Extensions) == 0 || cert.DNSNames[0] != "a.example" {
		t.Errorf("%v %v", cert, err)
	}
	for _, c := range [][]string{{"a.example"}, {"b.example", acme.ALPNProto}, {"a.example", "h2", acme.ALPNProto}} {
		if _, err := shake(c[0], c[1:]...); err == nil {
			t.Errorf("%v: answered", c)
		}
	}
	forget()
	if _, err := shake("a.example", acme.ALPNProto); err == nil {
		t.Error("answered after it was forgotten")
	}
	// Who only connects keeps nobody waiting at the end.
	for range 2 * maxVisits {
		c, err := net.Dial("tcp", alpn.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	r.close()
	if _, err := net.Dial("tcp", web.Addr().String()); err == nil {
		t.Error("still open")
	}
}

func TestResponderNeedsOneWay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	i := &issuer{ACME: ACME{HTTPAddress: l.Addr().String()}, log: slog.New(slog.DiscardHandler)}
	if _, err := i.respond(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a taken port: %v", err)
	}
	i.TLSAddress = "127.0.0.1:0"
	r, err := i.respond()
	if err != nil {
		t.Fatal(err)
	}
	r.close()
	if k := r.kinds(); len(k) != 1 || k[0] != kindTLS {
		t.Error(k)
	}
}
