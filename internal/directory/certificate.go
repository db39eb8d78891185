package directory

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/internal/sasl"
)

// CertificateRule says whose a client's certificate is.
type CertificateRule struct {
	// Fingerprint is the certificate's SHA-256, in hexadecimal, with or
	// without colons. If it is "", Name is a name in a certificate that
	// ClientCA has signed: one of its DNS names or addresses, or if it has
	// none of either, its common name.
	Fingerprint, Name string
	// Login is the account or application.
	Login string
	// Implicit: the certificate is enough, without AUTH.
	Implicit bool
}

// ParseFingerprint reads a SHA-256 fingerprint as openssl and others print it.
func ParseFingerprint(s string) (sum [sha256.Size]byte, err error) {
	s = strings.TrimPrefix(strings.ToLower(s), "sha256:")
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || len(b) != len(sum) {
		return sum, fmt.Errorf("a fingerprint is %d hexadecimal digits, the certificate's SHA-256", 2*len(sum))
	}
	copy(sum[:], b)
	return sum, nil
}

func (p *picture) addCertificates(opt Options) error {
	p.roots = opt.ClientCA
	p.fingerprints = make(map[[sha256.Size]byte]CertificateRule)
	p.certNames = make(map[string]CertificateRule)
	for _, r := range opt.Certificates {
		if r.Fingerprint == "" {
			p.certNames[strings.ToLower(r.Name)] = r
			continue
		}
		sum, err := ParseFingerprint(r.Fingerprint)
		if err != nil {
			return fmt.Errorf("certificate of %s: %w", r.Login, err)
		}
		p.fingerprints[sum] = r
	}
	return nil
}

// Certificate returns whose a client's certificate is: by its fingerprint, or if
// ClientCA has signed it for TLS clients by a rule for one of its names, or else
// by an address in it that is an account's. One that has run out is nobody's.
func (l Logins) Certificate(chain []*x509.Certificate) (sasl.Identity, error) {
	p := l.d.picture.Load()
	nobody := fmt.Errorf("certificate: %w", mail.ErrBadCredentials)
	if len(chain) == 0 {
		return sasl.Identity{}, nobody
	}
	leaf, now := chain[0], time.Now()
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return sasl.Identity{}, fmt.Errorf("%w: it is not valid now", nobody)
	}
	rule, ok := p.fingerprints[sha256.Sum256(leaf.Raw)]
	if !ok && p.signed(chain, now) {
		rule, ok = p.ruleOf(leaf)
	}
	a := p.accounts[p.userName(rule.Login)]
	if !ok || a == nil {
		return sasl.Identity{}, nobody
	}
	name, err := l.admit(p, a, nil)
	return sasl.Identity{Account: name, Implicit: rule.Implicit}, err
}

// signed tells whether the administrator's authority has signed the first of the
// certificates, for a TLS client.
func (p *picture) signed(chain []*x509.Certificate, now time.Time) bool {
	if p.roots == nil {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: p.roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}

func (p *picture) ruleOf(leaf *x509.Certificate) (CertificateRule, bool) {
	names := append(append([]string(nil), leaf.EmailAddresses...), leaf.DNSNames...)
	if len(names) == 0 {
		names = []string{leaf.Subject.CommonName}
	}
	for _, n := range names {
		if r, ok := p.certNames[strings.ToLower(n)]; ok {
			return r, true
		}
	}
	for _, n := range leaf.EmailAddresses {
		if a := p.accounts[p.userName(n)]; a != nil && strings.Contains(n, "@") {
			return CertificateRule{Login: a.name}, true
		}
	}
	return CertificateRule{}, false
}
