package remote

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"restante/internal/mail"
	"restante/relay"
)

// How a route with several hosts finds the one to use.

const (
	// minRest is how long a host that failed is tried after the others; it
	// doubles with each failure, up to maxRest.
	minRest = time.Minute
	maxRest = 15 * time.Minute
	// maxTired bounds the hosts that are remembered.
	maxTired = 1000
)

// errSpent is the cause of a fault of a host that may be given no more for now.
var errSpent = errors.New("within limits no more")

// attemptHosts is attempt for one host of a route after the other, as
// relay.HostOrder has them; those that failed lately come last.
func (c *Courier) attemptHosts(ctx context.Context, d *delivery) error {
	route := d.job.Route
	if route.Kind != relay.Smarthost || len(route.Hosts) == 1 && !route.Hosts[0].Special() {
		return c.attempt(ctx, d)
	}
	var last error
	order := c.rest.order(route, relay.HostOrder(route.Hosts, rand.Float64), d.now())
	for n, i := range order {
		if n == maxHosts || ctx.Err() != nil {
			break
		}
		err := c.attemptHost(ctx, d, route, i)
		if d.over(err) {
			return err
		}
		if last == nil || !errors.Is(err, errSpent) {
			last = telling(last, err)
		}
	}
	if last == nil {
		last = &fault{status: transient(4, 2, "given up")}
	}
	return last
}

// attemptHost gives one host as much of a delivery as its limits allow.
func (c *Courier) attemptHost(ctx context.Context, d *delivery, route *relay.Route, i int) error {
	h := route.Hosts[i]
	name := route.BudgetOf(h)
	share := c.opt.Budgets.Take(name, h.Limits, len(d.pending))
	if share == 0 {
		err := c.passedOver(d, h, name)
		d.failed(h.String(), "", err)
		return err
	}
	given, others := slices.Clone(d.pending[:share]), slices.Clone(d.pending[share:])
	d.pending = slices.Clone(given) // settle takes out of it in place
	job := *d.job
	job.Route = route.Through(i)
	d.job, d.whole, d.host = &job, route, h.String()
	err := c.attempt(ctx, d)
	d.pending = append(slices.Clone(d.pending), others...)
	c.opt.Budgets.Return(name, share-d.delivered(given))
	c.rest.note(route, i, err, ctx.Err() != nil, d.now())
	if err == nil && len(others) > 0 {
		return c.passedOver(d, h, name)
	}
	return err
}

// passedOver is why a host is not given what is pending.
func (c *Courier) passedOver(d *delivery, h relay.Host, name string) error {
	short := c.opt.Budgets.Short(name, h.Limits)
	if d.retry == 0 || short.Wait < d.retry {
		d.retry = short.Wait
	}
	return &fault{status: transient(7, 0, h.String()+": "+short.String()), cause: errSpent}
}

// delivered counts those of some recipients that were delivered to.
func (d *delivery) delivered(to []int) (n int) {
	for _, i := range to {
		if d.results[i].Class() == mail.Delivered {
			n++
		}
	}
	return n
}

// rests are the hosts that failed lately. A host is remembered until it is
// used again without a fault, or half an hour has passed.
type rests struct {
	mu   sync.Mutex
	list map[restKey]*rest
}

type restKey struct{ route, host string }

type rest struct {
	until time.Time
	long  time.Duration
}

// order puts those at the end that rest. One whose rest is over is as good as
// any, for the one delivery that finds out; meanwhile the others pass it by.
func (r *rests) order(route *relay.Route, order []int, now time.Time) []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	var fit, tired []int
	for _, i := range order {
		x := r.list[restKey{route.Name, route.Hosts[i].String()}]
		switch {
		case x == nil:
			fit = append(fit, i)
		case now.Before(x.until):
			tired = append(tired, i)
		default:
			x.until = now.Add(x.long)
			fit = append(fit, i)
		}
	}
	return append(fit, tired...)
}

// note remembers how it went with a host. What a delivery that was broken off
// says of it counts for nothing.
func (r *rests) note(route *relay.Route, i int, err error, brokenOff bool, now time.Time) {
	key := restKey{route.Name, route.Hosts[i].String()}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		delete(r.list, key)
		return
	case brokenOff || errors.Is(err, errSpent) || !errors.As(err, new(*fault)):
		return
	}
	if r.list == nil {
		r.list = make(map[restKey]*rest)
	}
	x := r.list[key]
	if x == nil {
		r.forget(now)
		x = new(rest)
		r.list[key] = x
	}
	x.long = min(max(2*x.long, minRest), maxRest)
	x.until = now.Add(x.long)
}

// forget makes room for one more.
func (r *rests) forget(now time.Time) {
	for key, x := range r.list {
		if len(r.list) >= maxTired || now.Sub(x.until) > maxRest {
			delete(r.list, key)
		}
	}
}

// exhausted tells whether a refusal of a message is about how much this host
// takes from us, and not about the message: another of the route's hosts may
// take it, and with none left it is the destination that rests.
func (s *session) exhausted(rep reply) bool {
	if s.route.Kind != relay.Smarthost || !rep.is(4) && !rep.is(5) {
		return false
	}
	status := rep.status("")
	if status.Enhanced[1] == 2 {
		return false // the mailbox of the recipient is full
	}
	text := strings.ToLower(status.Text)
	says := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
	}
	if says("mailbox", "storage", "message size") {
		return false
	}
	return says("quota exceeded", "quota reached", "over quota", "sending limit", "sending rate", "daily limit", "limit exceeded", "rate limit", "throttl", "too many messages")
}
