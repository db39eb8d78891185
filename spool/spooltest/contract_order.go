package spooltest

import (
	"fmt"
	"slices"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// The order inside a destination, which is spool.Rota's.
func orderTests() []contractTest {
	return []contractTest{
		{"OrderLargeSender", testOrderLargeSender},
		{"OrderTurns", testOrderTurns},
		{"OrderPriority", testOrderPriority},
		{"OrderAgeing", testOrderAgeing},
		{"OrderBacklogIsNotUrgent", testOrderBacklogIsNotUrgent},
		{"OrderRetriesDoNotBlock", testOrderRetriesDoNotBlock},
		{"OrderOfMovedTasks", testOrderOfMovedTasks},
	}
}

// senders returns envelopes of senders that have shares of their own: the
// null sender, some without an account, and one with.
func senders() []mail.Envelope {
	envs := []mail.Envelope{{}, {Client: mail.Client{Account: "alice"}}}
	for i := 0; len(envs) < 6; i++ {
		env := mail.Envelope{From: mail.Address{Local: fmt.Sprint("sender", i), Domain: "example.net"}}
		if !slices.ContainsFunc(envs, func(e mail.Envelope) bool { return spool.Share(&e) == spool.Share(&env) }) {
			envs = append(envs, env)
		}
	}
	return envs
}

// send queues n messages of a sender, with one task each, for example.org.
func (c *contract) send(env mail.Envelope, priority, n int) (ids []spool.TaskID) {
	c.Helper()
	env.Priority = priority
	for range n {
		ids = append(ids, c.commit("body", spool.Message{Envelope: env, Tasks: []spool.Task{taskFor("example.org", 1)}}).Tasks...)
	}
	return ids
}

// next leases one task.
func (c *contract) next() spool.Lease {
	c.Helper()
	leases, _ := c.claim(1)
	if len(leases) != 1 {
		c.Fatalf("leased %v, want one", leasedIDs(leases))
	}
	return leases[0]
}

// among demands that a task is one of the next few that are leased.
func (c *contract) among(id spool.TaskID, few int, why string) {
	c.Helper()
	for range few {
		l := c.next()
		c.delivered(l)
		if l.Task.ID == id {
			return
		}
	}
	c.Errorf("%s: task %s is not among the next %d", why, id, few)
}

// testOrderLargeSender has one sender queue 10,000 before others come.
func testOrderLargeSender(c *contract) {
	who := senders()
	large := who[2]
	for range 10 {
		m := spool.Message{Envelope: large}
		for range 1000 {
			m.Tasks = append(m.Tasks, taskFor("example.org", 1))
		}
		c.commit("body", m)
	}
	c.clock.Advance(time.Hour)
	c.delivered(c.next())
	for _, other := range []mail.Envelope{who[0], who[1], who[3]} {
		c.among(c.send(other, 0, 1)[0], 3, "another's single message")
		c.restart()
	}
	both := append(c.send(who[4], 0, 1), c.send(who[5], 0, 1)...)
	leases, _ := c.claim(4)
	for _, id := range both {
		if !slices.Contains(leasedIDs(leases), id) {
			c.Errorf("task %s is not among %v", id, leasedIDs(leases))
		}
	}
}

func testOrderTurns(c *contract) {
	who := senders()[:4]
	var sent [4][]spool.TaskID
	for i, env := range who {
		sent[i] = c.send(env, 0, 12)
	}
	var got [4][]spool.TaskID
	note := func(leases ...spool.Lease) {
		for _, l := range leases {
			i := slices.IndexFunc(sent[:], func(ids []spool.TaskID) bool { return slices.Contains(ids, l.Task.ID) })
			got[i] = append(got[i], l.Task.ID)
			c.delivered(l)
		}
		for i, ids := range got {
			if n := len(got[0]); len(ids) < n-1 || len(ids) > n+1 {
				c.Errorf("the senders got %d, %d, %d, %d turns: those of %d are not as many as the others'",
					len(got[0]), len(got[1]), len(got[2]), len(got[3]), i)
			}
		}
	}
	for range 18 {
		note(c.next())
	}
	for range 3 {
		leases, _ := c.claim(6)
		note(leases...)
	}
	leases, _ := c.claim(100)
	note(leases...)
	for i := range sent {
		if !slices.Equal(got[i], sent[i]) {
			c.Errorf("sender %d: leased %v, want %v", i, got[i], sent[i])
		}
	}
}

func testOrderPriority(c *contract) {
	who := senders()
	c.send(who[2], 0, 10)
	c.send(who[3], -2, 10)
	c.clock.Advance(time.Second)
	first := append(c.send(who[3], 4, 5), c.send(who[4], 4, 5)...)
	for range first {
		l := c.next()
		if !slices.Contains(first, l.Task.ID) {
			c.Fatalf("leased %+v before those of priority 4", l.Task)
		}
		c.delivered(l)
	}
	leases, _ := c.claim(20)
	for i, l := range leases {
		if want := -2 * (i / 10); l.Task.Envelope.Priority != want {
			c.Errorf("lease %d has priority %d, want %d", i, l.Task.Envelope.Priority, want)
		}
	}
}

// testOrderAgeing has a steady stream of higher priority, which is never behind.
func testOrderAgeing(c *contract) {
	who := senders()
	low := c.send(who[2], -4, 3)
	stream := func() spool.Lease {
		c.Helper()
		c.send(who[3], 0, 1)
		l := c.next()
		c.delivered(l)
		return l
	}
	c.clock.Advance(4*spool.PriorityWorth - time.Second)
	for range 2 * spool.AgedTurn {
		if l := stream(); l.Task.Envelope.Priority < 0 {
			c.Fatalf("after %v a task of priority -4 goes before those of 0", 4*spool.PriorityWorth-time.Second)
		}
	}
	c.clock.Advance(2 * time.Second)
	var aged []spool.TaskID
	for range len(low) * spool.AgedTurn {
		if l := stream(); l.Task.Envelope.Priority < 0 {
			aged = append(aged, l.Task.ID)
		}
	}
	if !slices.Equal(aged, low) {
		c.Errorf("among %d leases were %v of those that have waited, want %v", len(low)*spool.AgedTurn, aged, low)
	}
}

// testOrderBacklogIsNotUrgent has a message of high priority come after a
// backlog that has waited for long.
func testOrderBacklogIsNotUrgent(c *contract) {
	who := senders()
	c.send(who[2], 0, 30)
	c.clock.Advance(24 * time.Hour)
	for i := range 6 {
		c.among(c.send(who[3+i%2], 4, 1)[0], 2, "a message of high priority")
	}
}

// testOrderRetriesDoNotBlock has many tasks that go first as soon as they are
// due, but are not.
func testOrderRetriesDoNotBlock(c *contract) {
	who := senders()
	for i, env := range who {
		c.send(env, 9-i, 10)
	}
	leases, _ := c.claim(100)
	for i, l := range leases {
		c.settle(l, spool.Settlement{Attempted: true, Results: results(l, false, 451), Delay: time.Hour + time.Duration(i)*time.Minute})
	}
	c.restart()
	if leases, next := c.claim(10); len(leases) != 0 || next != time.Hour {
		c.Errorf("nothing is due: leased %v, next %v", leasedIDs(leases), next)
	}
	for _, env := range who {
		id := c.send(env, -9, 1)[0]
		leases, next := c.claim(10)
		if got := leasedIDs(leases); !slices.Equal(got, []spool.TaskID{id}) {
			c.Fatalf("leased %v, want %v", got, id)
		}
		if next > lifetime {
			c.Errorf("next is %v", next)
		}
		c.delivered(leases[0])
	}
	c.clock.Advance(time.Hour)
	if l := c.next(); l.Task.ID != leases[0].Task.ID {
		c.Errorf("leased %+v, want %s", l.Task, leases[0].Task.ID)
	}
}

// testOrderOfMovedTasks shows that a task goes by the turns of its message's
// sender wherever it is moved to, and whatever reverse-path it has itself.
func testOrderOfMovedTasks(c *contract) {
	who := senders()
	c.send(who[2], 0, 40)
	t := taskFor("example.com", 1)
	t.From = &who[2].From
	id := c.commit("body", spool.Message{Envelope: who[3], Tasks: []spool.Task{t}}).Tasks[0]
	c.must(c.store.Reroute(id, dest("example.org")))
	c.among(id, 2, "a rerouted task")

	other := c.commit("body", spool.Message{Envelope: who[4], Tasks: []spool.Task{taskFor("example.com", 1)}}).Tasks[0]
	l := c.leaseOf(other)
	c.settle(l, spool.Settlement{Results: results(l, true, 0), Moved: []spool.Task{taskFor("example.org", 1)}})
	tasks, err := c.store.MessageTasks(other.Message)
	c.must(err)
	c.among(tasks[0].ID, 3, "a moved task")
}

// leaseOf leases all that is due, gives back what is not one task, and returns
// the lease of that.
func (c *contract) leaseOf(id spool.TaskID) (found spool.Lease) {
	c.Helper()
	leases, _ := c.claim(100)
	for _, l := range leases {
		if l.Task.ID == id {
			found = l
			continue
		}
		c.settle(l, spool.Settlement{Results: results(l, false, 0), KeepDue: true})
	}
	if found.Token == 0 {
		c.Fatalf("task %s is not leased, but %v", id, leasedIDs(leases))
	}
	return found
}
