package spooltest

import (
	"slices"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func searchTests() []contractTest {
	return []contractTest{
		{"StorySearch", testStorySearch},
		{"StorySearchTime", testStorySearchTime},
	}
}

// found is the IDs of what a search yields.
func (c *contract) found(q spool.Search) (ids []mail.ID) {
	c.Helper()
	for s, err := range c.store.Search(q) {
		c.must(err)
		ids = append(ids, s.ID)
	}
	return ids
}

func testStorySearch(c *contract) {
	store := func(from, mid string, to ...string) mail.ID {
		c.clock.Advance(time.Second)
		m := spool.Message{MessageID: mid, Events: accepted(to...)}
		if from != "" {
			m.Envelope.From = mail.MustParseAddress(from)
		}
		task := spool.Task{Destination: dest("example.org")}
		for _, a := range m.Events[0].To {
			task.Recipients = append(task.Recipients, mail.Recipient{To: a})
		}
		m.Tasks = []spool.Task{task}
		return c.commit("body\r\n", m).ID
	}
	one := store("a@example.org", "one@x", "b@example.org")
	two := store("B@Example.org", "two@x", "c@example.org", "D@example.org")
	three := store("", "three@x", "a@example.org")
	for l := range slices.Values(c.lease(spool.TaskID{Message: three, N: c.taskNumber(three)}, spool.TaskID{Message: one, N: c.taskNumber(one)}, spool.TaskID{Message: two, N: c.taskNumber(two)})[1:]) {
		rs := results(l, false, 451)
		rs[0] = spool.Result{Status: mail.Status{Code: 250}, Ended: true}
		c.settle(l, spool.Settlement{Results: rs, Delay: time.Minute})
	}
	addr := func(s string) *mail.Address {
		a := mail.Address{}
		if s != "" {
			a = mail.MustParseAddress(s)
		}
		return &a
	}
	for _, q := range []struct {
		what string
		q    spool.Search
		want []mail.ID
	}{
		{"everything", spool.Search{}, []mail.ID{three, two, one}},
		{"sender", spool.Search{Sender: addr("b@example.org")}, []mail.ID{two}},
		{"null sender", spool.Search{Sender: addr("")}, []mail.ID{three}},
		{"recipient", spool.Search{Recipient: addr("d@example.org")}, []mail.ID{two}},
		{"either", spool.Search{About: "B@example.org"}, []mail.ID{two, one}},
		{"neither", spool.Search{About: "<x@example.org>"}, nil},
		{"no address", spool.Search{About: "@"}, nil},
		{"sender and recipient", spool.Search{Sender: addr("a@example.org"), Recipient: addr("c@example.org")}, nil},
		{"Message-ID", spool.Search{About: " <two@x> "}, []mail.ID{two}},
		{"bare Message-ID", spool.Search{About: "two@x"}, []mail.ID{two}},
		{"leased", spool.Search{States: []spool.StoryState{"leased"}}, []mail.ID{three}},
		{"queued or leased", spool.Search{States: []spool.StoryState{"queued", "leased"}}, []mail.ID{three, two}},
		{"delivered", spool.Search{States: []spool.StoryState{spool.StateDelivered}}, []mail.ID{two, one}},
		{"delivered to", spool.Search{Recipient: addr("d@example.org"), States: []spool.StoryState{spool.StateDelivered}}, nil},
		{"delivered from", spool.Search{About: "a@example.org", States: []spool.StoryState{spool.StateDelivered}}, []mail.ID{one}},
	} {
		if got := c.found(q.q); !slices.Equal(got, q.want) {
			c.Errorf("%s: %v, want %v", q.what, got, q.want)
		}
	}
}

// taskNumber is the N of a message's only task.
func (c *contract) taskNumber(id mail.ID) uint16 {
	c.Helper()
	tasks, err := c.store.MessageTasks(id)
	c.must(err)
	return tasks[0].ID.N
}

func testStorySearchTime(c *contract) {
	var ids []mail.ID
	start := c.clock.Now()
	for range 5 {
		ids = append(ids, c.told(taskFor("example.org", 1)).Message)
		c.clock.Advance(10 * 24 * time.Hour)
	}
	at := func(days int) time.Time { return start.Add(time.Duration(days) * 24 * time.Hour) }
	for _, q := range []struct {
		since, until time.Time
		want         []mail.ID
	}{
		{at(10), at(20), []mail.ID{ids[2], ids[1]}},
		{at(11), at(19), nil},
		{at(31), time.Time{}, []mail.ID{ids[4]}},
		{time.Time{}, at(9), []mail.ID{ids[0]}},
	} {
		if got := c.found(spool.Search{Since: q.since, Until: q.until}); !slices.Equal(got, q.want) {
			c.Errorf("from %v to %v: %v, want %v", q.since, q.until, got, q.want)
		}
	}
	for s, err := range c.store.Search(spool.Search{}) {
		c.must(err)
		if s.ID != ids[4] {
			c.Errorf("the first is %s, want %s", s.ID, ids[4])
		}
		break
	}
}
