package remote

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/internal/resolver"
	"restante/internal/tlsrpt"
	"restante/relay"
	"restante/spool"
)

// Options is what a Courier works with; only Hostname is required.
type Options struct {
	// Hostname is our name in EHLO, and what is looked for among mail
	// exchangers to find loops.
	Hostname string
	// Resolver is the system's if nil.
	Resolver Resolver
	Timeouts Timeouts
	// RootCAs verifies next hops; the system's if nil.
	RootCAs *x509.CertPool
	// Policies has the MTA-STS policies of recipient domains; nil has none.
	Policies Policies
	// Reports hears how TLS went with mail exchangers; nil is nobody.
	Reports tlsrpt.Recorder
	// Dial opens connections; net.Dialer's if nil.
	Dial Dialer
	// Shuffle is rand.Shuffle if nil.
	Shuffle func(n int, swap func(i, j int))
	// Budgets counts what hosts with Limits are given; nil is a count that
	// begins with the Courier.
	Budgets *relay.Budgets
	// MaxIdle bounds the connections that are kept for further deliveries, to
	// all destinations together; 200 if 0.
	MaxIdle int
	// Logger gets details at debug level; the runner logs the results.
	Logger *slog.Logger
}

// Courier delivers by SMTP. It keeps connections for a few seconds after a
// delivery, for the next to the same destination. It is safe for concurrent use.
type Courier struct {
	opt     Options
	pool    pool
	rest    rests
	manners manners
	buffers *buffers
}

var _ relay.Courier = (*Courier)(nil)

// New returns a Courier. Close it when no Deliver runs any more.
func New(opt Options) *Courier {
	if opt.Resolver == nil {
		opt.Resolver = systemDNS()
	}
	if opt.Dial == nil {
		opt.Dial = dial
	}
	if opt.Shuffle == nil {
		opt.Shuffle = rand.Shuffle
	}
	if opt.Budgets == nil {
		opt.Budgets = relay.NewBudgets(nil)
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	opt.Timeouts = opt.Timeouts.normal()
	return &Courier{opt: opt, pool: pool{max: opt.MaxIdle}, buffers: newBuffers()}
}

// Close ends the connections that are kept, and waits until they are gone.
func (c *Courier) Close() { c.pool.close() }

// Deliver implements relay.Courier. Hosts are tried in order until every
// recipient has a result; a host that fails once the message may have been
// taken is the last that is tried.
func (c *Courier) Deliver(ctx context.Context, job relay.Job) relay.Outcome {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeouts.Total)
	defer cancel()
	d := &delivery{
		ctx:     ctx,
		job:     &job,
		now:     time.Now,
		results: make([]mail.Status, len(job.Recipients)),
		pending: make([]int, len(job.Recipients)),
	}
	for i := range d.pending {
		d.pending[i] = i
	}
	d.needs.utf8From = !job.Envelope.From.IsASCII()
	d.needs.utf8Header = job.Envelope.UTF8 && headerNeedsUTF8(job.Body)

	err := c.attemptHosts(ctx, d)
	out := relay.Outcome{
		Results:  d.results,
		Promised: !d.silent,
		Untimed:  d.untimed,
		Remote:   d.remote,
		TLS:      d.tls,
		Contacts: d.contacts,
	}
	f, own := (*fault)(nil), bodyError{}
	switch {
	case errors.As(err, &own):
		// Our own trouble: it says nothing of the destination.
		d.decideAll(transient(3, 0, mail.Line(own.Error(), maxText)))
	case errors.As(err, &f):
		out.Reach, out.Fault, out.Begun = spool.Unreached, f.status, d.begun
		out.RetryAfter = d.retry
		d.decideAll(f.status)
		if out.Remote == "" {
			out.Remote = f.status.Remote
		}
	default:
		out.Reach = spool.Reached
	}
	return out
}

// attempt tries the hosts of a job. It returns nil when the destination has
// answered for everyone, else the last fault or a bodyError.
func (c *Courier) attempt(ctx context.Context, d *delivery) error {
	key := poolKey{route: cmp.Or(d.whole, d.job.Route), domain: d.job.Domain, host: d.host}
	if s := c.pool.take(key); s != nil && s.sent >= s.maxTransactions() {
		// Before the next is opened: the next hop may count connections.
		s.quit(quitTime)
	} else if s != nil && d.job.Envelope.RequireTLS && !s.certain {
		// It was opened for mail that asks for less.
		c.pool.put(key, s)
	} else if s != nil {
		d.turn(s.target.host(), s.target.address())
		err := c.use(ctx, d, s, key)
		if d.over(err) {
			return err
		}
		// It died while it was kept, or half way: a fresh one may do better.
	}
	list, status := c.targets(ctx, d.job)
	if len(list) == 0 {
		if status.Class() == mail.Permanent {
			d.decideAll(status)
			return nil
		}
		return &fault{status: status}
	}
	var last error
	for _, t := range list {
		err := c.tryTarget(ctx, d, t, key)
		if d.over(err) {
			return err
		}
		last = telling(last, err)
	}
	if last == nil {
		last = &fault{status: transient(4, 2, "given up")}
	}
	return last
}

// tryTarget delivers what is pending to the addresses of a host, until one has
// decided on everybody. A nil error says that none was tried.
func (c *Courier) tryTarget(ctx context.Context, d *delivery, t target, key poolKey) error {
	host, last := c.addresses(ctx, d.job.Route, t)
	if last == nil {
		t.demand, last = c.demand(ctx, d.job, t, host)
	}
	if last != nil {
		d.failed(t.host(), "", last)
		return last
	}
	addrs := host.Addrs
	for len(addrs) > 0 && d.dialled < maxAddresses && ctx.Err() == nil {
		before := len(addrs)
		var l *line
		var err error
		l, addrs, err = c.dial(ctx, d, t, addrs[:min(before, maxAddresses-d.dialled)])
		d.dialled += before - len(addrs)
		if l == nil {
			last = telling(last, err)
			break
		}
		last = c.tryHost(ctx, d, l, key)
		for range len(d.results) + mostLies {
			if !isAgain(last) || d.over(last) || ctx.Err() != nil {
				break
			}
			if l, _, last = c.dial(ctx, d, l.t, []netip.Addr{l.t.addr}); l != nil {
				last = c.tryHost(ctx, d, l, key)
			}
		}
		if d.over(last) {
			break
		}
		c.opt.Logger.Debug("next hop failed", "id", d.job.Task.Message, "task", d.job.Task, "error", last)
	}
	return last
}

// telling returns the fault that says more of why a destination cannot be had:
// the last, but one of a host that answered rather than one of an address where
// nobody does.
func telling(before, now error) error {
	silent := func(err error) bool {
		f := (*fault)(nil)
		return errors.As(err, &f) && f.status.Enhanced == [3]int{4, 4, 1}
	}
	if now == nil || before != nil && silent(now) && !silent(before) {
		return before
	}
	return now
}

// mostLies is how many extensions a host may be found out not to know.
const mostLies = 2

// isAgain tells whether a fresh connection to the same host is worth making:
// once for each such extension, and whenever it has taken a message before.
func isAgain(err error) bool {
	f := (*fault)(nil)
	return errors.As(err, &f) && f.again
}

// over tells whether there is nothing left that another host could do.
func (d *delivery) over(err error) bool {
	return len(d.pending) == 0 || errors.As(err, new(bodyError))
}

// addresses are those of one target that the route can use, in the order to
// try them, with what else is known of the host.
func (c *Courier) addresses(ctx context.Context, route *relay.Route, t target) (resolver.Host, error) {
	if t.path != "" {
		return resolver.Host{Addrs: []netip.Addr{{}}}, nil
	}
	host := resolver.Host{Addrs: []netip.Addr{t.addr}}
	if !t.addr.IsValid() {
		var err error
		host, err = c.lookup(ctx, route, t.lookup)
		switch {
		case err != nil && !errors.Is(err, ErrNoDomain):
			return host, &fault{status: transient(4, 3, "cannot look up "+t.name+": "+mail.Line(err.Error(), maxText))}
		case len(host.Addrs) == 0:
			// Somebody's slip more often than the end of a domain, so it waits.
			return host, &fault{status: transient(4, 4, "mail host "+t.name+" has no address")}
		}
	}
	usable := make([]netip.Addr, 0, len(host.Addrs))
	for _, a := range host.Addrs {
		if _, ok := sourceFor(route, a); ok {
			usable = append(usable, a)
		}
	}
	if len(usable) == 0 {
		return host, &fault{status: transient(4, 4, "mail host "+t.name+" has no address of a family that the route has a source address of")}
	}
	host.Addrs = interleave(usable)
	return host, nil
}

// lookup finds a host. DANE needs to hear from the DNS itself; what that does
// not know may be in /etc/hosts, or have a search domain for the rest of its
// name.
func (c *Courier) lookup(ctx context.Context, route *relay.Route, name string) (resolver.Host, error) {
	if route.DANE && !strings.HasSuffix(name, ".") {
		host, err := c.opt.Resolver.LookupHost(ctx, name+".")
		if err != nil && !errors.Is(err, ErrNoDomain) || len(host.Addrs) > 0 {
			return host, err
		}
	}
	return c.opt.Resolver.LookupHost(ctx, name)
}

// tryHost delivers what is pending by a fresh connection.
func (c *Courier) tryHost(ctx context.Context, d *delivery, l *line, key poolKey) error {
	s, err := c.begin(ctx, d.job, l, false)
	if errors.Is(err, errClearText) && !d.job.Envelope.RequireTLS {
		d.leave(nil, err)
		if l, _, err = c.dial(ctx, d, l.t, []netip.Addr{l.t.addr}); err != nil {
			return err
		}
		s, err = c.begin(ctx, d.job, l, true)
	}
	if err != nil {
		d.leave(nil, err)
		return err
	}
	return c.use(ctx, d, s, key)
}

// use runs a delivery on a session, and keeps or ends the session. Closing
// the connection is how the end of ctx reaches it.
func (c *Courier) use(ctx context.Context, d *delivery, s *session, key poolKey) error {
	stop := context.AfterFunc(ctx, s.close)
	err := d.run(s)
	d.leave(s, err)
	if !stop() || err != nil || s.gone {
		s.close()
		return err
	}
	if d.job.Route.Idle < 0 || s.target.demand.once {
		c.pool.leave(s)
		return nil
	}
	c.pool.put(key, s)
	return nil
}
