package spooltest

import (
	"slices"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func settleTests() []contractTest {
	return []contractTest{
		{"SettleDelivered", testSettleDelivered},
		{"SettlePartial", testSettlePartial},
		{"SettleKeepDue", testSettleKeepDue},
		{"SettleDead", testSettleDead},
		{"SettleResultsMismatch", testSettleResultsMismatch},
		{"SettleMoved", testSettleMoved},
		{"SettleMovedWhole", testSettleMovedWhole},
		{"SettleReports", testSettleReports},
		{"SettleReportRefused", testSettleReportRefused},
		{"SettleStaleReport", testSettleStaleReport},
	}
}

func testSettleDelivered(c *contract) {
	id := c.queueTask(taskFor("example.org", 3))
	other := c.queue("example.org")
	l := c.lease(id, other)
	c.delivered(l[0])
	c.lasting(func() {
		c.freed(id.Message)
		tasks := collect(c, c.store.Tasks(spool.TaskID{}))
		if len(tasks) != 1 || tasks[0].ID != other {
			c.Errorf("tasks left: %+v, want %s", tasks, other)
		}
	})
}

func testSettlePartial(c *contract) {
	task := taskFor("example.org", 4)
	id := c.queueTask(task)
	l := c.lease(id)[0]
	greylisted := mail.Status{Code: 450, Enhanced: [3]int{4, 2, 0}, Text: "greylisted", Remote: "mx [192.0.2.1]"}
	c.clock.Advance(10 * time.Second)
	now := c.clock.Now()
	c.settle(l, spool.Settlement{
		Attempted: true,
		Results: []spool.Result{
			{Status: mail.Status{Code: 250}, Ended: true},
			{Status: greylisted},
			{Status: mail.Status{Code: 550}, Ended: true},
			{},
		},
		Delay: time.Minute,
	})
	want := []spool.RecipientState{
		{Recipient: task.Recipients[1], Last: greylisted},
		{Recipient: task.Recipients[3]},
	}
	check := func() {
		c.Helper()
		got := c.task(id)
		if !slices.Equal(got.Recipients, want) || got.State != spool.Queued || got.Attempts != 1 ||
			!got.Due.Equal(now.Add(time.Minute)) {
			c.Errorf("task is %+v, want recipients %+v due at %v", got, want, now.Add(time.Minute))
		}
	}
	c.lasting(check)
	c.clock.Advance(59 * time.Second)
	c.lease()
	c.clock.Advance(time.Second)
	l = c.lease(id)[0]
	if !slices.Equal(l.Task.Recipients, want) || l.Task.Attempts != 1 {
		c.Errorf("leased task is %+v", l.Task)
	}
	// No attempt was made and nothing is known anew: the last outcome stays.
	c.settle(l, spool.Settlement{Results: make([]spool.Result, 2), KeepDue: true})
	check()
	l = c.lease(id)[0]
	c.delivered(l)
	c.lasting(func() { c.freed(id.Message) })
}

func testSettleKeepDue(c *contract) {
	task := taskFor("example.org", 1)
	task.Delay = time.Minute
	id := c.queueTask(task)
	due := c.clock.Now().Add(time.Minute)
	c.clock.Advance(2 * time.Minute)
	l := c.lease(id)[0]
	c.settle(l, spool.Settlement{Attempted: true, KeepDue: true, Delay: time.Hour, Results: results(l, false, 451)})
	c.lasting(func() {
		if got := c.task(id); !got.Due.Equal(due) || got.Attempts != 1 {
			c.Errorf("task is due at %v, want %v; %d attempts", got.Due, due, got.Attempts)
		}
	})
	c.lease(id)
}

func testSettleDead(c *contract) {
	task := taskFor("example.org", 2)
	task.Warn, task.Expire = time.Hour, 2*time.Hour
	id := c.queueTask(task)
	l := c.lease(id)[0]
	r := results(l, false, 550)
	r[0].Ended = true
	c.settle(l, spool.Settlement{Attempted: true, Results: r, Dead: true})
	c.clock.Advance(3 * time.Hour)
	c.lasting(func() {
		got := c.task(id)
		if got.State != spool.Dead || len(got.Recipients) != 1 || got.Recipients[0].Recipient != task.Recipients[1] {
			c.Errorf("task is %+v", got)
		}
		leases, next := c.claim(10)
		if len(leases) != 0 || next >= 0 {
			c.Errorf("with a dead task: leased %v, next %v", leasedIDs(leases), next)
		}
		c.references(id.Message, 1)
	})
	// All recipients ended: there is nothing to park.
	other := c.queue("example.com")
	l = c.lease(other)[0]
	c.settle(l, spool.Settlement{Results: results(l, true, 550), Dead: true})
	c.freed(other.Message)
}

func testSettleResultsMismatch(c *contract) {
	id := c.queueTask(taskFor("example.org", 2))
	l := c.lease(id)[0]
	for _, n := range []int{1, 3} {
		s := spool.Settlement{Attempted: true, Results: slices.Repeat([]spool.Result{{Ended: true}}, n)}
		if err := c.store.Settle(c.Context(), l, s); err == nil {
			c.Fatalf("%d results for 2 recipients were accepted", n)
		}
	}
	if got := c.task(id); len(got.Recipients) != 2 || got.Attempts != 0 {
		c.Errorf("a refused settlement changed the task: %+v", got)
	}
	c.delivered(l)
	c.freed(id.Message)
}

func testSettleMoved(c *contract) {
	task := taskFor("example.org", 2)
	task.Warn, task.Expire = time.Hour, 2*time.Hour
	task.From = &mail.Address{Local: "owner", Domain: "example.org"}
	id := c.queueTask(task)
	queued := c.clock.Now()
	c.clock.Advance(time.Minute)
	l := c.lease(id)[0]
	moved := spool.Task{
		Destination: spool.Destination{Route: "backup"},
		Recipients:  task.Recipients[1:],
		Delay:       5 * time.Minute,
		Warn:        time.Second, Expire: time.Second,
	}
	r := results(l, false, 451)
	r[1].Ended = true
	c.settle(l, spool.Settlement{Attempted: true, Results: r, Delay: time.Hour, Moved: []spool.Task{moved}})
	due := c.clock.Now().Add(5 * time.Minute)
	var movedID spool.TaskID
	c.lasting(func() {
		tasks, err := c.store.MessageTasks(id.Message)
		c.must(err)
		if len(tasks) != 2 {
			c.Fatalf("message has tasks %+v, want 2", tasks)
		}
		c.references(id.Message, 2)
		old, made := tasks[0], tasks[1]
		if old.ID != id {
			old, made = made, old
		}
		movedID = made.ID
		if old.ID != id || len(old.Recipients) != 1 || old.Recipients[0].Recipient != task.Recipients[0] {
			c.Errorf("the old task is %+v", old)
		}
		if made.Destination != moved.Destination || made.State != spool.Queued || made.Size != old.Size ||
			made.Envelope.From != *task.From || len(made.Recipients) != 1 || made.Recipients[0] != (spool.RecipientState{Recipient: task.Recipients[1]}) {
			c.Errorf("the new task is %+v", made)
		}
		if !made.Due.Equal(due) || !made.Queued.Equal(queued) ||
			!made.Warns.Equal(queued.Add(time.Hour)) || !made.Expires.Equal(queued.Add(2*time.Hour)) {
			c.Errorf("the new task has times %v, %v, %v, %v", made.Due, made.Queued, made.Warns, made.Expires)
		}
	})
	c.clock.Advance(5 * time.Minute)
	l = c.lease(movedID)[0]
	if l.Cause != spool.CauseDue {
		c.Errorf("the new task is leased for cause %d", l.Cause)
	}
	c.delivered(l)
	c.references(id.Message, 1)
}

// testSettleMovedWhole reroutes all that a task has, twice: the message stays,
// and no task gets the ID of an earlier one.
func testSettleMovedWhole(c *contract) {
	task := taskFor("example.org", 2)
	task.Warn = time.Minute
	first := c.queueTask(task)
	c.clock.Advance(time.Minute)
	l := c.lease(first)[0]
	if l.Cause != spool.CauseWarn {
		c.Errorf("cause %d, want the warning", l.Cause)
	}
	seen := []spool.TaskID{first}
	for range 2 {
		c.settle(l, spool.Settlement{
			Results: results(l, true, 0),
			Warned:  true,
			Moved: []spool.Task{
				{Destination: dest("a.example"), Recipients: task.Recipients[:1]},
			},
		})
		c.restart()
		id := onlyTask(c, first.Message)
		if slices.Contains(seen, id) {
			c.Fatalf("task ID %s is used again", id)
		}
		seen = append(seen, id)
		c.references(first.Message, 1)
		l = c.lease(id)[0]
		if l.Cause != spool.CauseDue || !l.Task.Warned {
			c.Errorf("the sender was warned, and the new task is %+v with cause %d", l.Task, l.Cause)
		}
	}
	c.delivered(l)
	c.freed(first.Message)
}

func testSettleReports(c *contract) {
	id := c.queueTask(taskFor("example.org", 1))
	l := c.lease(id)[0]
	bounce, remote := c.staged("a bounce"), c.staged("a bounce to elsewhere")
	now := c.clock.Now()
	c.settle(l, spool.Settlement{
		Attempted: true,
		Results:   results(l, true, 550),
		Reports: []spool.Report{
			{Staged: bounce, Message: spool.Message{
				Structure: []byte("structure"),
				Deposits:  []spool.Deposit{{Account: "alice", Prefix: []byte("P: q\r\n")}},
			}},
			{Staged: remote, Message: spool.Message{Tasks: []spool.Task{taskFor("example.com", 1)}}},
		},
	})
	_, err := bounce.Write([]byte("x"))
	c.wants(err, spool.ErrClosed, "Write after the report was settled")
	bounce.Abort()
	remote.Abort()
	c.lasting(func() {
		c.freed(id.Message)
		row := c.mailbox("alice", "INBOX")
		entries := c.entries(row.ID)
		if len(entries) != 1 || entries[0].Message != bounce.ID() || string(entries[0].Prefix) != "P: q\r\n" {
			c.Fatalf("INBOX holds %+v", entries)
		}
		if got := c.body(bounce.ID()); got != "a bounce" {
			c.Errorf("report is %q", got)
		}
		if got, err := c.store.Structure(bounce.ID()); string(got) != "structure" || err != nil {
			c.Errorf("structure of the report is %q, %v", got, err)
		}
		task := c.task(onlyTask(c, remote.ID()))
		if task.Destination != dest("example.com") || !task.Queued.Equal(now) || !task.Envelope.Arrived.Equal(now) {
			c.Errorf("task of the report is %+v", task)
		}
	})
	c.delivered(c.lease(onlyTask(c, remote.ID()))[0])
}

// testSettleReportRefused has one good and one bad report: all is refused, and
// the lease is still good.
func testSettleReportRefused(c *contract) {
	id := c.queue("example.org")
	l := c.lease(id)[0]
	good, bad := c.staged("good"), c.staged("bad")
	err := c.store.Settle(c.Context(), l, spool.Settlement{
		Attempted: true,
		Results:   results(l, true, 550),
		Moved:     []spool.Task{taskFor("example.com", 1)},
		Reports: []spool.Report{
			{Staged: good, Message: spool.Message{Deposits: []spool.Deposit{{Account: "alice"}}}},
			{Staged: bad, Message: spool.Message{Deposits: []spool.Deposit{{Account: "alice", Mailbox: "Nowhere"}}}},
		},
		Destination: spool.Reach{Outcome: spool.Unreached, Backoff: time.Hour},
	})
	c.wants(err, spool.ErrNoMailbox, "report into a mailbox that is not there")
	good.Abort()
	bad.Abort()
	c.freed(good.ID())
	c.freed(bad.ID())
	c.missing("alice", "INBOX")
	c.noBackoff()
	if got := c.task(onlyTask(c, id.Message)); got.Attempts != 0 || got.ID != id || got.State != spool.Leased {
		c.Errorf("a refused settlement left %+v", got)
	}
	c.delivered(l)
	c.lasting(func() { c.freed(id.Message) })
}

func testSettleStaleReport(c *contract) {
	id := c.queue("example.org")
	l := c.lease(id)[0]
	c.clock.Advance(2 * lifetime)
	fresh := c.lease(id)[0]
	report := c.staged("a bounce")
	err := c.store.Settle(c.Context(), l, spool.Settlement{
		Results: results(l, true, 550),
		Moved:   []spool.Task{taskFor("example.com", 1)},
		Reports: []spool.Report{
			{Staged: report, Message: spool.Message{Deposits: []spool.Deposit{{Account: "alice"}}}},
		},
	})
	c.wants(err, spool.ErrStaleLease, "settle with a stale lease")
	report.Abort()
	c.freed(report.ID())
	c.missing("alice", "INBOX")
	c.references(id.Message, 1)
	c.delivered(fresh)
	c.lasting(func() {
		c.freed(id.Message)
		c.freed(report.ID())
		c.missing("alice", "INBOX")
	})
}
