package authres

import (
	"context"
	"net"
	"net/netip"
)

// questions are those that one SPF record may make us ask. It is what the
// library asks; addresses are of the client's family alone (RFC 7208 section 5).
type questions struct {
	resolver Resolver
	v4       bool
	left     int
}

func newQuestions(r Resolver, limit int, client netip.Addr) *questions {
	return &questions{resolver: r, v4: client.Unmap().Is4(), left: limit}
}

// exhausted tells that more would have been asked.
func (q *questions) exhausted() bool { return q.left < 0 }

// ask takes one of the questions left. The SPF library wants its error unwrapped.
func (q *questions) ask(name string) error {
	if q.left--; q.left < 0 {
		return &net.DNSError{Err: "too many questions for one record", Name: name}
	}
	return nil
}

// LookupTXT implements spf.DNSResolver.
func (q *questions) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if err := q.ask(name); err != nil {
		return nil, err
	}
	return q.resolver.LookupTXT(ctx, name)
}

// LookupMX implements spf.DNSResolver.
func (q *questions) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	if err := q.ask(name); err != nil {
		return nil, err
	}
	return q.resolver.LookupMX(ctx, name)
}

// LookupIPAddr implements spf.DNSResolver.
func (q *questions) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	if err := q.ask(host); err != nil {
		return nil, err
	}
	lookup := q.resolver.LookupIPv6
	if q.v4 {
		lookup = q.resolver.LookupIPv4
	}
	addrs, err := lookup(ctx, host)
	list := make([]net.IPAddr, len(addrs))
	for i, a := range addrs {
		list[i].IP = a.AsSlice()
	}
	return list, err
}

// LookupAddr implements spf.DNSResolver.
func (q *questions) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	if err := q.ask(addr); err != nil {
		return nil, err
	}
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, &net.DNSError{Err: "not an address", Name: addr, IsNotFound: true}
	}
	return q.resolver.LookupAddr(ctx, ip)
}
