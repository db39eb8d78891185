package spooltest

import (
	"fmt"
	"time"

	"restante/spool"
)

// testLeaseTurns has one destination with a backlog, and others that come
// later: none of them waits for its end.
func testLeaseTurns(c *contract) {
	const backlog, others = 20, 5
	for range backlog {
		c.queue("backlog.example")
	}
	if leases, _ := c.claim(2); len(leases) != 2 {
		c.Fatalf("leased %v", leasedIDs(leases))
	}
	c.clock.Advance(time.Second)
	first := c.queue("new.example")
	leases, _ := c.claim(1)
	if len(leases) != 1 || leases[0].Task.ID != first {
		c.Errorf("leased %v, want %s, whose destination has had nothing yet", leasedIDs(leases), first)
	}
	var late []spool.Destination
	for i := range others {
		late = append(late, dest(fmt.Sprintf("new%d.example", i)))
		for range 3 {
			c.queue(late[i].Domain)
		}
	}
	// With one at a time, all have one of two turns.
	seen := make(map[spool.Destination]int)
	for range 2 * (others + 1) {
		leases, _ := c.claimWith(spool.Claim{Max: 1, Lifetime: lifetime, Allow: func(spool.DestinationInfo) int { return 1 }})
		if len(leases) != 1 {
			c.Fatalf("leased %v", leasedIDs(leases))
		}
		seen[leases[0].Task.Destination]++
	}
	for _, d := range append(late, dest("backlog.example")) {
		if seen[d] == 0 {
			c.Errorf("%v had no turn; there were %v", d, seen)
		}
	}
}

// testLeaseRest has destinations put aside, which are not asked about until
// their time comes.
func testLeaseRest(c *contract) {
	a, b := c.queue("a.example"), c.queue("b.example")
	asked := 0
	claim := spool.Claim{
		Max: 10, Lifetime: time.Hour,
		Allow: func(d spool.DestinationInfo) int {
			asked++
			if d.Destination == dest("b.example") {
				return 10
			}
			return 0
		},
		Rest: func(d spool.DestinationInfo) time.Duration {
			if d.Destination != dest("a.example") {
				c.Errorf("asked how long %v is to rest", d.Destination)
			}
			return time.Minute
		},
	}
	leases, next := c.claimWith(claim)
	if len(leases) != 1 || leases[0].Task.ID != b || next != time.Minute || asked != 2 {
		c.Errorf("asked %d times, leased %v, next %v", asked, leasedIDs(leases), next)
	}
	c.clock.Advance(time.Minute - time.Second)
	c.queue("a.example")
	if leases, next := c.claimWith(claim); len(leases) != 0 || next != time.Second || asked != 2 {
		c.Errorf("during the rest: asked %d times, leased %v, next %v", asked-2, leasedIDs(leases), next)
	}
	c.clock.Advance(time.Second)
	leases, _ = c.claim(1)
	if len(leases) != 1 || leases[0].Task.ID != a {
		c.Errorf("after the rest: leased %v, want %s", leasedIDs(leases), a)
	}
}

// testLeaseTimersApart shows that those whose time is over do not wait for those
// that are due, and the other way round.
func testLeaseTimersApart(c *contract) {
	for range 3 {
		c.timed(time.Hour, time.Minute, 0)
		c.queue("example.org")
	}
	c.clock.Advance(time.Minute)
	count := func(max, timers int) (due, warn int) {
		c.Helper()
		leases, _ := c.claimWith(spool.Claim{Max: max, Timers: timers, Lifetime: lifetime})
		for _, l := range leases {
			if l.Cause == spool.CauseDue {
				due++
			} else {
				warn++
			}
		}
		return due, warn
	}
	if due, warn := count(0, 2); due != 0 || warn != 2 {
		c.Errorf("with room for timers alone: %d due, %d warnings", due, warn)
	}
	if due, warn := count(2, 1); due != 2 || warn != 1 {
		c.Errorf("with room for both: %d due, %d warnings", due, warn)
	}
	if due, warn := count(5, 5); due != 1 || warn != 0 {
		c.Errorf("of what is left: %d due, %d warnings", due, warn)
	}
}
