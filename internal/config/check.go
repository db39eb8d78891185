package config

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/internal/mail"
)

// Check looks for everything that cannot work, including what Load found, and
// returns it as Problems, or nil. It reads the certificate, the key and the
// files of secrets, as the user it runs as; a listener's address being taken
// shows only when it is opened.
func (c *Config) Check() error {
	ch := checker{config: c}
	ch.problems = append(ch.problems, c.source.problems...)
	ch.general()
	ch.listeners()
	ch.smtp()
	ch.limits()
	ch.tls()
	ch.domains()
	ch.accounts()
	ch.logins()
	ch.aliases()
	ch.routes()
	ch.rewriting()
	ch.milters()
	ch.authentication()
	ch.tlsReports()
	ch.queue()
	ch.deadLetters()
	ch.archives()
	ch.holds()
	ch.keeping()
	return ch.problems.err()
}

type checker struct {
	config   *Config
	problems Problems
}

func (ch *checker) problem(at keyPath, format string, args ...any) {
	ch.config.source.add(&ch.problems, at, format, args...)
}

// top is the path of a key or section at the top of the file.
func top(name string) keyPath { return keyPath(nil).key(name) }

func (ch *checker) general() {
	c := ch.config
	if c.Hostname != "" {
		if why := badHost(c.Hostname); why != "" {
			ch.problem(top("hostname"), "hostname %q %s; write a full name such as mail.example.org", c.Hostname, why)
		}
	}
	if c.StateDirectory != "" {
		if info, err := os.Stat(c.StateDirectory); err == nil && !info.IsDir() {
			ch.problem(top("state_directory"), "state_directory %s is not a directory", c.StateDirectory)
		}
	}
	if c.DNS.Resolver != "" {
		if _, err := c.DNS.server(); err != nil {
			ch.problem(top("dns").key("resolver"), `resolver %q must be an IP address, with or without a port: "127.0.0.1:53"`, c.DNS.Resolver)
		}
	}
	ch.oneOf(top("log").key("level"), "level", c.Log.Level, "debug", "info", "warn", "error")
	ch.oneOf(top("log").key("format"), "format", c.Log.Format, "text", "json")
}

func (ch *checker) oneOf(at keyPath, key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		ch.problem(at, "%s must be one of %s, not %q", key, strings.Join(allowed, ", "), value)
	}
}

func (ch *checker) listeners() {
	seen := make(map[string]bool)
	for i, l := range ch.config.Listeners {
		at := top("listener").index(i)
		roles := make([]string, 0, 5)
		for _, r := range Roles() {
			roles = append(roles, string(r))
		}
		ch.oneOf(at.key("role"), "role", string(l.Role), roles...)
		if len(l.Addresses) == 0 {
			ch.problem(at, `this listener has no address; add one: address = "127.0.0.1:2525"`)
		}
		for j, a := range l.Addresses {
			if path, unix := strings.CutPrefix(a, UnixPrefix); unix && badUnix(path, l.Role) != "" {
				ch.problem(at.key("address").index(j), `address %q %s`, a, badUnix(path, l.Role))
			} else if why := badHostPort(a, true); !unix && why != "" {
				ch.problem(at.key("address").index(j), `address %q %s; write it like "127.0.0.1:25", "[::1]:25" or ":25"`, a, why)
			} else if seen[a] && !strings.HasSuffix(a, ":0") {
				ch.problem(at.key("address").index(j), "address %q is used by two listeners; give each its own port", a)
			}
			seen[a] = true
		}
	}
}

func (ch *checker) smtp() {
	ch.normalize()
	ch.extensions()
	at := top("smtp").key("trusted_networks")
	for i, s := range ch.config.SMTP.TrustedNetworks {
		p, err := parseNetwork(s)
		switch {
		case err != nil:
			ch.problem(at.index(i), `trusted network %q must be an address or a network such as "192.0.2.0/24"`, s)
		case p != p.Masked():
			ch.problem(at.index(i), "trusted network %q has bits set behind its prefix; write %s, or %s for the one address", s, p.Masked(), p.Addr())
		case p.Overlaps(mappedIPv4()):
			ch.problem(at.index(i), "trusted network %q is IPv4 in IPv6's clothes; write it as an IPv4 network", s)
		case p.Bits() < minTrusted(p.Addr()):
			ch.problem(at.index(i), "trusted network %q is so wide that this would be an open relay; name your own networks", s)
		}
	}
}

// mappedIPv4 is where IPv6 holds all of IPv4 (RFC 4291 section 2.5.5.2).
func mappedIPv4() netip.Prefix { return netip.MustParsePrefix("::ffff:0:0/96") }

// minTrusted is the shortest prefix that can be anybody's own network.
func minTrusted(a netip.Addr) int {
	switch {
	case a.Is4():
		return 8
	case a.IsPrivate():
		return 7 // fc00::/7, the unique local addresses
	case a.IsLinkLocalUnicast():
		return 10
	}
	return 16
}

func (ch *checker) limits() {
	s, m := ch.config.SMTP, ch.config.IMAP
	for _, x := range []struct {
		section, key string
		value, least int64
		text         string
	}{
		{"smtp", "max_message_size", int64(s.MaxMessageSize), int64(64 * KiB), "64KiB"},
		{"smtp", "max_header_size", int64(s.MaxHeaderSize), int64(4 * KiB), "4KiB"},
		{"smtp", "max_recipients", int64(s.MaxRecipients), 1, "1"},
		{"smtp", "max_hops", int64(s.MaxHops), 5, "5"},
		{"smtp", "max_connections", int64(s.MaxConnections), 1, "1"},
		{"smtp", "max_connections_per_address", int64(s.MaxConnectionsPerAddress), 1, "1"},
		{"smtp", "max_errors", int64(s.MaxErrors), 1, "1"},
		{"smtp", "max_auth_failures", int64(s.MaxAuthFailures), 1, "1"},
		{"smtp", "max_refused_recipients", int64(s.MaxRefusedRecipients), 1, "1"},
		{"smtp", "client_network_ipv4", int64(s.ClientNetworkIPv4), 8, "8"},
		{"smtp", "client_network_ipv6", int64(s.ClientNetworkIPv6), 16, "16"},
		{"smtp", "auth_delay", int64(s.AuthDelay), int64(10 * time.Millisecond), "10ms"},
		{"smtp", "error_delay", int64(s.ErrorDelay), int64(time.Millisecond), "1ms"},
		{"smtp", "envelope_timeout", int64(s.EnvelopeTimeout), int64(time.Second), "1s"},
		{"smtp", "transfer_timeout", int64(s.TransferTimeout), int64(time.Minute), "1m"},
		{"smtp", "write_timeout", int64(s.WriteTimeout), int64(time.Second), "1s"},
		{"smtp", "command_timeout", int64(s.CommandTimeout), int64(time.Second), "1s"},
		{"smtp", "data_timeout", int64(s.DataTimeout), int64(time.Second), "1s"},
		{"imap", "max_connections", int64(m.MaxConnections), 1, "1"},
		{"imap", "max_connections_per_address", int64(m.MaxConnectionsPerAddress), 1, "1"},
		{"imap", "max_connections_per_account", int64(m.MaxConnectionsPerAccount), 1, "1"},
		{"imap", "max_message_size", int64(m.MaxMessageSize), int64(64 * KiB), "64KiB"},
		{"spool", "min_free", int64(ch.config.Spool.MinFree), int64(64 * MiB), "64MiB"},
		{"imap", "idle_timeout", int64(m.IdleTimeout), int64(time.Second), "1s"},
	} {
		if x.value < x.least {
			ch.problem(top(x.section).key(x.key), "%s must be at least %s", x.key, x.text)
		}
	}
	if m.MaxMessages != 0 && m.MaxMessages < 1000 {
		ch.problem(top("imap").key("max_messages"), "max_messages must be 0, or at least 1000: clients name that many messages in a command")
	}
}

func (ch *checker) tls() {
	t, at := ch.config.TLS, top("tls")
	if t.ACME {
		ch.acme()
		return
	}
	if t.Certificate == "" && t.Key == "" {
		return
	}
	if t.Certificate == "" || t.Key == "" {
		ch.problem(at, "certificate and key go together; give both, or none for a self-signed certificate")
		return
	}
	_, err := secretPath(t.Certificate)
	if _, err2 := secretPath(t.Key); err == nil {
		err = err2
	}
	if err == nil {
		_, err = tls.LoadX509KeyPair(t.Certificate, t.Key)
	}
	if err != nil {
		ch.problem(at.key("certificate"), "the certificate and its key cannot be used: %s", err)
	}
}

// parseNetwork reads a prefix, or an address as the prefix of one.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

// badHost says what is wrong with a domain name, "" if nothing.
func badHost(s string) string {
	d, err := mail.ParseDomain(s)
	if err != nil {
		return "is not a domain name (" + err.Error() + ")"
	}
	if strings.HasPrefix(d, "[") {
		return "is an address, not a name"
	}
	return ""
}

// badHostPort says what is wrong with "host:port", "" if nothing. To listen,
// the host may be empty and the port 0.
func badHostPort(s string, listen bool) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "has no port"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 && !listen {
		return fmt.Sprintf("has the bad port %q", port)
	}
	if host == "" && listen {
		return ""
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	if why := badHost(host); why != "" {
		return "has a bad host: it " + why
	}
	return ""
}
