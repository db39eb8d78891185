package config

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"restante/internal/mail"
)

// Application is a login that only sends, in bounds; commands do not change it.
type Application struct {
	// Name is its user name, and no address.
	Name string `toml:"name"`
	// PasswordHash, PasswordFile and ScramHash are as those of an Account.
	PasswordHash string `toml:"password_hash"`
	PasswordFile string `toml:"password_file"`
	ScramHash    string `toml:"scram_hash"`
	// Senders are what it may send as: addresses, "*@domain", "*".
	Senders Strings `toml:"senders"`
	// Rate bounds its messages; Priority is that of those that ask for none.
	Rate     Rate     `toml:"rate"`
	Priority Priority `toml:"priority"`
	// Collects is the account whose mail it may collect by IMAP, or "shared/NAME" for
	// a Shared.
	Collects string `toml:"collects"`
	// Hold is how long its mail is held back; 0 is not at all.
	Hold Duration `toml:"hold"`
}

// Priority is one of RFC 6710, -9 to 9.
type Priority int

// UnmarshalText reads a number.
func (p *Priority) UnmarshalText(b []byte) error {
	var n int
	if _, err := fmt.Sscanf(string(b), "%d", &n); err != nil || fmt.Sprint(n) != string(b) || n < -9 || n > 9 {
		return fmt.Errorf("%s is not a priority: they go from -9 to 9", b)
	}
	*p = Priority(n)
	return nil
}

// Certificate says whose a client's certificate is.
type Certificate struct {
	// Fingerprint is its SHA-256; or Name is a name in one that TLS.ClientCA
	// has signed.
	Fingerprint string `toml:"fingerprint"`
	Name        string `toml:"name"`
	// Login is the account or the application.
	Login string `toml:"login"`
	// Implicit: on the SMTP listeners it is enough without AUTH.
	Implicit bool `toml:"implicit"`
}

// OAuth is the issuer of bearer tokens; without one there are none.
type OAuth struct {
	Issuer   string `toml:"issuer"`
	Audience string `toml:"audience"`
	// Claim is what names the account in a token.
	Claim string `toml:"claim"`
}

// Secret returns the application's password hash or its password; see
// Account.Secret.
func (a Application) Secret() (hash, password string, err error) {
	return Account{PasswordHash: a.PasswordHash, PasswordFile: a.PasswordFile}.Secret()
}

// ClientCerts tells whether clients are to be asked for certificates.
func (c *Config) ClientCerts() bool { return c.TLS.ClientCA != "" || len(c.Certificates) > 0 }

// ClientPool reads the authorities whose certificates clients log in with; nil
// without any.
func (t TLS) ClientPool() (*x509.CertPool, error) {
	if t.ClientCA == "" {
		return nil, nil
	}
	path, err := secretPath(t.ClientCA)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read client_ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, errors.New("read client_ca: there is no certificate in " + path)
	}
	return pool, nil
}

var applicationName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)

// logins checks everything by which somebody logs in, but for accounts.
func (ch *checker) logins() {
	ch.applications()
	ch.certificates()
	ch.oauth()
	if _, err := ch.config.TLS.ClientPool(); err != nil {
		ch.problem(top("tls").key("client_ca"), "%s", err)
	}
}

func (ch *checker) applications() {
	c := ch.config
	taken := make(map[string]string)
	for _, a := range c.Accounts {
		taken[strings.ToLower(a.Name)] = "account " + a.Name
	}
	for i, a := range c.Applications {
		at := top("application").index(i)
		ch.password(at, Account{Name: a.Name, PasswordHash: a.PasswordHash, PasswordFile: a.PasswordFile, ScramHash: a.ScramHash})
		name := strings.ToLower(a.Name)
		if len(c.Domains) > 0 {
			if other := taken[name+"@"+strings.ToLower(c.Domains[0].Name)]; other != "" {
				ch.problem(at.key("name"), "application %q has the short name of the %s; rename it", a.Name, other)
			}
		}
		switch {
		case a.Name == "":
			ch.problem(at, `this application has no name; add name = "invoices"`)
		case !applicationName.MatchString(a.Name):
			ch.problem(at.key("name"), "application %q: a name is letters, digits, dots, dashes and underscores, and no address", a.Name)
		case taken[name] != "":
			ch.problem(at.key("name"), "application %q is there twice; rename one", a.Name)
		}
		taken[name] = "application " + a.Name
		for j, s := range a.Senders {
			ch.sender(at.key("senders").index(j), s)
		}
		if name, is := strings.CutPrefix(a.Collects, "shared/"); is {
			if !slices.ContainsFunc(ch.config.Shared, func(s Shared) bool { return s.Name == name }) {
				ch.problem(at.key("collects"), "application %q collects from %q, which is no [[shared]] mailbox", a.Name, name)
			}
		} else if a.Collects != "" {
			if x, err := mail.ParseAddress(a.Collects); err != nil || x.Domain == "" {
				ch.problem(at.key("collects"), "collects must be an account, a full address such as alice@example.org, not %q", a.Collects)
			}
		}
	}
}

func (ch *checker) sender(at keyPath, s string) {
	if rest, ok := strings.CutPrefix(s, "*@"); ok {
		if why := badHost(rest); why != "" {
			ch.problem(at, "%q: the domain %s", s, why)
		}
	} else if why := badAddress(s); s != "*" && why != "" {
		ch.problem(at, `senders: %s; an address, "*@domain" or "*" is expected`, why)
	}
}

func (ch *checker) certificates() {
	for i, r := range ch.config.Certificates {
		at := top("certificate").index(i)
		switch {
		case r.Fingerprint == "" && r.Name == "" || r.Fingerprint != "" && r.Name != "":
			ch.problem(at, "this certificate needs either a fingerprint or a name")
		case r.Name != "" && ch.config.TLS.ClientCA == "":
			ch.problem(at.key("name"), "name %q: certificates are known by names only if tls.client_ca says who signs them", r.Name)
		case r.Fingerprint != "" && !goodFingerprint(r.Fingerprint):
			ch.problem(at.key("fingerprint"), "fingerprint must be 64 hexadecimal digits, the certificate's SHA-256, not %q", r.Fingerprint)
		}
		if r.Login == "" {
			ch.problem(at, `this certificate is nobody's; add login = "alice@example.org" or the name of an application`)
		}
	}
}

func goodFingerprint(s string) bool {
	s = strings.TrimPrefix(strings.ToLower(s), "sha256:")
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	return err == nil && len(b) == 32
}

func (ch *checker) oauth() {
	o, at := ch.config.OAuth, top("oauth")
	if o.Issuer == "" {
		return
	}
	u, err := url.Parse(o.Issuer)
	local := err == nil && u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback())
	if err != nil || u.Host == "" || u.Scheme != "https" && !local {
		ch.problem(at.key("issuer"), "issuer %q must be an address that begins with https://", o.Issuer)
	}
	if o.Audience == "" {
		ch.problem(at.key("issuer"), "tokens of an issuer are for many; give the audience of those that are for here")
	}
	if o.Claim == "" {
		ch.problem(at.key("claim"), `claim must name what in a token is the account; "email" is the default`)
	}
}
