package spooltest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func storyTests() []contractTest {
	return []contractTest{
		{"StoryOfDelivery", testStoryOfDelivery},
		{"StoryOfEnds", testStoryOfEnds},
		{"StoryWithout", testStoryWithout},
		{"StoryUnsettled", testStoryUnsettled},
		{"StoryMoved", testStoryMoved},
		{"StoryReport", testStoryReport},
		{"StoryByAdmin", testStoryByAdmin},
		{"StoryBounded", testStoryBounded},
		{"StoryWholeEvent", testStoryWholeEvent},
		{"StoryNotes", testStoryNotes},
		{"StoryExpunged", testStoryExpunged},
		{"StoryForgotten", testStoryForgotten},
		{"StoryForgottenInSteps", testStoryForgottenInSteps},
	}
}

// accepted is what a message's story begins with.
func accepted(to ...string) []spool.Event {
	e := spool.Event{Kind: spool.EventAccepted, Host: "client.example", Addr: "192.0.2.7", By: "alice", Text: "ESMTPSA"}
	for _, a := range to {
		e.To = append(e.To, mail.MustParseAddress(a))
	}
	return []spool.Event{e}
}

// told stores a message with a story and one task.
func (c *contract) told(t spool.Task) spool.TaskID {
	c.Helper()
	m := spool.Message{Tasks: []spool.Task{t}, MessageID: "<x@example.org>", Events: accepted()}
	m.Envelope.From = mail.MustParseAddress("Alice@example.net")
	for _, r := range t.Recipients {
		m.Events[0].To = append(m.Events[0].To, r.To)
	}
	return c.commit("body\r\n", m).Tasks[0]
}

func (c *contract) story(id mail.ID) spool.Story {
	c.Helper()
	s, err := c.store.Story(id)
	c.must(err)
	return s
}

// plot is a story in short: each event's kind and recipients' local parts.
func plot(s spool.Story) string {
	var list []string
	for _, e := range s.Events {
		text := string(e.Kind)
		for _, to := range e.To {
			text += " " + to.Local
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

// stand is where the recipients of a story stand.
func stand(s spool.Story) string {
	var list []string
	for _, r := range s.Recipients {
		list = append(list, r.To.Local+" "+string(r.State))
	}
	return strings.Join(list, ", ")
}

func (c *contract) same(what, got, want string) {
	c.Helper()
	if got != want {
		c.Errorf("%s: %q, want %q", what, got, want)
	}
}

func testStoryOfDelivery(c *contract) {
	start := c.clock.Now()
	id := c.told(taskFor("example.org", 1))
	later := mail.Status{Code: 451, Text: "later"}
	c.clock.Advance(time.Second)
	c.settle(c.lease(id)[0], spool.Settlement{
		Attempted: true, Results: []spool.Result{{Status: later}}, Delay: time.Minute,
		Events: []spool.Event{{
			Kind: spool.EventDeferred, To: []mail.Address{{Local: "a", Domain: "example.org"}}, Status: later,
			Host: "mx.example.org", Addr: "192.0.2.1:25", TLS: "TLS 1.3", Verified: "DANE", Took: 30 * time.Millisecond, Attempt: 1,
		}},
	})
	c.lasting(func() {
		s := c.story(id.Message)
		c.same("events", plot(s), "accepted a, queued a, deferred a")
		r := s.Recipients[0]
		if !s.Open || r.State != "queued" || r.Task != id || r.Last != later || !r.Due.Equal(start.Add(61*time.Second)) || r.Destination != "mx/example.org" {
			c.Errorf("after the first attempt: %+v, open %v", r, s.Open)
		}
	})
	c.clock.Advance(time.Minute)
	ok := mail.Status{Code: 250, Text: "queued as ABC"}
	c.settle(c.lease(id)[0], spool.Settlement{
		Attempted: true, Results: []spool.Result{{Status: ok, Ended: true}},
		Events: []spool.Event{{
			Kind: spool.EventDelivered, To: []mail.Address{{Local: "a", Domain: "example.org"}}, Status: ok,
			Host: "mx.example.org", QueueID: "ABC", Attempt: 2,
		}},
	})
	c.freed(id.Message)
	c.lasting(func() {
		s := c.story(id.Message)
		c.same("events", plot(s), "accepted a, queued a, deferred a, delivered a")
		r := s.Recipients[0]
		end := start.Add(61 * time.Second)
		if s.Open || !s.Ended.Equal(end) || r.State != spool.StateDelivered || !r.At.Equal(end) || r.QueueID != "ABC" || r.Last != ok {
			c.Errorf("after the delivery: %+v, ended %v", r, s.Ended)
		}
		if s.ID != id.Message || s.From.Local != "Alice" || s.MessageID != "x@example.org" || s.Size != 6 || !s.Arrived.Equal(start) {
			c.Errorf("the story's head: %+v", s)
		}
		e := s.Events[2]
		if e.Task != id || e.Host != "mx.example.org" || e.Addr != "192.0.2.1:25" || e.TLS != "TLS 1.3" || e.Verified != "DANE" ||
			e.Took != 30*time.Millisecond || e.Attempt != 1 || !e.At.Equal(start.Add(time.Second)) {
			c.Errorf("the first attempt: %+v", e)
		}
	})
}

// testStoryOfEnds has each recipient of a message end in its own way.
func testStoryOfEnds(c *contract) {
	c.create("bob", "Archive")
	events := accepted("info@example.net", "a@example.org", "b@example.org", "c@example.org")
	events = append(events,
		spool.Event{Kind: spool.EventRewritten, To: events[0].To[:1], Text: "alias to bob@example.net"},
		spool.Event{Kind: spool.EventDeposited, To: []mail.Address{{Local: "bob", Domain: "example.net"}}, Text: "bob/INBOX"},
	)
	id := c.commit("body\r\n", spool.Message{
		Deposits: []spool.Deposit{{Account: "bob"}}, Tasks: []spool.Task{taskFor("example.org", 3)}, Events: events,
	}).Tasks[0]
	l := c.lease(id)[0]
	to := l.Task.Recipients
	c.settle(l, spool.Settlement{
		Results: []spool.Result{{Status: mail.Status{Code: 250}, Ended: true}, {Status: mail.Status{Code: 550}, Ended: true}, {}},
		Events: []spool.Event{
			{Kind: spool.EventDelivered, To: []mail.Address{to[0].To}},
			{Kind: spool.EventBounced, To: []mail.Address{to[1].To}, Status: mail.Status{Code: 550}, Ref: id.Message},
		},
	})
	_, err := c.store.Remove(id, spool.Event{Kind: spool.EventRemoved, By: "root"})
	c.must(err)
	c.lasting(func() {
		s := c.story(id.Message)
		c.same("states", stand(s), "info expanded, a delivered, b bounced, c removed, bob deposited")
		last := s.Events[len(s.Events)-1]
		if last.Kind != spool.EventRemoved || last.By != "root" || last.Task != id || s.Open {
			c.Errorf("the last event is %+v, open %v", last, s.Open)
		}
	})
}

func testStoryWithout(c *contract) {
	id := c.queue("example.org")
	c.delivered(c.lease(id)[0])
	c.must(c.store.Note(id.Message, spool.Event{Kind: spool.EventCollected}))
	_, err := c.store.Story(id.Message)
	c.wants(err, spool.ErrNotFound, "the story of a message without events")
	if got := collect(c, c.store.Search(spool.Search{})); len(got) != 0 {
		c.Errorf("found %+v", got)
	}
}

// testStoryUnsettled has ends that nobody told of.
func testStoryUnsettled(c *contract) {
	id := c.told(taskFor("example.org", 2))
	l := c.lease(id)[0]
	no := mail.Status{Code: 550, Text: "no"}
	c.settle(l, spool.Settlement{Results: []spool.Result{{Status: mail.Status{Code: 250}, Ended: true}, {Status: no, Ended: true}}})
	s := c.story(id.Message)
	c.same("states", stand(s), "a delivered, b bounced")
	if s.Recipients[1].Last != no {
		c.Errorf("b was told %v", s.Recipients[1].Last)
	}
	removed := c.told(taskFor("example.org", 1))
	_, err := c.store.Remove(removed)
	c.must(err)
	c.same("states", stand(c.story(removed.Message)), "a removed")
}

func testStoryMoved(c *contract) {
	task := taskFor("example.org", 1)
	id := c.told(task)
	task.Destination = dest("example.com")
	c.settle(c.lease(id)[0], spool.Settlement{
		Results: []spool.Result{{Status: mail.Status{Text: "rerouted"}, Ended: true}}, Moved: []spool.Task{task},
	})
	c.lasting(func() {
		s := c.story(id.Message)
		c.same("events", plot(s), "accepted a, queued a, rerouted a, queued a")
		r := s.Recipients[0]
		if !s.Open || r.State != "queued" || r.Destination != "mx/example.com" || r.Task == id {
			c.Errorf("the recipient that moved: %+v", r)
		}
	})
}

// testStoryReport shows that a report has a story of its own.
func testStoryReport(c *contract) {
	id := c.told(taskFor("example.org", 1))
	staged := c.staged("report\r\n")
	report := spool.Message{Tasks: []spool.Task{taskFor("example.net", 1)}, Events: accepted("a@example.net"), MessageID: "r@example.org"}
	c.settle(c.lease(id)[0], spool.Settlement{
		Results: []spool.Result{{Status: mail.Status{Code: 550}, Ended: true}},
		Reports: []spool.Report{{Staged: staged, Message: report}},
		Events:  []spool.Event{{Kind: spool.EventBounced, To: []mail.Address{{Local: "a", Domain: "example.org"}}, Ref: staged.ID()}},
	})
	c.lasting(func() {
		if s := c.story(id.Message); s.Events[2].Ref != staged.ID() {
			c.Errorf("the bounce leads to %+v", s.Events[2])
		}
		c.same("the report's story", plot(c.story(staged.ID())), "accepted a, queued a")
	})
}

func testStoryByAdmin(c *contract) {
	id := c.told(taskFor("example.org", 1))
	step := func(do func(spool.TaskID, ...spool.Event) error, kind spool.EventKind) {
		c.Helper()
		c.clock.Advance(time.Second)
		c.must(do(id, spool.Event{Kind: kind, By: "root"}))
	}
	step(c.store.Hold, spool.EventHeld)
	step(c.store.Hold, spool.EventHeld) // changes nothing
	step(c.store.Release, spool.EventReleased)
	step(c.store.Release, spool.EventReleased) // likewise
	step(c.store.Retry, spool.EventRetried)
	c.must(c.store.Reroute(id, dest("example.com"), spool.Event{Kind: spool.EventMoved, By: "root", Text: "mx/example.com"}))
	c.lasting(func() {
		s := c.story(id.Message)
		c.same("events", plot(s), "accepted a, queued a, held, released, retried, moved")
		if e := s.Events[2]; e.By != "root" || e.Task != id || !e.At.Equal(s.Arrived.Add(time.Second)) {
			c.Errorf("held: %+v", e)
		}
	})
	l := c.lease(id)[0]
	c.wants(c.store.Hold(id, spool.Event{Kind: spool.EventHeld}), spool.ErrLeased, "Hold")
	c.delivered(l)
	c.wants(c.store.Hold(id, spool.Event{Kind: spool.EventHeld}), spool.ErrNotFound, "Hold")
	c.same("events", plot(c.story(id.Message)), "accepted a, queued a, held, released, retried, moved, delivered a")
}

// testStoryBounded has more attempts than are kept.
func testStoryBounded(c *contract) {
	const attempts = spool.StoryEvents + 37
	id := c.told(taskFor("example.org", 1))
	long := strings.Repeat("ä", spool.StoryText)
	for i := range attempts {
		c.settle(c.lease(id)[0], spool.Settlement{
			Results: []spool.Result{{Status: mail.Status{Code: 451}}},
			Events:  []spool.Event{{Kind: spool.EventDeferred, Attempt: i + 1, Status: mail.Status{Code: 451, Text: long}}},
		})
		c.clock.Advance(time.Second)
	}
	c.delivered(c.lease(id)[0])
	s := c.story(id.Message)
	var numbers []int
	for _, e := range s.Events {
		switch e.Kind {
		case spool.EventDeferred:
			numbers = append(numbers, e.Attempt)
		case spool.EventOmitted:
			numbers = append(numbers, -e.Count)
		}
		if n := len(e.Status.Text); n > spool.StoryText {
			c.Fatalf("a text of %d octets is kept", n)
		}
	}
	quarter := spool.StoryEvents / 4
	if len(numbers) != spool.StoryEvents+1 || numbers[0] != 1 || numbers[quarter-1] != quarter || numbers[quarter] != -37 ||
		numbers[quarter+1] != quarter+38 || numbers[len(numbers)-1] != attempts {
		c.Errorf("of %d attempts these are kept: %v", attempts, numbers)
	}
	c.same("states", stand(s), "a delivered")
}

// testStoryWholeEvent stores an event that has everything.
func testStoryWholeEvent(c *contract) {
	id := c.told(taskFor("example.org", 1))
	at := c.clock.Now()
	e := spool.Event{
		At: at.Add(-time.Hour), Kind: "something new", Task: id, To: []mail.Address{{Local: "x y", Domain: "example.org"}, {}}, More: 3,
		Status: mail.Status{Code: 250, Enhanced: [3]int{2, 1, 5}, Text: "text", Remote: "remote"},
		Host:   "host", Addr: "addr", TLS: "tls", Verified: "verified", QueueID: "queue ID", Took: -time.Second,
		Attempt: 4, Due: at.Add(time.Hour), By: "by", Text: "text", Ref: id.Message, Count: 5,
	}
	c.must(c.store.Note(id.Message, e, spool.Event{Kind: spool.EventExpunged}))
	c.lasting(func() {
		s := c.story(id.Message)
		got := s.Events[0]
		for _, at := range []*time.Time{&got.At, &got.Due} {
			*at = at.UTC()
		}
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", e) {
			c.Errorf("stored\n%+v, got\n%+v", e, got)
		}
		if last := s.Events[len(s.Events)-1]; last.Kind != spool.EventExpunged || !last.At.Equal(at) || !last.Task.Message.IsZero() {
			c.Errorf("an event that says next to nothing: %+v", last)
		}
	})
}

func testStoryNotes(c *contract) {
	m := spool.Message{Deposits: []spool.Deposit{{Account: "bob"}}, Events: accepted("bob@example.net")}
	m.Events = append(m.Events, spool.Event{Kind: spool.EventDeposited, To: m.Events[0].To, Text: "bob/INBOX"})
	id := c.commit("body\r\n", m).ID
	for range spool.StoryEvents + 5 {
		c.clock.Advance(time.Second)
		c.must(c.store.Note(id, spool.Event{Kind: spool.EventCollected, By: "bob"}))
	}
	c.lasting(func() {
		s := c.story(id)
		if n := len(s.Events); n != 2+spool.StoryEvents+1 || s.Events[n-1].By != "bob" || s.Open || !s.Ended.Equal(s.Arrived) {
			c.Errorf("%d events, the last %+v; open %v, ended %v", n, s.Events[n-1], s.Open, s.Ended)
		}
	})
}

// testStoryExpunged has a message in two mailboxes, and deletes it from one.
func testStoryExpunged(c *contract) {
	m := spool.Message{Deposits: []spool.Deposit{{Account: "alice"}, {Account: "bob"}}, Events: accepted("a@example.org")}
	r := c.commit("body\r\n", m)
	silent := c.deposit("alice", "", "without a story\r\n", spool.Flags{})
	kept := c.commit("body\r\n", m)
	for _, at := range []spool.Deposited{r.Deposited[0], silent} {
		_, err := c.store.Flag(at.Mailbox, []spool.UID{at.UID}, spool.FlagAdd, spool.Flags{System: spool.Deleted}, spool.ModSeqUnbounded)
		c.must(err)
	}
	c.clock.Advance(time.Second)
	event := spool.Event{Kind: spool.EventExpunged, By: "alice", Text: "alice/INBOX"}
	gone, err := c.store.Expunge(silent.Mailbox, nil, event)
	c.must(err)
	if len(gone) != 2 {
		c.Errorf("%v are gone", gone)
	}
	c.lasting(func() {
		s := c.story(r.ID)
		c.same("events", plot(s), "accepted a, expunged")
		if e := s.Events[1]; e.By != "alice" || e.Text != "alice/INBOX" || !e.At.Equal(c.clock.Now()) {
			c.Errorf("it is told as %+v", e)
		}
		c.same("events of another message", plot(c.story(kept.ID)), "accepted a")
	})
	// What says nothing is told nothing of.
	_, err = c.store.Flag(r.Deposited[1].Mailbox, []spool.UID{r.Deposited[1].UID}, spool.FlagAdd, spool.Flags{System: spool.Deleted}, spool.ModSeqUnbounded)
	c.must(err)
	_, err = c.store.Expunge(r.Deposited[1].Mailbox, nil)
	c.must(err)
	c.same("events", plot(c.story(r.ID)), "accepted a, expunged")
}

func testStoryForgotten(c *contract) {
	ended, open, noted := c.told(taskFor("example.org", 1)), c.told(taskFor("example.org", 1)), c.told(taskFor("example.org", 1))
	c.clock.Advance(time.Hour)
	leases := c.lease(ended, open, noted)
	c.delivered(leases[0])
	c.delivered(leases[2])
	c.clock.Advance(time.Hour)
	c.must(c.store.Note(noted.Message, spool.Event{Kind: spool.EventCollected}))
	c.forgets(time.Hour+time.Second, 0)
	c.clock.Advance(time.Second)
	c.forgets(time.Hour+time.Second, 1)
	c.lasting(func() {
		_, err := c.store.Story(ended.Message)
		c.wants(err, spool.ErrNotFound, "a story that is over")
		if got := c.found(spool.Search{}); !slices.Equal(got, []mail.ID{noted.Message, open.Message}) {
			c.Errorf("found %v", got)
		}
	})
	c.forgets(0, 1)
	c.must(c.store.Note(ended.Message, spool.Event{Kind: spool.EventExpunged}))
	_, err := c.store.Story(ended.Message)
	c.wants(err, spool.ErrNotFound, "a forgotten story that was noted on")
	c.clock.Advance(lifetime)
	c.delivered(c.lease(open)[0])
	c.forgets(0, 1)
}

// forgets expects a number of stories to be dropped in all.
func (c *contract) forgets(kept time.Duration, want int) {
	c.Helper()
	n, end, err := c.store.ForgetStories(kept, 1000)
	c.must(err)
	if n != want || !end {
		c.Errorf("%d stories were dropped, to the end: %v; want %d", n, end, want)
	}
}

func testStoryForgottenInSteps(c *contract) {
	var open spool.TaskID
	for i := range 25 {
		id := c.told(taskFor("example.org", 1))
		if i == 3 {
			open = id
			c.must(c.store.Hold(id))
			continue
		}
		c.delivered(c.lease(id)[0])
	}
	dropped := 0
	for calls := 1; ; calls++ {
		n, end, err := c.store.ForgetStories(0, 10)
		c.must(err)
		if dropped += n; n > 10 || calls > 10 {
			c.Fatalf("call %d dropped %d", calls, n)
		}
		if end {
			break
		}
	}
	if got := c.found(spool.Search{}); dropped != 24 || !slices.Equal(got, []mail.ID{open.Message}) {
		c.Errorf("%d were dropped, left are %v", dropped, got)
	}
}
