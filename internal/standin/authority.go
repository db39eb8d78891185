package standin

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Authority issues certificates for tests.
type Authority struct {
	Certificate *x509.Certificate
	// Pool trusts it.
	Pool *x509.CertPool
	key  crypto.Signer
}

// Spec is what a certificate is to be.
type Spec struct {
	Names []string
	Addrs []net.IP
	// From and Until are when it is valid; zero is from an hour ago, for a day.
	From, Until time.Time
	// Alone has it shown without its authority's.
	Alone bool
}

// NewAuthority makes an authority with a key of its own.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("standin: %w", err)
	}
	cert, err := issue(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "standin authority"},
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}, Spec{}, nil, key, key.Public())
	if err != nil {
		return nil, err
	}
	a := &Authority{Certificate: cert, Pool: x509.NewCertPool(), key: key}
	a.Pool.AddCert(cert)
	return a, nil
}

// Issue makes a certificate that is good for servers and for clients.
func (a *Authority) Issue(spec Spec) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("standin: %w", err)
	}
	leaf, err := issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "standin"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    spec.Names,
		IPAddresses: spec.Addrs,
	}, spec, a.Certificate, a.key, key.Public())
	if err != nil {
		return nil, err
	}
	c := &Certificate{Certificate: tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, Pool: a.Pool}
	if !spec.Alone {
		c.Certificate.Certificate = append(c.Certificate.Certificate, a.Certificate.Raw)
	}
	return c, nil
}

// issue signs a template; without a parent it is its own.
func issue(template *x509.Certificate, spec Spec, parent *x509.Certificate, by crypto.Signer, key crypto.PublicKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, fmt.Errorf("standin: %w", err)
	}
	template.SerialNumber = serial
	if template.NotBefore = spec.From; spec.From.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter = spec.Until; spec.Until.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, by)
	if err != nil {
		return nil, fmt.Errorf("standin: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("standin: %w", err)
	}
	return cert, nil
}
