package relay

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/spool"
	"restante/spool/spooltest"
)

// A settlement that fails is repeated until the spool takes it: the delivery
// was made, and must not be made again.
func TestSettleFails(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.Fail(spool.ErrReadOnly, spooltest.OpSettle)
		w.send("ann@home.test", rcpt("b@one.test"))
		pass(30 * time.Minute)
		w.Fail(nil, spooltest.OpSettle)
		pass(time.Minute)
		w.wantTasks(0)
		if w.courier.attempts() != 1 {
			t.Errorf("%d attempts", w.courier.attempts())
		}
	})
}

// Nor is a report made twice for it.
func TestSettleFailsWithReport(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(always(unknown))
		var n atomic.Int64
		w.Hook(func(op spooltest.Op) error {
			if op == spooltest.OpSettle && n.Add(1) <= 4 {
				return errors.New("injected")
			}
			return nil
		})
		w.send("ann@home.test", rcpt("b@one.test"))
		pass(time.Minute)
		w.wantTasks(0)
		w.wantReports("ann", 1)
	})
}

// A settlement whose outcome is unknown is not repeated if it was recorded.
func TestSettleUncertain(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(always(unknown))
		w.Fail(fmt.Errorf("injected: %w", spool.ErrUncertain), spooltest.OpSettled)
		w.send("ann@home.test", rcpt("b@one.test"))
		pass(time.Minute)
		w.wantTasks(0)
		w.wantReports("ann", 1)
		if w.courier.attempts() != 1 {
			t.Errorf("%d attempts", w.courier.attempts())
		}
	})
}

// While a bounce cannot be made, the recipient stays; the others end.
func TestReportCannotBeMade(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(_ context.Context, job Job) Outcome {
			out := all(job, unknown)
			if len(job.Recipients) > 1 {
				out.Results[0] = accepted
			}
			return out
		})
		w.send("ann@home.test", rcpt("good@one.test"), rcpt("bad@one.test"))
		w.Fail(spool.ErrFull, spooltest.OpCreate)
		pass(time.Second)
		task := w.wantTasks(1)[0]
		if len(task.Recipients) != 1 || task.Recipients[0].To.Local != "bad" || task.State != spool.Queued {
			t.Fatalf("task %+v", task)
		}
		w.Fail(nil, spooltest.OpCreate)
		pass(time.Minute)
		w.wantTasks(0)
		w.wantReports("ann", 1, "bad@one.test")
	})
}

// The same at expiry and for a warning, where the task would come back at once.
func TestTimersWhileReportsCannotBeMade(t *testing.T) {
	run(t, times{warn: 2 * time.Minute, expire: 20 * time.Minute}, nil, func(w *world) {
		w.courier.set(always(greylisted))
		w.send("ann@home.test", rcpt("b@one.test"))
		synctest.Wait()
		var made atomic.Int64
		w.Hook(func(op spooltest.Op) error {
			if op == spooltest.OpCreate {
				made.Add(1)
				return spool.ErrFull
			}
			return nil
		})
		pass(40 * time.Minute)
		w.wantTasks(1)
		w.wantReports("ann", 0)
		if n := made.Load(); n < 10 || n > 60 {
			t.Errorf("a report was tried %d times in 38 minutes", n)
		}
		w.Hook(nil)
		pass(2 * time.Minute)
		w.wantTasks(0)
		w.wantReports("ann", 1, "Action: failed")
	})
}

func TestLeaseFails(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		var asked atomic.Int64
		w.Hook(func(op spooltest.Op) error {
			if op == spooltest.OpLease {
				asked.Add(1)
				return errors.New("injected")
			}
			return nil
		})
		w.send("ann@home.test", rcpt("b@one.test"))
		pass(10 * time.Minute)
		if n := asked.Load(); n < 5 || n > 40 {
			t.Errorf("asked %d times in 10 minutes", n)
		}
		w.Hook(nil)
		pass(time.Minute)
		w.wantTasks(0)
	})
}

// Run returns an error when the queue is closed under it.
func TestQueueClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, times{}, nil)
		w.Close()
		if err := w.runner.Run(context.Background()); !errors.Is(err, spool.ErrClosed) {
			t.Errorf("error %v", err)
		}
	})
}

// The end of Run lets deliveries end that can.
func TestStopWaits(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(_ context.Context, job Job) Outcome {
			time.Sleep(5 * time.Second)
			return all(job, accepted)
		})
		w.send("ann@home.test", rcpt("b@one.test"))
		synctest.Wait()
		w.stop()
		w.wantTasks(0)
	})
}

// Those that cannot are given back as if nothing had been tried.
func TestStopBreaksOff(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(ctx context.Context, job Job) Outcome {
			<-ctx.Done()
			out := dead(ctx, job)
			out.Begun = true
			return out
		})
		w.send("ann@home.test", rcpt("b@one.test"))
		synctest.Wait()
		began := time.Now()
		w.stop()
		if took := time.Since(began); took != 15*time.Second {
			t.Errorf("stopping took %v", took)
		}
		task := w.wantTasks(1)[0]
		if task.State != spool.Queued || task.Attempts != 0 || task.Due.After(began) {
			t.Errorf("task %+v", task)
		}
		for d := range w.Destinations() {
			t.Errorf("destination in back-off: %+v", d)
		}
	})
}

// A spool that takes nothing any more does not keep the daemon from ending.
func TestStopWhileSettleFails(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.Fail(spool.ErrReadOnly, spooltest.OpSettle)
		w.send("ann@home.test", rcpt("b@one.test"))
		pass(time.Minute)
		began := time.Now()
		w.stop()
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("stopping took %v", took)
		}
	})
}

// An engine may come across a destination twice in one claim, when something
// is committed meanwhile; the bound holds all the same.
func TestAllowAskedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, times{}, func(o *Options) { o.PerDestination = 7 })
		allow := w.runner.newClaim().allow
		d := spool.DestinationInfo{Destination: spool.Destination{Route: "mx", Domain: "a.test"}}
		if first, second := allow(d), allow(d); first != firstWindow || second != 0 {
			t.Errorf("allowed %d, then %d", first, second)
		}
	})
}
