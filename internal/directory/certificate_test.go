package directory

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
)

type fakeTokens map[string]string

func (f fakeTokens) Verify(_ context.Context, token string) (string, error) {
	if token == "away" {
		return "", errors.New("issuer is away")
	}
	if user, ok := f[token]; ok {
		return user, nil
	}
	return "", mail.ErrBadCredentials
}

func (fakeTokens) Discovery() string { return "https://id.test/.well-known/openid-configuration" }

func TestTokens(t *testing.T) {
	opt := applicationOptions(t)
	if _, err := open(t, opt).For(Sending).Token(t.Context(), "x"); !errors.Is(err, mail.ErrBadCredentials) {
		t.Errorf("without an issuer: %v", err)
	}
	opt.Tokens = fakeTokens{"a": "Alice@example.org", "b": "nobody@example.org", "c": "printer", "d": "tickets", "e": "x y"}
	d := open(t, opt)
	for _, test := range []struct{ token, sending, collecting string }{
		{"a", "alice@example.org", "alice@example.org"},
		{"b", "", ""},
		{"c", "printer", ""},
		{"d", "tickets", "carl@example.org"},
		{"e", "", ""},
		{"f", "", ""},
	} {
		for service, want := range map[Service]string{Sending: test.sending, Collecting: test.collecting} {
			got, err := d.For(service).Token(t.Context(), test.token)
			if got != want || (want == "") != errors.Is(err, mail.ErrBadCredentials) {
				t.Errorf("%s for %d: %q %v", test.token, service, got, err)
			}
		}
	}
	if _, err := d.For(Sending).Token(t.Context(), "away"); err == nil || errors.Is(err, mail.ErrBadCredentials) {
		t.Errorf("the issuer's fault: %v", err)
	}
	if d.For(Sending).Discovery() == "" {
		t.Error("no discovery")
	}
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key}
	a.cert = a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign makes a certificate, valid now unless the template says otherwise.
func (a *authority) sign(t testing.TB, tmpl *x509.Certificate) *x509.Certificate {
	t.Helper()
	tmpl.SerialNumber = big.NewInt(1)
	if tmpl.NotAfter.IsZero() {
		tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	if !tmpl.IsCA && tmpl.ExtKeyUsage == nil {
		tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	parent := a.cert
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCertificates(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	subject := func(name string) *x509.Certificate { return &x509.Certificate{Subject: pkix.Name{CommonName: name}} }
	pinned := other.sign(t, subject("whatever"))
	past := subject("whatever")
	past.NotBefore, past.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	expired := other.sign(t, past)
	server := subject("printer.example.org")
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	print := func(c *x509.Certificate) string {
		sum := sha256.Sum256(c.Raw)
		return strings.ToUpper(hex.EncodeToString(sum[:]))
	}
	opt := applicationOptions(t)
	opt.ClientCA = x509.NewCertPool()
	opt.ClientCA.AddCert(ca.cert)
	colons := print(pinned)[:2] + ":" + print(pinned)[2:]
	opt.Certificates = []CertificateRule{
		{Fingerprint: "SHA256:" + colons, Login: "carl@example.org", Implicit: true},
		{Fingerprint: print(expired), Login: "carl@example.org"},
		{Name: "Printer.example.org", Login: "printer"},
		{Name: "tickets", Login: "tickets"},
		{Name: "gone", Login: "nobody@example.org"},
	}
	d := open(t, opt)
	for _, test := range []struct {
		name                string
		cert                *x509.Certificate
		sending, collecting string
		implicit            bool
	}{
		{"by its fingerprint", pinned, "carl@example.org", "carl@example.org", true},
		{"run out", expired, "", "", false},
		{"by a DNS name", ca.sign(t, &x509.Certificate{DNSNames: []string{"printer.EXAMPLE.org"}}), "printer", "", false},
		{"by its common name", ca.sign(t, subject("printer.example.org")), "printer", "", false},
		{"of an application that collects", ca.sign(t, subject("tickets")), "tickets", "carl@example.org", false},
		{"common name beside another", ca.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "tickets"}, DNSNames: []string{"x.test"}}), "", "", false},
		{"by an address", ca.sign(t, &x509.Certificate{EmailAddresses: []string{"Alice@example.org"}}), "alice@example.org", "alice@example.org", false},
		{"by an address that is no account", ca.sign(t, &x509.Certificate{EmailAddresses: []string{"x@example.org"}}), "", "", false},
		{"of an account that is gone", ca.sign(t, subject("gone")), "", "", false},
		{"of another authority", other.sign(t, subject("printer.example.org")), "", "", false},
		{"a server's", ca.sign(t, server), "", "", false},
		{"nobody's", ca.sign(t, subject("x")), "", "", false},
	} {
		for service, want := range map[Service]string{Sending: test.sending, Collecting: test.collecting} {
			got, err := d.For(service).Certificate([]*x509.Certificate{test.cert})
			if got.Account != want || (want == "") != errors.Is(err, mail.ErrBadCredentials) || want != "" && got.Implicit != test.implicit {
				t.Errorf("%s for %d: %+v %v", test.name, service, got, err)
			}
		}
	}
	if _, err := d.For(Sending).Certificate(nil); !errors.Is(err, mail.ErrBadCredentials) {
		t.Error(err)
	}
	if _, err := open(t, applicationOptions(t)).For(Sending).Certificate([]*x509.Certificate{pinned}); err == nil {
		t.Error("without rules a certificate is somebody's")
	}
	opt.Certificates = []CertificateRule{{Fingerprint: "abc", Login: "alice"}}
	if _, err := Open(opt); err == nil {
		t.Error("a bad fingerprint is taken")
	}
}
