package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

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
// taken to be temporary.
type Resolver interface {
	// LookupMX returns the mail exchangers of a domain, in any order; none,
	// without an error, if the domain exists but has none.
	LookupMX(ctx context.Context, domain string) ([]MX, error)
	// LookupHost returns the addresses of a host in the order to try them;
	// none, without an error, if it has none. A name that ends with a dot is
	// complete; search domains may be added to others.
	LookupHost(ctx context.Context, host string) ([]netip.Addr, error)
}

// DNS is the Resolver for daily use: MX from the system's name servers or one
// that is given, addresses from /etc/hosts too. It is safe for concurrent use.
type DNS struct {
	server string
	hosts  *net.Resolver
}

// dnsTimeout bounds one question to one server, dnsRounds how often all are asked.
const (
	dnsTimeout = 5 * time.Second
	dnsRounds  = 2
)

// NewDNS returns a DNS that asks the server at "ip:port" (or "ip"), or, if that
// is "", those that /etc/resolv.conf names at the time of each question.
func NewDNS(server string) (*DNS, error) {
	d := &DNS{hosts: new(net.Resolver)}
	if server == "" {
		return d, nil
	}
	addr, err := netip.ParseAddrPort(server)
	if err != nil {
		ip, err := netip.ParseAddr(strings.Trim(server, "[]"))
		if err != nil {
			return nil, fmt.Errorf("resolver %q: want an IP address, with or without a port", server)
		}
		addr = netip.AddrPortFrom(ip, 53)
	}
	d.server = addr.String()
	d.hosts = &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, d.server)
		},
	}
	return d, nil
}

// LookupHost implements Resolver.
func (d *DNS) LookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		// RFC 6761 section 6.3.
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	addrs, err := d.hosts.LookupNetIP(ctx, "ip", host)
	if notFound := (*net.DNSError)(nil); errors.As(err, &notFound) && notFound.IsNotFound {
		return nil, nil
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, err
}

// LookupMX implements Resolver. It does not use net.Resolver, which does not
// tell a name that does not exist from one without an MX.
func (d *DNS) LookupMX(ctx context.Context, domain string) ([]MX, error) {
	servers, err := resolver.Servers(d.server)
	if err != nil {
		return nil, err
	}
	query := new(dns.Msg).SetQuestion(dns.Fqdn(domain), dns.TypeMX)
	query.SetEdns0(1232, false)
	var last error
	for range dnsRounds {
		for _, server := range servers {
			answer, err := exchange(ctx, query, server)
			switch {
			case err != nil:
				last = err
			case answer.Rcode == dns.RcodeSuccess:
				return exchangers(answer), nil
			case answer.Rcode == dns.RcodeNameError:
				return nil, ErrNoDomain
			default:
				last = fmt.Errorf("name server answers %s", dns.RcodeToString[answer.Rcode])
			}
			if ctx.Err() != nil {
				return nil, fmt.Errorf("MX of %s: %w", domain, ctx.Err())
			}
		}
	}
	return nil, fmt.Errorf("MX of %s: %w", domain, last)
}

// exchange asks by UDP, and by TCP if the answer does not fit.
func exchange(ctx context.Context, query *dns.Msg, server string) (*dns.Msg, error) {
	udp := dns.Client{Timeout: dnsTimeout}
	answer, _, err := udp.ExchangeContext(ctx, query, server)
	if err == nil && !answer.Truncated {
		return answer, nil
	}
	if err != nil {
		return nil, err
	}
	tcp := dns.Client{Net: "tcp", Timeout: dnsTimeout}
	answer, _, err = tcp.ExchangeContext(ctx, query, server)
	return answer, err
}

// exchangers takes all MX records of an answer: the resolver has followed the
// aliases, and what it found may stand under another name.
func exchangers(answer *dns.Msg) []MX {
	var mx []MX
	for _, rr := range answer.Answer {
		if r, ok := rr.(*dns.MX); ok {
			mx = append(mx, MX{
				Host:       strings.ToLower(strings.TrimSuffix(r.Mx, ".")),
				Preference: r.Preference,
			})
		}
	}
	return mx
}
