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
	// File begins a dead letter, Submit what is sent again as it is.
	File(env mail.Envelope, d accept.Drawer, prefix []byte) (*accept.Message, error)
	Submit(s accept.Submission) (*accept.Message, error)
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
	// Concurrency bounds the deliveries in progress, 100 if 0. Those to
	// destinations that take long, and probes of those that failed, do not
	// count in it: they have a bound of their own, Slow, 20 times Concurrency
	// if 0. PerDestination bounds the deliveries to one destination, 10 if 0,
	// unless its route has a bound of its own; they begin with fewer and
	// become more as they succeed.
	Concurrency, Slow, PerDestination int
	// Budgets counts what routes with Limits are given; nil is a count that
	// begins with the Runner.
	Budgets *Budgets
	// Hostname is ours, in reports.
	Hostname string
	// MaxReturn bounds the messages that a bounce returns whole, when that
	// was asked for; 1 MiB if 0.
	MaxReturn int64
	// DeadLetters is the address of an account of ours whose mailbox
	// archive.DeadLetters takes what can neither be delivered nor returned;
	// null, or if it leads to no account, such tasks stay in state Dead.
	DeadLetters mail.Address
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
	if o.Slow <= 0 {
		o.Slow = 20 * o.Concurrency
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
	// recheck is when to look again if the queue says that something is due and
	// does not give it.
	recheck = time.Second
	// leasePause is how long to wait after a Lease that failed; it doubles
	// up to maxPause.
	leasePause = time.Second
	maxPause   = 30 * time.Second
)

// Runner delivers the queue. One Run at a time.
type Runner struct {
	opt Options

	mu     sync.Mutex // guards pace and timers
	pace   *pace
	timers int           // warnings and expiries that are being dealt with
	ended  chan struct{} // holds at most one signal
	work   sync.WaitGroup
	// asked is the claims' one after the other, made once.
	asked map[spool.Destination]bool
}

// New returns a Runner.
func New(opt Options) *Runner {
	opt = opt.normal()
	return &Runner{opt: opt, pace: newPace(opt.Concurrency, opt.Slow), ended: make(chan struct{}, 1), asked: make(map[spool.Destination]bool)}
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
		wait, err := r.lease(func(l spool.Lease) { r.start(work, l) })
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

// start deals with a lease, in a goroutine.
func (r *Runner) start(work context.Context, l spool.Lease) {
	timer := l.Cause != spool.CauseDue
	var x *flight
	r.mu.Lock()
	if timer {
		r.timers++
	}
	if l.Cause != spool.CauseWarn && dials(l) {
		x = r.pace.begin(l.Destination, r.opt.Now())
	}
	r.mu.Unlock()
	r.work.Add(1)
	go func() {
		defer r.work.Done()
		fed := feedNothing
		defer func() { r.finish(timer, x, fed) }()
		fed = r.handle(work, l)
	}()
}

// finish counts the end of what start began; x is nil if nobody was turned to.
func (r *Runner) finish(timer bool, x *flight, fed feedback) {
	r.mu.Lock()
	if timer {
		r.timers--
	}
	if x != nil {
		route, _ := r.opt.Routes.Lookup(x.flow.dest.Route)
		r.pace.end(x, fed, r.most(route), r.opt.Now())
	}
	r.mu.Unlock()
	select {
	case r.ended <- struct{}{}:
	default:
	}
}

// handle brings one lease to its settlement, and returns what was learned of
// the destination.
func (r *Runner) handle(work context.Context, l spool.Lease) feedback {
	ctx, cancel := context.WithCancel(work)
	defer cancel()
	stop := r.extend(ctx, cancel, l)
	defer stop()
	switch l.Task.Destination.Route {
	case accept.NoticeRoute, accept.ExpandedRoute, accept.RelayedRoute:
		r.conclude(ctx, l, notice(l), stop)
		return feedGood
	}
	if l.Cause == spool.CauseWarn {
		r.conclude(ctx, l, warning(l), stop)
		return feedNothing
	}
	switch l.Task.Destination.Route {
	case accept.LocalRoute:
		r.conclude(ctx, l, r.release(l), stop)
		return feedGood
	case accept.ArchiveRoute:
		r.conclude(ctx, l, r.copied(l), stop)
		return feedGood
	}
	routes := r.opt.Routes.table.Load()
	v, fed := verdict{}, feedNothing
	if !dials(l) {
		v = r.judge(l, nil, Outcome{})
	} else if moved, ok := r.reroute(routes, l); ok {
		v = moved
		r.opt.Logger.Info("rerouted", append(attrs(l), "tasks", len(moved.Moved))...)
	} else {
		v, fed = r.try(ctx, work, routes, l)
	}
	r.conclude(ctx, l, v, stop)
	return fed
}

// dials tells whether a lease leads to an attempt. A task that has expired gets
// one if it never had any, unless its destination is known not to answer, or
// its sender wants it back now (RFC 2852).
func dials(l spool.Lease) bool {
	return l.Cause != spool.CauseExpired ||
		l.Task.Attempts == 0 && l.Destination.Backoff <= 0 && !l.Task.Envelope.By.Return
}

// try makes the attempt of a lease, as far as the route's budget goes, logs it,
// and judges it.
func (r *Runner) try(ctx, work context.Context, routes *table, l spool.Lease) (verdict, feedback) {
	tried := untold(l.Task.Recipients)
	name, limits := l.Task.Destination.Route, Limits{}
	if route := routes.names[name]; route != nil {
		limits = route.Limits
	}
	granted := r.opt.Budgets.Take(name, limits, len(tried))
	if granted == 0 {
		return r.spent(l), feedNothing
	}
	all := len(tried)
	tried = tried[:granted]
	began := time.Now()
	out := r.deliver(ctx, routes, l, tried)
	out.Results = complete(out.Results, len(tried))
	r.opt.Budgets.Return(name, granted-delivered(out))
	r.logAttempt(l, tried, out, time.Since(began))
	if work.Err() != nil {
		return r.interrupted(l, tried, out), feedNothing
	}
	v := r.judge(l, tried, out)
	if granted < all && !v.KeepDue {
		// The others have not had their turn.
		v.Delay = min(v.Delay, max(r.opt.Budgets.Short(name, limits).Wait, time.Second))
	}
	return v, feed(out)
}

// spent is the verdict on a task whose route may be given no more now. It stays
// due, unless its time is over.
func (r *Runner) spent(l spool.Lease) verdict {
	if l.Cause == spool.CauseExpired {
		return r.judge(l, nil, Outcome{})
	}
	r.opt.Logger.Debug("the route's limit is reached", attrs(l)...)
	v := begin(l, nil, Outcome{})
	v.KeepDue = true
	for i := range v.Results {
		v.Results[i] = spool.Result{} // nothing new
	}
	return v
}

// delivered counts the recipients that an attempt has delivered to.
func delivered(out Outcome) (n int) {
	for _, s := range out.Results {
		if s.Class() == mail.Delivered {
			n++
		}
	}
	return n
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
