package relay

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// plot is a story in short, without its first event, which is accept's: what
// happened, how long after the beginning, to whom, by which host.
func (w *world) plot(id mail.ID) string {
	w.Helper()
	s, err := w.Story(id)
	if err != nil {
		w.Fatal(err)
	}
	var list []string
	for _, e := range s.Events[1:] {
		text := e.At.Sub(s.Arrived).String() + " " + string(e.Kind)
		for _, to := range e.To {
			text += " " + to.Local
		}
		if e.Host != "" {
			text += " by " + e.Host
		}
		list = append(list, text)
	}
	return strings.Join(list, "; ")
}

func (w *world) wantPlot(id mail.ID, want string) {
	w.Helper()
	if got := w.plot(id); got != want {
		w.Errorf("the story is\n%s\nwant\n%s", got, want)
	}
}

// by is an outcome of contacts, of which the last decides.
func by(job Job, s mail.Status, contacts ...Contact) Outcome {
	out := all(job, s)
	for i := range contacts {
		contacts[i].Began = time.Now()
	}
	out.Contacts = contacts
	return out
}

func TestStoryOfAnAttempt(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		n := 0
		w.courier.set(func(_ context.Context, job Job) Outcome {
			if n++; n == 1 {
				return by(job, greylisted,
					Contact{Host: "mx1", Addr: "192.0.2.1:25", Status: refused, Took: time.Second},
					Contact{Host: "mx", Addr: "192.0.2.2:25", TLS: "TLS 1.3", Verified: "DANE", Status: greylisted, Took: time.Minute})
			}
			return by(job, accepted, Contact{Host: "mx", Status: accepted, QueueID: "4Zx1"})
		})
		id := w.send("ann@home.test", rcpt("a@x.test"), rcpt("b@x.test"))
		synctest.Wait()
		w.wantPlot(id, "0s queued a b; 0s tried by mx1; 0s deferred a b by mx")
		s, _ := w.Story(id)
		e := s.Events[len(s.Events)-1]
		if e.Addr != "192.0.2.2:25" || e.TLS != "TLS 1.3" || e.Verified != "DANE" || e.Took != time.Minute || e.Attempt != 1 ||
			e.Status != greylisted || !e.Due.Equal(s.Arrived.Add(time.Minute)) {
			t.Errorf("the first attempt: %+v", e)
		}
		time.Sleep(time.Hour)
		w.wantPlot(id, "0s queued a b; 0s tried by mx1; 0s deferred a b by mx; 1m0s delivered a b by mx")
		if s, _ = w.Story(id); s.Open || s.MessageID != "1@home.test" || s.Recipients[0].QueueID != "4Zx1" || s.Recipients[0].State != spool.StateDelivered {
			t.Errorf("the story at its end: %+v", s)
		}
	})
}

// Each recipient has its own end, told with the host that decided upon it.
func TestStoryOfEach(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(_ context.Context, job Job) Outcome {
			out := by(job, accepted, Contact{Host: "one", Status: greylisted}, Contact{Host: "two", Status: accepted})
			out.Results[1] = mail.Status{Code: 550, Text: "no", Remote: "one [192.0.2.1]"}
			return out
		})
		id := w.send("ann@home.test", rcpt("a@x.test"), rcpt("b@x.test"), asking("c@x.test", mail.NotifyNever))
		synctest.Wait()
		w.wantPlot(id, "0s queued a b c; 0s delivered a c by two; 0s bounced b by one")
		s, _ := w.Story(id)
		report, err := w.Story(s.Events[3].Ref)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintln(report.Events[0].Text, report.Events[1].Kind, report.From.IsNull(), report.MessageID != ""); got != "report deposited true true\n" {
			t.Errorf("the report's story: %s", got)
		}
	})
}

func TestStoryOfExpiry(t *testing.T) {
	run(t, times{warn: time.Hour, expire: 2 * time.Hour}, func(o *Options) { o.Schedule = Schedule{Min: 90 * time.Minute, Jitter: -1} }, func(w *world) {
		w.courier.set(always(busy))
		id := w.send("ann@home.test", rcpt("a@x.test"))
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		w.wantPlot(id, "0s queued a; 0s deferred a; 1h0m0s warned a; 1h30m0s deferred a; 2h0m0s bounced a")
		s, _ := w.Story(id)
		if e := s.Events[5]; !strings.Contains(e.Status.Text, "expired") || e.Ref.IsZero() || e.Attempt != 0 {
			t.Errorf("the expiry: %+v", e)
		}
	})
}

func TestStoryOfTheUnreturnable(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(always(unknown))
		id := w.send("", rcpt("a@x.test"))
		synctest.Wait()
		w.wantPlot(id, "0s queued a; 0s dead a")
		if s, _ := w.Story(id); !s.Open || s.Recipients[0].State != "dead" {
			t.Errorf("the recipient: %+v", s.Recipients[0])
		}
	})
}

// Mail that is held back for somebody here goes on as another message.
func TestStoryOfReleasedMail(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		env := ann()
		env.HoldUntil = time.Now().Add(time.Hour)
		id := w.sendAs(env, rcpt("bob@home.test"))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		w.wantPlot(id, "0s queued bob; 1h0m0s released as bob")
		s, _ := w.Story(id)
		next, err := w.Story(s.Events[2].Ref)
		if err != nil || next.Recipients[0].State != spool.StateDeposited || s.Recipients[0].State != spool.StateReleased {
			t.Errorf("it went on as %+v, %v", next, err)
		}
	})
}

// A notice of a deposit leaves the recipient where it is.
func TestStoryOfNotice(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		id := w.sendAs(ann(), asking("bob@home.test", mail.NotifySuccess))
		synctest.Wait()
		w.wantPlot(id, "0s deposited bob; 0s queued bob; 0s deposited bob")
		if s, _ := w.Story(id); s.Open || s.Recipients[0].State != spool.StateDeposited || s.Events[3].Ref.IsZero() {
			t.Errorf("the story: %+v", s)
		}
	})
}

func TestStoryOfReroute(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(always(greylisted))
		id := w.send("ann@home.test", rcpt("a@x.test"))
		synctest.Wait()
		if err := w.routes.Replace([]Route{{Name: "smart", Domains: []string{"x.test"}, Kind: Smarthost, Hosts: []Host{{Name: "hop"}}}}); err != nil {
			t.Fatal(err)
		}
		w.courier.set(always(accepted))
		time.Sleep(time.Hour)
		w.wantPlot(id, "0s queued a; 0s deferred a; 1m0s rerouted a; 1m0s queued a; 1m0s delivered a")
		if s, _ := w.Story(id); s.Recipients[0].Destination != "smart" {
			t.Errorf("the recipient: %+v", s.Recipients[0])
		}
	})
}
