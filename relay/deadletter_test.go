package relay

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/accept"
	"restante/internal/archive"
	"restante/internal/mail"
	"restante/spool"
	"restante/spool/spooltest"
)

// graveyard gives a runner a place for dead letters.
func graveyard(o *Options) { o.DeadLetters = mail.MustParseAddress("admin@home.test") }

// letters are the dead letters there are.
func (w *world) letters(n int, words ...string) []string {
	w.Helper()
	list := w.mailbox("admin", archive.DeadLetters)
	if len(list) != n {
		w.Fatalf("%d dead letters, want %d:\n%s", len(list), n, strings.Join(list, "\n=====\n"))
	}
	for _, word := range words {
		if !strings.Contains(list[n-1], word) {
			w.Errorf("the dead letter has no %q:\n%s", word, list[n-1])
		}
	}
	return list
}

func TestDeadLetter(t *testing.T) {
	forged := mail.Envelope{From: mail.MustParseAddress("eve@two.test"), Unverified: true}
	for _, c := range []struct {
		name string
		env  mail.Envelope
		says string
	}{
		{"null sender", mail.Envelope{}, "it has no sender"},
		{"the sender is gone", mail.Envelope{From: mail.MustParseAddress("gone@home.test"), Ret: mail.ReturnHeaders}, "and its sender"},
		{"the sender seems to be forged", forged, "seems to be forged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, times{}, graveyard, func(w *world) {
				w.courier.set(always(unknown))
				id := w.sendAs(c.env, asking("b@one.test", mail.NotifyFailure|mail.NotifySuccess))
				synctest.Wait()
				w.wantTasks(0)
				list := w.letters(1, c.says, letter, "message/rfc822", "Action: failed", "no such user", "Subject: Dead letter to b@one.test")
				kept, err := archive.Parse([]byte(list[0]))
				if err != nil {
					t.Fatal(err)
				}
				r := kept.Recipients[0]
				if kept.Message != id || kept.Envelope.From != c.env.From || kept.Envelope.Ret != c.env.Ret || r.To.String() != "b@one.test" ||
					r.Original != "rfc822;you-wrote@example" || r.Notify != mail.NotifyFailure|mail.NotifySuccess || r.Reason != unknown.String() {
					t.Errorf("kept is %+v", kept)
				}
			})
		})
	}
}

// A bounce that bounces is a dead letter, once, and nothing else comes of it.
func TestDoubleBounce(t *testing.T) {
	run(t, times{}, graveyard, func(w *world) {
		w.courier.set(always(unknown))
		w.send("eve@two.test", rcpt("b@one.test"))
		pass(time.Hour)
		w.wantTasks(0)
		w.letters(1, "Final-Recipient: rfc822; eve@two.test", "Not delivered to b@one.test", letter[:strings.Index(letter, "\r\n\r\n")])
	})
}

// The dead letter is durable with the end of its recipients, and is there once,
// however often the spool fails.
func TestDeadLetterOnce(t *testing.T) {
	run(t, times{}, graveyard, func(w *world) {
		w.courier.set(always(unknown))
		var n atomic.Int64
		w.send("", rcpt("b@one.test"), rcpt("c@one.test"))
		w.Hook(func(op spooltest.Op) error {
			if op == spooltest.OpSettle && n.Add(1) <= 4 {
				return errors.New("injected")
			}
			return nil
		})
		pass(24 * time.Hour)
		w.wantTasks(0)
		w.letters(1, "b@one.test", "c@one.test")
	})
	run(t, times{}, graveyard, func(w *world) {
		w.courier.set(always(unknown))
		w.Fail(spool.ErrUncertain, spooltest.OpSettled)
		w.send("", rcpt("b@one.test"))
		pass(time.Hour)
		w.wantTasks(0)
		w.letters(1)
	})
}

// With no room for it the task stays, and is a dead letter when there is.
func TestDeadLetterWaitsForRoom(t *testing.T) {
	for _, op := range []spooltest.Op{spooltest.OpCreate, spooltest.OpArrange, spooltest.OpWrite} {
		run(t, times{}, graveyard, func(w *world) {
			w.courier.set(always(unknown))
			w.send("", rcpt("b@one.test"))
			w.Fail(spool.ErrFull, op)
			pass(12 * time.Hour)
			w.Fail(nil, op)
			if list := w.wantTasks(1); list[0].Recipients[0].Last != unknown {
				t.Errorf("%s: %+v", op, list[0])
			}
			pass(5 * time.Hour)
			w.wantTasks(0)
			w.letters(1)
		})
	}
}

// Where there is no account for dead letters they stay in the queue.
func TestNoPlaceForDeadLetters(t *testing.T) {
	for _, address := range []string{"gone@home.test", "moved@home.test"} {
		run(t, times{}, func(o *Options) { o.DeadLetters = mail.MustParseAddress(address) }, func(w *world) {
			w.courier.set(always(unknown))
			w.send("", rcpt("b@one.test"))
			pass(time.Hour)
			if list := w.wantTasks(1); list[0].State != spool.Dead {
				t.Errorf("%+v", list[0])
			}
		})
	}
}

// A mailbox that is deleted comes back with the next dead letter.
func TestDeadLetterMailboxDeleted(t *testing.T) {
	run(t, times{}, graveyard, func(w *world) {
		w.courier.set(always(unknown))
		w.send("", rcpt("b@one.test"))
		synctest.Wait()
		w.letters(1)
		if err := w.DeleteMailbox("admin", archive.DeadLetters); err != nil {
			t.Fatal(err)
		}
		w.send("", rcpt("c@one.test"))
		synctest.Wait()
		w.letters(1, "c@one.test")
		if subs, err := w.Subscriptions("admin"); err != nil || len(subs) != 1 {
			t.Errorf("subscriptions %v, %v", subs, err)
		}
	})
}

// Nothing is said to who seems to be forged: no warning, no notice, no bounce.
func TestForgedSenderHearsNothing(t *testing.T) {
	run(t, times{warn: time.Hour, expire: 24 * time.Hour}, graveyard, func(w *world) {
		w.courier.set(func(_ context.Context, job Job) Outcome {
			out := all(job, greylisted)
			if job.Domain == "two.test" {
				out = all(job, accepted)
				out.Promised = false
			}
			return out
		})
		env := mail.Envelope{From: mail.MustParseAddress("ann@home.test"), Unverified: true}
		w.sendAs(env, asking("b@one.test", mail.NotifyDelay|mail.NotifyFailure), asking("c@two.test", mail.NotifySuccess), asking("bob@home.test", mail.NotifySuccess))
		pass(25 * time.Hour)
		w.wantTasks(0)
		w.wantReports("ann", 0)
		w.letters(1, "Final-Recipient: rfc822; b@one.test", "Status: 4.4.7")
	})
}

func TestArchiveCopyToAnAddress(t *testing.T) {
	rules := []archive.Rule{{Name: "all", To: mail.MustParseAddress("journal@vault.test"), Directions: archive.Out}}
	run(t, times{archive: rules}, graveyard, func(w *world) {
		var copies []string
		w.courier.set(func(_ context.Context, job Job) Outcome {
			if job.Domain == "vault.test" {
				b := make([]byte, job.Body.Size())
				job.Body.ReadAt(b, 0)
				copies = append(copies, string(b))
				if !job.Envelope.From.IsNull() {
					t.Errorf("copy from %s", job.Envelope.From)
				}
				return all(job, unknown)
			}
			return all(job, accepted)
		})
		var n atomic.Int64
		w.Hook(func(op spooltest.Op) error {
			if op == spooltest.OpSettle && n.Add(1) <= 3 {
				return errors.New("injected")
			}
			return nil
		})
		m, err := w.acceptor.Submit(accept.Submission{
			Envelope: ann(), Recipients: []mail.Recipient{rcpt("b@one.test"), rcpt("hidden@one.test"), rcpt("bob@home.test")}, Trusted: true, Complete: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		m.Write([]byte(letter))
		receipt, err := m.Commit(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		w.wantTasks(0)
		if len(copies) != 1 {
			t.Fatalf("%d copies", len(copies))
		}
		kept, err := archive.Parse([]byte(copies[0]))
		if err != nil || !strings.Contains(copies[0], "Subject: hello\r\n") || !strings.HasSuffix(copies[0], "\r\n\r\na few words\r\n") {
			t.Fatalf("%v:\n%s", err, copies[0])
		}
		if kept.Message != receipt.ID || len(kept.Recipients) != 3 || kept.Recipients[1].To.Local != "hidden" ||
			kept.Recipients[0].Route != DefaultRoute || kept.Recipients[2].Route != archive.LocalRoute {
			t.Errorf("%+v", kept)
		}
		// The sender hears nothing of the copy's fate; the administrator does.
		w.wantReports("ann", 0)
		w.letters(1, "Final-Recipient: rfc822; journal@vault.test")
	})
}

// What is asked of an address with several behind it (RFC 3461 section 5.2.7).
func TestNoticesOfAliases(t *testing.T) {
	for _, c := range []struct {
		to      string
		action  string
		reports int
		passed  mail.Notify // what dora's mail system is asked for
	}{
		{"team@home.test", "expanded", 1, mail.NotifyFailure},
		{"list@home.test", "delivered", 1, 0},
		{"moved@home.test", "relayed", 1, mail.NotifyFailure | mail.NotifySuccess},
	} {
		t.Run(c.to, func(t *testing.T) {
			run(t, times{}, nil, func(w *world) {
				var asked mail.Notify
				w.courier.set(func(_ context.Context, job Job) Outcome {
					out := all(job, accepted)
					out.Promised, asked = false, job.Recipients[0].Notify
					return out
				})
				w.sendAs(ann(), asking(c.to, mail.NotifySuccess|mail.NotifyFailure))
				pass(time.Hour)
				w.wantTasks(0)
				w.wantReports("ann", c.reports, "Action: "+c.action)
				if asked != c.passed {
					t.Errorf("asked for %b on, want %b", asked, c.passed)
				}
			})
		})
	}
}

// A notice that cannot be made with the delivery is made later, and once.
func TestNoticeOfRelayingIsKept(t *testing.T) {
	run(t, times{warn: time.Hour, expire: 24 * time.Hour}, nil, func(w *world) {
		w.courier.set(func(_ context.Context, job Job) Outcome {
			out := all(job, accepted)
			out.Promised = false
			w.Fail(spool.ErrFull, spooltest.OpCreate)
			return out
		})
		w.sendAs(ann(), asking("b@one.test", mail.NotifySuccess))
		pass(2 * time.Hour)
		w.wantReports("ann", 0)
		w.wantTasks(1)
		w.Fail(nil, spooltest.OpCreate)
		pass(48 * time.Hour)
		w.wantTasks(0)
		w.wantReports("ann", 1, "Action: relayed", "b@one.test")
		if w.courier.attempts() != 1 {
			t.Errorf("%d attempts", w.courier.attempts())
		}
	})
}

// For one reason there is one report, whatever comes together: a warning and
// the expiry, an expiry and a refusal, several behind one address.
func TestNeverTwoForOneReason(t *testing.T) {
	run(t, times{warn: time.Hour, expire: time.Hour}, nil, func(w *world) {
		w.courier.set(dead)
		w.send("ann@home.test", rcpt("b@one.test"))
		pass(3 * time.Hour)
		w.wantTasks(0)
		w.wantReports("ann", 1, "Action: failed", "Status: 4.4.7")
	})
	run(t, times{warn: time.Hour, expire: 6 * time.Hour}, nil, func(w *world) {
		w.courier.set(always(greylisted))
		w.send("ann@home.test", rcpt("b@one.test"))
		pass(5 * time.Hour)
		w.wantReports("ann", 1, "Action: delayed", "Will-Retry-Until: ")
		pass(5 * time.Hour)
		w.wantReports("ann", 2, "Action: failed") // another reason
	})
	run(t, times{expire: time.Hour}, nil, func(w *world) {
		w.courier.set(func(_ context.Context, job Job) Outcome {
			out := all(job, greylisted)
			if len(out.Results) > 1 {
				out.Results[1] = unknown
			}
			return out
		})
		w.send("ann@home.test", rcpt("late@one.test"), rcpt("bad@one.test"))
		pass(3 * time.Hour)
		list := w.inbox("ann")
		if len(list) != 2 || strings.Contains(list[0], "late@") || strings.Contains(list[1], "bad@") {
			t.Errorf("%d reports:\n%s", len(list), strings.Join(list, "\n=====\n"))
		}
	})
	run(t, times{}, nil, func(w *world) {
		w.courier.set(always(unknown))
		w.send("ann@home.test", rcpt("team@home.test"), rcpt("moved@home.test"), rcpt("dora@one.test"))
		pass(time.Hour)
		w.wantReports("ann", 1, "dora@one.test")
	})
}
