package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"restante/internal/mail"
)

// ServerName returns Hostname, or else the machine's name, or "localhost" if
// that is no domain name.
func (c *Config) ServerName() string {
	name := c.Hostname
	if name == "" {
		// An error leaves the name empty, which is no domain.
		name, _ = os.Hostname()
	}
	d, err := mail.ParseDomain(name)
	if err != nil || strings.HasPrefix(d, "[") {
		return "localhost"
	}
	return d
}

// StatePath returns StateDirectory, or else the one the service manager made
// ($STATE_DIRECTORY), or else restante in the user's state directory. It fails
// if the user has no home.
func (c *Config) StatePath() (string, error) {
	if c.StateDirectory != "" {
		return c.StateDirectory, nil
	}
	// The service manager separates several directories with colons.
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir, nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "restante"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.New("no state directory: set state_directory in the configuration, or use --state")
	}
	return filepath.Join(home, ".local", "state", "restante"), nil
}

// ControlPath returns ControlSocket, or else control.sock in the given state
// directory.
func (c *Config) ControlPath(state string) string {
	if c.ControlSocket != "" {
		return c.ControlSocket
	}
	return filepath.Join(state, "control.sock")
}

// MaildropPath returns Maildrop, or else maildrop in the given state directory.
func (c *Config) MaildropPath(state string) string {
	if c.Maildrop != "" {
		return c.Maildrop
	}
	return filepath.Join(state, "maildrop")
}

// Prefixes returns the trusted networks, without those that are malformed.
func (s SMTP) Prefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, n := range s.TrustedNetworks {
		if p, err := parseNetwork(n); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// Hosts returns the next hops as "host:port" or "unix:/path"; nil for the
// recipient's mail exchangers. Without a port it is 24 for LMTP, 465 for
// implicit TLS, 587 with a username, otherwise 25.
func (r Route) Hosts() []string {
	if r.MX() {
		return nil
	}
	port := "25"
	switch {
	case r.Protocol == ProtocolLMTP:
		port = "24"
	case r.TLS == TLSImplicit:
		port = "465"
	case r.Username != "":
		port = "587"
	}
	var out []string
	for _, h := range r.NextHop {
		if !strings.HasPrefix(h, UnixPrefix) {
			h = withPort(h, port)
		}
		out = append(out, h)
	}
	return out
}

// withPort adds a port to a host, an IPv6 address in or without brackets
// included, that has none.
func withPort(s, port string) string {
	if _, _, err := net.SplitHostPort(s); err == nil {
		return s
	}
	return net.JoinHostPort(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), port)
}

// Server returns the resolver as "ip:port", with port 53 where none was given;
// "" for the system's.
func (d DNS) Server() string {
	if d.Resolver == "" {
		return ""
	}
	a, err := d.server()
	if err != nil {
		return d.Resolver
	}
	return a.String()
}

func (d DNS) server() (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(withPort(d.Resolver, "53"))
	if err != nil {
		return a, fmt.Errorf("resolver: %w", err)
	}
	return a, nil
}

// DefaultListeners tells whether the listeners are those of Default, because
// the file has none: sockets passed by the service manager then replace them.
func (c *Config) DefaultListeners() bool { return c.source.lines[top("listener").String()] == 0 }
