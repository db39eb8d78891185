package spooltest

import (
	"slices"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func adminTests() []contractTest {
	return []contractTest{
		{"Hold", testHold},
		{"HoldStates", testHoldStates},
		{"Release", testRelease},
		{"Retry", testRetry},
		{"RetryDead", testRetryDead},
		{"Reroute", testReroute},
		{"RerouteStates", testRerouteStates},
		{"Unpin", testUnpin},
		{"EndBackoff", testEndBackoff},
		{"Remove", testRemove},
		{"AdminOfNothing", testAdminOfNothing},
		{"AdminWhileLeased", testAdminWhileLeased},
		{"Tasks", testTasks},
		{"TasksSnapshot", testTasksSnapshot},
	}
}

func testHold(c *contract) {
	id := c.timed(0, time.Hour, 2*time.Hour)
	queued := c.clock.Now()
	c.clock.Advance(10 * time.Minute)
	c.must(c.store.Hold(id))
	c.clock.Advance(2 * time.Hour)
	c.must(c.store.Hold(id)) // held already: the time counts from the first
	c.clock.Advance(3 * time.Hour)
	c.lasting(func() {
		leases, next := c.claim(10)
		if len(leases) != 0 || next >= 0 {
			c.Errorf("with a held task: leased %v, next %v", leasedIDs(leases), next)
		}
		if got := c.task(id).State; got != spool.Held {
			c.Errorf("state is %s", got)
		}
	})
	c.must(c.store.Release(id))
	released := c.clock.Now()
	c.lasting(func() {
		got := c.task(id)
		if got.State != spool.Queued || !got.Due.Equal(released) || !got.Queued.Equal(queued) {
			c.Errorf("released at %v, the task is %+v", released, got)
		}
		if !got.Warns.Equal(queued.Add(6*time.Hour)) || !got.Expires.Equal(queued.Add(7*time.Hour)) {
			c.Errorf("held for 5h from %v on, it warns at %v, expires at %v", queued, got.Warns, got.Expires)
		}
	})
	l := c.leaseFor(id, spool.CauseDue)
	c.settle(l, spool.Settlement{Results: results(l, false, 451), Delay: 24 * time.Hour})
	c.clock.Advance(50 * time.Minute)
	l = c.leaseFor(id, spool.CauseWarn)
	c.settle(l, spool.Settlement{Results: results(l, false, 451), KeepDue: true, Warned: true})
	c.clock.Advance(time.Hour)
	c.leaseFor(id, spool.CauseExpired)
}

func testHoldStates(c *contract) {
	// A dead task can be held.
	id := c.timed(0, 0, time.Hour)
	l := c.lease(id)[0]
	c.settle(l, spool.Settlement{Results: results(l, false, 550), Dead: true})
	c.must(c.store.Hold(id))
	if got := c.task(id).State; got != spool.Held {
		c.Errorf("a dead task that was held is %s", got)
	}
	c.must(c.store.Release(id))
	c.leaseFor(id, spool.CauseDue)

	// The lease that ran out does not protect from Hold.
	other := c.queue("example.com")
	old := c.lease(other)[0]
	c.clock.Advance(2 * lifetime)
	c.must(c.store.Hold(other))
	err := c.store.Settle(c.Context(), old, spool.Settlement{Results: results(old, true, 250)})
	c.wants(err, spool.ErrStaleLease, "settle of a held task")
	if got := c.task(other).State; got != spool.Held {
		c.Errorf("state is %s", got)
	}
}

func testRelease(c *contract) {
	// A queued task is left alone.
	id := c.timed(time.Hour, 2*time.Hour, 0)
	before := c.task(id)
	c.clock.Advance(time.Minute)
	c.must(c.store.Release(id))
	if got := c.task(id); !got.Due.Equal(before.Due) || !got.Warns.Equal(before.Warns) || got.State != spool.Queued {
		c.Errorf("Release changed a queued task from %+v to %+v", before, got)
	}
	// A held task without timers has none afterwards.
	other := c.queue("example.com")
	c.must(c.store.Hold(other))
	c.clock.Advance(time.Hour)
	c.must(c.store.Release(other))
	if got := c.task(other); !got.Warns.IsZero() || !got.Expires.IsZero() {
		c.Errorf("Release gave a task timers: %+v", got)
	}
	// A destination in back-off holds a released task back.
	l := c.lease(id, other)
	c.unreached(l[1], 4*time.Hour, "down")
	c.must(c.store.Hold(other))
	c.must(c.store.Release(other))
	c.inBackoff("example.com", 1, 4*time.Hour, "down")
	c.lease()
}

func testRetry(c *contract) {
	id := c.timed(time.Hour, 0, 3*time.Hour)
	expires := c.task(id).Expires
	c.clock.Advance(time.Minute)
	c.must(c.store.Retry(id))
	now := c.clock.Now()
	c.lasting(func() {
		if got := c.task(id); !got.Due.Equal(now) || !got.Expires.Equal(expires) || got.State != spool.Queued {
			c.Errorf("retried at %v, the task is %+v", now, got)
		}
	})
	c.leaseFor(id, spool.CauseDue)
}

func testEndBackoff(c *contract) {
	id, gone := c.queue("a.example"), c.queue("b.example")
	l := c.lease(id, gone)
	c.unreached(l[0], time.Hour, "down")
	c.unreached(l[1], time.Hour, "down")
	_, err := c.store.Remove(gone) // a back-off that nothing waits for
	c.must(err)
	due := c.task(id).Due
	c.lease()
	c.must(c.store.EndBackoff(dest("a.example")))
	c.must(c.store.EndBackoff(dest("b.example")))
	c.must(c.store.EndBackoff(dest("never.example")))
	c.lasting(func() {
		for d, err := range c.store.Destinations() {
			c.must(err)
			c.Errorf("%s is in back-off for %v", d.Destination, d.Backoff)
		}
		if got := c.task(id); !got.Due.Equal(due) {
			c.Errorf("the task's own time was %v and is %v", due, got.Due)
		}
	})
	l = c.lease(id)
	if l[0].Destination.Failures != 1 {
		c.Errorf("%d failures on record, want 1: it is a probe", l[0].Destination.Failures)
	}
	c.settle(l[0], spool.Settlement{Results: results(l[0], false, 451), Delay: time.Minute})
	// What comes to the other afterwards does not wait.
	c.lease(c.queue("b.example"))
}

func testRetryDead(c *contract) {
	expired, inTime := c.timed(0, 0, time.Hour), c.timed(0, 0, 5*time.Hour)
	for _, l := range c.lease(expired, inTime) {
		c.settle(l, spool.Settlement{Attempted: true, Results: results(l, false, 550), Dead: true})
	}
	c.clock.Advance(2 * time.Hour)
	c.must(c.store.Retry(expired))
	c.must(c.store.Retry(inTime))
	c.lasting(func() {
		if got := c.task(inTime); got.State != spool.Queued || got.Expires.IsZero() {
			c.Errorf("the task that had not expired is %+v", got)
		}
		if got := c.task(expired); got.State != spool.Queued || got.Attempts != 1 {
			c.Errorf("the task that had expired is %+v", got)
		}
	})
	for _, l := range c.lease(expired, inTime) {
		if l.Cause != spool.CauseDue {
			c.Errorf("a retried task is leased for cause %d", l.Cause)
		}
		c.settle(l, spool.Settlement{Results: results(l, false, 451), Delay: 100 * time.Hour})
	}
	c.clock.Advance(99 * time.Hour)
	c.delivered(c.leaseFor(inTime, spool.CauseExpired))
	c.clock.Advance(time.Hour)
	c.leaseFor(expired, spool.CauseDue)
}

func testReroute(c *contract) {
	smart := spool.Destination{Route: "smarthost"}
	id := c.timed(time.Hour, 2*time.Hour, 3*time.Hour)
	other := c.queue("example.org")
	c.unreached(c.lease(other)[0], 5*time.Hour, "down")
	before := c.task(id)
	if before.Pinned {
		c.Errorf("the task is pinned from the start: %+v", before)
	}
	for _, bad := range []spool.Destination{{Route: "a\x00b"}, {Route: "mx", Domain: "\x00"}, {Route: "mx", Domain: strings.Repeat("x", spool.MaxDestination)}} {
		c.wants(c.store.Reroute(id, bad), spool.ErrDestination, "Reroute to %.20q", bad)
	}
	c.clock.Advance(time.Minute)
	wake := c.store.Wake()
	drain(wake)
	c.must(c.store.Reroute(id, smart))
	c.arrives(wake, "Wake after Reroute")
	want := before
	want.Destination, want.Pinned, want.Due = smart, true, c.clock.Now()
	c.lasting(func() {
		if got := c.task(id); got.Destination != smart || !got.Pinned || !got.Due.Equal(want.Due) ||
			!got.Warns.Equal(want.Warns) || !got.Expires.Equal(want.Expires) || got.State != spool.Queued {
			c.Errorf("rerouted, the task is %+v, want %+v", got, want)
		}
		counts, err := c.store.TaskCounts(c.Context())
		c.must(err)
		for _, n := range counts {
			if n.Tasks.Total() != 1 {
				c.Errorf("counts are %+v", counts)
			}
		}
		c.references(id.Message, 1)
	})
	l := c.leaseFor(id, spool.CauseDue)
	if !l.Task.Pinned || l.Task.Destination != smart || l.Destination.Destination != smart || l.Destination.Failures != 0 {
		c.Errorf("the lease is %+v", l)
	}
	// The back-off of where it goes counts, and what it learns is of there.
	c.unreached(l, 10*time.Minute, "refused")
	c.must(c.store.Reroute(id, dest("example.org")))
	c.lease()
	c.must(c.store.Reroute(id, smart))
	c.lease()
	c.clock.Advance(10 * time.Minute)
	c.delivered(c.leaseFor(id, spool.CauseDue))
	c.lasting(func() { c.freed(id.Message) })
}

func testUnpin(c *contract) {
	id, held, other := c.queue("a.example"), c.queue("b.example"), c.queue("c.example")
	for _, l := range c.lease(id, held, other) {
		c.settle(l, spool.Settlement{Attempted: true, Results: results(l, false, 451), Delay: time.Hour})
	}
	c.must(c.store.Hold(held))
	c.must(c.store.Reroute(held, dest("new.example")))
	c.must(c.store.Reroute(id, dest("new.example")))
	c.unreached(c.leaseFor(id, spool.CauseDue), 5*time.Hour, "down")
	before := c.task(other)
	wake := c.store.Wake()
	drain(wake)
	for _, id := range []spool.TaskID{id, held, other} {
		c.must(c.store.Unpin(id))
	}
	c.arrives(wake, "Wake after Unpin")
	c.lasting(func() {
		for id, state := range map[spool.TaskID]spool.State{id: spool.Queued, held: spool.Held} {
			if got := c.task(id); got.Pinned || got.State != state || got.Destination != dest("new.example") {
				c.Errorf("unpinned, task %s is %+v", id, got)
			}
		}
		if got := c.task(other); !got.Due.Equal(before.Due) {
			c.Errorf("what was not pinned is due %v, and was %v", got.Due, before.Due)
		}
	})
	// At once, though its destination was in back-off; the failures stay.
	l := c.leaseFor(id, spool.CauseDue)
	if l.Task.Pinned || l.Destination.Failures != 1 {
		c.Errorf("the lease is %+v", l)
	}
	c.wants(c.store.Unpin(id), spool.ErrLeased, "Unpin")
	c.delivered(l)
	c.wants(c.store.Unpin(id), spool.ErrNotFound, "Unpin")
}

func testRerouteStates(c *contract) {
	held, dead, expired := c.queue("a.example"), c.queue("b.example"), c.timed(0, 0, time.Hour)
	for _, l := range c.lease(held, dead, expired) {
		if l.Task.ID != held {
			c.settle(l, spool.Settlement{Attempted: true, Results: results(l, false, 550), Dead: true})
			continue
		}
		c.settle(l, spool.Settlement{Results: results(l, false, 451)})
		c.must(c.store.Hold(held))
	}
	c.clock.Advance(2 * time.Hour)
	for _, id := range []spool.TaskID{held, dead, expired} {
		c.must(c.store.Reroute(id, dest("new.example")))
	}
	c.lasting(func() {
		for id, state := range map[spool.TaskID]spool.State{held: spool.Held, dead: spool.Queued, expired: spool.Queued} {
			if got := c.task(id); got.State != state || got.Destination != dest("new.example") || !got.Pinned {
				c.Errorf("task %s is %+v, want it %s", id, got, state)
			}
		}
	})
	for _, l := range c.lease(dead, expired) {
		if l.Cause != spool.CauseDue {
			c.Errorf("a rerouted task is leased for cause %d", l.Cause)
		}
		c.delivered(l)
	}
	c.must(c.store.Release(held))
	l := c.leaseFor(held, spool.CauseDue)
	// A settlement may pin, or not, what it moves.
	pinned := taskFor("example.org", 1)
	pinned.Pinned = true
	c.settle(l, spool.Settlement{Results: results(l, true, 0), Moved: []spool.Task{pinned, taskFor("example.com", 1)}})
	c.lasting(func() {
		tasks, err := c.store.MessageTasks(held.Message)
		c.must(err)
		if len(tasks) != 2 || !tasks[0].Pinned || tasks[1].Pinned {
			c.Errorf("moved to %+v", tasks)
		}
	})
}

func testRemove(c *contract) {
	queued, held, dead := c.queue("a.example"), c.queue("b.example"), c.queue("c.example")
	two := c.commit("two", spool.Message{Tasks: []spool.Task{taskFor("d.example", 1), taskFor("e.example", 2)}})
	c.must(c.store.Hold(held))
	for _, l := range c.lease(queued, dead, two.Tasks[0], two.Tasks[1]) {
		c.settle(l, spool.Settlement{Results: results(l, false, 550), Dead: l.Task.ID == dead})
	}
	for id, state := range map[spool.TaskID]spool.State{queued: spool.Queued, held: spool.Held, dead: spool.Dead} {
		was := c.task(id)
		got, err := c.store.Remove(id)
		c.must(err)
		if got.ID != id || got.State != state || got.Destination != was.Destination || !slices.Equal(got.Recipients, was.Recipients) {
			c.Errorf("Remove returns %+v, the task was %+v", got, was)
		}
	}
	_, err := c.store.Remove(two.Tasks[1])
	c.must(err)
	c.lasting(func() {
		c.freed(queued.Message)
		c.freed(held.Message)
		c.freed(dead.Message)
		c.references(two.ID, 1)
		_, err := c.store.Remove(queued)
		c.wants(err, spool.ErrNotFound, "Remove of a removed task")
		_, err = c.store.Remove(two.Tasks[1])
		c.wants(err, spool.ErrNotFound, "Remove of a removed task of a message that is still there")
	})
	c.delivered(c.lease(two.Tasks[0])[0])
}

func testAdminOfNothing(c *contract) {
	known := c.queue("example.org")
	for _, id := range []spool.TaskID{{}, {Message: mail.ID{1}, N: 1}, {Message: known.Message, N: known.N + 7}} {
		c.wants(c.store.Hold(id), spool.ErrNotFound, "Hold")
		c.wants(c.store.Release(id), spool.ErrNotFound, "Release")
		c.wants(c.store.Retry(id), spool.ErrNotFound, "Retry")
		c.wants(c.store.Reroute(id, dest("a.example")), spool.ErrNotFound, "Reroute")
		_, err := c.store.Remove(id)
		c.wants(err, spool.ErrNotFound, "Remove")
	}
	_, err := c.store.MessageTasks(mail.ID{1})
	c.wants(err, spool.ErrNotFound, "MessageTasks")
	r := c.commit("x", spool.Message{Deposits: []spool.Deposit{{Account: "alice"}}})
	_, err = c.store.MessageTasks(r.ID)
	c.wants(err, spool.ErrNotFound, "MessageTasks of a message that has none")
}

func testAdminWhileLeased(c *contract) {
	id := c.queue("example.org")
	l := c.lease(id)[0]
	c.wants(c.store.Hold(id), spool.ErrLeased, "Hold")
	_, err := c.store.Remove(id)
	c.wants(err, spool.ErrLeased, "Remove")
	c.wants(c.store.Reroute(id, dest("a.example")), spool.ErrLeased, "Reroute")
	if got := c.task(id); got.State != spool.Leased || got.Pinned {
		c.Errorf("the task is %+v", got)
	}
	c.delivered(l)
	c.freed(id.Message)
}

func testTasks(c *contract) {
	var all []spool.TaskID
	for i := range 7 {
		r := c.commit("body", spool.Message{Tasks: []spool.Task{
			taskFor("example.org", 1+i%3), taskFor("example.com", 1),
		}})
		all = append(all, r.Tasks...)
		c.clock.Advance(time.Second)
	}
	slices.SortFunc(all, compareTaskIDs)
	c.must(c.store.Hold(all[3]))
	listed := func(after spool.TaskID) []spool.TaskID {
		c.Helper()
		var ids []spool.TaskID
		for _, t := range collect(c, c.store.Tasks(after)) {
			ids = append(ids, t.ID)
			if want := c.task(t.ID); t.State != want.State || len(t.Recipients) != len(want.Recipients) || t.Destination != want.Destination {
				c.Errorf("Tasks yields %+v, MessageTasks %+v", t, want)
			}
		}
		return ids
	}
	c.lasting(func() {
		if got := listed(spool.TaskID{}); !slices.Equal(got, all) {
			c.Errorf("tasks %v, want %v", got, all)
		}
		for i, id := range all {
			if got := listed(id); !slices.Equal(got, all[i+1:]) {
				c.Errorf("tasks after %s: %v, want %v", id, got, all[i+1:])
			}
		}
	})
	// The one to go on after may have ended meanwhile.
	_, err := c.store.Remove(all[4])
	c.must(err)
	if got := listed(all[4]); !slices.Equal(got, all[5:]) {
		c.Errorf("tasks after a removed one: %v, want %v", got, all[5:])
	}
	for range c.store.Tasks(spool.TaskID{}) {
		break
	}
}

// testTasksSnapshot changes the queue while it is listed.
func testTasksSnapshot(c *contract) {
	first, second := c.queue("a.example"), c.queue("b.example")
	var seen []spool.TaskID
	for t, err := range c.store.Tasks(spool.TaskID{}) {
		c.must(err)
		seen = append(seen, t.ID)
		if t.ID == first {
			_, err := c.store.Remove(second)
			c.must(err)
			c.queue("c.example")
		}
	}
	if !slices.Equal(seen, []spool.TaskID{first, second}) {
		c.Errorf("listed %v, want %v", seen, []spool.TaskID{first, second})
	}
}
