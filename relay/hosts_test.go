package relay

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Every host has its turn once, lower orders first, those without a weight as
// they are listed.
func TestHostOrderProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Host {
			return Host{Order: rapid.IntRange(0, 3).Draw(t, "order"), Weight: rapid.IntRange(0, 5).Draw(t, "weight")}
		}), 0, 8).Draw(t, "hosts")
		seed := rapid.Uint64().Draw(t, "seed")
		order := HostOrder(hosts, rand.New(rand.NewPCG(seed, 1)).Float64)
		if again := HostOrder(hosts, rand.New(rand.NewPCG(seed, 1)).Float64); !slices.Equal(order, again) {
			t.Fatalf("%v, then %v", order, again)
		}
		sorted := slices.Sorted(slices.Values(order))
		for i := range hosts {
			if i >= len(sorted) || sorted[i] != i {
				t.Fatalf("%v is no permutation", order)
			}
		}
		for n := 1; n < len(order); n++ {
			a, b := hosts[order[n-1]], hosts[order[n]]
			if a.Order > b.Order || a.Order == b.Order && (a.Weight == 0 && (b.Weight > 0 || order[n-1] > order[n])) {
				t.Fatalf("%+v: %v", hosts, order)
			}
		}
	})
}

// The first is drawn in proportion to the weights, the second in proportion to
// those that are left.
func TestHostOrderFrequencies(t *testing.T) {
	hosts := []Host{{Weight: 1}, {Weight: 3}, {Weight: 6}, {Order: 1}}
	rnd := rand.New(rand.NewPCG(5, 7))
	const rounds = 40_000
	first, second := make([]float64, 4), make([]float64, 4)
	for range rounds {
		order := HostOrder(hosts, rnd.Float64)
		first[order[0]] += 1. / rounds
		if order[0] == 2 {
			second[order[1]] += 1. / rounds / 0.6
		}
	}
	for i, want := range []float64{0.1, 0.3, 0.6, 0} {
		if math.Abs(first[i]-want) > 0.01 {
			t.Errorf("host %d is first in %.3f of the cases, want %.3f", i, first[i], want)
		}
	}
	for i, want := range []float64{0.25, 0.75, 0, 0} {
		if math.Abs(second[i]-want) > 0.015 {
			t.Errorf("host %d is second behind 2 in %.3f of the cases, want %.3f", i, second[i], want)
		}
	}
}

func TestThrough(t *testing.T) {
	implicit := TLSImplicit
	route := Route{Name: "isp", Kind: Smarthost, TLS: TLSRequired, Username: "all", Password: secret, Hosts: []Host{
		{Name: "a"}, {Name: "b", Port: 465, TLS: &implicit, Username: "b", Password: secret},
		{Name: "c", Username: "c", Token: func(context.Context, string) (string, error) { return "token", nil }},
	}}
	routes, err := NewRoutes([]Route{route})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := routes.Lookup("isp")
	a, b := r.Through(0), r.Through(1)
	if len(a.Hosts) != 1 || a.Hosts[0].Name != "a" || a.TLS != TLSRequired || a.Username != "all" {
		t.Errorf("a: %+v", a)
	}
	if len(b.Hosts) != 1 || b.TLS != TLSImplicit || b.Username != "b" || b.Password == nil || b.Name != "isp" {
		t.Errorf("b: %+v", b)
	}
	if c := r.Through(2); c.Username != "c" || c.Password != nil || c.Token == nil || b.Token != nil {
		t.Errorf("c: %+v", c)
	}
	if name := r.BudgetOf(r.Hosts[1]); name != "isp/b:465" {
		t.Errorf("budget %q", name)
	}
}

// A next hop, or a limit of ours, that names a time is left alone until then.
func TestRetryAfter(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		const wish = 10 * time.Second
		w.courier.set(func(ctx context.Context, job Job) Outcome {
			out := dead(ctx, job)
			out.RetryAfter = wish
			return out
		})
		began := time.Now()
		w.send("ann@home.test", rcpt("b@one.test"))
		pass(3 * time.Minute)
		// The first wish counts, then the schedule if it is longer.
		var got []time.Duration
		for _, at := range w.courier.at {
			got = append(got, at.Sub(began))
		}
		if want := []time.Duration{0, wish, wish + 2*time.Minute}; !slices.Equal(got, want) {
			t.Errorf("attempts at %v, want %v", got, want)
		}
		w.courier.set(func(_ context.Context, job Job) Outcome {
			out := all(job, greylisted)
			out.RetryAfter = time.Hour
			return out
		})
		pass(4 * time.Minute)
		n := w.courier.attempts()
		pass(59 * time.Minute)
		if again := w.courier.attempts(); n != 4 || again != n {
			t.Errorf("%d attempts, %d more before the task's own time", n, again-n)
		}
		pass(2 * time.Minute)
		if again := w.courier.attempts(); again != n+1 {
			t.Errorf("%d attempts after the task's own time", again-n)
		}
	})
	if got := asked(Outcome{RetryAfter: time.Millisecond}); got != time.Second {
		t.Errorf("a short wish: %v", got)
	}
	if got := asked(Outcome{RetryAfter: 1000 * time.Hour}); got != 24*time.Hour {
		t.Errorf("a long wish: %v", got)
	}
}
