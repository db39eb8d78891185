package config

import (
	"net/netip"
	"path/filepath"
	"strings"
	"time"
)

// UnixPrefix begins the address of a listener that is a Unix socket.
const UnixPrefix = "unix:"

// maxUnixPath is what sockaddr_un holds on the smallest of our systems.
const maxUnixPath = 103

// Bounds of what clients may ask for.
const (
	maxHold = 366 * Day
	maxOnce = Day
)

// XClientPrefixes, ProxyPrefixes and RepeatPrefixes are the networks of the
// lists of these names, without those that are malformed.
func (s SMTP) XClientPrefixes() []netip.Prefix {
	return SMTP{TrustedNetworks: s.XClientNetworks}.Prefixes()
}

// ProxyPrefixes is for ProxyNetworks; see XClientPrefixes.
func (s SMTP) ProxyPrefixes() []netip.Prefix {
	return SMTP{TrustedNetworks: s.ProxyNetworks}.Prefixes()
}

// RepeatPrefixes is for RepeatNetworks; see XClientPrefixes.
func (s SMTP) RepeatPrefixes() []netip.Prefix {
	return SMTP{TrustedNetworks: s.RepeatNetworks}.Prefixes()
}

// extensions checks what SMTP offers besides the transport of mail.
func (ch *checker) extensions() {
	c, at := ch.config.SMTP, top("smtp")
	for _, list := range []struct {
		key, word string
		networks  Strings
		// power tells that to be in the list is to be believed.
		power bool
	}{
		{"xclient_networks", "xclient network", c.XClientNetworks, true},
		{"proxy_networks", "proxy network", c.ProxyNetworks, true},
		{"repeat_networks", "repeat network", c.RepeatNetworks, false},
	} {
		for i, s := range list.networks {
			at := at.key(list.key).index(i)
			p, err := parseNetwork(s)
			switch {
			case err != nil:
				ch.problem(at, `%s %q must be an address or a network such as "192.0.2.0/24"`, list.word, s)
			case p != p.Masked():
				ch.problem(at, "%s %q has bits set behind its prefix; write %s, or %s for the one address", list.word, s, p.Masked(), p.Addr())
			case p.Overlaps(mappedIPv4()):
				ch.problem(at, "%s %q is IPv4 in IPv6's clothes; write it as an IPv4 network", list.word, s)
			case list.power && p.Bits() < minTrusted(p.Addr()):
				ch.problem(at, "%s %q is so wide that strangers could come in anybody's name; list your own hosts", list.word, s)
			}
		}
	}
	if c.MaxHold > maxHold {
		ch.problem(at.key("max_hold"), "max_hold must be at most %s", maxHold)
	}
	if c.MaxHold > 0 && c.MaxHold < Duration(time.Second) {
		ch.problem(at.key("max_hold"), `max_hold must be at least 1s, or "0s" to hold nothing`)
	}
	if c.AcceptOnce > maxOnce {
		ch.problem(at.key("accept_once"), "accept_once must be at most %s", maxOnce)
	}
}

// badUnix says what is wrong with the path of a Unix socket, "" if nothing.
func badUnix(path string, role Role) string {
	switch {
	case role != RoleLMTP:
		return "is a Unix socket, which only the role lmtp can have"
	case !filepath.IsAbs(path) || strings.HasSuffix(path, "/"):
		return "has no absolute path"
	case len(path) > maxUnixPath:
		return "has too long a path for a Unix socket"
	}
	return ""
}
