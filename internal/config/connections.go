package config

import (
	"net/netip"
	"path/filepath"
	"strings"
)

// Protocol is what is spoken with a next hop.
type Protocol string

// The protocols.
const (
	ProtocolSMTP Protocol = "smtp"
	// ProtocolLMTP is RFC 2033: the next hop is where the mailboxes are, and
	// answers for each recipient.
	ProtocolLMTP Protocol = "lmtp"
)

// Sources returns the addresses of SourceAddress, without those that are malformed.
func (r Route) Sources() []netip.Addr {
	var out []netip.Addr
	for _, s := range r.SourceAddress {
		if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
			out = append(out, a.Unmap())
		}
	}
	return out
}

// connections checks how a route speaks to its next hop.
func (ch *checker) connections(at keyPath, r Route) {
	ch.oneOf(at.key("protocol"), "protocol", string(r.Protocol), string(ProtocolSMTP), string(ProtocolLMTP))
	if r.Protocol == ProtocolLMTP && r.MX() {
		ch.problem(at.key("protocol"), `route %q: mail exchangers do not speak LMTP; name hosts in next_hop, or a socket as "unix:/run/dovecot/lmtp"`, r.Name)
	}
	had := make(map[bool]string) // by family
	for i, s := range r.SourceAddress {
		at := at.key("source_address").index(i)
		a, err := netip.ParseAddr(strings.Trim(s, "[]"))
		a = a.Unmap()
		switch {
		case err != nil || a.IsUnspecified() || a.IsMulticast():
			ch.problem(at, `source_address %q of route %q must be an IP address of this machine, such as "192.0.2.1"`, s, r.Name)
		case had[a.Is4()] != "":
			ch.problem(at, "source_address %q of route %q is of the same family as %q; keep one of IPv4 and one of IPv6 at most", s, r.Name, had[a.Is4()])
		default:
			had[a.Is4()] = s
		}
	}
	if r.MaxMessagesPerConnection < 1 {
		ch.problem(at.key("max_messages_per_connection"), "max_messages_per_connection of route %q must be 1 or more", r.Name)
	}
	if r.IdleConnection < 0 || r.IdleConnection > 5*Minute {
		ch.problem(at.key("idle_connection"), `idle_connection of route %q must be between "0s" and "5m": next hops count the connections they have`, r.Name)
	}
}

// badNextHop says what is wrong with "host", "host:port" or "unix:/path".
func badNextHop(s string) string {
	path, ok := strings.CutPrefix(s, UnixPrefix)
	if !ok {
		if why := badHostPort(withPort(s, "25"), false); why != "" {
			return why + `; write it like "smtp.example.net:587"`
		}
		return ""
	}
	switch {
	case !filepath.IsAbs(path) || strings.HasSuffix(path, "/"):
		return `has no absolute path; write it like "unix:/run/dovecot/lmtp"`
	case len(path) > maxUnixPath:
		return "has too long a path for a Unix socket"
	}
	return ""
}
