package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/spool"
)

// Reports is the way our own reports go into the spool; *accept.Acceptor is
// one. The runner writes the report, and Settle commits it.
type Reports interface {
	Begin(env mail.Envelope, rcpts []mail.Recipient) (*accept.Message, error)
}

// Options is what a Runner works with. Queue, Bodies, Reports, Routes and
// Courier are required.
type Options struct {
	Queue   spool.Queue
	Bodies  spool.Bodies
	Reports Reports
	Routes  *Routes
	Courier Courier
	// Signers sign what a route's Rewrite has changed.
	Signers []accept.Signer
	// Schedule is for the back-off of tasks, by attempts, and destinations,
	// by failures.
	Schedule Schedule
	// Concurrency bounds the deliveries in progress, 100 if 0;
	// PerDestination those to one destination, 10 if 0, unless its route
	// has a bound of its own.
	Concurrency, PerDestination int
	// Budgets counts what routes with Limits are given; nil is a count that
	// begins with the Runner.
	Budgets *Budgets
	// Hostname is ours, in reports.
	Hostname string
	// MaxReturn bounds the messages that a bounce returns whole, when that
	// was asked for; 1 MiB if 0.
	MaxReturn int64
	// Lifetime is how long a lease lasts before it is extended, 5 min if 0:
	// also how long a task rests after its runner died.
	Lifetime time.Duration
	// Grace is how long deliveries in progress may go on after the end of
	// Run's context, 15 s if 0.
	Grace  time.Duration
	Logger *slog.Logger
	// Now is the clock of reports, time.Now if nil; Rand gives the jitter,
	// in [0, 1), rand.Float64 if nil.
	Now  func() time.Time
	Rand func() float64
}

func (o Options) normal() Options {
	if o.Concurrency <= 0 {
		o.Concurrency = 100
	}
	if o.PerDestination <= 0 {
		o.PerDestination = 10
	}
	if o.MaxReturn == 0 {
		o.MaxReturn = 1 << 20
	}
	if o.Lifetime <= 0 {
		o.Lifetime = 5 * time.Minute
	}
	if o.Grace <= 0 {
		o.Grace = 15 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	if o.Budgets == nil {
		o.Budgets = NewBudgets(o.Now)
	}
	return o
}

// Pauses of the loop.
const (
	// recheck is when to look again while due tasks are left behind for the
	// claim's bounds, since another destination's time may come meanwhile.
	recheck = time.Second
	// leasePause is how long to wait after a Lease that failed; it doubles
	// up to maxPause.
	leasePause = time.Second
	maxPause   = 30 * time.Second
)

// Runner delivers the queue. One Run at a time.
type Runner struct {
	opt Options

	mu      sync.Mutex
	active  map[spool.Destination]int
	running int
	ended   chan struct{} // holds at most one signal
	work    sync.WaitGroup
}

// New returns a Runner.
func New(opt Options) *Runner {
	return &Runner{
		opt:    opt.normal(),
		active: make(map[spool.Destination]int),
		ended:  make(chan struct{}, 1),
	}
}

// Run leases, delivers and settles until ctx ends, and returns when everything
// that was in progress has been settled; what has not ended Options.Grace later
// is broken off and given back to the queue. It returns nil then, and an error
// only if the queue was closed under it.
func (r *Runner) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	err := r.loop(ctx, work)
	grace := time.AfterFunc(r.opt.Grace, stop)
	defer grace.Stop()
	r.work.Wait()
	return err
}

func (r *Runner) loop(ctx, work context.Context) error {
	failing := time.Duration(0)
	for ctx.Err() == nil {
		wait, err := r.lease(work)
		switch {
		case errors.Is(err, spool.ErrClosed):
			return fmt.Errorf("queue runner: %w", err)
		case err != nil:
			failing = min(max(2*failing, leasePause), maxPause)
			wait = failing
			r.opt.Logger.Error("the queue cannot be read", "error", err, "again", wait)
		default:
			failing = 0
		}
		r.wait(ctx, wait, err != nil)
	}
	return nil
}

// wait returns when there may be something to do; a negative time never comes.
// After a failure nothing but time helps.
func (r *Runner) wait(ctx context.Context, d time.Duration, failed bool) {
	var due <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		due = timer.C
	}
	wake, ended := r.opt.Queue.Wake(), (<-chan struct{})(r.ended)
	if failed {
		wake, ended = nil, nil
	}
	select {
	case <-ctx.Done():
	case <-wake:
	case <-ended:
	case <-due:
	}
}

// lease takes what may be delivered now, starts it, and tells how long to wait
// if nothing else happens.
func (r *Runner) lease(work context.Context) (time.Duration, error) {
	r.mu.Lock()
	free := r.opt.Concurrency - r.running
	r.mu.Unlock()
	if free <= 0 {
		return -1, nil
	}
	leases, next, err := r.opt.Queue.Lease(spool.Claim{
		Max:      free,
		Lifetime: r.opt.Lifetime,
		Allow:    r.allow(),
	})
	for _, l := range leases {
		r.start(work, l)
	}
	if next == 0 {
		next = recheck
	}
	return next, err
}

// allow returns what bounds the deliveries to one destination during one claim.
// An engine that asks twice is given nothing the second time: how much of the
// first answer it took is not yet known.
func (r *Runner) allow() func(d spool.DestinationInfo) int {
	asked := make(map[spool.Destination]bool)
	return func(d spool.DestinationInfo) int {
		if asked[d.Destination] {
			return 0
		}
		asked[d.Destination] = true
		r.mu.Lock()
		defer r.mu.Unlock()
		return max(0, r.limit(d)-r.active[d.Destination])
	}
}

// limit is how many deliveries to a destination may be in progress. One that
// failed gets a single probe.
func (r *Runner) limit(d spool.DestinationInfo) int {
	// During a back-off only warnings and expiries come, which connect to
	// nobody.
	if d.Failures > 0 && d.Backoff <= 0 {
		return 1
	}
	if route, ok := r.opt.Routes.Lookup(d.Destination.Route); ok && route.MaxConnections > 0 {
		return route.MaxConnections
	}
	return r.opt.PerDestination
}

func (r *Runner) start(work context.Context, l spool.Lease) {
	r.mu.Lock()
	r.running++
	r.active[l.Task.Destination]++
	r.mu.Unlock()
	r.work.Add(1)
	go func() {
		defer r.work.Done()
		defer r.finish(l.Task.Destination)
		r.handle(work, l)
	}()
}

func (r *Runner) finish(d spool.Destination) {
	r.mu.Lock()
	r.running--
	if r.active[d]--; r.active[d] <= 0 {
		delete(r.active, d)
	}
	r.mu.Unlock()
	select {
	case r.ended <- struct{}{}:
	default:
	}
}

// handle brings one lease to its settlement.
func (r *Runner) handle(work context.Context, l spool.Lease) {
	ctx, cancel := context.WithCancel(work)
	defer cancel()
	stop := r.extend(ctx, cancel, l)
	defer stop()
	if l.Cause == spool.CauseWarn {
		r.conclude(ctx, l, warning(l), stop)
		return
	}
	switch l.Task.Destination.Route {
	case accept.NoticeRoute:
		r.conclude(ctx, l, notice(l), stop)
		return
	case accept.LocalRoute:
		r.conclude(ctx, l, r.release(l), stop)
		return
	}
	routes := r.opt.Routes.table.Load()
	v := verdict{}
	if !dials(l) {
		v = r.judge(l, nil, Outcome{})
	} else if moved, ok := r.reroute(routes, l); ok {
		v = moved
		r.opt.Logger.Info("rerouted", append(attrs(l), "tasks", len(moved.Moved))...)
	} else {
		v = r.try(ctx, work, routes, l)
	}
	r.conclude(ctx, l, v, stop)
}

// dials tells whether a lease leads to an attempt. A task that has expired gets
// one if it never had any, unless its destination is known not to answer, or
// its sender wants it back now (RFC 2852).
func dials(l spool.Lease) bool {
	return l.Cause != spool.CauseExpired ||
		l.Task.Attempts == 0 && l.Destination.Backoff <= 0 && !l.Task.Envelope.By.Return
}

// try makes the attempt of a lease, logs it, and judges it.
func (r *Runner) try(ctx, work context.Context, routes *table, l spool.Lease) verdict {
	tried := untold(l.Task.Recipients)
	began := time.Now()
	out := r.deliver(ctx, routes, l, tried)
	out.Results = complete(out.Results, len(tried))
	r.logAttempt(l, tried, out, time.Since(began))
	if work.Err() != nil {
		return r.interrupted(l, tried, out)
	}
	return r.judge(l, tried, out)
}

// extend keeps a lease alive until stop is called, which waits. A lease that
// is lost cancels the delivery: the task may be in other hands.
func (r *Runner) extend(ctx context.Context, cancel context.CancelFunc, l spool.Lease) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(max(r.opt.Lifetime/3, time.Millisecond))
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
			}
			err := r.opt.Queue.Extend(l, r.opt.Lifetime)
			switch {
			case errors.Is(err, spool.ErrStaleLease):
				if ctx.Err() == nil {
					r.opt.Logger.Error("lease lost during a delivery", attrs(l)...)
				}
				cancel()
				return
			case err != nil:
				r.opt.Logger.Error("lease cannot be extended", append(attrs(l), "error", err)...)
			}
		}
	}()
	return sync.OnceFunc(func() { close(quit); <-done })
}

// attrs name a task in the log.
func attrs(l spool.Lease) []any {
	return []any{"id", l.Task.ID.Message, "task", l.Task.ID, "destination", l.Task.Destination.String()}
}

// logAttempt writes one line for each recipient, and one if the destination
// was not reached.
func (r *Runner) logAttempt(l spool.Lease, tried []int, out Outcome, took time.Duration) {
	tls := out.TLS
	if tls == "" {
		tls = "none"
	}
	took = took.Round(time.Millisecond)
	for n, i := range tried {
		s := out.Results[n]
		r.opt.Logger.Info(s.Class().String(), append(attrs(l),
			"from", l.Task.Envelope.From, "to", l.Task.Recipients[i].To,
			"status", s.String(), "remote", out.Remote, "tls", tls, "duration", took,
			"attempt", l.Task.Attempts+1)...)
	}
	if out.Reach == spool.Unreached {
		r.opt.Logger.Warn("destination not reached", append(attrs(l),
			"status", out.Fault.String(), "failures", l.Destination.Failures+1, "duration", took)...)
	}
}
