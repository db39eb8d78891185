package spooltest

import (
	"context"
	"fmt"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func countTests() []contractTest {
	return []contractTest{
		{"TaskCounts", testTaskCounts},
		{"TaskCountsWhileBusy", testTaskCountsWhileBusy},
	}
}

// auditCounts tells what is wrong with the counts of a store at rest.
func auditCounts(store spool.Queue) error {
	list, err := store.TaskCounts(context.Background())
	if err != nil {
		return err
	}
	want := make(map[spool.Destination]spool.TaskCounts)
	for t, err := range store.Tasks(spool.TaskID{}) {
		if err != nil {
			return err
		}
		n := want[t.Destination]
		n[t.State]++
		want[t.Destination] = n
	}
	for _, d := range list {
		if d.Tasks != want[d.Destination] || d.Tasks.Total() == 0 {
			return fmt.Errorf("%s is said to have the tasks %v, and has %v", d.Destination, d.Tasks, want[d.Destination])
		}
		delete(want, d.Destination)
	}
	if len(want) > 0 {
		return fmt.Errorf("not counted: %v", want)
	}
	return nil
}

func testTaskCounts(c *contract) {
	same := func(what string) {
		c.Helper()
		if err := auditCounts(c.store); err != nil {
			c.Errorf("%s: %v", what, err)
		}
	}
	same("an empty queue")
	var ids []spool.TaskID
	for _, domain := range []string{"a.example", "b.example", "a.example", "c.example", "a.example"} {
		ids = append(ids, c.queue(domain))
	}
	same("queued")
	c.must(c.store.Hold(ids[2]))
	same("held")
	l := c.lease(ids[0], ids[1], ids[3], ids[4])
	same("leased")
	c.settle(l[0], spool.Settlement{Attempted: true, Results: results(l[0], false, 451), Delay: time.Hour})
	same("put off")
	c.settle(l[1], spool.Settlement{Attempted: true, Results: results(l[1], false, 550), Dead: true})
	same("dead")
	c.delivered(l[2])
	same("delivered")
	c.settle(l[3], spool.Settlement{Results: results(l[3], true, 250), Moved: []spool.Task{{
		Destination: spool.Destination{Route: "other"},
		Recipients:  []mail.Recipient{l[3].Task.Recipients[0].Recipient},
	}}})
	same("moved")
	c.lasting(func() { same("reopened") })
	_, err := c.store.Remove(ids[1])
	c.must(err)
	same("removed")
	c.must(c.store.Release(ids[2]))
	same("released")
	c.claim(10)
	same("leased again")
	c.clock.Advance(2 * lifetime)
	same("leases that ran out")
	c.lasting(func() { same("reopened again") })
}

// testTaskCountsWhileBusy counts for the first time while tasks come and go.
func testTaskCountsWhileBusy(c *contract) {
	for range 50 {
		c.queue("before.example")
	}
	c.restart()
	const writers = 4
	errs := make(chan error, writers)
	for range writers {
		go func() { errs <- comeAndGo(c.store, 40) }()
	}
	_, err := c.store.TaskCounts(context.Background())
	c.must(err)
	for range writers {
		c.must(<-errs)
	}
	if err := auditCounts(c.store); err != nil {
		c.Error(err)
	}
}

// comeAndGo queues messages and removes every other one.
func comeAndGo(store spool.Store, n int) error {
	for i := range n {
		s, err := store.Create()
		if err != nil {
			return err
		}
		r, err := s.Commit(context.Background(), spool.Message{Tasks: []spool.Task{{
			Destination: spool.Destination{Route: "mx", Domain: fmt.Sprintf("d%d.example", i%7)},
			Recipients:  []mail.Recipient{{To: mail.Address{Local: "u", Domain: "x.example"}}},
		}}})
		if err != nil {
			return err
		}
		if i%2 == 0 {
			if _, err := store.Remove(r.Tasks[0]); err != nil {
				return err
			}
		}
	}
	return nil
}
