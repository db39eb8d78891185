package remote

import (
	"context"

	"restante/internal/mail"
	"restante/relay"
)

// Refusal asks the DNS alone whether mail for a domain could only fail by a
// route: a domain that does not exist, or that takes no mail (RFC 7505). It
// connects to nobody. What is not certain is no refusal.
func Refusal(ctx context.Context, r Resolver, hostname string, route *relay.Route, domain string) (mail.Status, bool) {
	c := New(Options{Resolver: r, Hostname: hostname})
	defer c.Close()
	_, s := c.targets(ctx, &relay.Job{Route: route, Domain: domain})
	return s, s.Class() == mail.Permanent
}
