package spooltest

import (
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func destinationTests() []contractTest {
	return []contractTest{
		{"Backoff", testBackoff},
		{"BackoffOfRoute", testBackoffOfRoute},
		{"BackoffProbe", testBackoffProbe},
		{"BackoffConcurrentFailures", testBackoffConcurrentFailures},
		{"BackoffFailureAfterSuccess", testBackoffFailureAfterSuccess},
		{"BackoffUnknown", testBackoffUnknown},
		{"BackoffRetry", testBackoffRetry},
		{"BackoffStaleSettle", testBackoffStaleSettle},
	}
}

// inBackoff demands exactly one destination in back-off, or none.
func (c *contract) inBackoff(domain string, failures int, left time.Duration, why string) {
	c.Helper()
	list := c.backoffs()
	if len(list) != 1 {
		c.Errorf("destinations in back-off: %+v, want %s", list, domain)
		return
	}
	want := spool.DestinationInfo{
		Destination: dest(domain),
		Failures:    failures,
		Backoff:     left,
		Last:        mail.Status{Code: 451, Text: why},
	}
	if list[0] != want {
		c.Errorf("destination is %+v, want %+v", list[0], want)
	}
}

func (c *contract) noBackoff() {
	c.Helper()
	if list := c.backoffs(); len(list) != 0 {
		c.Errorf("destinations in back-off: %+v, want none", list)
	}
}

func testBackoff(c *contract) {
	c.noBackoff()
	a1 := c.queue("a.example")
	l := c.lease(a1)[0]
	c.unreached(l, 10*time.Minute, "connection refused")
	a2 := c.queue("a.example")
	b := c.queue("b.example")
	c.lease(b)
	c.clock.Advance(4 * time.Minute)
	c.lasting(func() { c.inBackoff("a.example", 1, 6*time.Minute, "connection refused") })
	_, err := c.store.Remove(b) // its lease has ended
	c.must(err)
	leases, next := c.claim(10)
	if len(leases) != 0 || next != 6*time.Minute {
		c.Errorf("during back-off: leased %v, next %v", leasedIDs(leases), next)
	}
	c.clock.Advance(6 * time.Minute)
	for _, l := range c.lease(a1, a2) {
		if l.Destination.Failures != 1 || l.Destination.Backoff != 0 || l.Destination.Last.Text != "connection refused" {
			c.Errorf("after back-off the lease says %+v", l.Destination)
		}
	}
	if got := c.task(a1); got.Attempts != 1 || got.Recipients[0].Last.Code != 451 {
		c.Errorf("task is %+v", got)
	}
}

// testBackoffOfRoute shows that route and domain together are the destination.
func testBackoffOfRoute(c *contract) {
	task := func(route, domain string) spool.TaskID {
		c.Helper()
		t := taskFor("example.org", 1)
		t.Destination = spool.Destination{Route: route, Domain: domain}
		return c.queueTask(t)
	}
	first := task("mx", "example.org")
	l := c.lease(first)[0]
	c.unreached(l, time.Hour, "no route")
	smart, other, alone, odd := task("smarthost", ""), task("backup", "example.org"), task("mx", ""), task("mx/example.org", "")
	c.lasting(func() {
		c.inBackoff("example.org", 1, time.Hour, "no route")
		leases := c.lease(smart, other, alone, odd)
		for _, l := range leases {
			if l.Destination.Failures != 0 || l.Destination.Destination != l.Task.Destination {
				c.Errorf("lease to %v says %+v", l.Task.Destination, l.Destination)
			}
			c.settle(l, spool.Settlement{Results: results(l, false, 451)})
		}
	})
}

func testBackoffProbe(c *contract) {
	ids := []spool.TaskID{c.queue("a.example"), c.queue("a.example"), c.queue("a.example")}
	probe := func() spool.Lease {
		c.Helper()
		leases, next := c.claimWith(spool.Claim{Max: 10, Lifetime: lifetime, Allow: func(d spool.DestinationInfo) int {
			if d.Backoff != 0 {
				c.Errorf("Allow is asked for a due task with back-off %v", d.Backoff)
			}
			return 1
		}})
		if len(leases) != 1 || next == 0 {
			c.Fatalf("probe: leased %v, next %v", leasedIDs(leases), next)
		}
		return leases[0]
	}
	for failures := range 3 {
		l := probe()
		if l.Destination.Failures != failures {
			c.Errorf("lease has %d failures, want %d", l.Destination.Failures, failures)
		}
		backoff := time.Duration(failures+1) * time.Minute
		c.unreached(l, backoff, "down")
		c.inBackoff("a.example", failures+1, backoff, "down")
		c.clock.Advance(backoff)
		c.restart()
	}
	l := probe()
	c.settle(l, spool.Settlement{
		Attempted:   true,
		Results:     results(l, false, 450),
		Delay:       time.Hour,
		Destination: spool.Reach{Outcome: spool.Reached},
	})
	c.lasting(c.noBackoff)
	rest := make([]spool.TaskID, 0, 2)
	for _, id := range ids {
		if id != l.Task.ID {
			rest = append(rest, id)
		}
	}
	for _, l := range c.lease(rest...) {
		if l.Destination.Failures != 0 {
			c.Errorf("after it was reached the destination is %+v", l.Destination)
		}
	}
}

func testBackoffConcurrentFailures(c *contract) {
	for range 4 {
		c.queue("a.example")
	}
	leases, _ := c.claim(10)
	if len(leases) != 4 {
		c.Fatalf("leased %v", leasedIDs(leases))
	}
	c.unreached(leases[0], 10*time.Minute, "first")
	c.unreached(leases[1], time.Hour, "second")
	c.inBackoff("a.example", 1, 10*time.Minute, "first")
	c.clock.Advance(30 * time.Second)
	c.unreached(leases[2], time.Hour, "third")
	c.lasting(func() { c.inBackoff("a.example", 1, 10*time.Minute-30*time.Second, "first") })
	if c.reopen == nil {
		c.settle(leases[3], spool.Settlement{
			Results: results(leases[3], false, 450), Delay: time.Hour,
			Destination: spool.Reach{Outcome: spool.Reached},
		})
		c.noBackoff()
	}
}

// testBackoffFailureAfterSuccess settles a failure that was found before
// another courier reached the destination.
func testBackoffFailureAfterSuccess(c *contract) {
	a, b := c.queue("a.example"), c.queue("a.example")
	l := c.lease(a, b)
	c.unreached(l[0], time.Minute, "once")
	c.unreached(l[1], time.Minute, "once")
	c.clock.Advance(time.Minute)
	l = c.lease(a, b)
	c.delivered(l[0])
	c.noBackoff()
	c.unreached(l[1], time.Hour, "an old failure")
	c.lasting(func() {
		c.noBackoff()
		l := c.lease(b)[0]
		if l.Destination.Failures != 0 {
			c.Errorf("destination is %+v", l.Destination)
		}
		c.settle(l, spool.Settlement{Results: results(l, false, 451)})
	})
}

func testBackoffUnknown(c *contract) {
	a, b := c.queue("a.example"), c.queue("a.example")
	l := c.lease(a, b)
	c.unreached(l[0], time.Hour, "down")
	c.settle(l[1], spool.Settlement{Attempted: true, Results: results(l[1], false, 451), Delay: time.Minute})
	c.lasting(func() { c.inBackoff("a.example", 1, time.Hour, "down") })
	c.clock.Advance(2 * time.Minute)
	c.lease()
}

func testBackoffRetry(c *contract) {
	a, b := c.queue("a.example"), c.queue("a.example")
	l := c.lease(a, b)
	c.unreached(l[0], time.Hour, "down")
	c.settle(l[1], spool.Settlement{Attempted: true, Results: results(l[1], false, 451), Delay: 2 * time.Hour})
	c.lease()
	c.must(c.store.Retry(b))
	c.lasting(c.noBackoff)
	c.lease(a, b)
}

func testBackoffStaleSettle(c *contract) {
	a := c.queue("a.example")
	l := c.lease(a)[0]
	c.clock.Advance(2 * lifetime)
	err := c.store.Settle(c.Context(), l, spool.Settlement{
		Results:     results(l, false, 451),
		Destination: spool.Reach{Outcome: spool.Unreached, Backoff: time.Hour},
	})
	c.wants(err, spool.ErrStaleLease, "settle after the lease ran out")
	c.noBackoff()
	c.lease(a)
}
