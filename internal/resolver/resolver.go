package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/miekg/dns"
	"golang.org/x/net/idna"
)

// Options are those of New. The zero value of each but Server has a default.
type Options struct {
	// Server is "ip:port" or "ip"; "" are the servers that /etc/resolv.conf
	// names at the time of each question.
	Server string
	// Trust tells whose word that an answer was validated (the AD bit) is taken.
	Trust Trust
	// Timeout is for one try at one server; 3 seconds.
	Timeout time.Duration
	// Questions bounds how many are under way at a time; 256.
	Questions int
	// CacheSize bounds what the cache holds, in octets; 4 MiB. Below 0 there
	// is no cache.
	CacheSize int
	// Now is the clock of the cache; time.Now.
	Now func() time.Time
}

// Resolver asks the DNS. It is safe for concurrent use.
type Resolver struct {
	server  string
	trust   Trust
	timeout time.Duration
	places  chan struct{}
	cache   *cache
}

// rounds is how often all servers are tried.
const rounds = 2

// New returns a Resolver.
func New(opt Options) (*Resolver, error) {
	r := &Resolver{trust: opt.Trust, timeout: opt.Timeout}
	if r.timeout <= 0 {
		r.timeout = 3 * time.Second
	}
	if opt.Questions <= 0 {
		opt.Questions = 256
	}
	r.places = make(chan struct{}, opt.Questions)
	if opt.CacheSize == 0 {
		opt.CacheSize = 4 << 20
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	r.cache = newCache(opt.CacheSize, opt.Now)
	if opt.Server == "" {
		return r, nil
	}
	addr, err := netip.ParseAddrPort(opt.Server)
	if err != nil {
		ip, err := netip.ParseAddr(strings.Trim(opt.Server, "[]"))
		if err != nil {
			return nil, fmt.Errorf("resolver %q: want an IP address, with or without a port", opt.Server)
		}
		addr = netip.AddrPortFrom(ip, 53)
	}
	r.server = addr.String()
	return r, nil
}

// Server is the server that is asked, as "ip:port"; "" are the system's.
func (r *Resolver) Server() string { return r.server }

// LookupTXT returns the TXT records of a name, the strings of each joined.
func (r *Resolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	a, err := r.ask(ctx, name, dns.TypeTXT)
	return a.text, err
}

// LookupMX returns the mail exchangers of a name, in any order.
func (r *Resolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	a, err := r.ask(ctx, name, dns.TypeMX)
	list := make([]*net.MX, len(a.mx))
	for i := range a.mx {
		mx := a.mx[i]
		list[i] = &mx
	}
	return list, err
}

// LookupIPv4 returns the A records of a name.
func (r *Resolver) LookupIPv4(ctx context.Context, name string) ([]netip.Addr, error) {
	a, err := r.ask(ctx, name, dns.TypeA)
	return a.addrs, err
}

// LookupIPv6 returns the AAAA records of a name.
func (r *Resolver) LookupIPv6(ctx context.Context, name string) ([]netip.Addr, error) {
	a, err := r.ask(ctx, name, dns.TypeAAAA)
	return a.addrs, err
}

// LookupAddr returns the names that an address has (PTR), with their final dot.
func (r *Resolver) LookupAddr(ctx context.Context, addr netip.Addr) ([]string, error) {
	name, err := dns.ReverseAddr(addr.Unmap().WithZone("").String())
	if err != nil {
		return nil, notFound(addr.String(), "not an address")
	}
	a, err := r.ask(ctx, name, dns.TypePTR)
	return a.text, err
}

// ask answers a question from the cache or from the servers.
func (r *Resolver) ask(ctx context.Context, name string, qtype uint16) (answer, error) {
	fqdn, ok := normalise(name)
	if !ok {
		return answer{}, notFound(name, "not a name of the DNS")
	}
	key := question{fqdn, qtype}
	if a, ok := r.cache.get(key); ok {
		return a, a.err(name)
	}
	select {
	case r.places <- struct{}{}:
		defer func() { <-r.places }()
	case <-ctx.Done():
		return answer{}, unknown(name, ctx.Err())
	}
	msg, server, err := r.exchange(ctx, key)
	if err != nil {
		return answer{}, unknown(name, err)
	}
	a := read(msg, qtype)
	a.secure = msg.AuthenticatedData && r.trust.server(server)
	r.cache.put(key, a, lifetime(msg))
	return a, a.err(name)
}

// exchange asks the servers one after the other, until one answers, and tells
// which did.
func (r *Resolver) exchange(ctx context.Context, q question) (msg *dns.Msg, by string, err error) {
	servers, err := Servers(r.server)
	if err != nil {
		return nil, "", err
	}
	query := new(dns.Msg).SetQuestion(q.name, q.qtype)
	query.SetEdns0(1232, false)
	// RFC 6840 section 5.7: that is how to hear of validation without asking
	// for the signatures.
	query.AuthenticatedData = true
	var last error
	for range rounds {
		for _, server := range servers {
			if ctx.Err() != nil {
				return nil, "", ctx.Err()
			}
			msg, err := r.exchangeWith(ctx, query, server)
			switch {
			case err != nil:
				last = err
			case msg.Rcode == dns.RcodeSuccess, msg.Rcode == dns.RcodeNameError:
				return msg, server, nil
			default:
				last = fmt.Errorf("name server answers %s", dns.RcodeToString[msg.Rcode])
			}
		}
	}
	return nil, "", last
}

// exchangeWith asks by UDP, and by TCP if the answer does not fit.
func (r *Resolver) exchangeWith(ctx context.Context, query *dns.Msg, server string) (*dns.Msg, error) {
	udp := dns.Client{Timeout: r.timeout}
	msg, _, err := udp.ExchangeContext(ctx, query, server)
	if err == nil && msg.Truncated {
		tcp := dns.Client{Net: "tcp", Timeout: r.timeout}
		msg, _, err = tcp.ExchangeContext(ctx, query, server)
	}
	if err == nil && !answers(msg, query) {
		return nil, errors.New("name server answers another question")
	}
	return msg, err
}

// answers tells whether a reply is to that question: the library compares no
// more than its number.
func answers(reply, query *dns.Msg) bool {
	if !reply.Response || len(reply.Question) != 1 {
		return false
	}
	a, b := reply.Question[0], query.Question[0]
	return strings.EqualFold(a.Name, b.Name) && a.Qtype == b.Qtype && a.Qclass == b.Qclass
}

// Servers returns the servers to ask, as "ip:port": the one that is given, or
// those that /etc/resolv.conf names now.
func Servers(given string) ([]string, error) {
	if given != "" {
		return []string{given}, nil
	}
	conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return nil, fmt.Errorf("name servers: %w", err)
	}
	var servers []string
	for _, s := range conf.Servers {
		servers = append(servers, net.JoinHostPort(s, conf.Port))
	}
	if len(servers) == 0 {
		// What resolv.conf(5) says of a file that names none.
		servers = []string{"127.0.0.1:53"}
	}
	return servers, nil
}

// maxName is the longest name in text (RFC 1035 section 2.3.4), without its
// final dot.
const maxName = 253

// normalise gives the one form of a name: lower case, A-labels, a final dot.
// Names may have any printable character (SPF's macros make such), but not the
// backslash, which the library would take for its escape.
func normalise(given string) (string, bool) {
	name := strings.TrimSuffix(given, ".")
	for i := range len(name) {
		if name[i] >= 0x80 {
			var err error
			// Octets that are no UTF-8 would become replacement characters.
			if name, err = idna.Lookup.ToASCII(name); err != nil || !utf8.ValidString(given) {
				return "", false
			}
			break
		}
	}
	if name == "" || len(name) > maxName {
		return "", false
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == '\\' {
			return "", false
		}
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "", false
		}
	}
	return strings.ToLower(name) + ".", true
}

// notFound is the error for a name that does not exist.
func notFound(name, why string) error {
	return &net.DNSError{Err: why, Name: clip(name), IsNotFound: true}
}

// unknown is the error where no server gave an answer.
func unknown(name string, err error) error {
	var network net.Error
	timeout := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
	return &net.DNSError{UnwrapErr: err, Err: err.Error(), Name: clip(name), IsTimeout: timeout, IsTemporary: true}
}

// clip keeps a stranger's name short in errors.
func clip(s string) string {
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "") + "…"
	}
	return s
}
