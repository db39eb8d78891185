package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"

	"restante/internal/certs"
	"restante/internal/config"
	"restante/internal/mail"
)

// What a socket of the service manager is called that answers the challenges
// of an ACME authority: HTTP-01, TLS-ALPN-01.
const (
	challengeHTTP config.Role = "acme-http"
	challengeTLS  config.Role = "acme-tls"
)

// certOptions is what the configuration says of the certificate. It fails if
// a file that it names cannot be read.
func (d *daemon) certOptions(cfg *config.Config) (certs.Options, error) {
	t := cfg.TLS
	opt := certs.Options{
		Certificate: t.Certificate, Key: t.Key,
		Directory: d.state, Hostname: cfg.ServerName(), Logger: d.log,
	}
	if !t.ACME {
		return opt, nil
	}
	a := &certs.ACME{
		Directory: t.ACMEDirectory, Email: t.ACMEEmail, HTTPAddress: t.ACMEHTTPAddress, TLSAddress: t.ACMETLSAddress,
		ListenHTTP: d.challenge(challengeHTTP), ListenTLS: d.challenge(challengeTLS),
	}
	for _, name := range t.ACMEDomains {
		domain, err := mail.ParseDomain(name)
		if err != nil {
			return opt, err
		}
		a.Domains = append(a.Domains, domain)
	}
	if len(a.Domains) == 0 {
		a.Domains = []string{cfg.ServerName()}
	}
	if t.ACMECA != "" {
		b, err := os.ReadFile(t.ACMECA)
		if err != nil {
			return opt, err
		}
		a.Roots = x509.NewCertPool()
		if !a.Roots.AppendCertsFromPEM(b) {
			return opt, fmt.Errorf("%s has no certificate in it", t.ACMECA)
		}
	}
	opt.ACME = a
	return opt, nil
}

// challenge opens a door at a socket that the service manager passed; it is
// nil if it passed none.
func (d *daemon) challenge(role config.Role) func() (net.Listener, error) {
	for _, e := range d.challenges {
		if e.role == role {
			return func() (net.Listener, error) { return e.door(), nil }
		}
	}
	return nil
}

// certsRoom keeps the certificate from running out. A reload tells the store
// itself.
func (d *daemon) certsRoom() room {
	return room{name: "certificate", alone: true, start: func() (run, stop func(context.Context) error) {
		ctx, cancel := context.WithCancel(d.ctx)
		run = func(context.Context) error {
			defer cancel()
			return d.certs.Run(ctx)
		}
		return run, func(context.Context) error { cancel(); return nil }
	}}
}
