package sasl

import (
	"context"
	"crypto"
	_ "crypto/sha256" // the hashes of tls-server-end-point
	_ "crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"sync"
)

// The channel bindings that are known.
const (
	bindExporter    = "tls-exporter"         // RFC 9266
	bindServerPoint = "tls-server-end-point" // RFC 5929 section 4
	bindUnique      = "tls-unique"           // RFC 5929 section 3; not with TLS 1.3
)

const (
	exporterLabel  = "EXPORTER-Channel-Binding"
	exporterLength = 32
)

// bindable tells whether there is any binding to be had.
func (c *Channel) bindable() bool {
	return len(c.bindings(bindExporter)) > 0 || len(c.bindings(bindServerPoint)) > 0
}

// bindings are the values that a binding may have at the client's end. There is
// none where the binding would not tell one channel from another.
func (c *Channel) bindings(name string) [][]byte {
	// Without TLS 1.3 or the extended master secret of RFC 7627 somebody in the
	// middle can make two channels with the same secrets. The library refuses
	// to export them then.
	exported, err := c.State.ExportKeyingMaterial(exporterLabel, []byte{}, exporterLength)
	switch {
	case name == bindServerPoint:
		return c.serverPoint()
	case err != nil:
		return nil
	case name == bindExporter && c.State.Version >= tls.VersionTLS13:
		return [][]byte{exported}
	case name == bindExporter:
		// In TLS 1.2 an empty context is not the same as none. RFC 9266 asks
		// for the empty one; many clients give none.
		without, err := c.State.ExportKeyingMaterial(exporterLabel, nil, exporterLength)
		if err != nil {
			return [][]byte{exported}
		}
		return [][]byte{exported, without}
	case name == bindUnique && len(c.State.TLSUnique) > 0:
		return [][]byte{c.State.TLSUnique}
	}
	return nil
}

// serverPoint is the hash of our certificate, by the hash of its signature;
// there is none for algorithms that have no single one.
func (c *Channel) serverPoint() [][]byte {
	if c.Certificate == nil {
		return nil
	}
	hash := crypto.SHA256 // also in place of MD5 and SHA-1
	switch c.Certificate.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		hash = crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		hash = crypto.SHA512
	case x509.PureEd25519, x509.UnknownSignatureAlgorithm:
		return nil
	}
	h := hash.New()
	h.Write(c.Certificate.Raw)
	return [][]byte{h.Sum(nil)}
}

// Handshaker makes TLS channels as a server, and sees which certificate each one
// shows: the library does not tell.
type Handshaker struct {
	config *tls.Config
	get    func(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

// NewHandshaker returns a Handshaker with a configuration that has a
// GetCertificate or certificates.
func NewHandshaker(config *tls.Config) *Handshaker {
	c := config.Clone()
	get := certificateOf(config)
	c.Certificates = nil
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := get(hello)
		if seen, ok := hello.Context().Value(seenKey{}).(*seen); ok && err == nil {
			seen.set(cert)
		}
		return cert, err
	}
	return &Handshaker{config: c, get: get}
}

// Config is for tls.Server. The connection's handshake must be made with a
// context of Watch.
func (h *Handshaker) Config() *tls.Config { return h.config }

// Watch returns a context for a handshake, and what finds the channel after it.
func (h *Handshaker) Watch(ctx context.Context) (context.Context, func(tls.ConnectionState) *Channel) {
	s := new(seen)
	return context.WithValue(ctx, seenKey{}, s), func(state tls.ConnectionState) *Channel {
		return &Channel{State: state, Certificate: s.leaf(h, state)}
	}
}

type seenKey struct{}

// seen is the certificate of one handshake.
type seen struct {
	mu   sync.Mutex
	cert *tls.Certificate
}

func (s *seen) set(c *tls.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cert = c
}

// leaf is the certificate that was shown. A session that was resumed shows none:
// it is taken to be the one that is shown to new ones, and if that has changed
// meanwhile the binding does not match.
func (s *seen) leaf(h *Handshaker, state tls.ConnectionState) *x509.Certificate {
	s.mu.Lock()
	cert := s.cert
	s.mu.Unlock()
	if cert == nil && state.DidResume {
		cert, _ = h.get(&tls.ClientHelloInfo{
			ServerName:        state.ServerName,
			SupportedVersions: []uint16{state.Version},
			CipherSuites:      []uint16{state.CipherSuite},
			SignatureSchemes:  []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256, tls.PKCS1WithSHA256, tls.Ed25519},
			SupportedCurves:   []tls.CurveID{tls.X25519, tls.CurveP256},
		})
	}
	if cert == nil || len(cert.Certificate) == 0 {
		return nil
	}
	if cert.Leaf != nil {
		return cert.Leaf
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}

// certificateOf is how a configuration chooses a certificate.
func certificateOf(config *tls.Config) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if config.GetCertificate != nil {
			if cert, err := config.GetCertificate(hello); cert != nil || err != nil {
				return cert, err
			}
		}
		for i := range config.Certificates {
			if hello.SupportsCertificate(&config.Certificates[i]) == nil {
				return &config.Certificates[i], nil
			}
		}
		if len(config.Certificates) == 0 {
			return nil, nil
		}
		return &config.Certificates[0], nil
	}
}
