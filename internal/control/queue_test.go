package control

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// put stores a message with one task, without the way over the socket.
func (h *house) put(t *testing.T, from, to string, size int, change func(*spool.Task)) spool.TaskID {
	t.Helper()
	s, err := h.spool.Create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(s, strings.Repeat("x", size)); err != nil {
		t.Fatal(err)
	}
	rcpt := mail.MustParseAddress(to)
	task := spool.Task{Destination: spool.Destination{Route: "mx", Domain: rcpt.Domain}, Recipients: []mail.Recipient{{To: rcpt}}}
	if change != nil {
		change(&task)
	}
	m := spool.Message{Tasks: []spool.Task{task}}
	if from != "" {
		m.Envelope.From = mail.MustParseAddress(from)
	}
	r, err := s.Commit(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return r.Tasks[0]
}

func (h *house) list(t *testing.T, l Listing) (ids []spool.TaskID, err error) {
	t.Helper()
	for task, e := range h.client.List(t.Context(), l) {
		if e != nil {
			return ids, e
		}
		ids = append(ids, task.ID)
	}
	return ids, nil
}

func TestListInOrder(t *testing.T) {
	h := newHouse(t)
	a := h.put(t, "", "x@b.example", 30, func(k *spool.Task) { k.Delay = time.Hour })
	b := h.put(t, "", "x@c.example", 10, func(k *spool.Task) { k.Held = true })
	c := h.put(t, "", "x@a.example", 20, func(k *spool.Task) { k.Delay = 2 * time.Hour })
	d := h.put(t, "", "x@a.example", 20, func(k *spool.Task) { k.Delay = time.Minute })
	for _, x := range []struct {
		l    Listing
		want []spool.TaskID
	}{
		{Listing{}, []spool.TaskID{a, b, c, d}},
		{Listing{Sort: SortAge, Limit: 2}, []spool.TaskID{a, b}},
		{Listing{Limit: 2, After: b}, []spool.TaskID{c, d}},
		{Listing{After: d}, nil},
		{Listing{Sort: SortSize}, []spool.TaskID{a, c, d, b}},
		{Listing{Sort: SortSize, Limit: 2}, []spool.TaskID{a, c}},
		{Listing{Sort: SortDue}, []spool.TaskID{d, a, c, b}},
		{Listing{Sort: SortDestination, Limit: 3}, []spool.TaskID{c, d, a}},
		{Listing{Sort: SortAttempts, Limit: 9}, []spool.TaskID{a, b, c, d}},
		{Listing{Sort: SortSize, Filter: Filter{Domain: "a.example"}}, []spool.TaskID{c, d}},
	} {
		if got, err := h.list(t, x.l); err != nil || !slices.Equal(got, x.want) {
			t.Errorf("%+v: %v, %v; want %v", x.l, got, err, x.want)
		}
	}
	for _, l := range []Listing{{Sort: "colour"}, {Sort: SortSize, After: a}, {Sort: SortSize, Limit: maxSorted + 1}} {
		_, err := h.list(t, l)
		wantCode(t, err, CodeBadRequest)
	}
}

func TestCounts(t *testing.T) {
	h := newHouse(t)
	for i := range 5 {
		h.put(t, "bob@far.example", fmt.Sprintf("x%d@a.example", i), 10, func(k *spool.Task) { k.Held = i == 0 })
	}
	h.put(t, "", "x@b.example", 10, func(k *spool.Task) { k.Destination = spool.Destination{Route: "smart"} })
	h.fail(t, "x@dead.example")
	count := func(f Filter, by By, limit int) Count {
		t.Helper()
		n, err := h.client.Count(t.Context(), f, by, limit)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	n := count(Filter{}, "", 0)
	if n.Tasks != 6 || n.States["held"] != 1 || n.States["queued"] != 5 || len(n.Groups) != 3 {
		t.Errorf("all: %+v", n)
	}
	if g := n.Groups[0]; g.Name != "mx/a.example" || g.Tasks != 5 || g.States["held"] != 1 || g.Backoff != nil {
		t.Errorf("the largest: %+v", g)
	}
	if g := n.Groups[2]; g.Name != "mx/dead.example" || g.Tasks != 0 || g.Backoff == nil || g.NextTry.IsZero() || g.Backoff.Last.Text != "down" {
		t.Errorf("in back-off, with nothing waiting: %+v", g)
	}
	if n := count(Filter{}, ByRoute, 0); len(n.Groups) != 2 || n.Groups[0].Name != "mx" || n.Groups[0].Tasks != 5 || n.Groups[0].In != 1 {
		t.Errorf("by route: %+v", n)
	}
	if n := count(Filter{}, "", 1); n.Tasks != 6 || len(n.Groups) != 1 || n.Others != 2 {
		t.Errorf("the first: %+v", n)
	}
	if n := count(Filter{States: []spool.State{spool.Held}, Route: "mx"}, "", 0); n.Tasks != 1 {
		t.Errorf("held: %+v", n)
	}
	// A filter that the kept counts do not know.
	if n := count(Filter{Sender: "far.example"}, "", 0); n.Tasks != 5 || len(n.Groups) != 1 || n.Groups[0].NextTry.IsZero() {
		t.Errorf("by sender: %+v", n)
	}
	_, err := h.client.Count(t.Context(), Filter{}, BySender, 0)
	wantCode(t, err, CodeBadRequest)
	_, err = h.client.Count(t.Context(), Filter{Older: "x"}, "", 0)
	wantCode(t, err, CodeBadRequest)
}

// fail leaves the destination of an address in back-off, and nothing that waits.
func (h *house) fail(t *testing.T, to string) {
	t.Helper()
	id := h.put(t, "", to, 1, nil)
	leases, _, err := h.spool.Lease(spool.Claim{Max: 1000, Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leases {
		s := spool.Settlement{KeepDue: true, Results: make([]spool.Result, len(l.Task.Recipients))}
		if l.Task.ID == id {
			s.Results[0].Ended = true
			s.Destination = spool.Reach{Outcome: spool.Unreached, Backoff: time.Hour, Status: mail.Status{Code: 451, Text: "down"}}
		}
		if err := h.spool.Settle(t.Context(), l, s); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAges(t *testing.T) {
	h := newHouse(t)
	for i := range 30 {
		h.put(t, fmt.Sprintf("bob@s%d.example", i%3), fmt.Sprintf("x@d%02d.example", min(i, 25)), 1, nil)
	}
	h.put(t, "", "x@d25.example", 1, nil)
	now := time.Now()
	ages := func(after time.Duration, f Filter, by By, limit int) Ages {
		t.Helper()
		h.server.opt.Now = func() time.Time { return now.Add(after) }
		a, err := h.client.Ages(t.Context(), f, by, limit)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, r := range append(slices.Clone(a.Groups), *cmpOr(a.Others)) {
			sum += r.Tasks
		}
		if sum != a.Total.Tasks || len(a.Bounds) != len(a.Total.Ages)-1 {
			t.Errorf("the rows have %d tasks of %d, %d bounds for %d columns", sum, a.Total.Tasks, len(a.Bounds), len(a.Total.Ages))
		}
		return a
	}
	for _, c := range []struct {
		after  time.Duration
		column int
	}{{0, 0}, {6 * time.Minute, 1}, {11 * time.Minute, 2}, {1279 * time.Minute, 8}, {1281 * time.Minute, 9}, {1000 * time.Hour, 9}} {
		if a := ages(c.after, Filter{}, "", 0); a.Total.Ages[c.column] != 31 {
			t.Errorf("after %v: %v, want all in column %d", c.after, a.Total.Ages, c.column)
		}
	}
	a := ages(0, Filter{}, "", 0)
	if len(a.Groups) != usualGroups || a.Groups[0].Name != "mx/d25.example" || a.Groups[0].Tasks != 6 || a.Others == nil || a.Others.Tasks != 31-6-19 {
		t.Errorf("by destination: %+v, others %+v", a.Groups, a.Others)
	}
	if a := ages(0, Filter{}, BySender, 3); len(a.Groups) != 3 || a.Groups[0].Name != "s0.example" || a.Others == nil || a.Others.Tasks != 1 {
		t.Errorf("by sender: %+v", a)
	}
	if a := ages(0, Filter{Sender: "<>"}, BySender, 0); len(a.Groups) != 1 || a.Groups[0].Name != "<>" || a.Others != nil {
		t.Errorf("reports: %+v", a)
	}
	if a := ages(0, Filter{}, ByRecipient, 1); a.Groups[0].Name != "d25.example" {
		t.Errorf("by recipient: %+v", a.Groups)
	}
	_, err := h.client.Ages(t.Context(), Filter{}, "colour", 0)
	wantCode(t, err, CodeBadRequest)
}

func cmpOr(r *AgeRow) *AgeRow {
	if r == nil {
		return new(AgeRow)
	}
	return r
}

func TestDryRunDoesNothingAndCountsExactly(t *testing.T) {
	h := newHouse(t)
	two := h.submit(t, Submission{Recipients: []string{"x@a.example", "y@b.example"}}, "\nhi")
	h.put(t, "", "x@a.example", 100, nil)
	held := h.put(t, "", "x@a.example", 1000, func(k *spool.Task) { k.Held = true })
	h.put(t, "", "x@c.example", 1, nil)
	leases, _, err := h.spool.Lease(spool.Claim{Max: 1, Lifetime: time.Hour, Allow: func(d spool.DestinationInfo) int {
		if d.Destination.Domain == "c.example" {
			return 1
		}
		return 0
	}})
	if err != nil || len(leases) != 1 {
		t.Fatal(leases, err)
	}
	before := fmt.Sprint(h.all(t))
	size := int64(len(h.stored(t, two)))
	dry := func(v Verb, sel Selection) Outcome {
		t.Helper()
		sel.DryRun = true
		out, err := h.client.Do(t.Context(), v, sel, nil)
		if err != nil || out.Done != 0 || out.Plan == nil {
			t.Fatalf("%s: %+v, %v", v, out, err)
		}
		return out
	}
	p := dry(VerbHold, Selection{All: true}).Plan
	if p.Tasks != 3 || p.Messages != 2 || p.Octets != size+100 || p.Leased != 1 || len(p.Destinations) != 2 ||
		p.Destinations[0] != (PlanDestination{"mx/a.example", 2, size + 100}) {
		t.Errorf("hold: %+v", p)
	}
	if p := dry(VerbRemove, Selection{All: true, Filter: Filter{Destination: "a.example"}}).Plan; p.Tasks != 3 || p.Leased != 0 {
		t.Errorf("remove: %+v", p)
	}
	out := dry(VerbRetry, Selection{IDs: []string{held.String(), two.String(), "0000000000000000"}})
	if out.Plan.Tasks != 2 || out.Failed != 2 || out.Failures[1].Code != CodeConflict {
		t.Errorf("retry: %+v, %+v", out, out.Plan)
	}
	if after := fmt.Sprint(h.all(t)); after != before {
		t.Errorf("a dry run changed\n%s\nto\n%s", before, after)
	}
}

func TestReroute(t *testing.T) {
	h := newHouse(t)
	h.server.opt.HasRoute = func(name string) bool { return name == "smart" }
	id := h.put(t, "", "x@a.example", 1, nil)
	do := func(to string) error {
		_, err := h.client.Do(t.Context(), VerbReroute, Selection{All: true, To: to}, nil)
		return err
	}
	if err := do("smart/b.example"); err != nil {
		t.Fatal(err)
	}
	got := h.queue(t, Filter{Destination: "smart/b.example"})
	if len(got) != 1 || got[0].ID != id || !got[0].Pinned {
		t.Errorf("rerouted: %+v", got)
	}
	for _, to := range []string{"", "nowhere", "smart/" + strings.Repeat("x", 2000)} {
		if err := do(to); err != nil {
			wantCode(t, err, CodeBadRequest)
		}
	}
	_, err := h.client.Do(t.Context(), VerbHold, Selection{All: true, To: "smart"}, nil)
	wantCode(t, err, CodeBadRequest)
	if got := h.queue(t, Filter{Destination: "smart/b.example"}); len(got) != 1 {
		t.Error("a refused reroute did something")
	}
}

// Retrying destinations ends their back-off, also if nothing waits for them,
// and leaves others alone.
func TestRetryOfDestinationsWithoutTasks(t *testing.T) {
	h := newHouse(t)
	h.fail(t, "x@a.example")
	h.fail(t, "x@b.example")
	inBackoff := func() (names []string) {
		for d := range h.spool.Destinations() {
			names = append(names, d.Destination.Domain)
		}
		return names
	}
	dry, err := h.client.Do(t.Context(), VerbRetry, Selection{All: true, Filter: Filter{Route: "mx"}, DryRun: true}, nil)
	if err != nil || dry.Plan.Backoffs != 2 || len(inBackoff()) != 2 {
		t.Errorf("dry run: %+v, %v; in back-off %v", dry.Plan, err, inBackoff())
	}
	if _, err := h.client.Do(t.Context(), VerbRetry, Selection{All: true, Filter: Filter{Destination: "a.example"}}, nil); err != nil {
		t.Fatal(err)
	}
	if got := inBackoff(); !slices.Equal(got, []string{"b.example"}) {
		t.Errorf("in back-off: %v", got)
	}
	// A filter about the tasks ends no back-off of who has none.
	if _, err := h.client.Do(t.Context(), VerbRetry, Selection{All: true, Filter: Filter{Sender: "x.example"}}, nil); err != nil {
		t.Fatal(err)
	}
	if got := inBackoff(); len(got) != 1 {
		t.Errorf("in back-off: %v", got)
	}
	// What is due already is not written once more.
	id := h.put(t, "", "x@b.example", 1, nil)
	due := h.tasks(t, id.Message)[0].Due
	out, err := h.client.Do(t.Context(), VerbRetry, Selection{All: true}, nil)
	if err != nil || out.Done != 1 || len(inBackoff()) != 0 {
		t.Errorf("all: %+v, %v; in back-off %v", out, err, inBackoff())
	}
	if got := h.tasks(t, id.Message)[0].Due; !got.Equal(due) {
		t.Errorf("due at %v, was at %v", got, due)
	}
}

const many = 10_000

func TestVerbsOnMany(t *testing.T) {
	h := newHouse(t)
	for i := range many {
		h.put(t, "", fmt.Sprintf("x@d%d.example", i%50), 10, nil)
	}
	leases, _, err := h.spool.Lease(spool.Claim{Max: 150, Lifetime: time.Hour})
	if err != nil || len(leases) != 150 {
		t.Fatal(len(leases), err)
	}
	out, err := h.client.Do(t.Context(), VerbHold, Selection{All: true}, nil)
	if err != nil || out.Done != many-150 || out.Failed != 150 || len(out.Failures) != maxFailures || out.Failures[0].Code != CodeLeased {
		t.Fatalf("hold: %d done, %d failed, %d told, %v", out.Done, out.Failed, len(out.Failures), err)
	}
	n, err := h.client.Count(t.Context(), Filter{}, "", 5)
	if err != nil || n.Tasks != many || n.States["held"] != many-150 || n.States["leased"] != 150 || n.Others != 45 {
		t.Errorf("count: %+v, %v", n, err)
	}
	seen := 0
	if err := h.client.EachMessage(t.Context(), nil, Filter{States: []spool.State{spool.Held}}, func(mail.ID, []spool.TaskID) error { seen++; return nil }); err != nil || seen != many-150 {
		t.Errorf("each message: %d, %v", seen, err)
	}
}

// Whoever goes away stops the verb, and what was done stays done; the next one
// does the rest.
func TestInterruptedHalfway(t *testing.T) {
	h := newHouse(t)
	const all, after = 2000, 700
	for range all {
		h.put(t, "", "x@a.example", 10, nil)
	}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), peerKey{}, Peer{Name: "root", Admin: true}))
	h.server.opt.Queue = &halfway{Queue: h.spool, after: after, reached: cancel}
	r := httptest.NewRequestWithContext(ctx, "POST", "/v1/queue/remove", strings.NewReader(`{"all":true}`))
	h.server.routes().ServeHTTP(httptest.NewRecorder(), r)
	h.server.opt.Queue = h.spool
	if left := len(h.all(t)); left > all-after || left < all-after-hands {
		t.Errorf("%d of %d are left after %d", left, all, after)
	}
	out, err := h.client.Do(t.Context(), VerbRemove, Selection{All: true}, nil)
	if err != nil || len(h.all(t)) != 0 {
		t.Errorf("the rest: %+v, %v", out, err)
	}
}

// halfway is a queue of which the peer goes away after so many removals.
type halfway struct {
	Queue
	after   int64
	done    atomic.Int64
	reached func()
}

func (q *halfway) Remove(id spool.TaskID, story ...spool.Event) (spool.TaskInfo, error) {
	if q.done.Add(1) == q.after {
		q.reached()
	}
	return q.Queue.Remove(id, story...)
}

// A long answer that breaks off is not taken for an outcome.
func TestLinesThatBreakOff(t *testing.T) {
	h := newHouse(t)
	h.put(t, "", "x@a.example", 10, nil)
	h.server.opt.Queue = breaking{h.spool}
	if out, err := h.client.Do(t.Context(), VerbHold, Selection{All: true}, nil); err == nil {
		t.Errorf("got %+v and no error", out)
	}
}

func TestContent(t *testing.T) {
	h := newHouse(t)
	id := h.submit(t, Submission{Recipients: []string{"x@a.example"}}, "Subject: s\n\n"+strings.Repeat("line\n", 50000))
	r, err := h.client.Content(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || string(got) != h.stored(t, id) {
		t.Errorf("%d octets, %v", len(got), err)
	}
	_, err = h.client.Content(t.Context(), mail.ID{1})
	wantCode(t, err, CodeNotFound)
	_, err = h.client.Do(t.Context(), VerbHold, Selection{All: true, Reason: "a\nb"}, nil)
	wantCode(t, err, CodeBadRequest)
}
