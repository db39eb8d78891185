package relay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// The kinds of simulated destinations: of ten, five are healthy, three dead, two
// slow.
const (
	simHealthy = iota
	simSlow
	simDead
)

func simKind(dest int) int {
	switch {
	case dest%10 < 5:
		return simHealthy
	case dest%10 < 8:
		return simDead
	}
	return simSlow
}

// simulation is a run of the runner against a simulated world. Every destination
// is sent as much as any other of its kind.
type simulation struct {
	recipients, dests int
	// over is how long it takes until all has been queued.
	over time.Duration

	mu sync.Mutex
	// left is from the queue to the first attempt, of mail for the healthy.
	left []time.Duration
	// first is the same of those that were the first for their destination.
	first []time.Duration
	// attempts are those at each destination, ends the ends of each kind.
	attempts   []int
	ends       [3]map[string]int
	tries      [3]int
	progress   []int // ends of each destination, for fairness
	met        []bool
	half       []int // progress when half of the slow mail is through
	slowEnds   int
	slowTotal  int
	inProgress int
	most       int
}

// Deliver is the courier of the simulation.
func (s *simulation) Deliver(ctx context.Context, job Job) Outcome {
	dest, _ := strconv.Atoi(job.Domain[1 : len(job.Domain)-len(".test")])
	kind := simKind(dest)
	s.mu.Lock()
	s.attempts[dest]++
	s.tries[kind]++
	s.inProgress++
	s.most = max(s.most, s.inProgress)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.inProgress--
		s.mu.Unlock()
	}()
	chance := rand.Float64()
	switch kind {
	case simDead:
		// Two of three are silent, the others refuse.
		if dest%10 == 5 {
			time.Sleep(50 * time.Millisecond)
		} else {
			time.Sleep(30 * time.Second)
		}
		return dead(ctx, job)
	case simSlow:
		time.Sleep(time.Duration((20 + 40*chance) * float64(time.Second)))
	default:
		time.Sleep(time.Duration((30 + 140*chance) * float64(time.Millisecond)))
	}
	switch {
	case chance < 0.01:
		return all(job, unknown)
	case chance < 0.03:
		return all(job, greylisted)
	}
	return all(job, accepted)
}

// TestSimulation shows what becomes of much mail for many destinations, most of
// which give trouble. RESTANTE_SIMULATE=1000000 is the full size; see DESIGN.md.
func TestSimulation(t *testing.T) {
	n := 10_000
	if text := os.Getenv("RESTANTE_SIMULATE"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1000 {
			t.Fatalf("RESTANTE_SIMULATE=%q", text)
		}
	}
	began := time.Now()
	s := &simulation{recipients: n, dests: n / 100, over: time.Duration(n) * 3600 * time.Microsecond}
	synctest.Test(t, s.run)
	s.report(t, time.Since(began))
}

func (s *simulation) run(t *testing.T) {
	var names []spool.Destination
	for i := range s.dests {
		names = append(names, spool.Destination{Route: DefaultRoute, Domain: fmt.Sprintf("d%d.test", i)})
	}
	s.attempts, s.progress = make([]int, s.dests), make([]int, s.dests)
	s.met = make([]bool, s.dests)
	for i := range s.ends {
		s.ends[i] = make(map[string]int)
	}
	const expire = 5 * 24 * time.Hour
	q := newSimQueue(names, expire)
	q.ended = s.ended(q)
	routes, err := NewRoutes(nil)
	if err != nil {
		t.Fatal(err)
	}
	courier := &simCourier{s, q}
	runner := New(Options{
		Queue: q, Bodies: simBodies{}, Routes: routes, Courier: courier,
		Concurrency: 50, Slow: 1000, PerDestination: 20,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	step := s.over / time.Duration(s.recipients)
	for i := range s.recipients {
		dest := i % s.dests
		if simKind(dest) == simSlow {
			s.mu.Lock()
			s.slowTotal++
			s.mu.Unlock()
		}
		q.add(dest)
		time.Sleep(step)
	}
	time.Sleep(expire + time.Hour)
	synctest.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if q.open != 0 {
		t.Errorf("%d recipients have no end", q.open)
	}
}

// simCourier notes when mail for healthy destinations leaves first.
type simCourier struct {
	*simulation
	q *simQueue
}

func (c *simCourier) Deliver(ctx context.Context, job Job) Outcome {
	i := simTaskOf(job.Task.Message)
	c.q.mu.Lock()
	task := c.q.tasks[i]
	c.q.mu.Unlock()
	if simKind(int(task.dest)) == simHealthy && task.attempts == 0 {
		c.mu.Lock()
		waited := time.Duration(time.Now().UnixNano() - task.queued)
		if c.met[task.dest] {
			c.left = append(c.left, waited)
		} else {
			c.first = append(c.first, waited)
		}
		c.mu.Unlock()
	}
	out := c.simulation.Deliver(ctx, job)
	c.mu.Lock()
	c.met[task.dest] = true
	c.mu.Unlock()
	return out
}

func (s *simulation) ended(q *simQueue) func(int, mail.Status, int) {
	return func(task int, status mail.Status, _ int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		dest := int(q.tasks[task].dest)
		end := "bounced"
		if status.Class() == mail.Delivered {
			end = "delivered"
		} else if status.Enhanced == [3]int{4, 4, 7} {
			end = "expired"
		}
		s.ends[simKind(dest)][end]++
		s.progress[dest]++
		if simKind(dest) == simSlow {
			if s.slowEnds++; s.half == nil && s.slowEnds >= s.recipients/10 {
				s.half = slices.Clone(s.progress)
			}
		}
	}
}

func (s *simulation) report(t *testing.T, took time.Duration) {
	slices.Sort(s.left)
	slices.Sort(s.first)
	of := func(list []time.Duration, part float64) time.Duration {
		return list[min(int(part*float64(len(list))), len(list)-1)].Round(10 * time.Microsecond)
	}
	at := func(part float64) time.Duration { return of(s.left, part) }
	t.Logf("%d recipients at %d destinations, queued within %v; the run took %v", s.recipients, s.dests, s.over, took.Round(time.Second))
	t.Logf("at most %d deliveries in progress", s.most)
	t.Logf("%d mails for healthy destinations leave after: median %v, 99 %% %v, 99.9 %% %v, the last %v", len(s.left), at(0.5), at(0.99), at(0.999), at(1))
	t.Logf("%d more that came before anything was known of their destination: median %v, 99 %% %v, the last %v", len(s.first), of(s.first, 0.5), of(s.first, 0.99), of(s.first, 1))
	total := 0
	for kind, name := range []string{"healthy", "slow", "dead"} {
		var each []int
		for dest, n := range s.attempts {
			if simKind(dest) == kind {
				each = append(each, n)
			}
		}
		slices.Sort(each)
		sum := 0
		for _, n := range s.ends[kind] {
			sum += n
		}
		total += sum
		t.Logf("%-8s %v of %d recipients; attempts at a destination: %d to %d, median %d; %d recipients each",
			name, s.ends[kind], sum, each[0], each[len(each)-1], each[len(each)/2], s.recipients/s.dests)
		if kind == simDead && each[len(each)-1] > 60 {
			t.Errorf("%d attempts at a dead destination in 5 days", each[len(each)-1])
		}
	}
	if total != s.recipients {
		t.Errorf("%d of %d recipients have an end", total, s.recipients)
	}
	jain := s.fairness()
	t.Logf("fairness among the slow when half of their mail is through (Jain): %.3f", jain)
	if jain < 0.8 {
		t.Errorf("some slow destinations get much more than others: %.3f", jain)
	}
	// A million meets more destinations at once than there are places for those
	// that are slow or dead; see DESIGN.md.
	most := time.Second
	if s.dests > 1000 {
		most = 30 * time.Second
	}
	if at(0.5) > 10*time.Millisecond || at(0.99) > most {
		t.Errorf("healthy mail waits: median %v, 99 %% %v", at(0.5), at(0.99))
	}
	if s.most > 1050 {
		t.Errorf("%d deliveries in progress", s.most)
	}
}

// fairness is Jain's index of what each slow destination got by then: 1 if all
// got as much, 1/n if one got everything.
func (s *simulation) fairness() float64 {
	sum, squares, n := 0.0, 0.0, 0.0
	for dest, got := range s.half {
		if simKind(dest) == simSlow {
			sum, squares, n = sum+float64(got), squares+float64(got*got), n+1
		}
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (n * squares)
}
