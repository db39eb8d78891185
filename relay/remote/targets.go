package remote

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"restante/internal/mail"
	"restante/relay"
)

// Bounds of one attempt.
const (
	maxHosts     = 8  // mail exchangers that are looked at
	maxAddresses = 12 // connections that are tried
)

// target is a host to try; addr is set if it needs no lookup.
type target struct {
	// name is what a certificate is checked against, and what is logged.
	name string
	// lookup is the name to look up, "" if addr is set.
	lookup string
	addr   netip.Addr
	port   int
	// secure tells that the name is beyond doubt: from a validated answer.
	secure bool
	// demand is what its TLS has to be.
	demand demand
	// path is that of a Unix socket, which has neither address nor port.
	path string
}

// host is what a contact calls the host.
func (t target) host() string {
	if t.path != "" {
		return "localhost"
	}
	return t.name
}

// address is what is dialled: "address:port", or the path of a socket.
func (t target) address() string {
	if t.path != "" {
		return t.path
	}
	return netip.AddrPortFrom(t.addr, uint16(t.port)).String()
}

// remote is how statuses and logs name the host: "name [address]".
func (t target) remote() string {
	if t.path != "" {
		return "unix:" + t.path
	}
	if literal, ok := literalAddr(t.name); ok && literal == t.addr || t.name == t.addr.String() {
		return "[" + t.addr.String() + "]"
	}
	return t.name + " [" + t.addr.String() + "]"
}

// local tells whether the connection does not leave this machine.
func (t target) local() bool { return t.path != "" || t.addr.Unmap().IsLoopback() }

// targets returns the hosts of a job in the order to try them. If there are
// none the status says why: permanent if that is certain.
func (c *Courier) targets(ctx context.Context, job *relay.Job) ([]target, mail.Status) {
	if job.Route.Kind == relay.Smarthost {
		return fixedTargets(job.Route), mail.Status{}
	}
	port := cmp.Or(job.Route.Port, 25)
	if addr, ok := literalAddr(job.Domain); ok {
		return []target{{name: job.Domain, addr: addr, port: port}}, mail.Status{}
	}
	records, secure, err := c.opt.Resolver.LookupMX(ctx, job.Domain)
	switch {
	case errors.Is(err, ErrNoDomain):
		return nil, permanent(550, 1, 2, "domain "+job.Domain+" does not exist")
	case err != nil:
		return nil, transient(4, 3, "cannot look up "+job.Domain+": "+mail.Line(err.Error(), maxText))
	case len(records) == 0:
		return c.implicitMX(ctx, job.Domain, port, secure)
	case len(records) == 1 && records[0].Host == "":
		return nil, permanent(556, 1, 10, "domain "+job.Domain+" takes no mail (null MX)")
	}
	order := c.preferred(records)
	if len(order) == 0 {
		return nil, permanent(550, 4, 6, "mail for "+job.Domain+" loops back to this host by its MX")
	}
	list := make([]target, 0, maxHosts)
	for _, mx := range order[:min(len(order), maxHosts)] {
		t := target{name: mx.Host, lookup: mx.Host + ".", port: port, secure: secure}
		if addr, err := netip.ParseAddr(mx.Host); err == nil {
			// Against RFC 5321 section 5.1, but what is meant is plain.
			t = target{name: mx.Host, addr: addr, port: port}
		}
		list = append(list, t)
	}
	return list, mail.Status{}
}

// implicitMX is the rule of RFC 5321 section 5.1 for a domain without MX: its
// address, if it has one.
func (c *Courier) implicitMX(ctx context.Context, domain string, port int, secure bool) ([]target, mail.Status) {
	if strings.EqualFold(domain, c.opt.Hostname) {
		return nil, permanent(550, 4, 6, "mail for "+domain+" loops back to this host")
	}
	host, err := c.opt.Resolver.LookupHost(ctx, domain+".")
	if err != nil && !errors.Is(err, ErrNoDomain) {
		return nil, transient(4, 3, "cannot look up "+domain+": "+mail.Line(err.Error(), maxText))
	}
	if len(host.Addrs) == 0 {
		return nil, permanent(550, 1, 2, "domain "+domain+" has neither MX nor address")
	}
	return []target{{name: domain, lookup: domain + ".", port: port, secure: secure}}, mail.Status{}
}

// preferred sorts mail exchangers as RFC 5321 section 5.1 wants them tried: by
// preference, equal ones in random order. If this host is among them only
// those better than it are left, so that mail does not go round in circles.
func (c *Courier) preferred(records []MX) []MX {
	own := -1
	for _, mx := range records {
		if strings.EqualFold(mx.Host, c.opt.Hostname) && (own < 0 || int(mx.Preference) < own) {
			own = int(mx.Preference)
		}
	}
	list := make([]MX, 0, len(records))
	for _, mx := range records {
		if mx.Host != "" && (own < 0 || int(mx.Preference) < own) {
			list = append(list, mx)
		}
	}
	c.opt.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	slices.SortStableFunc(list, func(a, b MX) int { return cmp.Compare(a.Preference, b.Preference) })
	return list
}

func fixedTargets(r *relay.Route) []target {
	list := make([]target, len(r.Hosts))
	for i, h := range r.Hosts {
		if h.Path != "" {
			list[i] = target{name: "localhost", path: h.Path}
			continue
		}
		port := h.Port
		switch {
		case port != 0:
		case r.LMTP:
			port = 24
		case r.TLS == relay.TLSImplicit:
			port = 465
		case r.Username != "":
			port = 587
		default:
			port = 25
		}
		list[i] = target{name: h.Name, lookup: h.Name, port: port}
		if addr, err := netip.ParseAddr(h.Name); err == nil {
			list[i].addr, list[i].lookup = addr, ""
		}
	}
	return list
}

// literalAddr reads an address literal as mail.Address holds it.
func literalAddr(domain string) (netip.Addr, bool) {
	body, ok := strings.CutPrefix(domain, "[")
	if !ok {
		return netip.Addr{}, false
	}
	body = strings.TrimPrefix(strings.TrimSuffix(body, "]"), "IPv6:")
	addr, err := netip.ParseAddr(body)
	return addr, err == nil
}

// transient and permanent make statuses of our own: 4.subject.detail with
// code 451, 5.subject.detail with a code that fits.
func transient(subject, detail int, text string) mail.Status {
	return mail.Status{Code: 451, Enhanced: [3]int{4, subject, detail}, Text: text}
}

func permanent(code, subject, detail int, text string) mail.Status {
	return mail.Status{Code: code, Enhanced: [3]int{5, subject, detail}, Text: text}
}
