package badger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// backlog queues tasks of 50 senders for one destination.
func backlog(t testing.TB, e *Engine, tasks int, delay time.Duration) {
	t.Helper()
	const senders = 50
	for i := range senders {
		m := spool.Message{Envelope: mail.Envelope{From: mail.Address{Local: fmt.Sprint("sender", i), Domain: "example.net"}}}
		for range tasks / senders {
			m.Tasks = append(m.Tasks, spool.Task{
				Destination: spool.Destination{Route: "mx", Domain: "example.org"},
				Recipients:  []mail.Recipient{{To: mail.Address{Local: "x", Domain: "example.org"}}},
				Delay:       delay, Warn: 100 * time.Hour,
			})
		}
		commit(t, e, []byte("body"), m)
	}
}

// looked runs a Lease by hand and tells whether it read the index of the queue.
func looked(e *Engine) bool {
	q := &e.queue
	q.scan.Lock()
	defer q.scan.Unlock()
	s := &scan{e: e, q: q, claim: spool.Claim{Max: 100, Lifetime: time.Minute}}
	s.start()
	defer s.t.discard()
	s.timers()
	s.destinations()
	return s.it != nil
}

// A Lease reads nothing of the queue unless something may be due, however much
// waits, for its own time or for that of its destination.
func TestWaitingCostsNothing(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	e := open(t, Options{Now: func() time.Time { return now }})
	backlog(t, e, 1000, time.Hour)
	if looked(e) {
		t.Error("with nothing due, the queue is read")
	}
	e = reopen(t, e)
	if !looked(e) {
		t.Error("after opening, the queue is not read")
	}
	if looked(e) {
		t.Error("the queue is read again")
	}
	now = now.Add(time.Hour)
	claim := spool.Claim{Max: 1, Lifetime: time.Minute}
	settle := func(s spool.Settlement) {
		t.Helper()
		leases, _, err := e.Lease(claim)
		if err != nil || len(leases) != 1 {
			t.Fatalf("%d leases, %v", len(leases), err)
		}
		s.Results = []spool.Result{{}}
		if err := e.Settle(t.Context(), leases[0], s); err != nil {
			t.Fatal(err)
		}
	}
	settle(spool.Settlement{KeepDue: true, Destination: spool.Reach{Outcome: spool.Unreached, Backoff: time.Hour}})
	if looked(e) {
		t.Error("with its only destination in back-off, the queue is read")
	}
	now = now.Add(time.Hour)
	settle(spool.Settlement{Delay: 10 * time.Hour, Destination: spool.Reach{Outcome: spool.Reached}})
	leases, next, err := e.Lease(spool.Claim{Max: 1000, Lifetime: 20 * time.Hour})
	if err != nil || len(leases) != 999 || next != 10*time.Hour {
		t.Fatalf("%d leases, next %v, %v", len(leases), next, err)
	}
	if looked(e) {
		t.Error("with everything leased or not due, the queue is read")
	}
}

// BenchmarkWaiting measures what a Lease costs while 10,000 tasks of 50 senders
// wait for one destination: because none is due; because the destination is in
// back-off; and in the middle of them, when each attempt is answered with 451,
// which is the cost of the Lease alone, beside that of the Settle.
//
//	go test ./spool/badger -run '^$' -bench Waiting -benchtime 2000x
func BenchmarkWaiting(b *testing.B) {
	claim := spool.Claim{Max: 1, Lifetime: time.Minute}
	nothing := func(b *testing.B, e *Engine) {
		for b.Loop() {
			if leases, next, err := e.Lease(claim); err != nil || len(leases) > 0 || next <= 0 {
				b.Fatalf("%d leases, next %v, %v", len(leases), next, err)
			}
		}
	}
	attempt := func(b *testing.B, e *Engine, reach spool.Reach) (lease, settle time.Duration) {
		start := time.Now()
		leases, _, err := e.Lease(claim)
		lease = time.Since(start)
		if err != nil || len(leases) != 1 {
			b.Fatalf("%d leases, %v", len(leases), err)
		}
		start = time.Now()
		if err := e.Settle(b.Context(), leases[0], spool.Settlement{
			Attempted: true, Results: []spool.Result{{}}, Delay: time.Hour, Destination: reach,
		}); err != nil {
			b.Fatal(err)
		}
		return lease, time.Since(start)
	}
	b.Run("not due", func(b *testing.B) {
		e := open(b, Options{})
		backlog(b, e, 10_000, time.Hour)
		nothing(b, e)
	})
	b.Run("back-off", func(b *testing.B) {
		e := open(b, Options{})
		backlog(b, e, 10_000, 0)
		attempt(b, e, spool.Reach{Outcome: spool.Unreached, Backoff: time.Hour})
		nothing(b, e)
	})
	b.Run("451", func(b *testing.B) {
		e := open(b, Options{})
		backlog(b, e, max(10_000, 2*b.N), 0)
		var leases, settles []time.Duration
		for range b.N {
			l, s := attempt(b, e, spool.Reach{Outcome: spool.Reached})
			leases, settles = append(leases, l), append(settles, s)
		}
		slices.Sort(leases)
		slices.Sort(settles)
		b.ReportMetric(float64(leases[b.N/2])/1e3, "lease-median-µs")
		b.ReportMetric(float64(settles[b.N/2])/1e3, "settle-median-µs")
	})
}
