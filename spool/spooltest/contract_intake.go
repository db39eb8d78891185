package spooltest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func intakeTests() []contractTest {
	return []contractTest{
		{"Commit", testCommit},
		{"CommitTaskOfAnother", testCommitTaskOfAnother},
		{"CommitHeld", testCommitHeld},
		{"CommitDeposits", testCommitDeposits},
		{"CommitNothing", testCommitNothing},
		{"CommitMissingMailbox", testCommitMissingMailbox},
		{"CommitContext", testCommitContext},
		{"StagedEnds", testStagedEnds},
		{"StagedUnseen", testStagedUnseen},
		{"ConcurrentCommits", testConcurrentCommits},
		{"Closed", testClosed},
	}
}

// sampleEnvelope has no field at its zero value but Arrived.
func sampleEnvelope() mail.Envelope {
	return mail.Envelope{
		From:       mail.Address{Local: "the sender", Domain: "example.org"},
		EnvID:      "QQ 314159",
		Ret:        mail.ReturnHeaders,
		EightBit:   true,
		UTF8:       true,
		RequireTLS: true, Unverified: true,
		Priority:  -3,
		By:        mail.By{At: time.Unix(1700000000, 0), Return: true, Trace: true},
		HoldUntil: time.Unix(1600000000, 0),
		Client: mail.Client{
			Protocol: "ESMTPSA",
			Addr:     netip.MustParseAddr("2001:db8::25"),
			Helo:     "printer.example.org",
			Account:  "alice",
		},
	}
}

// sameEnvelope compares envelopes, with the time of arrival as an instant.
func sameEnvelope(got, want mail.Envelope) bool {
	same := got.Arrived.Equal(want.Arrived) && got.By.At.Equal(want.By.At) && got.HoldUntil.Equal(want.HoldUntil)
	for _, env := range []*mail.Envelope{&got, &want} {
		env.Arrived, env.By.At, env.HoldUntil = time.Time{}, time.Time{}, time.Time{}
	}
	return same && got == want
}

func testCommit(c *contract) {
	envelope := sampleEnvelope()
	m := spool.Message{
		Envelope: envelope,
		Deposits: []spool.Deposit{{Account: "alice"}},
		Tasks: []spool.Task{
			{
				Destination: spool.Destination{Route: "smarthost"},
				Recipients: []mail.Recipient{
					{To: mail.Address{Local: "b", Domain: "example.net"}, Original: "rfc822;b@example.com", Notify: mail.NotifyFailure},
					{To: mail.Address{Local: "c", Domain: "example.net"}},
				},
				Delay: time.Minute, Warn: time.Hour, Expire: 24 * time.Hour,
			},
			taskFor("example.com", 1),
		},
	}
	now := c.clock.Now()
	r := c.commit("Subject: one\r\n\r\ntext\r\n", m)
	c.clock.Advance(time.Second)
	if r.Tasks[0] == r.Tasks[1] || r.Tasks[0].Message != r.ID || r.Tasks[1].Message != r.ID {
		c.Errorf("task IDs %v of message %s", r.Tasks, r.ID)
	}
	envelope.Arrived = now
	c.lasting(func() {
		info, err := c.store.Stat(r.ID)
		c.must(err)
		if info.ID != r.ID || info.Size != 22 || info.References != 3 || !sameEnvelope(info.Envelope, envelope) {
			c.Errorf("Stat returns %+v", info)
		}
		first, second := c.task(r.Tasks[0]), c.task(r.Tasks[1])
		if first.State != spool.Queued || first.Destination != m.Tasks[0].Destination ||
			!sameEnvelope(first.Envelope, envelope) || first.Size != 22 || first.Attempts != 0 || first.Warned {
			c.Errorf("first task is %+v", first)
		}
		if !first.Queued.Equal(now) || !first.Due.Equal(now.Add(time.Minute)) ||
			!first.Warns.Equal(now.Add(time.Hour)) || !first.Expires.Equal(now.Add(24*time.Hour)) {
			c.Errorf("first task, queued at %v, has times %v, %v, %v, %v",
				now, first.Queued, first.Due, first.Warns, first.Expires)
		}
		if !slices.Equal(first.Recipients, []spool.RecipientState{
			{Recipient: m.Tasks[0].Recipients[0]}, {Recipient: m.Tasks[0].Recipients[1]},
		}) {
			c.Errorf("first task has recipients %+v", first.Recipients)
		}
		if !second.Due.Equal(now) || !second.Warns.IsZero() || !second.Expires.IsZero() {
			c.Errorf("second task has times %v, %v, %v", second.Due, second.Warns, second.Expires)
		}
	})
}

func testCommitDeposits(c *contract) {
	work := c.create("alice", "Work/Reports")
	date := time.Date(2020, 2, 29, 1, 2, 3, 0, time.UTC)
	m := spool.Message{Deposits: []spool.Deposit{
		{Account: "bob", Mailbox: "iNbOx", Prefix: []byte("Return-Path: <>\r\n")},
		{Account: "alice", Mailbox: "Work/Reports", Flags: flags(spool.Seen|spool.Flagged, "b", "a", "B"), InternalDate: date},
		{Account: "alice"},
		{Account: "alice", Mailbox: "Work/Reports", Flags: flags(spool.Deleted)},
	}}
	now := c.clock.Now()
	r := c.commit("0123456789", m)
	c.clock.Advance(time.Hour)
	if r.Deposited[1].Mailbox != work.ID || r.Deposited[1].UIDValidity != work.UIDValidity {
		c.Errorf("deposited %+v into mailbox %d with UIDVALIDITY %d", r.Deposited[1], work.ID, work.UIDValidity)
	}
	if r.Deposited[3].Mailbox != work.ID || r.Deposited[3].UID <= r.Deposited[1].UID {
		c.Errorf("second deposit to a mailbox %+v, first %+v", r.Deposited[3], r.Deposited[1])
	}
	c.lasting(func() {
		c.references(r.ID, 4)
		inbox := c.mailbox("bob", "INBOX")
		if inbox.ID != r.Deposited[0].Mailbox || inbox.UIDValidity != r.Deposited[0].UIDValidity || inbox.Name != "INBOX" {
			c.Errorf("INBOX of bob is %+v, the receipt says %+v", inbox, r.Deposited[0])
		}
		e := c.entry(inbox.ID, r.Deposited[0].UID)
		if e.Message != r.ID || string(e.Prefix) != "Return-Path: <>\r\n" || e.Size != 27 ||
			!e.InternalDate.Equal(now) || !e.Saved.Equal(now) || showFlags(e.Flags) != "00000 " {
			c.Errorf("entry in INBOX is %+v", e)
		}
		e = c.entry(work.ID, r.Deposited[1].UID)
		if e.Message != r.ID || len(e.Prefix) != 0 || e.Size != 10 ||
			!e.InternalDate.Equal(date) || !e.Saved.Equal(now) || showFlags(e.Flags) != "00101 a b" {
			c.Errorf("entry in Work/Reports is %+v", e)
		}
		row := c.mailbox("alice", "Work/Reports")
		if row.Messages != 2 || row.Unseen != 1 || row.Deleted != 1 || row.Size != 20 {
			c.Errorf("Work/Reports is %+v", row)
		}
		if alice := c.mailbox("alice", "INBOX"); alice.Messages != 1 || alice.ID == inbox.ID {
			c.Errorf("INBOX of alice is %+v", alice)
		}
	})
}

func testCommitNothing(c *contract) {
	s := c.staged("body")
	defer s.Abort()
	if _, err := s.Commit(c.Context(), spool.Message{}); err == nil {
		c.Error("a message with neither deposits nor tasks was accepted")
	}
	c.lasting(func() { c.freed(s.ID()) })
}

func testCommitMissingMailbox(c *contract) {
	inbox := c.create("alice", "INBOX")
	s := c.staged("body")
	_, err := s.Commit(c.Context(), spool.Message{
		Deposits: []spool.Deposit{
			{Account: "alice"},
			{Account: "bob"},
			{Account: "alice", Mailbox: "Nowhere"},
		},
		Tasks: []spool.Task{taskFor("example.org", 1)},
	})
	c.wants(err, spool.ErrNoMailbox, "deposit into a mailbox that is not there")
	s.Abort()
	c.lasting(func() {
		c.freed(s.ID())
		if row := c.mailbox("alice", "INBOX"); row.Messages != 0 || row.ModSeq != inbox.ModSeq {
			c.Errorf("the failed commit left INBOX as %+v", row)
		}
		if names := c.names("bob"); len(names) != 0 {
			c.Errorf("the failed commit made mailboxes %v of bob", names)
		}
		if tasks := collect(c, c.store.Tasks(spool.TaskID{})); len(tasks) != 0 {
			c.Errorf("the failed commit left tasks %+v", tasks)
		}
	})
}

func testCommitContext(c *contract) {
	ctx, cancel := context.WithCancel(c.Context())
	cancel()
	s := c.staged("body")
	_, err := s.Commit(ctx, spool.Message{
		Deposits: []spool.Deposit{{Account: "alice"}},
		Tasks:    []spool.Task{taskFor("example.org", 1)},
	})
	if err != nil {
		c.wants(err, spool.ErrUncertain, "commit with a context that has ended")
		c.wants(err, context.Canceled, "commit with a context that has ended")
	}
	s.Abort()
	// A commit on the same way in waits for the uncertain one, if an engine
	// still works on it; closing does so in any case.
	c.deposit("bob", "", "after", spool.Flags{})
	c.restart()
	info, statErr := c.store.Stat(s.ID())
	switch {
	case statErr == nil && info.References == 2:
		if row := c.mailbox("alice", "INBOX"); row.Messages != 1 {
			c.Errorf("half a commit: INBOX is %+v", row)
		}
		c.task(onlyTask(c, s.ID()))
	case errors.Is(statErr, spool.ErrNotFound) && err != nil:
		c.freed(s.ID())
		c.missing("alice", "INBOX")
	default:
		c.Errorf("commit says %v, then Stat %+v, %v", err, info, statErr)
	}
}

// onlyTask returns the ID of a message's single task.
func onlyTask(c *contract, id mail.ID) spool.TaskID {
	c.Helper()
	tasks, err := c.store.MessageTasks(id)
	c.must(err)
	if len(tasks) != 1 {
		c.Fatalf("message has %d tasks, want 1", len(tasks))
	}
	return tasks[0].ID
}

func testStagedEnds(c *contract) {
	m := spool.Message{Deposits: []spool.Deposit{{Account: "alice"}}}
	refused := func(s spool.Staged, after string) {
		c.Helper()
		_, err := s.Write([]byte("more"))
		c.wants(err, spool.ErrClosed, "Write after %s", after)
		_, err = s.Commit(c.Context(), m)
		c.wants(err, spool.ErrClosed, "Commit after %s", after)
	}
	aborted := c.staged("aborted")
	aborted.Abort()
	aborted.Abort()
	refused(aborted, "Abort")

	committed := c.staged("committed")
	_, err := committed.Commit(c.Context(), m)
	c.must(err)
	refused(committed, "Commit")
	committed.Abort()
	c.lasting(func() {
		c.freed(aborted.ID())
		if row := c.mailbox("alice", "INBOX"); row.Messages != 1 {
			c.Errorf("INBOX has %d messages, want 1", row.Messages)
		}
		if got := c.body(committed.ID()); got != "committed" {
			c.Errorf("body is %q", got)
		}
	})
}

func testStagedUnseen(c *contract) {
	a, b := c.staged("one"), c.staged("two")
	defer a.Abort()
	defer b.Abort()
	if a.ID().IsZero() || a.ID() == b.ID() {
		c.Errorf("staging areas have IDs %s and %s", a.ID(), b.ID())
	}
	c.freed(a.ID())
	// One area's end does not touch another.
	a.Abort()
	r, err := b.Commit(c.Context(), spool.Message{Deposits: []spool.Deposit{{Account: "alice"}}})
	c.must(err)
	if got := c.body(r.ID); got != "two" {
		c.Errorf("body is %q", got)
	}
	// What was staged and never ended is gone with its process.
	lost := c.staged("lost")
	if c.reopen != nil {
		c.restart()
		c.freed(lost.ID())
	}
	lost.Abort()
}

func testConcurrentCommits(c *contract) {
	const writers, each = 8, 20
	var wg sync.WaitGroup
	errs := make(chan error, writers*each)
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				errs <- commitNumbered(c, fmt.Sprintf("message %d of writer %d", i, w))
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		c.must(err)
	}
	c.lasting(func() {
		seen := make(map[string]int)
		row := c.mailbox("alice", "INBOX")
		for _, e := range c.entries(row.ID) {
			seen[c.body(e.Message)]++
			c.references(e.Message, 2)
		}
		if len(seen) != writers*each || row.Messages != writers*each {
			c.Errorf("%d messages, %d different ones, want %d", row.Messages, len(seen), writers*each)
		}
		if tasks := collect(c, c.store.Tasks(spool.TaskID{})); len(tasks) != writers*each {
			c.Errorf("%d tasks, want %d", len(tasks), writers*each)
		}
	})
}

// commitNumbered is for other goroutines than the test's.
func commitNumbered(c *contract, body string) error {
	s, err := c.store.Create()
	if err != nil {
		return err
	}
	defer s.Abort()
	if _, err := s.Write([]byte(body)); err != nil {
		return err
	}
	_, err = s.Commit(c.Context(), spool.Message{
		Deposits: []spool.Deposit{{Account: "alice"}},
		Tasks:    []spool.Task{taskFor("example.org", 1)},
	})
	return err
}

func testClosed(c *contract) {
	r := c.commit("body", spool.Message{
		Deposits: []spool.Deposit{{Account: "alice"}},
		Tasks:    []spool.Task{taskFor("example.org", 1)},
	})
	l := c.lease(r.Tasks[0])[0]
	s := c.staged("late")
	defer s.Abort()
	c.must(c.store.Close())

	_, err := s.Commit(c.Context(), spool.Message{Deposits: []spool.Deposit{{Account: "alice"}}})
	c.wants(err, spool.ErrClosed, "Commit after Close")
	_, err = c.store.Create()
	c.wants(err, spool.ErrClosed, "Create after Close")
	_, _, err = c.store.Lease(spool.Claim{Max: 1, Lifetime: lifetime})
	c.wants(err, spool.ErrClosed, "Lease after Close")
	if err = c.store.Settle(c.Context(), l, spool.Settlement{Results: results(l, true, 250)}); err == nil {
		c.Error("Settle after Close succeeded")
	}
	_, err = c.store.Stat(r.ID)
	c.wants(err, spool.ErrClosed, "Stat after Close")
	_, err = c.store.Mailbox("alice", "INBOX")
	c.wants(err, spool.ErrClosed, "Mailbox after Close")
	_, err = c.store.CreateMailbox("alice", "Late", spool.UseNone)
	c.wants(err, spool.ErrClosed, "CreateMailbox after Close")
	for _, err = range c.store.Tasks(spool.TaskID{}) {
		c.wants(err, spool.ErrClosed, "Tasks after Close")
	}
}

// testCommitTaskOfAnother gives one task a reverse-path of its own.
func testCommitTaskOfAnother(c *contract) {
	envelope := sampleEnvelope()
	for _, from := range []mail.Address{{}, {Local: "owner", Domain: "example.com"}} {
		other := taskFor("example.com", 1)
		other.From = &from
		r := c.commit("body", spool.Message{Envelope: envelope, Tasks: []spool.Task{taskFor("example.org", 1), other}})
		c.lasting(func() {
			if got := c.task(r.Tasks[0]).Envelope.From; got != envelope.From {
				c.Errorf("the first task is from <%s>", got)
			}
			got := c.task(r.Tasks[1]).Envelope
			if got.From != from || got.EnvID != envelope.EnvID {
				c.Errorf("the second task has the envelope %+v, want it from <%s>", got, from)
			}
		})
		for _, l := range c.lease(r.Tasks...) {
			if l.Task.ID == r.Tasks[1] && l.Task.Envelope.From != from {
				c.Errorf("leased from <%s>", l.Task.Envelope.From)
			}
			c.delivered(l)
		}
	}
}

// testCommitHeld commits a task that waits for its release, and whose times
// stand still until then.
func testCommitHeld(c *contract) {
	task := taskFor("example.org", 1)
	task.Held, task.Warn, task.Expire = true, time.Hour, 2*time.Hour
	id := c.queueTask(task)
	queued := c.clock.Now()
	c.lasting(func() {
		if got := c.task(id); got.State != spool.Held {
			c.Errorf("task is %s", got.State)
		}
	})
	c.clock.Advance(5 * time.Hour)
	c.lease()
	c.must(c.store.Release(id))
	c.lasting(func() {
		got := c.task(id)
		if got.State != spool.Queued || !got.Expires.Equal(queued.Add(7*time.Hour)) || !got.Warns.Equal(queued.Add(6*time.Hour)) {
			c.Errorf("released task is %s, warns %v, expires %v", got.State, got.Warns, got.Expires)
		}
	})
	c.delivered(c.lease(id)[0])
}
