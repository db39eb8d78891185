package remote

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"restante/internal/mail"
	"restante/internal/mtasts"
	"restante/internal/resolver"
	"restante/internal/tlsrpt"
	"restante/relay"
)

// Policies knows the MTA-STS policies of recipient domains; mtasts.Store does.
type Policies interface {
	// Policy returns the policy that holds for a domain; it is not ok if there
	// is none. An error tells that the domain has published one that cannot be
	// had; an older one may hold all the same.
	Policy(ctx context.Context, domain string) (p mtasts.Policy, ok bool, err error)
}

// level is how much TLS there has to be.
type level uint8

const (
	levelClear level = iota // none is used
	levelTry                // the clear will do
	levelMust               // TLS, or no delivery
)

// demand is what the TLS with one host has to be, and who says so. Where more
// than one says something, it is the administrator who gave names or
// authorities, or else DANE, or else MTA-STS, or else the route.
type demand struct {
	level level
	// by is who demands it, for statuses.
	by string
	// server is the name in the handshake (SNI).
	server string
	// tlsa are usable records, of which one has to match; pkix asks for a
	// certificate of a trusted authority. names are what it may be for then,
	// and below an authority that a record of usage DANE-TA names.
	tlsa  []resolver.TLSA
	pkix  bool
	names []string
	// lenient has a certificate that does not hold reported, and used.
	lenient bool
	// verified is what a certificate that holds was held against.
	verified string
	// certain tells that the host is meant beyond doubt, so that its
	// certificate says something (RFC 8689 section 4.2.1).
	certain bool
	// once has the connection used for no other message.
	once bool
	// event is what to report, but for the result.
	event tlsrpt.Event
}

// checks tells whether the certificate is looked at.
func (d *demand) checks() bool { return d.pkix || len(d.tlsa) > 0 }

// demand finds out what TLS a host has to speak. An error is a fault: it cannot
// be known, or the host must not be used.
func (c *Courier) demand(ctx context.Context, job *relay.Job, t target, host resolver.Host) (demand, error) {
	own := routeDemand(job, t)
	if own.level == levelClear || t.path != "" || pinned(job.Route) {
		return own, nil
	}
	all, err := c.published(ctx, job, t, host, own)
	if (err != nil || all.by != own.by) && tlsOptional(job) {
		// RFC 8689 section 5: the sender would rather have it arrive. What the
		// route says of its own accord stays. The connection is for this message
		// alone: what is kept for others has to be as they want it.
		own.once = true
		return own, nil
	}
	if err != nil {
		c.report(job, all.event, err)
		return own, err
	}
	if job.Envelope.RequireTLS && all.level == levelTry && t.secure {
		all.level, all.pkix, all.names = levelMust, true, []string{t.name}
		all.by, all.verified, all.certain = "REQUIRETLS", "PKIX", true
	}
	return all, nil
}

// pinned tells that the administrator has said what the certificate must be.
func pinned(r *relay.Route) bool {
	return r.Verifies() && (len(r.TLSNames) > 0 || r.RootCAs != nil)
}

// routeDemand is what the route asks for by itself.
func routeDemand(job *relay.Job, t target) demand {
	r := job.Route
	d := demand{level: levelMust, by: "the route", server: t.host(), names: r.TLSNames}
	d.event = tlsrpt.Event{Domain: job.Domain, Kind: tlsrpt.NoPolicy, MX: t.name, Session: true}
	if addr, ok := literalAddr(d.server); ok {
		d.server = addr.String()
	}
	switch r.TLS {
	case relay.TLSNone:
		d.level = levelClear
	case relay.TLSOpportunistic:
		d.level = levelTry
	}
	if !r.Verifies() {
		return d
	}
	d.pkix, d.verified = true, "PKIX"
	d.certain = r.Kind == relay.Smarthost || t.secure || len(r.TLSNames) > 0
	if len(d.names) > 0 {
		return d
	}
	d.names = []string{d.server}
	if r.TLS == relay.TLSVerified && r.Kind == relay.MX && !strings.HasPrefix(job.Domain, "[") {
		d.names, d.certain = []string{job.Domain, "." + job.Domain}, true
	}
	return d
}

// published adds what the next hop and the recipient domain have published. The
// event it returns with an error is that of the policy that could not be kept.
func (c *Courier) published(ctx context.Context, job *relay.Job, t target, host resolver.Host, own demand) (demand, error) {
	d, found, err := c.dane(ctx, job, t, host, own)
	if found || err != nil {
		return d, err
	}
	if !job.Route.MTASTS || c.opt.Policies == nil || job.Route.Kind != relay.MX || strings.HasPrefix(job.Domain, "[") {
		return own, nil
	}
	policy, ok, err := c.opt.Policies.Policy(ctx, job.Domain)
	if err != nil {
		e := tlsrpt.Event{Domain: job.Domain, Kind: tlsrpt.STS}
		e.Result, e.Reason = mtasts.Result(err), mail.Line(err.Error(), maxText)
		c.report(job, e, nil)
	}
	if !ok || policy.Mode == mtasts.None {
		return own, nil
	}
	return c.sts(job, t, policy, own)
}

// sts is the demand of an MTA-STS policy (RFC 8461 sections 4 and 5).
func (c *Courier) sts(job *relay.Job, t target, policy mtasts.Policy, own demand) (demand, error) {
	d := own
	d.event.Kind, d.event.Policy, d.event.Patterns = tlsrpt.STS, policy.Lines(), policy.MX
	by := "the MTA-STS policy of " + job.Domain
	if !policy.Matches(t.name) {
		err := &demandError{tlsrpt.ValidationFailure, "mail host " + t.name + " is not in " + by}
		if policy.Mode == mtasts.Enforce {
			return d, &fault{status: transient(7, 5, err.why), cause: err}
		}
		c.report(job, d.event, err)
		d.event.Session = false // it was counted
		return d, nil
	}
	if policy.Mode == mtasts.Testing {
		if !own.pkix {
			d.pkix, d.names, d.lenient = true, []string{t.name}, true
			d.by = by
		}
		return d, nil
	}
	d.level, d.by, d.pkix, d.names = levelMust, by, true, []string{t.name}
	d.verified, d.certain = "MTA-STS", true
	return d, nil
}

// dane is the demand of TLSA records (RFC 7672), if there are any that count:
// every answer on the way to them has to have been validated.
func (c *Courier) dane(ctx context.Context, job *relay.Job, t target, host resolver.Host, own demand) (d demand, found bool, err error) {
	r := job.Route
	if !r.DANE || t.lookup == "" || r.Kind == relay.MX && !t.secure {
		return own, false, nil
	}
	name := strings.TrimSuffix(t.name, ".")
	var bases []string
	switch {
	case host.Secure && host.Alias != "":
		bases = []string{host.Alias, name}
	case host.Secure, host.SecureAlias:
		bases = []string{name}
	}
	d = own
	d.event.Kind, d.event.Patterns = tlsrpt.TLSA, []string{name}
	for _, base := range bases {
		records, secure, err := c.opt.Resolver.LookupTLSA(ctx, base, t.port)
		if err != nil {
			// RFC 7672 section 2.1.3: somebody may be hiding them.
			why := &demandError{tlsrpt.DNSSECInvalid, fmt.Sprintf("DANE: the TLSA records of %s cannot be looked up: %s", base, mail.Line(err.Error(), maxText))}
			return d, false, &fault{status: transient(7, 5, why.why), cause: why}
		}
		if !secure || len(records) == 0 {
			continue
		}
		d.level, d.by, d.server = levelMust, "DANE", base
		for _, rr := range records {
			d.event.Policy = append(d.event.Policy, tlsaText(rr))
		}
		if d.tlsa = usable(records); len(d.tlsa) == 0 {
			// RFC 7672 section 2.2: TLS it has to be, with whatever certificate.
			return d, true, nil
		}
		d.pkix, d.verified, d.certain = false, "DANE", true
		d.names = []string{base, name}
		if r.Kind == relay.MX {
			d.names = append(d.names, job.Domain)
		}
		return d, true, nil
	}
	return own, false, nil
}

// demandError is why what is demanded is not met.
type demandError struct {
	result tlsrpt.Result
	why    string
}

func (e *demandError) Error() string { return e.why }

// report records how TLS went with a host, for the domain's reports. Reports
// themselves, and domains that are not looked up, have none.
func (c *Courier) report(job *relay.Job, e tlsrpt.Event, err error) {
	if c.opt.Reports == nil || job.Route.Kind != relay.MX || job.Domain == "" || strings.HasPrefix(job.Domain, "[") ||
		isTLSReport(job) {
		return
	}
	if err != nil {
		bad := (*demandError)(nil)
		e.Result, e.Reason = tlsrpt.ValidationFailure, mail.Line(err.Error(), maxText)
		if errors.As(err, &bad) {
			e.Result = bad.result
		}
	}
	c.opt.Reports.Record(e)
}
