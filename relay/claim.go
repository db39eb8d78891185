package relay

import (
	"math"
	"time"

	"restante/internal/accept"
	"restante/internal/ratelimit"
	"restante/spool"
)

const (
	// maxTimers bounds the warnings and expiries that are dealt with at a time,
	// beside the deliveries.
	maxTimers = 16
	// maxPasses bounds how often one wake-up asks the queue again at once.
	maxPasses = 8
	// askedAgain is how many destinations a claim may pass over only to be
	// asked of them again at the next; further ones rest, so that a claim costs
	// the same however many wait for their turn.
	askedAgain = 16
	// laneRest is that of destinations that wait for the waiting lane, busyRest
	// of others, where room comes sooner.
	laneRest = time.Second
	busyRest = 100 * time.Millisecond
	// tokenRest is the least time between two destinations that wait for tokens.
	tokenRest = 10 * time.Millisecond
	// maxShortRest bounds the rest for a rate or quota, so that a change of the
	// configuration is seen soon.
	maxShortRest = 30 * time.Second
)

// claim is one question to the queue: what was promised to it, and refused.
type claim struct {
	r     *Runner
	asked map[spool.Destination]bool
	// lanes and routes are what has been promised so far: the engine may take
	// less, never more.
	lanes   promised
	routes  map[string]int
	refused int
	// rest is how long the destination that was asked about last is to rest.
	rest time.Duration
}

func (r *Runner) newClaim() *claim {
	clear(r.asked)
	return &claim{r: r, asked: r.asked, routes: make(map[string]int)}
}

// spool returns it as the engine takes it, and whether there is a point in it.
func (c *claim) spool() spool.Claim {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.r.pace.age(c.r.opt.Now())
	return spool.Claim{
		Max:      c.r.pace.room(),
		Timers:   max(0, maxTimers-c.r.timers),
		Lifetime: c.r.opt.Lifetime,
		Allow:    c.allow,
		Rest:     func(spool.DestinationInfo) time.Duration { return c.rest },
	}
}

// promised is how many leases the engine may have taken.
func (c *claim) promised() int { return c.lanes.busy + c.lanes.waiting }

// allow is how many deliveries to a destination may begin now. An engine that
// asks twice is given nothing the second time: how much of the first answer it
// took is not yet known.
func (c *claim) allow(d spool.DestinationInfo) int {
	c.rest = 0
	if c.asked[d.Destination] {
		return 0
	}
	c.asked[d.Destination] = true
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	pace, name := c.r.pace, d.Destination.Route
	waiting, known := pace.lane(d)
	if name == accept.LocalRoute || name == accept.NoticeRoute {
		return c.promise(d, min(c.r.opt.PerDestination, pace.free(false, true, c.lanes)), false, true)
	}
	route, _ := c.r.opt.Routes.Lookup(name)
	n := pace.window(d, c.r.most(route))
	if n == 0 {
		// Its own deliveries are in progress; their end asks again.
		c.refused++
		return 0
	}
	n = min(n, pace.free(waiting, known, c.lanes))
	if waiting {
		n = min(n, pace.share(d.Destination, c.lanes))
	}
	if route != nil {
		n = min(n, c.share(route))
	}
	return c.promise(d, n, waiting, known)
}

// share is how many more deliveries a route may be given, and sets how long to
// rest if that is none for a known time.
func (c *claim) share(route *Route) int {
	n := math.MaxInt
	if route.MaxDeliveries > 0 {
		n = max(0, route.MaxDeliveries-c.r.pace.routes[route.Name]-c.routes[route.Name])
	}
	if route.Limits.IsZero() || c.r.spills(route) {
		return n
	}
	budgets := c.r.opt.Budgets
	short := budgets.Short(route.Name, route.Limits)
	left := budgets.Left(route.Name, route.Limits)
	if left > 0 {
		// What is promised to others and not taken is there for the next claim.
		return min(n, max(0, left-c.routes[route.Name]))
	}
	// One destination after the other is asked again, as the tokens come.
	step := tokenRest
	for _, rate := range []ratelimit.Rate{route.Limits.Messages, route.Limits.Recipients} {
		if !rate.Unlimited() {
			step = max(step, min(each(rate), maxShortRest))
		}
	}
	c.rest = min(max(short.Wait, time.Millisecond)+min(time.Duration(c.refused)*step, maxShortRest), maxShortRest)
	return 0
}

func (c *claim) promise(d spool.DestinationInfo, n int, waiting, known bool) int {
	if n <= 0 {
		if c.refused++; c.rest == 0 && c.refused > askedAgain {
			if c.rest = busyRest; waiting {
				c.rest = laneRest
			}
		}
		return 0
	}
	switch {
	case waiting:
		c.lanes.waiting += n
	case known:
		c.lanes.busy += n
	default:
		c.lanes.busy += n
		c.lanes.strange += n
	}
	c.routes[d.Destination.Route] += n
	return n
}

// most is how many deliveries to one destination of a route may be in progress.
func (r *Runner) most(route *Route) int {
	if route != nil && route.MaxConnections > 0 {
		return route.MaxConnections
	}
	return r.opt.PerDestination
}

// lease takes what may be delivered now, starts it, and tells how long to wait
// if nothing else happens; negative is for ever.
func (r *Runner) lease(start func(spool.Lease)) (time.Duration, error) {
	var c *claim
	next, full := time.Duration(0), false
	for range maxPasses {
		c = r.newClaim()
		question := c.spool()
		leases, until, err := r.opt.Queue.Lease(question)
		for _, l := range leases {
			start(l)
		}
		if err != nil {
			return 0, err
		}
		next, full = until, question.Max == 0
		// What was promised and not taken may be what others were refused for.
		again := next == 0 || c.refused > 0 && c.promised() > len(leases)
		if len(leases) == 0 || !again {
			break
		}
	}
	if next == 0 {
		next = recheck
	}
	if c.refused == 0 && !full {
		return next, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := r.pace.nextAge(r.opt.Now()); age >= 0 && (next < 0 || age < next) {
		next = max(age, time.Millisecond)
	}
	return next, nil
}
