package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Trust tells whether a server's word that it has validated an answer is taken.
// Anybody between it and us could set the bit that says so.
type Trust uint8

// The zero value trusts servers on this machine: a validating resolver there is
// what RFC 7672 section 2.2 has in mind.
const (
	TrustLoopback Trust = iota
	TrustAll
	TrustNone
)

func (t Trust) server(addr string) bool {
	ap, err := netip.ParseAddrPort(addr)
	return t == TrustAll || t == TrustLoopback && err == nil && ap.Addr().Unmap().IsLoopback()
}

// Exchangers returns the mail exchangers of a domain in any order; none,
// without an error, if it exists and has none. secure tells that the answer,
// which may be that there are none, was validated.
func (r *Resolver) Exchangers(ctx context.Context, domain string) (list []net.MX, secure bool, err error) {
	a, err := r.ask(ctx, domain, dns.TypeMX)
	return a.mx, a.secure, err
}

// Host is what the DNS knows of a host.
type Host struct {
	// Addrs are its addresses, those of IPv6 first.
	Addrs []netip.Addr
	// Secure tells that all that was found was validated.
	Secure bool
	// Alias is the name that its aliases lead to, without a final dot; "" if it
	// is no alias. SecureAlias tells of one that is not Secure that the host's
	// own record, that it is an alias, was validated.
	Alias       string
	SecureAlias bool
}

// Addresses returns the addresses of a host; none, without an error, if it
// exists and has none. If only one of the two questions, for IPv4 and for IPv6,
// is answered, that is what is known.
func (r *Resolver) Addresses(ctx context.Context, name string) (Host, error) {
	var six answer
	var sixErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		six, sixErr = r.ask(ctx, name, dns.TypeAAAA)
	}()
	four, err := r.ask(ctx, name, dns.TypeA)
	<-done
	host := Host{Secure: true}
	for _, x := range []struct {
		answer
		err error
	}{{six, sixErr}, {four, err}} {
		if x.err == nil {
			host.Addrs = append(host.Addrs, x.addrs...)
			host.Secure = host.Secure && x.secure
			host.Alias = strings.TrimSuffix(x.alias, ".")
		}
	}
	if len(host.Addrs) == 0 {
		// One family without addresses proves nothing while the other is
		// unknown.
		for _, err := range []error{err, sixErr} {
			if err != nil {
				return Host{}, err
			}
		}
	}
	if host.Alias != "" && !host.Secure {
		a, err := r.ask(ctx, name, dns.TypeCNAME)
		host.SecureAlias = err == nil && a.secure && a.alias != ""
	}
	return host, nil
}

// TLSA is one record of RFC 6698: what a server's certificate has to be.
type TLSA struct {
	Usage, Selector, Matching uint8
	Data                      []byte
}

// LookupTLSA returns the TLSA records of a host's port by TCP, none, without an
// error, if there are none, and whether the answer was validated.
func (r *Resolver) LookupTLSA(ctx context.Context, host string, port int) (list []TLSA, secure bool, err error) {
	a, err := r.ask(ctx, fmt.Sprintf("_%d._tcp.%s", port, host), dns.TypeTLSA)
	if missing := (*net.DNSError)(nil); errors.As(err, &missing) && missing.IsNotFound {
		err = nil
	}
	return a.tlsa, a.secure, err
}
