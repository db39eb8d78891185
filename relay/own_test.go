package relay

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/spool/spooltest"
)

// sendAs puts a message with an envelope into the spool.
func (w *world) sendAs(env mail.Envelope, rcpts ...mail.Recipient) mail.ID {
	w.Helper()
	m, err := w.acceptor.Begin(env, rcpts)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := m.Write([]byte(letter)); err != nil {
		w.Fatal(err)
	}
	receipt, err := m.Commit(context.Background())
	if err != nil {
		w.Fatal(err)
	}
	return receipt.ID
}

func asking(address string, n mail.Notify) mail.Recipient {
	r := rcpt(address)
	r.Notify, r.Original = n, "rfc822;you-wrote@example"
	return r
}

func ann() mail.Envelope {
	return mail.Envelope{From: mail.MustParseAddress("ann@home.test"), EnvID: "QQ 314159"}
}

func TestNoticeOfDeposit(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.sendAs(ann(), asking("bob@home.test", mail.NotifySuccess), asking("carl@home.test", mail.NotifyFailure))
		synctest.Wait()
		w.wantTasks(0)
		w.wantReports("ann", 1, "Subject: Delivered: your mail to bob@home.test", "Action: delivered", "Status: 2.1.5", "Original-Envelope-Id: QQ 314159",
			"Original-Recipient: rfc822; you-wrote@example", "Final-Recipient: rfc822; bob@home.test", "put into the mailbox of this recipient")
		if strings.Contains(w.inbox("ann")[0], "carl") {
			t.Error("the report tells of who did not ask for it")
		}
		if len(w.inbox("bob")) != 1 || len(w.inbox("carl")) != 1 {
			t.Error("the deposits were not made once")
		}
	})
}

// The notice is certain: while the spool refuses it, it waits.
func TestNoticeIsKept(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.sendAs(ann(), asking("bob@home.test", mail.NotifySuccess))
		w.Fail(context.DeadlineExceeded, spooltest.OpCreate)
		synctest.Wait()
		pass(10 * time.Minute)
		w.wantReports("ann", 0)
		w.wantTasks(1)
		w.Fail(nil, spooltest.OpCreate)
		pass(5 * time.Minute)
		w.wantReports("ann", 1, "Action: delivered")
		w.wantTasks(0)
	})
}

func TestNoticeToNobody(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		env := ann()
		env.From = mail.MustParseAddress("gone@home.test")
		w.sendAs(env, asking("bob@home.test", mail.NotifySuccess))
		synctest.Wait()
		w.wantTasks(0)
	})
}

func TestHeldMailIsReleased(t *testing.T) {
	run(t, times{expire: 24 * time.Hour}, nil, func(w *world) {
		env := ann()
		env.HoldUntil = time.Now().Add(72 * time.Hour)
		w.sendAs(env, asking("bob@home.test", mail.NotifySuccess), rcpt("carl@home.test"), rcpt("d@one.test"))
		pass(71 * time.Hour)
		if len(w.inbox("bob"))+len(w.inbox("carl"))+w.courier.attempts() != 0 {
			t.Fatal("released too early")
		}
		w.wantTasks(2)
		pass(time.Hour)
		w.wantTasks(0)
		if len(w.inbox("bob")) != 1 || len(w.inbox("carl")) != 1 || w.courier.attempts() != 1 {
			t.Errorf("bob %d, carl %d, %d attempts", len(w.inbox("bob")), len(w.inbox("carl")), w.courier.attempts())
		}
		if got := w.inbox("bob")[0]; !strings.HasSuffix(got, letter) {
			t.Errorf("bob got %q", got)
		}
		w.wantReports("ann", 1, "Action: delivered", "bob@home.test", "Original-Envelope-Id: QQ 314159")
	})
}

// leaving is an acceptor in a house that somebody has left.
type leaving struct {
	Reports
	left mail.Address
}

func (l leaving) Begin(env mail.Envelope, rcpts []mail.Recipient) (*accept.Message, error) {
	for _, r := range rcpts {
		if r.To == l.left {
			return nil, mail.ErrNoSuchUser
		}
	}
	return l.Reports.Begin(env, rcpts)
}

func TestHeldForWhoHasLeft(t *testing.T) {
	change := func(o *Options) { o.Reports = leaving{o.Reports, mail.MustParseAddress("leaver@home.test")} }
	run(t, times{}, change, func(w *world) {
		env := ann()
		env.HoldUntil = time.Now().Add(time.Hour)
		w.sendAs(env, rcpt("leaver@home.test"), rcpt("bob@home.test"))
		pass(time.Hour)
		w.wantTasks(0)
		w.wantReports("ann", 1, "Action: failed", "leaver@home.test", "Status: 5.1.1")
		if len(w.inbox("bob")) != 1 {
			t.Errorf("bob has %d", len(w.inbox("bob")))
		}
	})
}

// A release that cannot be stored is tried again.
func TestReleaseIsRetried(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		env := ann()
		env.HoldUntil = time.Now().Add(time.Hour)
		w.sendAs(env, rcpt("bob@home.test"))
		w.Fail(context.DeadlineExceeded, spooltest.OpCreate)
		pass(90 * time.Minute)
		w.wantTasks(1)
		w.Fail(nil, spooltest.OpCreate)
		pass(5 * time.Hour)
		w.wantTasks(0)
		if len(w.inbox("bob")) != 1 {
			t.Errorf("bob has %d", len(w.inbox("bob")))
		}
	})
}

// RFC 2852: R gives the message back when its time is over, without another
// attempt; N tells the sender, and goes on.
func TestDeliverBy(t *testing.T) {
	run(t, times{expire: 24 * time.Hour}, nil, func(w *world) {
		w.courier.set(always(greylisted))
		env := ann()
		env.By = mail.By{At: time.Now().Add(30 * time.Minute), Return: true}
		w.sendAs(env, rcpt("b@one.test"))
		pass(29 * time.Minute)
		w.wantTasks(1)
		n := w.courier.attempts()
		pass(time.Minute)
		w.wantTasks(0)
		w.wantReports("ann", 1, "Action: failed", "Status: 4.4.7")
		if w.courier.attempts() != n {
			t.Error("tried when the time was over")
		}
	})
	run(t, times{expire: 24 * time.Hour}, nil, func(w *world) {
		w.courier.set(always(greylisted))
		env := ann()
		env.By = mail.By{At: time.Now().Add(30 * time.Minute)}
		w.sendAs(env, rcpt("b@one.test"))
		pass(29 * time.Minute)
		w.wantReports("ann", 0)
		pass(time.Minute)
		w.wantReports("ann", 1, "Action: delayed")
		w.wantTasks(1)
	})
}

// Who asked by when hears of it if the next hop does not know of deadlines, or
// if a trace was asked for; unless he asked never to hear.
func TestPassedOnWithADeadline(t *testing.T) {
	for _, c := range []struct {
		name    string
		trace   bool
		untimed bool
		notify  mail.Notify
		want    int
	}{
		{"the next hop does as well", false, false, 0, 0},
		{"the next hop does not", false, true, 0, 1},
		{"a trace", true, false, 0, 1},
		{"never", true, true, mail.NotifyNever, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, times{}, nil, func(w *world) {
				w.courier.set(func(_ context.Context, job Job) Outcome {
					out := all(job, accepted)
					out.Promised, out.Untimed = true, c.untimed
					return out
				})
				env := ann()
				env.By = mail.By{At: time.Now().Add(time.Hour), Trace: c.trace}
				w.sendAs(env, asking("b@one.test", c.notify))
				synctest.Wait()
				w.wantReports("ann", c.want)
				if c.want > 0 {
					w.wantReports("ann", c.want, "Action: relayed", "to be delivered by")
				}
			})
		})
	}
}

// RFC 8689 section 5: a report of what had to go by TLS has to as well, and
// has none of the text.
func TestReportOfRequireTLS(t *testing.T) {
	run(t, times{}, nil, func(w *world) {
		w.courier.set(func(_ context.Context, job Job) Outcome {
			if job.Domain == "one.test" {
				return all(job, unknown)
			}
			if !job.Envelope.RequireTLS {
				t.Error("the report may go in the clear")
			}
			return all(job, accepted)
		})
		env := mail.Envelope{From: mail.MustParseAddress("eve@two.test"), RequireTLS: true, Ret: mail.ReturnFull}
		w.sendAs(env, rcpt("b@one.test"))
		synctest.Wait()
		if w.courier.attempts() != 2 {
			t.Fatalf("%d attempts", w.courier.attempts())
		}
		w.wantTasks(0)
	})
	run(t, times{}, nil, func(w *world) {
		w.courier.set(always(unknown))
		env := ann()
		env.RequireTLS, env.Ret = true, mail.ReturnFull
		w.sendAs(env, rcpt("b@one.test"))
		synctest.Wait()
		w.wantReports("ann", 1, "Subject: hello")
		if strings.Contains(w.inbox("ann")[0], "a few words") {
			t.Error("the report has the text")
		}
	})
}

// The destinations of our own are no routes, and none can be named so.
func TestOwnDestinations(t *testing.T) {
	for _, name := range []string{accept.LocalRoute, accept.NoticeRoute} {
		if _, err := NewRoutes([]Route{{Name: name, Domains: []string{"x.test"}}}); err == nil {
			t.Errorf("a route can be called %q", name)
		}
	}
}
