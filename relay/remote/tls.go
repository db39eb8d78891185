package remote

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/internal/tlsrpt"
	"restante/relay"
)

// startTLS does what is demanded of the host, once EHLO is done.
func (c *Courier) startTLS(s *session, t target, helo string, clear bool) error {
	must := t.demand.level == levelMust
	if t.demand.level == levelClear || s.route.TLS == relay.TLSImplicit || clear {
		return nil
	}
	if !s.offers("STARTTLS") {
		err := &demandError{tlsrpt.StartTLSNotSupported, "the next hop offers no STARTTLS, and " + t.demand.by + " demands TLS"}
		c.judged(s, t, err)
		if must {
			return s.fault(transient(7, 4, err.why))
		}
		return nil
	}
	rep, err := s.wire.ask("STARTTLS")
	if err != nil {
		return s.broken("STARTTLS", err)
	}
	if rep.code != 220 {
		status := soft("STARTTLS: ", rep.status(s.remote))
		c.judged(s, t, &demandError{tlsrpt.StartTLSNotSupported, status.String()})
		if !must && rep.code != 421 {
			return nil
		}
		return s.fault(status)
	}
	if s.wire.br.Buffered() > 0 {
		// What came before the handshake may be anybody's.
		return s.fault(transient(7, 5, "next hop spoke between STARTTLS and the handshake"))
	}
	if err := c.handshake(s, t); err != nil {
		if !must && s.route.Username == "" {
			return fmt.Errorf("%w: %w", errClearText, err)
		}
		return err
	}
	return s.hello(helo)
}

// handshake makes TLS of the connection, and holds the certificate against what
// is demanded before anything is sent.
func (c *Courier) handshake(s *session, t target) error {
	var bad *demandError
	conf := &tls.Config{
		ServerName: t.demand.server,
		MinVersion: max(tls.VersionTLS12, s.route.MinTLS),
		// The certificate is checked by VerifyConnection.
		InsecureSkipVerify: true,
		// A message is sent in few records: what is sent is there as a whole.
		DynamicRecordSizingDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if err := c.check(t.demand, s.route, state); !errors.As(err, &bad) || t.demand.lenient {
				return nil
			}
			return bad
		},
	}
	if s.route.Certificate != nil {
		own, err := s.route.Certificate()
		if err != nil {
			return s.fault(transient(7, 0, "our own certificate cannot be read: "+mail.Line(err.Error(), maxText)))
		}
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	}
	conn := tls.Client(s.wire.conn, conf)
	if err := conn.SetDeadline(time.Now().Add(c.opt.Timeouts.Dial)); err != nil {
		return s.broken("TLS", err)
	}
	err := conn.Handshake()
	switch {
	case bad != nil && !t.demand.lenient:
		c.judged(s, t, bad)
		return s.fault(transient(7, 5, "TLS: "+mail.Line(bad.why, maxText)+" ("+t.demand.by+" demands it)"))
	case err != nil:
		if !errors.As(err, new(net.Error)) {
			c.judged(s, t, &demandError{tlsrpt.ValidationFailure, "TLS: " + reason(err)})
		}
		return s.broken("TLS", err)
	case bad != nil:
		c.judged(s, t, bad)
	default:
		c.judged(s, t, nil)
	}
	s.wire = newWire(conn, c.opt.Timeouts, c.buffers)
	state := conn.ConnectionState()
	s.tls, s.state = tls.VersionName(state.Version), &state
	if bad == nil {
		s.verified, s.certain = t.demand.verified, t.demand.certain && t.demand.checks()
	}
	return nil
}

// judged has the outcome of TLS with a host recorded. A nil error is a success.
func (c *Courier) judged(s *session, t target, err *demandError) {
	e := t.demand.event
	if e.Domain == "" {
		return
	}
	e.Helo = s.greeted
	if from, ok := s.wire.conn.LocalAddr().(*net.TCPAddr); ok {
		e.Sending = from.AddrPort().Addr().Unmap().String()
	}
	e.Receiving = t.addr.String()
	if err != nil {
		c.report(s.job, e, err)
		return
	}
	c.report(s.job, e, nil)
}

// check holds a certificate against a demand. Errors are *demandError.
func (c *Courier) check(d demand, route *relay.Route, state tls.ConnectionState) error {
	switch {
	case !d.checks():
		return nil
	case len(state.PeerCertificates) == 0:
		return &demandError{tlsrpt.ValidationFailure, "the next hop shows no certificate"}
	case len(d.tlsa) > 0:
		return checkTLSA(d.tlsa, d.names, state.PeerCertificates, time.Now())
	}
	roots := c.opt.RootCAs
	if route.RootCAs != nil {
		roots = route.RootCAs
	}
	return checkChain(state.PeerCertificates, roots, d.names, time.Now(), x509.ExtKeyUsageServerAuth)
}

// checkChain tells whether a chain leads from a trusted authority to one of the
// names; nil roots are the system's.
func checkChain(chain []*x509.Certificate, roots *x509.CertPool, names []string, now time.Time, usage x509.ExtKeyUsage) error {
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: poolOf(chain[1:]...), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	invalid, unknown := (*x509.CertificateInvalidError)(nil), (*x509.UnknownAuthorityError)(nil)
	if e := (x509.CertificateInvalidError{}); errors.As(err, &e) {
		invalid = &e
	}
	if e := (x509.UnknownAuthorityError{}); errors.As(err, &e) {
		unknown = &e
	}
	switch {
	case invalid != nil && invalid.Reason == x509.Expired && now.After(chain[0].NotAfter):
		return &demandError{tlsrpt.Expired, "the certificate ran out on " + chain[0].NotAfter.UTC().Format(time.DateOnly)}
	case invalid != nil && invalid.Reason == x509.Expired:
		return &demandError{tlsrpt.Expired, "the certificate, or that of its authority, is not valid now"}
	case unknown != nil:
		return &demandError{tlsrpt.NotTrusted, "the certificate is of an authority that is not trusted"}
	case err != nil:
		return &demandError{tlsrpt.NotTrusted, "the certificate is no good: " + mail.Line(err.Error(), maxText)}
	}
	for _, name := range names {
		if isFor(chain[0], name) {
			return nil
		}
	}
	return &demandError{tlsrpt.HostMismatch, fmt.Sprintf("the certificate is for %s, not for %s", certNames(chain[0]), strings.Join(names, " or "))}
}

// isFor tells whether a certificate is for a name, an address, or, if the name
// begins with a dot, something below it.
func isFor(cert *x509.Certificate, name string) bool {
	name = strings.TrimSuffix(name, ".")
	if !strings.HasPrefix(name, ".") {
		return cert.VerifyHostname(name) == nil
	}
	for _, n := range cert.DNSNames {
		if strings.HasSuffix(strings.ToLower(n), strings.ToLower(name)) {
			return true
		}
	}
	return false
}

// certNames are what a certificate is for, for a person, and not too many.
func certNames(cert *x509.Certificate) string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name"
	}
	more := ""
	if len(names) > 4 {
		names, more = names[:4], " and others"
	}
	return mail.Line(strings.Join(names, ", "), maxText) + more
}

// tlsOptional tells whether the message has the field that wants it delivered
// whatever the policies of others say (RFC 8689 section 5); REQUIRETLS overrules.
func tlsOptional(job *relay.Job) bool {
	return !job.Envelope.RequireTLS && (isTLSReport(job) || headerSays(job.Body, "TLS-Required", "No"))
}
