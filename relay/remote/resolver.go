package remote

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"

	"restante/internal/resolver"
)

// ErrNoDomain tells that a name does not exist in the DNS (NXDOMAIN).
var ErrNoDomain = errors.New("domain does not exist")

// MX is a mail exchanger. A Host of "" is the null MX of RFC 7505.
type MX struct {
	Host       string
	Preference uint16
}

// Resolver is what the courier asks the DNS. Errors other than ErrNoDomain are
// taken to be temporary. What is secure was validated by DNSSEC.
type Resolver interface {
	// LookupMX returns the mail exchangers of a domain, in any order; none,
	// without an error, if the domain exists but has none.
	LookupMX(ctx context.Context, domain string) (list []MX, secure bool, err error)
	// LookupHost returns a host with its addresses in the order to try them;
	// none, without an error, if it has none. A name that ends with a dot is
	// complete and the DNS alone is asked; others are looked for as the system
	// does: in /etc/hosts, and with search domains.
	LookupHost(ctx context.Context, host string) (resolver.Host, error)
	// LookupTLSA returns the TLSA records of a host and port; none, without an
	// error, if there are none.
	LookupTLSA(ctx context.Context, host string, port int) (list []resolver.TLSA, secure bool, err error)
}

// DNS is the Resolver for daily use: the DNS by way of internal/resolver, and
// what else the system knows of hosts. It is safe for concurrent use.
type DNS struct {
	*resolver.Resolver
	hosts *net.Resolver
}

// NewDNS returns a DNS that asks a resolver.
func NewDNS(r *resolver.Resolver) *DNS {
	d := &DNS{Resolver: r, hosts: new(net.Resolver)}
	if server := r.Server(); server != "" {
		d.hosts = &net.Resolver{
			PreferGo: true,
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				var dialer net.Dialer
				return dialer.DialContext(ctx, network, server)
			},
		}
	}
	return d
}

// systemDNS asks the servers of /etc/resolv.conf.
func systemDNS() *DNS {
	r, err := resolver.New(resolver.Options{})
	if err != nil {
		panic(err) // options without a server are always good
	}
	return NewDNS(r)
}

// LookupMX implements Resolver.
func (d *DNS) LookupMX(ctx context.Context, domain string) ([]MX, bool, error) {
	records, secure, err := d.Exchangers(ctx, domain)
	if isNotFound(err) {
		return nil, secure, ErrNoDomain
	}
	var list []MX
	for _, r := range records {
		list = append(list, MX{Host: strings.ToLower(strings.TrimSuffix(r.Host, ".")), Preference: r.Pref})
	}
	return list, secure, err
}

// LookupHost implements Resolver.
func (d *DNS) LookupHost(ctx context.Context, name string) (resolver.Host, error) {
	if strings.EqualFold(strings.TrimSuffix(name, "."), "localhost") {
		// RFC 6761 section 6.3.
		return resolver.Host{Addrs: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}}, nil
	}
	if strings.HasSuffix(name, ".") {
		host, err := d.Addresses(ctx, name)
		if isNotFound(err) {
			return resolver.Host{}, nil
		}
		sortUsable(host.Addrs)
		return host, err
	}
	addrs, err := d.hosts.LookupNetIP(ctx, "ip", name)
	if isNotFound(err) {
		return resolver.Host{}, nil
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return resolver.Host{Addrs: addrs}, err
}

func isNotFound(err error) bool {
	e := (*net.DNSError)(nil)
	return errors.As(err, &e) && e.IsNotFound
}

// sortUsable puts the addresses last to which this machine has no way at all
// (rule 1 of RFC 6724 section 6), and changes nothing else.
func sortUsable(addrs []netip.Addr) {
	usable := make(map[bool]bool) // by whether it is IPv4
	for _, a := range addrs {
		if _, known := usable[a.Is4()]; known {
			continue
		}
		// Nothing is sent: the kernel looks for a route.
		conn, err := net.Dial("udp", netip.AddrPortFrom(a, 25).String())
		if usable[a.Is4()] = err == nil; err == nil {
			conn.Close()
		}
	}
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int {
		switch {
		case usable[a.Is4()] == usable[b.Is4()]:
			return 0
		case usable[a.Is4()]:
			return -1
		}
		return 1
	})
}
