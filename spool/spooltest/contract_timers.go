package spooltest

import (
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func timerTests() []contractTest {
	return []contractTest{
		{"Warn", testWarn},
		{"Expire", testExpire},
		{"TimersBeforeDue", testTimersBeforeDue},
		{"TimersDuringBackoff", testTimersDuringBackoff},
		{"TimersWithoutAllow", testTimersWithoutAllow},
	}
}

// timed stores a task with a warning and an expiry.
func (c *contract) timed(delay, warn, expire time.Duration) spool.TaskID {
	c.Helper()
	t := taskFor("example.org", 1)
	t.Delay, t.Warn, t.Expire = delay, warn, expire
	return c.queueTask(t)
}

// leaseFor leases one task and demands its cause.
func (c *contract) leaseFor(id spool.TaskID, cause spool.Cause) spool.Lease {
	c.Helper()
	l := c.lease(id)[0]
	if l.Cause != cause {
		c.Errorf("task %s is leased for cause %d, want %d", id, l.Cause, cause)
	}
	return l
}

func testWarn(c *contract) {
	id := c.timed(0, time.Hour, 0)
	l := c.leaseFor(id, spool.CauseDue)
	c.settle(l, spool.Settlement{Attempted: true, Results: results(l, false, 451), Delay: 3 * time.Hour})
	due := c.clock.Now().Add(3 * time.Hour)
	c.clock.Advance(time.Hour - time.Second)
	leases, next := c.claim(10)
	if len(leases) != 0 || next != time.Second {
		c.Errorf("before the warning: leased %v, next %v", leasedIDs(leases), next)
	}
	c.clock.Advance(time.Second)
	c.restart()
	l = c.leaseFor(id, spool.CauseWarn)
	// Without Warned the task comes back at once.
	c.settle(l, spool.Settlement{Results: results(l, false, 451), KeepDue: true})
	l = c.leaseFor(id, spool.CauseWarn)
	c.settle(l, spool.Settlement{Results: results(l, false, 451), KeepDue: true, Warned: true})
	c.lasting(func() {
		leases, next := c.claim(10)
		if len(leases) != 0 || next != 2*time.Hour {
			c.Errorf("after the warning: leased %v, next %v", leasedIDs(leases), next)
		}
		if got := c.task(id); !got.Warned || !got.Due.Equal(due) || got.Attempts != 1 {
			c.Errorf("after the warning the task is %+v", got)
		}
	})
	c.clock.Advance(2 * time.Hour)
	c.leaseFor(id, spool.CauseDue)
}

func testExpire(c *contract) {
	id := c.timed(0, time.Hour, 2*time.Hour)
	l := c.leaseFor(id, spool.CauseDue)
	c.settle(l, spool.Settlement{Attempted: true, Results: results(l, false, 451), Delay: 5 * time.Hour})
	// Both times pass: the expiry is the more urgent.
	c.clock.Advance(2 * time.Hour)
	c.restart()
	l = c.leaseFor(id, spool.CauseExpired)
	report := c.staged("returned")
	c.settle(l, spool.Settlement{
		Results: results(l, true, 554),
		Reports: []spool.Report{{Staged: report, Message: spool.Message{Deposits: []spool.Deposit{{Account: "alice"}}}}},
	})
	c.lasting(func() {
		c.freed(id.Message)
		c.references(report.ID(), 1)
	})
}

// testTimersBeforeDue has warning and expiry come while the first attempt is
// still held back by FUTURERELEASE.
func testTimersBeforeDue(c *contract) {
	warned, expiring := c.timed(24*time.Hour, time.Hour, 0), c.timed(24*time.Hour, 0, 2*time.Hour)
	c.clock.Advance(time.Hour)
	l := c.leaseFor(warned, spool.CauseWarn)
	c.settle(l, spool.Settlement{Results: results(l, false, 0), KeepDue: true, Warned: true})
	c.clock.Advance(time.Hour)
	l = c.leaseFor(expiring, spool.CauseExpired)
	// A settlement that does not end an expired task gets it back after its
	// delay, or at once.
	c.settle(l, spool.Settlement{Attempted: true, Results: results(l, false, 451), Delay: time.Hour})
	c.lasting(func() {
		leases, next := c.claim(10)
		if len(leases) != 0 || next != time.Hour {
			c.Errorf("after an expiry that was put off: leased %v, next %v", leasedIDs(leases), next)
		}
	})
	c.clock.Advance(time.Hour)
	l = c.leaseFor(expiring, spool.CauseExpired)
	c.settle(l, spool.Settlement{Results: results(l, false, 451), KeepDue: true})
	c.delivered(c.leaseFor(expiring, spool.CauseExpired))
	c.clock.Advance(21 * time.Hour)
	c.leaseFor(warned, spool.CauseDue)
}

func testTimersDuringBackoff(c *contract) {
	plain, warned, expiring := c.timed(0, 0, 0), c.timed(0, time.Hour, 0), c.timed(0, 0, 2*time.Hour)
	for i, l := range c.lease(plain, warned, expiring) {
		if i == 0 {
			c.unreached(l, 24*time.Hour, "down")
			continue
		}
		c.settle(l, spool.Settlement{Attempted: true, Results: results(l, false, 451), Delay: time.Minute})
	}
	c.clock.Advance(time.Hour - time.Minute)
	leases, next := c.claim(10)
	if len(leases) != 0 || next != time.Minute {
		c.Errorf("during back-off: leased %v, next %v", leasedIDs(leases), next)
	}
	c.clock.Advance(time.Minute)
	c.restart()
	l := c.leaseFor(warned, spool.CauseWarn)
	if l.Destination.Failures != 1 || l.Destination.Backoff != 23*time.Hour {
		c.Errorf("during back-off the lease says %+v", l.Destination)
	}
	c.settle(l, spool.Settlement{Results: results(l, false, 451), KeepDue: true, Warned: true})
	c.clock.Advance(time.Hour)
	l = c.leaseFor(expiring, spool.CauseExpired)
	c.settle(l, spool.Settlement{Results: results(l, true, 554)})
	c.inBackoff("example.org", 1, 22*time.Hour, "down")
	c.clock.Advance(22 * time.Hour)
	c.lease(plain, warned)
}

// testTimersWithoutAllow shows that a warning, which needs no connection, is not
// subject to Allow.
func testTimersWithoutAllow(c *contract) {
	id := c.timed(time.Hour, time.Minute, 0)
	c.clock.Advance(time.Minute)
	leases, _ := c.claimWith(spool.Claim{Max: 10, Lifetime: lifetime, Allow: func(d spool.DestinationInfo) int {
		c.Errorf("Allow is asked for %+v, where no attempt is due", d)
		return 0
	}})
	if len(leases) != 1 || leases[0].Cause != spool.CauseWarn {
		c.Fatalf("no attempt allowed: leased %v, want the warning all the same", leasedIDs(leases))
	}
	l := leases[0]
	if l.Task.ID != id {
		c.Errorf("leased %v", l.Task.ID)
	}
	c.settle(l, spool.Settlement{
		Results: []spool.Result{{Status: mail.Status{Code: 451}}}, KeepDue: true, Warned: true,
	})
}
