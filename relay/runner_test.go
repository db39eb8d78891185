package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/mail"
	"restante/spool"
	"restante/spool/spooltest"
)

// run is a test in a bubble where time stands still until all is waiting.
func run(t *testing.T, at times, change func(*Options), f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, at, change)
		w.start()
		defer func() { w.stop() }()
		synctest.Wait()
		f(w)
	})
}

// pass lets time go by, and waits until all that it brought is done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestDelivered(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		id := w.send("ann@home.test", rcpt("b@one.test"), rcpt("c@one.test"), rcpt("d@two.test"))
		synctest.Wait()
		w.wantTasks(0)
		w.wantReports("ann", 0)
		if w.courier.attempts() != 2 {
			t.Fatalf("%d attempts", w.courier.attempts())
		}
		for _, j := range w.courier.jobs {
			want := map[string]int{"one.test": 2, "two.test": 1}[j.Domain]
			if len(j.Recipients) != want || j.Task.Message != id || j.Envelope.From.Local != "ann" || j.Route.Name != DefaultRoute || j.Body.Size() != int64(len(letter)) {
				t.Errorf("job %+v", j)
			}
		}
		if _, err := w.Stat(id); !errors.Is(err, spool.ErrNotFound) {
			t.Errorf("the body is still there: %v", err)
		}
	})
}

func TestRetriesFollowTheSchedule(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(always(busy))
		began := time.Now()
		w.send("ann@home.test", rcpt("b@one.test"))
		pass(16 * time.Minute)
		task := w.wantTasks(1)[0]
		if task.Attempts != 5 || task.Recipients[0].Last != busy {
			t.Errorf("task %+v", task)
		}
		w.courier.set(nil)
		pass(16 * time.Minute)
		w.wantTasks(0)
		var at []time.Duration
		for _, x := range w.courier.at {
			at = append(at, x.Sub(began))
		}
		want := []time.Duration{0, time.Minute, 3 * time.Minute, 7 * time.Minute, 15 * time.Minute, 31 * time.Minute}
		if !slices.Equal(at, want) {
			t.Errorf("attempts at %v, want %v", at, want)
		}
	})
}

func TestPermanentFailureIsReported(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(always(unknown))
		w.send("ann@home.test", rcpt("b@one.test"), rcpt("c@one.test"))
		synctest.Wait()
		w.wantTasks(0)
		w.wantReports("ann", 1, "Final-Recipient: rfc822; b@one.test", "Final-Recipient: rfc822; c@one.test", "Action: failed", "Status: 5.1.1", "Subject: hello")
	})
}

// The report to a sender elsewhere is queued like any mail, from nobody.
func TestReportToRemoteSender(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(_ context.Context, job Job) Outcome {
			if job.Envelope.From.IsNull() {
				return all(job, greylisted)
			}
			return all(job, unknown)
		})
		w.send("someone@else.test", rcpt("b@one.test"))
		synctest.Wait()
		task := w.wantTasks(1)[0]
		if !task.Envelope.From.IsNull() || task.Recipients[0].To.String() != "someone@else.test" || task.Envelope.Client.Protocol != "report" {
			t.Errorf("task %+v", task)
		}
	})
}

func TestEachRecipientOnItsOwn(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(_ context.Context, job Job) Outcome {
			out := all(job, accepted)
			for i, r := range job.Recipients {
				switch r.To.Local {
				case "bad":
					out.Results[i] = unknown
				case "slow":
					out.Results[i] = greylisted
				}
			}
			return out
		})
		w.send("ann@home.test", rcpt("good@one.test"), rcpt("bad@one.test"), rcpt("slow@one.test"))
		synctest.Wait()
		w.wantReports("ann", 1, "Final-Recipient: rfc822; bad@one.test")
		task := w.wantTasks(1)[0]
		if len(task.Recipients) != 1 || task.Recipients[0].To.Local != "slow" {
			t.Errorf("left in the queue: %+v", task.Recipients)
		}
		w.courier.set(nil)
		pass(time.Minute)
		w.wantTasks(0)
		if last := w.courier.jobs[1]; len(last.Recipients) != 1 {
			t.Errorf("second attempt for %+v", last.Recipients)
		}
		w.wantReports("ann", 1)
	})
}

func TestExpiry(t *testing.T) {
	run(t, times{expire: 10 * time.Minute}, nil, func(w *world) {
		w.courier.set(always(greylisted))
		w.send("ann@home.test", rcpt("b@one.test"))
		pass(10*time.Minute - time.Second)
		w.wantTasks(1)
		pass(time.Second)
		w.wantTasks(0)
		w.wantReports("ann", 1, "Status: 4.4.7", "Action: failed", "451 4.7.1 greylisted")
		if w.courier.attempts() != 4 {
			t.Errorf("%d attempts", w.courier.attempts())
		}
	})
}

// Who was never tried gets one attempt before it is returned.
func TestExpiredBeforeTheFirstAttempt(t *testing.T) {
	for _, status := range []mail.Status{accepted, greylisted} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, times{expire: time.Minute}, nil)
			w.courier.set(always(status))
			w.send("ann@home.test", rcpt("b@one.test"))
			time.Sleep(time.Hour)
			w.start()
			defer w.stop()
			synctest.Wait()
			w.wantTasks(0)
			reports := 0
			if status == greylisted {
				reports = 1
			}
			w.wantReports("ann", reports)
			if w.courier.attempts() != 1 {
				t.Errorf("%d attempts", w.courier.attempts())
			}
		})
	}
}

// While its destination is known not to answer, an expired message is returned
// without another attempt, with what the destination last said.
func TestExpiredInBackoff(t *testing.T) {
	run(t, times{expire: 10 * time.Minute}, nil, func(w *world) {
		w.courier.set(dead)
		for range 20 {
			w.send("ann@home.test", rcpt("b@one.test"))
		}
		pass(9 * time.Minute)
		before := w.courier.attempts()
		pass(time.Minute)
		w.wantTasks(0)
		w.wantReports("ann", 20, "Status: 4.4.7", "connection refused")
		if n := w.courier.attempts() - before; n != 0 {
			t.Errorf("%d attempts at a dead destination", n)
		}
	})
}

func TestWarningOnce(t *testing.T) {
	run(t, times{warn: 5 * time.Minute, expire: 24 * time.Hour}, nil, func(w *world) {
		w.courier.set(dead)
		w.send("ann@home.test", rcpt("b@one.test"), mail.Recipient{To: mail.MustParseAddress("c@one.test"), Notify: mail.NotifyFailure})
		pass(5 * time.Minute)
		w.wantReports("ann", 1, "Action: delayed", "Will-Retry-Until:", "b@one.test", "connection refused")
		if strings.Contains(w.inbox("ann")[0], "c@one.test") {
			t.Error("told of a recipient whose delay was not asked for")
		}
		w.wantTasks(1)
		pass(12 * time.Hour)
		w.wantReports("ann", 1)
		pass(12 * time.Hour)
		w.wantReports("ann", 2, "Action: failed", "Status: 4.4.7")
		w.wantTasks(0)
	})
}

func TestNullSenderIsKeptAsDead(t *testing.T) {
	for _, tt := range []struct {
		name, from string
		status     mail.Status
	}{
		{"refused", "", unknown},
		{"expired", "", greylisted},
		{"sender is gone", "gone@home.test", unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, times{warn: time.Minute, expire: time.Hour}, nil, func(w *world) {
				w.courier.set(always(tt.status))
				id := w.send(tt.from, rcpt("b@one.test"))
				pass(2 * time.Hour)
				task := w.wantTasks(1)[0]
				if task.State != spool.Dead || task.ID.Message != id || task.Recipients[0].Last.Class() != mail.Permanent {
					t.Fatalf("task %+v", task)
				}
				w.wantReports("gone", 0)
				w.courier.set(nil)
				if err := w.Retry(task.ID); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				w.wantTasks(0)
			})
		})
	}
}

// A null sender's other recipients go on when one of them has failed.
func TestNullSenderPartly(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(_ context.Context, job Job) Outcome {
			out := all(job, greylisted)
			for i, r := range job.Recipients {
				if r.To.Local == "bad" {
					out.Results[i] = unknown
				}
			}
			return out
		})
		w.send("", rcpt("bad@one.test"), rcpt("slow@one.test"))
		synctest.Wait()
		if task := w.wantTasks(1)[0]; task.State != spool.Queued {
			t.Fatalf("task %+v", task)
		}
		w.courier.set(nil)
		pass(time.Minute)
		task := w.wantTasks(1)[0]
		if task.State != spool.Dead || len(task.Recipients) != 1 || task.Recipients[0].To.Local != "bad" {
			t.Errorf("task %+v", task)
		}
		if n := len(w.courier.jobs[1].Recipients); n != 1 {
			t.Errorf("%d recipients were tried again", n)
		}
	})
}

func TestNotify(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(always(unknown))
		w.send("ann@home.test", mail.Recipient{To: mail.MustParseAddress("b@one.test"), Notify: mail.NotifyNever})
		w.send("ann@home.test", mail.Recipient{To: mail.MustParseAddress("b@one.test"), Notify: mail.NotifySuccess})
		synctest.Wait()
		w.wantTasks(0)
		w.wantReports("ann", 0)
		success := mail.Recipient{To: mail.MustParseAddress("b@one.test"), Notify: mail.NotifySuccess}
		w.courier.set(nil) // which promises to report itself
		w.send("ann@home.test", success)
		synctest.Wait()
		w.wantReports("ann", 0)
		w.courier.set(func(_ context.Context, job Job) Outcome {
			out := all(job, accepted)
			out.Promised = false
			return out
		})
		w.send("ann@home.test", success)
		synctest.Wait()
		w.wantReports("ann", 1, "Action: relayed")
	})
}

// A dead destination costs one probe for each back-off, however much waits for
// it; when it answers, everything goes.
func TestDeadDestination(t *testing.T) {
	const n = 1000
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(ctx context.Context, job Job) Outcome {
			if job.Domain == "dead.test" {
				return dead(ctx, job)
			}
			return all(job, accepted)
		})
		for range n {
			w.send("ann@home.test", rcpt("b@dead.test"))
			w.send("ann@home.test", rcpt("b@alive.test"))
		}
		synctest.Wait()
		// What was under way when the first failed is not a probe.
		under := w.courier.attempts() - n
		if under > 10 {
			t.Fatalf("%d attempts at once", under)
		}
		w.wantTasks(n)
		pass(31*time.Minute + time.Second)
		if probes := w.courier.attempts() - n - under; probes != 5 {
			t.Errorf("%d probes in 31 minutes, want 5", probes)
		}
		for _, task := range w.tasks() {
			if task.Attempts != 0 {
				t.Fatalf("the destination's fault cost the task an attempt: %+v", task)
			}
		}
		w.courier.set(nil)
		pass(32 * time.Minute)
		w.wantTasks(0)
	})
}

// A message on which connections die does not keep the others from their
// destination.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, times{}, func(o *Options) { o.PerDestination = 1 })
		w.courier.set(func(ctx context.Context, job Job) Outcome {
			if job.Recipients[0].To.Local == "poison" {
				out := dead(ctx, job)
				out.Begun = true
				return out
			}
			return all(job, accepted)
		})
		poison := w.send("ann@home.test", rcpt("poison@one.test"))
		for range 5 {
			w.send("ann@home.test", rcpt("b@one.test"))
		}
		w.start()
		defer w.stop()
		pass(5 * time.Minute)
		left := w.wantTasks(1)
		if left[0].ID.Message != poison || left[0].Attempts < 2 {
			t.Errorf("left: %+v", left)
		}
	})
}

func TestConcurrency(t *testing.T) {
	change := func(o *Options) { o.Concurrency, o.PerDestination = 12, 5 }
	run(t, times{}, change, func(w *world) {
		if err := w.routes.Replace([]Route{{Name: "narrow", Domains: []string{"narrow.test"}, MaxConnections: 2}}); err != nil {
			t.Fatal(err)
		}
		var now, most atomic.Int64
		w.courier.set(func(_ context.Context, job Job) Outcome {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(100 * time.Millisecond)
			now.Add(-1)
			return all(job, accepted)
		})
		for range 30 {
			for _, d := range []string{"a", "b", "c", "narrow"} {
				w.send("ann@home.test", rcpt("x@"+d+".test"))
			}
		}
		pass(time.Minute)
		w.wantTasks(0)
		if most.Load() > 12 || most.Load() < 8 {
			t.Errorf("%d at a time", most.Load())
		}
		want := map[string]int{"mx/a.test": 5, "mx/b.test": 5, "mx/c.test": 5, "narrow/narrow.test": 2}
		for d, n := range want {
			if w.courier.most[d] > n || w.courier.most[d] == 0 {
				t.Errorf("%s: %d at a time, want at most %d", d, w.courier.most[d], n)
			}
		}
	})
}

// Waiting costs nothing: no question to the queue while nothing is due.
func TestNoPolling(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(always(greylisted))
		w.send("ann@home.test", rcpt("b@one.test"))
		synctest.Wait()
		var asked atomic.Int64
		w.Hook(func(op spooltest.Op) error {
			if op == spooltest.OpLease {
				asked.Add(1)
			}
			return nil
		})
		pass(time.Minute - time.Second)
		if asked.Load() != 0 {
			t.Errorf("asked %d times before anything was due", asked.Load())
		}
		pass(20 * time.Second)
		if n := asked.Load(); n == 0 || n > 4 {
			t.Errorf("asked %d times for one attempt", n)
		}
	})
}

// While a slow probe keeps due tasks waiting, another destination's time is
// not missed.
func TestSlowProbeStarvesNobody(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		release := make(chan struct{})
		w.courier.set(func(_ context.Context, job Job) Outcome {
			if job.Domain == "slow.test" {
				<-release
			}
			return all(job, greylisted)
		})
		for range 20 {
			w.send("ann@home.test", rcpt("b@slow.test"))
		}
		w.send("ann@home.test", rcpt("b@other.test"))
		pass(time.Minute + 2*time.Second)
		n := 0
		for _, j := range w.courier.jobs {
			if j.Domain == "other.test" {
				n++
			}
		}
		if n != 2 {
			t.Errorf("%d attempts for the other destination, want 2", n)
		}
		close(release)
	})
}

func TestRerouted(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(dead)
		for i := range 50 {
			w.send("ann@home.test", rcpt(fmt.Sprintf("b%d@one.test", i)))
		}
		synctest.Wait()
		err := w.routes.Replace([]Route{{Name: "smart", Domains: []string{"one.test"}, Kind: Smarthost, Hosts: []Host{{Name: "smart.test"}}}})
		if err != nil {
			t.Fatal(err)
		}
		w.courier.set(nil)
		before := w.courier.attempts()
		pass(time.Minute + time.Second)
		w.wantTasks(0)
		for _, j := range w.courier.jobs[before:] {
			if j.Route.Name != "smart" || j.Domain != "" {
				t.Fatalf("delivered by %+v", j.Route)
			}
		}
		if n := w.courier.attempts() - before; n != 50 {
			t.Errorf("%d attempts for 50 messages", n)
		}
	})
}

// What somebody chose a route for goes there, whatever the routes say, until
// that route is gone.
func TestPinned(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		smart := []Host{{Name: "smart.test"}}
		both := []Route{
			{Name: "smart", Domains: []string{"smart.test"}, Kind: Smarthost, Hosts: smart},
			{Name: "direct", Domains: []string{"*"}},
		}
		replace := func(routes ...Route) {
			t.Helper()
			if err := w.routes.Replace(routes); err != nil {
				t.Fatal(err)
			}
		}
		replace(both...)
		w.courier.set(dead)
		w.send("ann@home.test", rcpt("b@one.test"))
		reroute := func(to spool.Destination) {
			t.Helper()
			synctest.Wait()
			if err := w.Reroute(w.wantTasks(1)[0].ID, to); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		last := func(route, domain string, pinned bool) {
			t.Helper()
			j := w.courier.jobs[len(w.courier.jobs)-1]
			if j.Route.Name != route || j.Domain != domain {
				t.Fatalf("attempted by %q to %q, want %q to %q", j.Route.Name, j.Domain, route, domain)
			}
			if task := w.wantTasks(1)[0]; task.Pinned != pinned || task.Destination != (spool.Destination{Route: route, Domain: domain}) {
				t.Fatalf("the task is %+v", task)
			}
		}
		reroute(spool.Destination{Route: "smart"})
		last("smart", "", true)
		// By a route with no host of its own, to the host of another domain.
		reroute(spool.Destination{Route: "direct", Domain: "elsewhere.test"})
		last("direct", "elsewhere.test", true)
		// To where such a route would find one.
		reroute(spool.Destination{Route: "direct"})
		pass(2 * time.Minute)
		last("direct", "one.test", true)
		// The route has a host of its own now.
		replace(both[0], Route{Name: "direct", Domains: []string{"*"}, Kind: Smarthost, Hosts: smart})
		pass(10 * time.Minute)
		last("direct", "", true)
		replace(both[0])
		pass(time.Hour)
		last(DefaultRoute, "one.test", false)
		w.courier.set(nil)
		pass(time.Hour)
		w.wantTasks(0)
	})
}

// What was rerouted to a route that does not get it away goes, unpinned, where
// the routes say, at once, and split up as they say.
func TestUnpinned(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		if err := w.routes.Replace([]Route{
			{Name: "smart", Domains: []string{"smart.test"}, Kind: Smarthost, Hosts: []Host{{Name: "smart.test"}}},
			{Name: "both", Domains: []string{"one.test", "two.test"}, Kind: Smarthost, Hosts: []Host{{Name: "both.test"}}},
		}); err != nil {
			t.Fatal(err)
		}
		w.courier.set(dead)
		w.send("ann@home.test", rcpt("b@one.test"), rcpt("c@two.test"))
		synctest.Wait()
		id := w.wantTasks(1)[0].ID
		if err := w.Reroute(id, spool.Destination{Route: "smart"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := w.routes.Replace([]Route{{Name: "smart", Domains: []string{"*"}, Kind: Smarthost, Hosts: []Host{{Name: "smart.test"}}}, {Name: "direct", Domains: []string{"one.test", "two.test"}}}); err != nil {
			t.Fatal(err)
		}
		w.courier.set(nil)
		before := w.courier.attempts()
		if err := w.Unpin(id); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.wantTasks(0)
		var domains []string
		for _, j := range w.courier.jobs[before:] {
			domains = append(domains, j.Route.Name+"/"+j.Domain)
		}
		slices.Sort(domains)
		if got := strings.Join(domains, " "); got != "direct/one.test direct/two.test" {
			t.Errorf("delivered by %s", got)
		}
	})
}

func TestPanicInCourier(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(context.Context, Job) Outcome { panic("a bug") })
		w.send("ann@home.test", rcpt("b@one.test"))
		synctest.Wait()
		task := w.wantTasks(1)[0]
		if task.Attempts != 1 || task.Recipients[0].Last.Class() != mail.Transient || task.State != spool.Queued {
			t.Errorf("task %+v", task)
		}
		w.courier.set(nil)
		pass(time.Minute)
		w.wantTasks(0)
	})
}

// A courier that forgets recipients leaves them in the queue.
func TestShortOutcome(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(context.Context, Job) Outcome { return Outcome{Results: []mail.Status{accepted}} })
		w.send("ann@home.test", rcpt("a@one.test"), rcpt("b@one.test"))
		synctest.Wait()
		task := w.wantTasks(1)[0]
		if len(task.Recipients) != 1 || task.Recipients[0].To.Local != "b" {
			t.Errorf("task %+v", task)
		}
	})
}

func TestBodyDamaged(t *testing.T) {
	run(t, times{expire: time.Hour}, nil, func(w *world) {
		w.Fail(spool.ErrCorrupt, spooltest.OpOpen)
		w.send("ann@home.test", rcpt("b@one.test"))
		pass(time.Minute)
		if w.courier.attempts() != 0 {
			t.Error("delivered without a body")
		}
		w.wantTasks(1)
		pass(time.Hour)
		w.wantTasks(0)
		w.Fail(nil, spooltest.OpOpen)
		w.wantReports("ann", 1, "Status: 4.4.7")
	})
}

// A delivery that takes long keeps its lease.
func TestLeaseIsExtended(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(_ context.Context, job Job) Outcome {
			time.Sleep(3 * time.Hour)
			return all(job, accepted)
		})
		w.send("ann@home.test", rcpt("b@one.test"))
		pass(4 * time.Hour)
		w.wantTasks(0)
		if w.courier.attempts() != 1 {
			t.Errorf("%d attempts", w.courier.attempts())
		}
	})
}

// A lease that is lost stops the delivery.
func TestLeaseIsLost(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(ctx context.Context, job Job) Outcome {
			if w.courier.attempts() > 1 {
				return all(job, accepted)
			}
			<-ctx.Done()
			return all(job, greylisted)
		})
		w.Fail(spool.ErrStaleLease, spooltest.OpExtend)
		w.send("ann@home.test", rcpt("b@one.test"))
		pass(3 * time.Minute)
		w.wantTasks(0)
	})
}
