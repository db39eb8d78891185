package main

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"

	"restante/internal/certs"
	"restante/internal/config"
	"restante/internal/mail"
	"restante/internal/mtasts"
	"restante/internal/resolver"
	"restante/internal/tlsrpt"
	"restante/internal/token"
	"restante/relay"
	"restante/relay/remote"
	"restante/relay/webhook"
)

// secure adds to a route what the configuration says of TLS and login at its
// next hop. It has been checked; authorities that cannot be read since are none,
// and nobody is trusted.
func secure(route *relay.Route, r config.Route) {
	route.TLSNames, route.MinTLS = r.TLSNames, r.MinTLS()
	route.DANE, route.MTASTS = r.DANE.Or(r.MX()), r.MTASTS.Or(true) && r.MX()
	var err error
	if route.RootCAs, err = r.RootCAs(); err != nil {
		route.RootCAs = x509.NewCertPool()
	}
	if r.ClientCertificate != "" {
		route.Certificate = certs.Pair(r.ClientCertificate, r.ClientKey)
	}
	for _, m := range r.Auth {
		route.Mechanisms = append(route.Mechanisms, strings.ToUpper(m))
	}
	if r.OAuth() {
		route.Password, route.Token = nil, tokens(r.Tokens, r.Username).Token
	}
}

// tokens is where access tokens for a user come from.
func tokens(r config.Tokens, user string) *token.Source {
	opt := token.Options{URL: r.OAuthTokenURL, Scope: r.OAuthScope, ClientID: r.OAuthClientID, User: user}
	if r.OAuthClientSecretFile != "" {
		opt.Secret = r.ClientSecret
	}
	if r.OAuthRefreshTokenFile != "" {
		opt.RefreshToken = r.RefreshToken
	}
	if r.OAuthServiceAccount != "" {
		opt.ServiceAccount = r.ServiceAccount
	}
	return token.New(opt)
}

// deliver runs a queue runner with its courier, and what that knows of recipient
// domains, until ctx ends.
func (d *daemon) deliver(ctx context.Context, cfg *config.Config, dns *resolver.Resolver, opt relay.Options) error {
	policies, err := mtasts.Open(mtasts.Options{
		Dir: filepath.Join(d.state, "mta-sts"), LookupTXT: dns.LookupTXT,
		Transport: mtasts.NewTransport(nil, dialBy(dns)), Logger: d.log,
	})
	if err != nil {
		return err
	}
	var others sync.WaitGroup
	defer others.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	others.Go(func() { policies.Run(ctx) })
	copt := remote.Options{
		Hostname: cfg.ServerName(), Resolver: remote.NewDNS(dns), Policies: policies, Budgets: d.budgets, Logger: d.log,
	}
	if cfg.TLSReports.Enabled {
		book, err := tlsrpt.Open(filepath.Join(d.state, "tls-reports.json"), d.log, nil)
		if err != nil {
			return err
		}
		copt.Reports = book
		reporter := tlsrpt.NewReporter(tlsrpt.Options{
			Book: book, LookupTXT: dns.LookupTXT, Submit: submitReport(opt.Reports), Hostname: cfg.ServerName(),
			Contact: cfg.TLSReports.Contact, Organization: cfg.TLSReports.Organization, Logger: d.log,
		})
		others.Go(func() {
			if err := reporter.Run(ctx); err != nil {
				d.log.Warn("counts for reports on TLS cannot be kept", "error", err)
			}
		})
	}
	courier := remote.New(copt)
	defer courier.Close()
	hooks := webhook.New(webhook.Options{Logger: d.log})
	defer hooks.Close()
	opt.Courier = relay.Couriers{relay.MX: courier, relay.Smarthost: courier, relay.HTTP: hooks}
	return relay.New(opt).Run(ctx)
}

// submitReport queues a report on TLS. Nobody is told if it cannot be delivered,
// and it is not reported on itself.
func submitReport(intake relay.Reports) func(ctx context.Context, from, to string, message []byte) error {
	return func(ctx context.Context, from, to string, message []byte) error {
		sender, err := mail.ParseAddress(from)
		if err != nil {
			return err
		}
		rcpt, err := mail.ParseAddress(to)
		if err != nil {
			return err
		}
		m, err := intake.Begin(
			mail.Envelope{From: sender, Client: mail.Client{Protocol: mail.TLSReport}},
			[]mail.Recipient{{To: rcpt, Notify: mail.NotifyNever}})
		if err != nil {
			return err
		}
		defer m.Abort() // of no effect after a commit
		if _, err := m.Write(message); err != nil {
			return err
		}
		_, err = m.Commit(ctx)
		return err
	}
}

// dialBy connects to hosts that our own resolver finds, as the servers of
// MTA-STS policies are, so that one place decides which name servers are asked.
func dialBy(dns *resolver.Resolver) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		name, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		host := resolver.Host{}
		if ip, err := netip.ParseAddr(name); err == nil {
			host.Addrs = []netip.Addr{ip}
		} else if host, err = dns.Addresses(ctx, name); err != nil {
			return nil, err
		}
		err = errors.New("host " + name + " has no address")
		for _, a := range host.Addrs {
			var conn net.Conn
			if conn, err = new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(a.String(), port)); err == nil {
				return conn, nil
			}
		}
		return nil, err
	}
}
