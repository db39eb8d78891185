package relay

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"restante/spool"
)

func at(domain string) spool.DestinationInfo {
	return spool.DestinationInfo{Destination: spool.Destination{Route: "mx", Domain: domain}}
}

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// more lets as many deliveries begin as the window allows.
func (p *pace) more(d spool.DestinationInfo, most int, now time.Time) (begun []*flight) {
	for range p.window(d, most) {
		begun = append(begun, p.begin(d, now))
	}
	return begun
}

func TestWindow(t *testing.T) {
	p, d, now := newPace(100, 100), at("one.test"), noon
	const most = 20
	round := func(fed feedback) int {
		now = now.Add(time.Millisecond) // later than what the last one told
		begun := p.more(d, most, now)
		now = now.Add(time.Second)
		for _, x := range begun {
			p.end(x, fed, most, now)
		}
		return len(begun)
	}
	want := []int{3, 6, 12, 20, 20}
	for i, n := range want {
		if got := round(feedGood); got != n {
			t.Fatalf("round %d: %d, want %d", i, got, n)
		}
	}
	// All that were in progress tell of one trouble.
	for i, n := range []int{20, 10, 5, 2, 1, 1} {
		if got := round(feedTrouble); got != n {
			t.Fatalf("in trouble, round %d: %d, want %d", i, got, n)
		}
	}
	// After that it rises with care.
	for i, n := range []int{1, 2, 2, 3, 4} {
		if got := round(feedGood); got != n {
			t.Fatalf("afterwards, round %d: %d, want %d", i, got, n)
		}
	}
	if got := round(feedNothing); got != 5 {
		t.Errorf("%d", got)
	}
	if got := round(feedNothing); got != 5 {
		t.Errorf("%d after nothing was learned", got)
	}
}

// One probe goes to a destination that has failed, and everything at once when
// it answers.
func TestProbe(t *testing.T) {
	p, d, now := newPace(100, 100), at("dead.test"), noon
	for _, x := range p.more(d, 20, now) {
		p.end(x, feedTrouble, 20, now)
	}
	d.Failures = 1
	begun := p.more(d, 20, now)
	if len(begun) != 1 || p.window(d, 20) != 0 || !begun[0].waiting {
		t.Fatalf("%d probes", len(begun))
	}
	p.end(begun[0], feedGood, 20, now.Add(time.Second))
	d.Failures = 0
	if n := p.window(d, 20); n != 20 {
		t.Errorf("%d when it answers, want 20", n)
	}
}

// What takes long makes room for what does not.
func TestLanes(t *testing.T) {
	p, now := newPace(8, 10), noon
	quick := at("quick.test")
	x := p.begin(quick, now)
	p.end(x, feedGood, 5, now.Add(10*time.Millisecond))
	_, known := p.lane(quick)
	if !known {
		t.Fatal("a quick destination is not known to be")
	}
	// Half is kept from those that are not known.
	var hung []*flight
	for i := 0; p.free(false, false, promised{}) > 0; i++ {
		hung = append(hung, p.begin(at(fmt.Sprintf("hung%d.test", i)), now))
	}
	if len(hung) != 4 || p.free(false, true, promised{}) != 4 {
		t.Fatalf("%d in progress, %d more", len(hung), p.free(false, true, promised{}))
	}
	if w := p.nextAge(now); w != patience {
		t.Errorf("they are old in %v", w)
	}
	now = now.Add(patience)
	p.age(now)
	if p.busy != 0 || p.waiting != 4 {
		t.Fatalf("%d busy, %d waiting", p.busy, p.waiting)
	}
	for round := range 2 {
		for i := 0; p.free(false, false, promised{}) > 0; i++ {
			hung = append(hung, p.begin(at(fmt.Sprintf("more%d-%d.test", round, i)), now))
		}
		now = now.Add(patience)
		p.age(now)
	}
	// The waiting lane is full; three quarters of the other are kept.
	if p.busy != 2 || p.waiting != 10 || p.nextAge(now) >= 0 {
		t.Fatalf("%d busy, %d waiting", p.busy, p.waiting)
	}
	if u, k, w := p.free(false, false, promised{}), p.free(false, true, promised{}), p.free(true, false, promised{}); u != 0 || k != 6 || w != 0 {
		t.Errorf("free: %d unknown, %d known, %d waiting", u, k, w)
	}
	for _, x := range hung {
		p.end(x, feedTrouble, 5, now.Add(time.Minute))
	}
	if p.busy != 0 || p.waiting != 0 || p.young.Len() != 0 || len(p.routes) != 0 {
		t.Errorf("left: %+v", p)
	}
	if waiting, _ := p.lane(at("hung0.test")); !waiting {
		t.Error("a destination that was slow is taken for a quick one")
	}
}

func TestPaceForgets(t *testing.T) {
	p := newPace(10, 10)
	for i := range maxFlows + 500 {
		p.end(p.begin(at(fmt.Sprintf("d%d.test", i)), noon), feedGood, 5, noon)
	}
	if len(p.flows) != maxFlows || p.idle.Len() != maxFlows {
		t.Errorf("%d destinations are remembered", len(p.flows))
	}
	if p.flows[at("d0.test").Destination] != nil {
		t.Error("the one that is idle the longest is among them")
	}
}

// Whatever happens, the counts are those of what is in progress, windows are
// within bounds, and what has ended leaves nothing.
func TestPaceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPace(rapid.IntRange(1, 20).Draw(t, "busy"), rapid.IntRange(1, 20).Draw(t, "waiting"))
		most := rapid.IntRange(1, 12).Draw(t, "most")
		now, flying := noon, []*flight{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			p.age(now)
			d := at(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "d"))
			d.Failures = rapid.IntRange(0, 1).Draw(t, "failures")
			waiting, known := p.lane(d)
			if n := min(p.window(d, most), p.free(waiting, known, promised{})); n > 0 && rapid.Bool().Draw(t, "begin") {
				flying = append(flying, p.begin(d, now))
			} else if len(flying) > 0 {
				i := rapid.IntRange(0, len(flying)-1).Draw(t, "which")
				p.end(flying[i], feedback(rapid.IntRange(0, 2).Draw(t, "fed")), most, now)
				flying = append(flying[:i], flying[i+1:]...)
			}
			if p.busy+p.waiting != len(flying) || p.busy > p.busyMax || p.waiting > p.waitingMax || p.busy != p.young.Len() || p.strange > p.busy || p.strange < 0 {
				t.Fatalf("%d busy, %d waiting of %d", p.busy, p.waiting, len(flying))
			}
			for _, f := range p.flows {
				if f.window < 1 || f.window > float64(max(most, firstWindow)) || (f.active == 0) != (f.idle != nil) {
					t.Fatalf("%+v", f)
				}
			}
		}
		for _, x := range flying {
			p.end(x, feedGood, most, now)
		}
		if p.busy != 0 || p.waiting != 0 || p.strange != 0 || p.crowd != 0 || p.slow != 0 || len(p.routes) != 0 || p.idle.Len() != len(p.flows) {
			t.Fatalf("left: %+v", p)
		}
	})
}
