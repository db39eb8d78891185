package relay

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/mail"
	"restante/internal/ratelimit"
	"restante/spool/spooltest"
)

// hang is a destination that lets us wait, and then does not answer.
func hang(ctx context.Context, job Job) Outcome {
	select {
	case <-time.After(5 * time.Minute):
	case <-ctx.Done():
	}
	return dead(ctx, job)
}

// Whatever hangs, mail for a destination that is known leaves at once, and mail
// for one that is not does not wait long.
func TestHealthyBesideHanging(t *testing.T) {
	const hanging = 150
	change := func(o *Options) { o.Concurrency, o.Slow = 20, 40 }
	run(t, times{}, change, func(w *world) {
		var went atomic.Int64
		w.courier.set(func(ctx context.Context, job Job) Outcome {
			if strings.HasPrefix(job.Domain, "hang") {
				return hang(ctx, job)
			}
			time.Sleep(20 * time.Millisecond)
			went.Add(1)
			return all(job, accepted)
		})
		w.send("ann@home.test", rcpt("b@quick.test"))
		pass(time.Second)
		for i := range hanging {
			for range 2 {
				w.send("ann@home.test", rcpt(fmt.Sprintf("b@hang%d.test", i)))
			}
		}
		for i := range 40 {
			before := went.Load()
			w.send("ann@home.test", rcpt("b@quick.test"))
			pass(25 * time.Millisecond)
			if went.Load() != before+1 {
				t.Fatalf("mail %d for a quick destination waits behind those that hang", i)
			}
			pass(3 * time.Second)
		}
		if most := w.courier.total; most > 60 {
			t.Errorf("%d deliveries at a time", most)
		}
	})
}

// A destination with a great backlog does not keep others waiting, though all
// deliveries that may be in progress are to it and its like.
func TestNewcomersBesideBacklogs(t *testing.T) {
	change := func(o *Options) { o.Concurrency, o.PerDestination = 8, 4 }
	run(t, times{}, change, func(w *world) {
		var last atomic.Int64
		w.courier.set(func(_ context.Context, job Job) Outcome {
			time.Sleep(20 * time.Millisecond)
			if job.Domain == "new.test" {
				last.Store(time.Now().UnixNano())
			}
			return all(job, accepted)
		})
		for range 60 {
			for d := range 8 {
				w.send("ann@home.test", rcpt(fmt.Sprintf("b@backlog%d.test", d)))
			}
		}
		pass(200 * time.Millisecond)
		sent := time.Now()
		w.send("ann@home.test", rcpt("b@new.test"))
		pass(100 * time.Millisecond)
		if took := time.Duration(last.Load() - sent.UnixNano()); took <= 0 || took > 60*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		if n := len(w.tasks()); n < 100 {
			t.Errorf("only %d tasks are left: there was no backlog", n)
		}
		pass(time.Minute)
		w.wantTasks(0)
	})
}

// limited is the route of one.test with limits.
func limited(w *world, l Limits) {
	w.Helper()
	err := w.routes.Replace([]Route{{Name: "limited", Domains: []string{"one.test", "*.one.test"}, Limits: l}})
	if err != nil {
		w.Fatal(err)
	}
}

func TestRateLimit(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		limited(w, Limits{Messages: ratelimit.Rate{Count: 10, Per: time.Minute}})
		for i := range 30 {
			w.send("ann@home.test", rcpt(fmt.Sprintf("b@d%d.one.test", i%7)))
		}
		w.send("ann@home.test", rcpt("b@other.test"))
		synctest.Wait()
		if n := w.courier.attempts(); n != 11 {
			t.Errorf("%d at once, want 10 and the one elsewhere", n)
		}
		questions := w.questions()
		pass(time.Minute)
		if n := w.courier.attempts(); n < 20 || n > 21 {
			t.Errorf("%d after a minute", n)
		}
		pass(75 * time.Second)
		w.wantTasks(0)
		if n := questions.Load(); n > 150 {
			t.Errorf("%d questions to the queue for 20 messages", n)
		}
	})
}

func TestDailyQuota(t *testing.T) {
	budgets := NewBudgets(nil)
	run(t, times{expire: 5 * 24 * time.Hour}, func(o *Options) { o.Budgets = budgets }, func(w *world) {
		limited(w, Limits{Daily: 12})
		w.courier.set(func(_ context.Context, job Job) Outcome {
			out := all(job, accepted)
			if job.Recipients[0].To.Local == "bad" {
				out = all(job, unknown)
			}
			return out
		})
		// What is refused does not count.
		w.send("ann@home.test", rcpt("bad@one.test"))
		for range 9 {
			w.send("ann@home.test", rcpt("b@one.test"))
		}
		synctest.Wait()
		for range 3 {
			w.send("ann@home.test", rcpt("b@one.test"), rcpt("c@one.test"))
		}
		synctest.Wait()
		if n := budgets.Used("limited"); n != 12 {
			t.Errorf("%d of the quota are used", n)
		}
		left := w.wantTasks(2)
		if n := len(left[0].Recipients) + len(left[1].Recipients); n != 3 {
			t.Errorf("%d recipients are left, want 3", n)
		}
		if s := budgets.Short("limited", Limits{Daily: 12}); !s.Quota {
			t.Errorf("%v", s)
		}
		before, questions := w.courier.attempts(), w.questions()
		now := time.Now()
		pass(midnight(now).Sub(now) - time.Second)
		if n := w.courier.attempts() - before; n != 0 {
			t.Errorf("%d attempts without quota", n)
		}
		if perHour := float64(questions.Load()) / time.Since(now).Hours(); perHour > 130 {
			t.Errorf("%.0f questions an hour while there is none", perHour)
		}
		pass(time.Minute)
		w.wantTasks(0)
	})
}

// Without quota there is an end all the same, at the time that was set.
func TestExpiryWithoutQuota(t *testing.T) {
	budgets := NewBudgets(nil)
	run(t, times{expire: time.Hour}, func(o *Options) { o.Budgets = budgets }, func(w *world) {
		limited(w, Limits{Daily: 1})
		budgets.Take("limited", Limits{Daily: 1}, 1)
		w.send("ann@home.test", rcpt("b@one.test"))
		pass(time.Hour - time.Second)
		w.wantTasks(1)
		pass(time.Second)
		w.wantTasks(0)
		w.wantReports("ann", 1, "Status: 4.4.7")
		if w.courier.attempts() != 0 {
			t.Error("an attempt without quota")
		}
	})
}

// Warnings and expiry do not wait for a free place.
func TestExpiryWhileAllHangs(t *testing.T) {
	change := func(o *Options) { o.Concurrency, o.Slow = 4, 4 }
	run(t, times{warn: time.Minute, expire: 2 * time.Minute}, change, func(w *world) {
		w.courier.set(hang)
		for i := range 12 {
			w.send("ann@home.test", rcpt(fmt.Sprintf("b@hang%d.test", i)))
		}
		pass(time.Minute)
		inProgress := w.courier.attempts()
		w.wantReports("ann", 12-inProgress, "Action: delayed")
	})
}

func TestRouteMaxDeliveries(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		if err := w.routes.Replace([]Route{{Name: "narrow", Domains: []string{"*.one.test"}, MaxDeliveries: 3}}); err != nil {
			t.Fatal(err)
		}
		w.courier.set(func(_ context.Context, job Job) Outcome {
			time.Sleep(time.Second)
			return all(job, accepted)
		})
		for i := range 20 {
			w.send("ann@home.test", rcpt(fmt.Sprintf("b@d%d.one.test", i)))
		}
		pass(8 * time.Second)
		w.wantTasks(0)
		if w.courier.total != 3 {
			t.Errorf("%d at a time", w.courier.total)
		}
	})
}

// While deliveries are in progress and more wait for them, nothing is polled.
func TestNoPollingBehindABound(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(_ context.Context, job Job) Outcome {
			time.Sleep(time.Hour)
			return all(job, accepted)
		})
		for range 50 {
			w.send("ann@home.test", rcpt("b@slow.test"))
		}
		pass(time.Minute)
		questions := w.questions()
		pass(50 * time.Minute)
		// Those there are are for leases that would end if they were not extended.
		if n := questions.Load(); n > 20 {
			t.Errorf("%d questions while nothing could begin", n)
		}
	})
}

// A route's schedule is its own.
func TestScheduleOfRoute(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		s := &Schedule{Waits: []time.Duration{10 * time.Second, time.Hour}, Jitter: -1}
		if err := w.routes.Replace([]Route{{Name: "own", Domains: []string{"one.test"}, Schedule: s}}); err != nil {
			t.Fatal(err)
		}
		w.courier.set(always(busy))
		w.send("ann@home.test", rcpt("b@one.test"))
		w.send("ann@home.test", rcpt("b@other.test"))
		pass(2 * time.Hour)
		n := 0
		for _, j := range w.courier.jobs {
			if j.Domain == "one.test" {
				n++
			}
		}
		if n != 3 {
			t.Errorf("%d attempts in 2 hours, want 3: at once, after 10 s, an hour later", n)
		}
	})
}

// The next attempt after greylisting is when it was told, and the destination
// has no trouble.
func TestGreylistedRetriedSoon(t *testing.T) {
	run(t, times{}, func(o *Options) { o.Schedule = Schedule{Min: time.Hour, Jitter: -1} }, func(w *world) {
		w.courier.set(always(reply(450, [3]int{4, 2, 0}, "Greylisted for 300 seconds")))
		w.send("ann@home.test", rcpt("b@one.test"))
		synctest.Wait()
		w.courier.set(nil)
		pass(5 * time.Minute)
		w.wantTasks(1)
		pass(greylistMargin)
		w.wantTasks(0)
		for d, err := range w.Destinations() {
			t.Errorf("%+v %v", d, err)
		}
	})
}

// questions counts the claims from now on.
func (w *world) questions() *atomic.Int64 {
	var n atomic.Int64
	w.Hook(func(op spooltest.Op) error {
		if op == spooltest.OpLease {
			n.Add(1)
		}
		return nil
	})
	return &n
}

// A deadline is kept to the moment, in a back-off too.
func TestDeadlineInBackoff(t *testing.T) {
	for _, back := range []bool{true, false} {
		run(t, times{expire: 5 * 24 * time.Hour}, nil, func(w *world) {
			w.courier.set(dead)
			w.send("ann@home.test", rcpt("b@one.test"))
			pass(8 * time.Minute) // until the back-off that ends after 15 minutes
			env := mail.Envelope{From: mail.MustParseAddress("bob@home.test"), By: mail.By{At: time.Now().Add(5 * time.Minute), Return: back}}
			m, err := w.acceptor.Begin(env, []mail.Recipient{rcpt("b@one.test")})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Write([]byte(letter)); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			pass(5*time.Minute - time.Second)
			w.wantReports("bob", 0)
			pass(time.Second)
			if back {
				w.wantReports("bob", 1, "Action: failed")
				w.wantTasks(1)
			} else {
				w.wantReports("bob", 1, "Action: delayed")
				w.wantTasks(2)
			}
		})
	}
}

// A recipient that has to wait does not make the others wait, nor do they make
// it come sooner than its schedule.
func TestOneRecipientWaits(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(_ context.Context, job Job) Outcome {
			out := all(job, accepted)
			for i, r := range job.Recipients {
				if r.To.Local == "later" {
					out.Results[i] = busy
				}
			}
			return out
		})
		w.send("ann@home.test", rcpt("later@one.test"), rcpt("now@one.test"))
		w.send("ann@home.test", rcpt("now@one.test"))
		synctest.Wait()
		left := w.wantTasks(1)
		if len(left[0].Recipients) != 1 || w.courier.attempts() != 2 {
			t.Errorf("%d attempts, left %+v", w.courier.attempts(), left)
		}
		w.send("ann@home.test", rcpt("now@one.test"))
		pass(time.Minute - time.Second)
		w.wantTasks(1)
		if w.courier.attempts() != 3 {
			t.Errorf("%d attempts before it was due", w.courier.attempts())
		}
	})
}
