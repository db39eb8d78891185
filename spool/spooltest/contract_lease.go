package spooltest

import (
	"slices"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func leaseTests() []contractTest {
	return []contractTest{
		{"LeaseOrder", testLeaseOrder},
		{"LeaseOrderOneByOne", testLeaseOrderOneByOne},
		{"LeaseMax", testLeaseMax},
		{"LeaseAllow", testLeaseAllow},
		{"LeaseTurns", testLeaseTurns},
		{"LeaseRest", testLeaseRest},
		{"LeaseTimersApart", testLeaseTimersApart},
		{"LeaseAllowWithoutLocks", testLeaseAllowWithoutLocks},
		{"LeaseNext", testLeaseNext},
		{"LeaseRunsOut", testLeaseRunsOut},
		{"LeaseExtend", testLeaseExtend},
		{"LeaseFencing", testLeaseFencing},
		{"LeaseConcurrent", testLeaseConcurrent},
		{"Wake", testWake},
	}
}

// ordered commits tasks for one destination and returns them in the order in
// which they must be leased a minute later.
func ordered(c *contract) []spool.TaskID {
	c.Helper()
	put := func(priority int, delay time.Duration) spool.TaskID {
		c.Helper()
		t := taskFor("example.org", 1)
		t.Delay = delay
		id := c.commit("body", spool.Message{
			Envelope: mail.Envelope{Priority: priority},
			Tasks:    []spool.Task{t},
		}).Tasks[0]
		c.clock.Advance(time.Second)
		return id
	}
	late := put(0, 30*time.Second)
	low := put(-9, 0)
	second := put(0, 10*time.Second)
	first := put(0, 0)
	high := put(4, 20*time.Second)
	highest := put(9, 25*time.Second)
	c.clock.Advance(time.Minute)
	return []spool.TaskID{highest, high, first, second, late, low}
}

func testLeaseOrder(c *contract) {
	want := ordered(c)
	leases, _ := c.claim(10)
	if got := leasedIDs(leases); !slices.Equal(got, want) {
		c.Errorf("leased %v, want %v", got, want)
	}
	for i, l := range leases {
		if l.Cause != spool.CauseDue || l.Destination.Destination != dest("example.org") ||
			l.Destination.Failures != 0 || l.Destination.Backoff != 0 {
			c.Errorf("lease %d has cause %d, destination %+v", i, l.Cause, l.Destination)
		}
		if got := c.task(l.Task.ID).State; got != spool.Leased {
			c.Errorf("a leased task is %s", got)
		}
		if slices.ContainsFunc(leases[:i], func(o spool.Lease) bool { return o.Token == l.Token && o.Task.ID == l.Task.ID }) {
			c.Errorf("task %s is leased twice", l.Task.ID)
		}
	}
}

func testLeaseOrderOneByOne(c *contract) {
	for i, want := range ordered(c) {
		if i == 3 {
			c.restart()
		}
		leases, _ := c.claim(1)
		if len(leases) != 1 || leases[0].Task.ID != want {
			c.Fatalf("lease %d is of %v, want %s", i, leasedIDs(leases), want)
		}
		c.delivered(leases[0])
	}
}

func testLeaseMax(c *contract) {
	for _, d := range []string{"a.example", "a.example", "a.example", "b.example", "b.example"} {
		c.queue(d)
	}
	seen := make(map[spool.TaskID]bool)
	for i, want := range []int{2, 2, 1} {
		leases, next := c.claim(2)
		for _, l := range leases {
			seen[l.Task.ID] = true
		}
		if len(leases) != want || i < 2 && next >= 0 {
			c.Errorf("claim %d: %d leases, next %v", i, len(leases), next)
		}
	}
	if len(seen) != 5 {
		c.Errorf("%d of 5 tasks were leased", len(seen))
	}
	if leases, _ := c.claim(2); len(leases) != 0 {
		c.Errorf("leased again: %v", leasedIDs(leases))
	}
}

func testLeaseAllow(c *contract) {
	a1, a2, b := c.queue("a.example"), c.queue("a.example"), c.queue("b.example")
	allow := func(a, b int) spool.Claim {
		return spool.Claim{Max: 10, Lifetime: lifetime, Allow: func(d spool.DestinationInfo) int {
			switch d.Destination {
			case dest("a.example"):
				return a
			case dest("b.example"):
				return b
			}
			c.Errorf("Allow was asked for %v", d)
			return 0
		}}
	}
	leases, next := c.claimWith(allow(0, 0))
	if len(leases) != 0 || next >= 0 {
		c.Errorf("nothing allowed: %d leases, next %v", len(leases), next)
	}
	leases, next = c.claimWith(allow(1, 0))
	if len(leases) != 1 || leases[0].Task.Destination != dest("a.example") || next == 0 {
		c.Fatalf("one allowed to a: leased %v, next %v", leasedIDs(leases), next)
	}
	rest := []spool.TaskID{a1, b}
	if leases[0].Task.ID == a1 {
		rest[0] = a2
	}
	leases, _ = c.claimWith(allow(5, 5))
	if len(leases) != 2 {
		c.Errorf("all allowed: leased %v, want %v", leasedIDs(leases), rest)
	}
	for _, id := range rest {
		if !slices.Contains(leasedIDs(leases), id) {
			c.Errorf("all allowed: leased %v, want %v", leasedIDs(leases), rest)
		}
	}
}

// testLeaseAllowWithoutLocks has Allow wait for other goroutines that use the
// spool, as one does that takes a lock which a settling courier holds.
func testLeaseAllowWithoutLocks(c *contract) {
	mine := c.lease(c.queue("a.example"))[0]
	other := c.queue("b.example")
	claim := spool.Claim{Max: 10, Lifetime: lifetime}
	asked := false
	claim.Allow = func(spool.DestinationInfo) int {
		if asked {
			return 1
		}
		asked = true
		done := make(chan error, 4)
		go func() {
			done <- c.store.Settle(c.Context(), mine, spool.Settlement{Results: results(mine, true, 250)})
			done <- commitNumbered(c, "meanwhile")
			_, err := c.store.Stat(other.Message)
			done <- err
			_, err = c.store.MessageTasks(other.Message)
			done <- err
		}()
		for range cap(done) {
			select {
			case err := <-done:
				if err != nil {
					c.Errorf("while Allow runs: %v", err)
				}
			case <-time.After(patience):
				c.Error("the spool is locked while Allow runs")
				return 0
			}
		}
		return 1
	}
	leases, _ := c.claimWith(claim)
	if !slices.Contains(leasedIDs(leases), other) {
		c.Errorf("leased %v, want %s with them", leasedIDs(leases), other)
	}
}

func testLeaseNext(c *contract) {
	expect := func(what string, want time.Duration) {
		c.Helper()
		leases, next := c.claim(10)
		if len(leases) != 0 || next != want && (want >= 0 || next >= 0) {
			c.Errorf("%s: leased %v, next %v, want %v", what, leasedIDs(leases), next, want)
		}
	}
	expect("an empty queue", -1)
	t := taskFor("example.org", 1)
	t.Delay = 30 * time.Minute
	late := c.queueTask(t)
	expect("a delayed task", 30*time.Minute)
	t.Delay = 10 * time.Minute
	early := c.queueTask(t)
	expect("a task that is due earlier", 10*time.Minute)
	t.Delay, t.Warn = time.Hour, 5*time.Minute
	warned := c.queueTask(t)
	expect("a warning that comes earlier", 5*time.Minute)
	t.Warn, t.Expire = 0, 4*time.Minute
	expiring := c.queueTask(t)
	expect("an expiry that comes earlier", 4*time.Minute)
	c.clock.Advance(time.Minute)
	expect("a minute later", 3*time.Minute)
	c.must(c.store.Hold(expiring))
	expect("with the expiring task held", 4*time.Minute)
	c.restart()
	expect("after reopening", 4*time.Minute)
	_, err := c.store.Remove(warned)
	c.must(err)
	expect("with the warning removed", 9*time.Minute)
	c.clock.Advance(9 * time.Minute)
	c.lease(early)
	expect("while a lease is out", lifetime)
	c.clock.Advance(20 * time.Second)
	expect("while a lease is out, later", lifetime-20*time.Second)
	_, err = c.store.Remove(late)
	c.must(err)
}

func testLeaseRunsOut(c *contract) {
	id := c.queue("example.org")
	old := c.lease(id)[0]
	c.clock.Advance(lifetime - time.Second)
	c.lease()
	c.clock.Advance(2 * time.Second)
	if got := c.task(id).State; got != spool.Queued {
		c.Errorf("a task whose lease ran out is %s", got)
	}
	done := spool.Settlement{Attempted: true, Results: results(old, true, 250)}
	c.wants(c.store.Settle(c.Context(), old, done), spool.ErrStaleLease, "settle after the lease ran out")
	c.wants(c.store.Extend(old, lifetime), spool.ErrStaleLease, "extend after the lease ran out")

	fresh := c.lease(id)[0]
	if fresh.Token == old.Token || fresh.Task.Attempts != 0 || fresh.Cause != spool.CauseDue {
		c.Errorf("second lease is %+v, the first had token %d", fresh, old.Token)
	}
	c.wants(c.store.Settle(c.Context(), old, done), spool.ErrStaleLease, "settle a lease that was given again")
	c.wants(c.store.Extend(old, lifetime), spool.ErrStaleLease, "extend a lease that was given again")
	c.delivered(fresh)
	c.lasting(func() { c.freed(id.Message) })
}

func testLeaseExtend(c *contract) {
	id := c.queue("example.org")
	l := c.lease(id)[0]
	c.clock.Advance(50 * time.Second)
	c.must(c.store.Extend(l, 10*time.Minute))
	c.clock.Advance(9 * time.Minute)
	c.lease()
	c.must(c.store.Extend(l, time.Minute))
	c.clock.Advance(59 * time.Second)
	c.lease()
	c.delivered(l)
	c.wants(c.store.Extend(l, time.Minute), spool.ErrStaleLease, "extend after settle")
	c.freed(id.Message)

	// From now, not from the end of what was given: a lease can be cut short.
	short := c.queue("example.org")
	l = c.lease(short)[0]
	c.must(c.store.Extend(l, 10*time.Second))
	c.clock.Advance(11 * time.Second)
	c.wants(c.store.Extend(l, time.Minute), spool.ErrStaleLease, "extend after the lease ran out")
	c.lease(short)
}

func testLeaseFencing(c *contract) {
	stale := func(l spool.Lease, why string) {
		c.Helper()
		err := c.store.Settle(c.Context(), l, spool.Settlement{Results: results(l, true, 250)})
		c.wants(err, spool.ErrStaleLease, "settle: %s", why)
		c.wants(c.store.Extend(l, time.Hour), spool.ErrStaleLease, "extend: %s", why)
	}
	id := c.queue("example.org")
	l := c.lease(id)[0]
	forged := l
	forged.Token += 1000
	stale(forged, "a token that was never given")
	forged.Token = 0
	stale(forged, "token 0")

	c.settle(l, spool.Settlement{Attempted: true, Results: results(l, false, 451)})
	stale(l, "settled")
	again := c.lease(id)[0]
	stale(l, "settled, and leased again")

	other := c.queue("example.com")
	forged = again
	forged.Task.ID = other
	stale(forged, "the token of another task")

	if c.reopen != nil {
		c.restart()
		stale(again, "reopened")
		third := c.lease(id, other)[0]
		stale(again, "reopened, and leased again")
		stale(l, "two leases ago")
		again = third
	}
	if got := c.task(id).Attempts; got != 1 {
		c.Errorf("%d attempts were counted, want 1", got)
	}
	c.delivered(again)
	stale(again, "ended")
	c.freed(id.Message)
}

// testLeaseConcurrent has several runners claim at once: no task twice.
func testLeaseConcurrent(c *contract) {
	const tasks, runners = 60, 4
	for range tasks {
		c.queue("example.org")
	}
	type claimed struct {
		ids []spool.TaskID
		err error
	}
	out := make(chan claimed, runners)
	for range runners {
		go func() {
			var mine claimed
			for {
				leases, next, err := c.store.Lease(spool.Claim{Max: 7, Lifetime: lifetime})
				mine.ids = append(mine.ids, leasedIDs(leases)...)
				if mine.err = err; err != nil || len(leases) == 0 && next != 0 {
					out <- mine
					return
				}
			}
		}()
	}
	seen := make(map[spool.TaskID]bool)
	for range runners {
		got := <-out
		c.must(got.err)
		for _, id := range got.ids {
			if seen[id] {
				c.Errorf("task %s was leased twice", id)
			}
			seen[id] = true
		}
	}
	if len(seen) != tasks {
		c.Errorf("%d of %d tasks were leased", len(seen), tasks)
	}
}

func testWake(c *contract) {
	wake := c.store.Wake()
	drain(wake)
	id := c.queue("example.org")
	c.arrives(wake, "Wake after a commit")
	c.must(c.store.Hold(id))
	drain(wake)
	c.must(c.store.Release(id))
	c.arrives(wake, "Wake after Release")
	drain(wake)
	c.must(c.store.Retry(id))
	c.arrives(wake, "Wake after Retry")
	drain(wake)
	l := c.lease(id)[0]
	c.settle(l, spool.Settlement{Results: results(l, true, 250), Moved: []spool.Task{taskFor("example.com", 1)}})
	c.arrives(wake, "Wake after a settle that made new tasks")

	drain(wake)
	c.queue("a.example")
	c.queue("b.example")
	if len(wake) > 1 {
		c.Errorf("Wake holds %d signals", len(wake))
	}
}
