package config

import (
	"net/netip"
	"slices"
	"time"
)

// maxGreetDelay is far below the 5 minutes that clients wait for a greeting
// (RFC 5321 section 4.5.3.2.1).
const maxGreetDelay = Duration(30 * time.Second)

// NormalizePrefixes returns the networks of NormalizeNetworks, without those
// that are malformed.
func (s SMTP) NormalizePrefixes() []netip.Prefix {
	return SMTP{TrustedNetworks: s.NormalizeNetworks}.Prefixes()
}

// normalize checks what else there is about the wire of SMTP: networks of old
// devices, prefix lengths, the greeting.
func (ch *checker) normalize() {
	c, at := ch.config.SMTP, top("smtp")
	var trusted []netip.Prefix
	for _, s := range c.TrustedNetworks {
		if p, err := parseNetwork(s); err == nil {
			trusted = append(trusted, p)
		}
	}
	for i, s := range c.NormalizeNetworks {
		at := at.key("normalize_networks").index(i)
		p, err := parseNetwork(s)
		switch {
		case err != nil:
			ch.problem(at, `normalize network %q must be an address or a network such as "192.0.2.0/24"`, s)
		case p != p.Masked():
			ch.problem(at, "normalize network %q has bits set behind its prefix; write %s, or %s for the one address", s, p.Masked(), p.Addr())
		case !slices.ContainsFunc(trusted, func(t netip.Prefix) bool { return t.Bits() <= p.Bits() && t.Contains(p.Addr()) }):
			ch.problem(at, "normalize network %q is not within trusted_networks; only devices that are trusted may send so", s)
		}
	}
	if c.ClientNetworkIPv4 > 32 {
		ch.problem(at.key("client_network_ipv4"), "client_network_ipv4 must be at most 32")
	}
	if c.ClientNetworkIPv6 > 128 {
		ch.problem(at.key("client_network_ipv6"), "client_network_ipv6 must be at most 128")
	}
	if c.GreetDelay > maxGreetDelay {
		ch.problem(at.key("greet_delay"), "greet_delay must be at most %s", maxGreetDelay)
	}
}
