package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/internal/rewrite"
	"restante/spool"
)

// Kind is how a route finds its next hop.
type Kind uint8

// The kinds. MX is the zero value.
const (
	// MX asks the DNS for the recipient domain's mail exchangers.
	MX Kind = iota
	// Smarthost hands everything to fixed hosts.
	Smarthost
	// HTTP posts everything to the URLs of its Hook.
	HTTP
)

// TLSMode is how a route uses TLS.
type TLSMode uint8

// The modes. TLSOpportunistic is the zero value.
const (
	// TLSOpportunistic uses STARTTLS where it is offered and works, and goes
	// on in the clear where it is not. No certificate is checked.
	TLSOpportunistic TLSMode = iota
	// TLSNone never uses TLS.
	TLSNone
	// TLSRequired uses STARTTLS, or does not deliver.
	TLSRequired
	// TLSImplicit begins TLS with the connection (RFC 8314).
	TLSImplicit
	// TLSVerified uses STARTTLS with a certificate that holds, or does not
	// deliver.
	TLSVerified
)

var tlsNames = [...]string{"opportunistic", "none", "required", "implicit", "verified"}

func (m TLSMode) String() string { return tlsNames[m] }

// UnmarshalText reads what String writes.
func (m *TLSMode) UnmarshalText(b []byte) error {
	for i, n := range tlsNames {
		if n == string(b) {
			*m = TLSMode(i)
			return nil
		}
	}
	return fmt.Errorf("unknown TLS mode %q (want %s)", b, strings.Join(tlsNames[:], ", "))
}

// Route is a way out for the mail of some domains. It must not be changed
// once it was given to Routes.
type Route struct {
	// Name names the route in the queue, in logs and on the command line.
	// Tasks are kept under it, so renaming a route reroutes them.
	Name string
	// Domains are the recipient domains it serves: "example.com" itself,
	// "*.example.com" all below it (the longest match wins), "*" all others.
	Domains []string
	// Senders, Accounts and Headers are further conditions, which all have to
	// hold, each by one of its elements, but all of Headers; empty ones ask
	// nothing. Such a route goes before those with domains only; see rules.go.
	//
	// Senders are of the envelope: "a@example.com", "*@example.com", a domain
	// like those above, or "<>" for the null sender.
	Senders []string
	// Accounts are names of accounts and applications that have logged in; "*"
	// in one stands for any octets.
	Accounts []string
	// Headers are "Name: value"; "*" in a value stands for any octets, case
	// does not count.
	Headers []string
	Kind    Kind
	// Hosts are tried in the order that HostOrder says, those that have failed
	// lately at the end; for Smarthost only.
	Hosts []Host
	// Port replaces port 25 of mail exchangers; for MX only.
	Port int
	TLS  TLSMode
	// Verify has the certificate checked against the next hop's name or, if
	// there are any, TLSNames, in the modes required and implicit; the mode
	// verified always checks, opportunistic and none never do.
	Verify bool
	// Username and Password authenticate us to the next hop. Password is
	// asked at each connection, so that a changed secret is used at once.
	Username string
	Password func() (string, error)
	// InsecureAuth allows the password on a connection without TLS that is
	// not to this machine.
	InsecureAuth bool
	// Helo is the name we give in EHLO; "" is the runner's host name.
	Helo string
	// Rewrite is what the next hop wants of senders and From fields.
	Rewrite rewrite.Outgoing
	// MaxConnections bounds the deliveries in progress to one destination of
	// the route; 0 is the runner's bound.
	MaxConnections int

	// How much it is given, and how often.

	// Limits are those of the route as a whole; see Budgets.
	Limits Limits
	// MaxDeliveries bounds the deliveries in progress to all destinations of
	// the route together; 0 is no bound but the runner's.
	MaxDeliveries int
	// Schedule is between attempts at the route; nil is the runner's.
	Schedule *Schedule
	// Warn and Expire are for mail that is queued for the route; 0 is what holds
	// for all.
	Warn, Expire time.Duration

	// What follows is about the connections.

	// LMTP has RFC 2033 spoken: each recipient has an answer of its own after
	// the message. For Smarthost only.
	LMTP bool
	// Source are addresses of ours to connect from, at most one of IPv4 and
	// one of IPv6. If there is one, next hops of the other family are not used.
	Source []netip.Addr
	// NoChunking has messages sent with DATA where BDAT (RFC 3030) is offered.
	NoChunking bool
	// MaxMessages bounds the transactions of one connection, 0 is 100.
	MaxMessages int
	// Idle is how long a connection is kept for the next message, 0 is 3 s and
	// less than 0 not at all.
	Idle time.Duration

	// Security of the next hop, beyond TLS and Verify.

	// TLSNames are what its certificate may be for: "mx.example.net" or, for
	// all below it, ".example.net". Without them it is the name of the host
	// or, by MX with TLSVerified, the recipients' domain and all below it:
	// that of a mail exchanger may come from a forged answer.
	TLSNames []string
	// RootCAs are the only authorities that are trusted; nil are the courier's.
	RootCAs *x509.CertPool
	// MinTLS is the oldest version that is spoken (tls.VersionTLS13); 0 is 1.2.
	MinTLS uint16
	// DANE has TLSA records obeyed where they are validated (RFC 7672), MTASTS
	// the policies of recipient domains, by MX only (RFC 8461); neither with
	// TLSNone.
	DANE, MTASTS bool
	// Certificate, unless it is nil, gives the certificate that we show. It is
	// asked at each connection, so that a renewed one is used at once.
	Certificate func() (*tls.Certificate, error)
	// Mechanisms are those of AUTH to use, the preferred first; without any for
	// the kind of login (password or token) the strongest that is offered is
	// taken.
	Mechanisms []string
	// Token, unless it is nil, gives an access token, which takes the place of
	// the password (XOAUTH2, OAUTHBEARER). refused is one that the next hop has
	// just turned away, "" if none was: the same must not come back then.
	Token func(ctx context.Context, refused string) (string, error)

	// SpillTo is the route that mail takes while the daily quota of this one,
	// or those of all its hosts, is used up; "" has it wait.
	SpillTo string

	// Hook is where mail is posted to; for HTTP only.
	Hook *Hook
}

// Routes finds the route of an address. The set can be replaced at any time;
// each question is answered from one whole set. It is safe for concurrent use.
type Routes struct {
	table atomic.Pointer[table]
}

// table is one immutable set of routes.
type table struct {
	names    map[string]*Route
	exact    map[string]*Route
	suffixes map[string]*Route // without "*."
	fallback *Route
	implicit bool   // fallback is ours, nobody gave it
	rules    []rule // of the routes with conditions, in order
}

// DefaultRoute is the name of the route that is there when no other serves
// "*": direct delivery by MX with opportunistic TLS, DANE and MTA-STS.
const DefaultRoute = "mx"

// NewRoutes returns the set of the given routes. See Replace.
func NewRoutes(routes []Route) (*Routes, error) {
	r := new(Routes)
	if err := r.Replace(routes); err != nil {
		return nil, err
	}
	return r, nil
}

// Replace puts a new set in the place of the old, or leaves the old as it is
// and returns what is wrong with the new.
func (r *Routes) Replace(routes []Route) error {
	t := &table{
		names:    make(map[string]*Route),
		exact:    make(map[string]*Route),
		suffixes: make(map[string]*Route),
	}
	for i := range routes {
		route := routes[i]
		if err := t.add(&route); err != nil {
			return fmt.Errorf("route %q: %w", route.Name, err)
		}
	}
	for _, r := range t.names {
		if r.SpillTo != "" && (r.SpillTo == r.Name || t.names[r.SpillTo] == nil) {
			return fmt.Errorf("route %q: there is no other route %q to spill to", r.Name, r.SpillTo)
		}
	}
	if t.fallback == nil {
		t.implicit = true
		if err := t.add(&Route{Name: DefaultRoute, Domains: []string{"*"}, DANE: true, MTASTS: true}); err != nil {
			return fmt.Errorf("route %q, which serves all other domains: %w", DefaultRoute, err)
		}
	}
	r.table.Store(t)
	return nil
}

func (t *table) add(r *Route) error {
	if err := r.check(); err != nil {
		return err
	}
	if t.names[r.Name] != nil {
		return errors.New("the name is taken twice")
	}
	t.names[r.Name] = r
	if r.conditional() {
		made, err := newRule(r)
		if err != nil {
			return err
		}
		t.rules = append(t.rules, made)
		return nil
	}
	for _, pattern := range r.Domains {
		if err := t.serve(pattern, r); err != nil {
			return fmt.Errorf("domain %q: %w", pattern, err)
		}
	}
	return nil
}

func (t *table) serve(pattern string, r *Route) error {
	if pattern == "*" {
		if t.fallback != nil {
			return fmt.Errorf("is served by route %q already", t.fallback.Name)
		}
		t.fallback = r
		return nil
	}
	into := t.exact
	rest, below := strings.CutPrefix(pattern, "*.")
	if below {
		into = t.suffixes
	}
	domain, err := mail.ParseDomain(rest)
	if err != nil {
		return err
	}
	if other := into[domain]; other != nil {
		return fmt.Errorf("is served by route %q already", other.Name)
	}
	into[domain] = r
	return nil
}

func (r *Route) check() error {
	switch {
	case r.Name == "" || strings.ContainsAny(r.Name, "/ \t\r\n"):
		return errors.New("the name is empty or has a slash or a space in it")
	case r.Kind == MX && len(r.Hosts) > 0:
		return errors.New("hosts are given, but MX finds its own")
	case r.Kind == Smarthost && len(r.Hosts) == 0:
		return errors.New("a smarthost needs a host")
	case r.Kind == HTTP:
		return r.checkHook()
	case r.Kind > HTTP || r.TLS > TLSVerified:
		return errors.New("unknown kind or TLS mode")
	case r.Username != "" && r.Password == nil && r.Token == nil:
		return errors.New("a username without a password")
	case r.Port < 0 || r.Port > 65535 || r.MaxConnections < 0 || r.MaxDeliveries < 0:
		return errors.New("port or connections out of range")
	case r.LMTP && r.Kind == MX:
		return errors.New("mail exchangers do not speak LMTP")
	case r.MaxMessages < 0:
		return errors.New("messages of a connection out of range")
	}
	for i, a := range r.Source {
		if !a.IsValid() || a.Is4In6() || i > 1 || i == 1 && a.Is4() == r.Source[0].Is4() {
			return errors.New("source addresses are one of IPv4, one of IPv6, or both")
		}
	}
	if r.Schedule != nil {
		if err := r.Schedule.check(); err != nil {
			return err
		}
	}
	for _, h := range r.Hosts {
		if (h.Name == "") == (h.Path == "") || h.Port < 0 || h.Port > 65535 {
			return fmt.Errorf("bad host %q port %d", h.Name, h.Port)
		}
		if err := h.check(); err != nil {
			return fmt.Errorf("host %s: %w", h, err)
		}
	}
	return nil
}

// Verifies tells whether the next hop's certificate is checked.
func (r *Route) Verifies() bool {
	return r.TLS == TLSVerified || r.Verify && (r.TLS == TLSRequired || r.TLS == TLSImplicit)
}

// Choose returns the route of a recipient, which is never nil, and why it is
// that, in words.
func (r *Routes) Choose(w accept.Way) (*Route, string) {
	t := r.table.Load()
	if rule := t.rule(w); rule != nil {
		return rule.route, rule.String()
	}
	route, pattern := t.byDomain(w.To.Domain)
	switch pattern {
	case "":
		return route, "default, since no route serves the domain"
	case "*":
		return route, `domains ["*"], since no other serves the domain`
	}
	return route, fmt.Sprintf("domains [%q]", pattern)
}

// All returns the routes by name.
func (r *Routes) All() []*Route {
	names := r.table.Load().names
	list := make([]*Route, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		list = append(list, names[name])
	}
	return list
}

// Lookup returns the route of a name.
func (r *Routes) Lookup(name string) (*Route, bool) {
	route, ok := r.table.Load().names[name]
	return route, ok
}

// Destination returns what the queue files a recipient under: the route, and
// the domain unless the route has fixed next hops.
func (r *Routes) Destination(w accept.Way) spool.Destination {
	return r.table.Load().find(w).destination(w.To.Domain)
}

func (r *Route) destination(domain string) spool.Destination {
	if r.Kind == MX {
		return spool.Destination{Route: r.Name, Domain: domain}
	}
	return spool.Destination{Route: r.Name}
}
