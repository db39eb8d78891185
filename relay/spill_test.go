package relay

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"restante/spool"
)

// spilling are three routes, of which the first two have quotas.
func spilling(first, second int) []Route {
	smart := []Host{{Name: "smart.test"}}
	return []Route{
		{Name: "first", Domains: []string{"*"}, Kind: Smarthost, Hosts: smart, Limits: Limits{Daily: first}, SpillTo: "second"},
		{Name: "second", Domains: []string{"second.test"}, Kind: Smarthost, Hosts: smart, Limits: Limits{Daily: second}, SpillTo: "third"},
		{Name: "third", Domains: []string{"third.test"}},
	}
}

// Mail beyond a quota takes the next route, at once; the next day it is the
// first again.
func TestSpill(t *testing.T) {
	var took []string
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(_ context.Context, job Job) Outcome {
			took = append(took, job.Route.Name+"/"+job.Domain)
			return all(job, accepted)
		})
		if err := w.routes.Replace(spilling(2, 1)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for i := range 5 {
			w.send("ann@home.test", rcpt(fmt.Sprintf("b%d@far.test", i)))
			synctest.Wait()
		}
		w.wantTasks(0)
		if got, want := strings.Join(took, " "), "first/ first/ second/ third/far.test third/far.test"; got != want || time.Since(began) > time.Second {
			t.Errorf("%s after %v, want %s", got, time.Since(began), want)
		}
		took = nil
		pass(25 * time.Hour)
		w.send("ann@home.test", rcpt("b@far.test"))
		synctest.Wait()
		if got := strings.Join(took, " "); got != "first/" {
			t.Errorf("the next day: %s", got)
		}
	})
}

// What waits when the quota ends is moved, and what cannot be moved waits.
func TestSpillOfTheBacklog(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(ctx context.Context, job Job) Outcome {
			if job.Route.Name == "second" {
				return dead(ctx, job)
			}
			return all(job, accepted)
		})
		routes := spilling(1, 1)
		routes[1].SpillTo = ""
		if err := w.routes.Replace(routes); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			w.send("ann@home.test", rcpt(fmt.Sprintf("b%d@far.test", i)))
		}
		pass(time.Minute)
		for _, task := range w.wantTasks(19) {
			if task.Destination != (spool.Destination{Route: "second"}) {
				t.Fatalf("%+v", task)
			}
		}
		// They are not carried to and fro, and are delivered where they are.
		w.courier.set(nil)
		pass(48 * time.Hour)
		for _, j := range w.courier.jobs[len(w.courier.jobs)-2:] {
			if j.Route.Name != "second" {
				t.Errorf("taken back to %s", j.Route.Name)
			}
		}
		if n := w.courier.attempts(); n > 50 {
			t.Errorf("%d attempts", n)
		}
	})
}

// Once moved, nothing is moved again unless its place has no room left, and
// where there is room it is found.
func TestSpilledSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "routes")
		budgets := NewBudgets(nil)
		var routes []Route
		fullAt := make([]bool, n)
		for i := range n {
			r := Route{Name: fmt.Sprint(i), Limits: Limits{Daily: 1}}
			if i == 0 {
				r.Domains = []string{"*"}
			}
			if to := rapid.IntRange(-1, n-1).Draw(t, "to"); to >= 0 && to != i {
				r.SpillTo = fmt.Sprint(to)
			}
			if fullAt[i] = rapid.Bool().Draw(t, "full"); fullAt[i] {
				budgets.Take(r.Name, r.Limits, 1)
			}
			routes = append(routes, r)
		}
		set, err := NewRoutes(routes)
		if err != nil {
			t.Fatal(err)
		}
		r := New(Options{Budgets: budgets, Routes: set})
		table := set.table.Load()
		home := spool.Destination{Route: "0", Domain: "far.test"}
		now := spool.Destination{Route: fmt.Sprint(rapid.IntRange(0, n-1).Draw(t, "now")), Domain: "far.test"}
		d := r.spilled(table, home, now, "far.test")
		if again := r.spilled(table, home, d, "far.test"); again != d {
			t.Fatalf("from %v to %v, then to %v", now, d, again)
		}
		room, seen := false, map[string]bool{}
		for at := "0"; at != "" && !seen[at]; at = table.names[at].SpillTo {
			seen[at] = true
			room = room || !budgets.full(table.names[at])
		}
		if full := budgets.full(table.names[d.Route]); !seen[d.Route] || full == room {
			t.Fatalf("%v is full: %v, though there is room: %v", d, full, room)
		}
	})
}

func TestSpillToMustBeThere(t *testing.T) {
	for _, to := range []string{"a", "nowhere"} {
		if _, err := NewRoutes([]Route{{Name: "a", SpillTo: to}}); err == nil || !strings.Contains(err.Error(), "spill") {
			t.Errorf("%s: %v", to, err)
		}
	}
}
