package relay

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// verdict is what is to become of a lease, before the reports it calls for
// are made: those who are to be told of stay without an end until they are.
type verdict struct {
	spool.Settlement
	// failed are the recipients whose failure the sender must be told of,
	// passed those whose delivery he asked to be told of, late those whose
	// delay he has to know.
	failed, passed, late []int
	// noticed are those of whose success here he asked to be told, released
	// those who are to have the message now, archived those of a copy; see
	// own.go.
	noticed, released, archived []int
	// last is what was last said of each recipient, for the reports.
	last []mail.Status
	// tried tells whose attempt was now.
	tried bool
	// For the story: attempted are those recipients, ascending, contacts the
	// hosts that were turned to, refs the messages that compose makes.
	attempted []int
	contacts  []Contact
	refs      *refs
}

// deliver has the courier make an attempt. A panic in it costs this attempt.
func (r *Runner) deliver(ctx context.Context, routes *table, l spool.Lease, tried []int) (out Outcome) {
	defer func() {
		if p := recover(); p != nil {
			r.opt.Logger.Error("panic in a delivery", append(attrs(l), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))...)
			out = ownFault(len(tried), "internal fault while delivering")
		}
	}()
	body, err := r.opt.Bodies.OpenBody(l.Task.ID.Message)
	if err != nil {
		r.opt.Logger.Error("message cannot be read", append(attrs(l), "error", err)...)
		return ownFault(len(tried), "the stored message cannot be read")
	}
	defer body.Close()
	route := routes.names[l.Task.Destination.Route]
	if route == nil {
		// The recipients would have been rerouted, had the header been readable.
		return ownFault(len(tried), "there is no route "+l.Task.Destination.Route)
	}
	job := Job{
		Task:     l.Task.ID,
		Route:    route,
		Domain:   l.Task.Destination.Domain,
		Envelope: l.Task.Envelope,
		Body:     body,
	}
	for _, i := range tried {
		job.Recipients = append(job.Recipients, l.Task.Recipients[i].Recipient)
	}
	job.Sign = r.signer(&job)
	if err := r.rewrite(ctx, &job); err != nil {
		r.opt.Logger.Error("message cannot be rewritten for its route", append(attrs(l), "error", err)...)
		return ownFault(len(tried), "the message cannot be rewritten for its route")
	}
	return r.opt.Courier.Deliver(ctx, job)
}

// ownFault is an outcome that says nothing of the destination.
func ownFault(n int, text string) Outcome {
	out := Outcome{Results: make([]mail.Status, n)}
	for i := range out.Results {
		out.Results[i] = mail.Status{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: text}
	}
	return out
}

// untold returns the recipients to try: those whose failure is known already,
// and only waits for a report, are not bothered again while others remain.
func untold(rcpts []spool.RecipientState) []int {
	var open, all []int
	for i, r := range rcpts {
		all = append(all, i)
		if r.Last.Class() != mail.Permanent {
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		return all
	}
	return open
}

// complete makes a courier's results as many as they should be; what it left
// out is transient.
func complete(results []mail.Status, n int) []mail.Status {
	full := make([]mail.Status, n)
	copy(full, results)
	for i := range full {
		if full[i].Code == 0 {
			full[i] = mail.Status{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: "the attempt had no result"}
		}
	}
	return full
}

// judge decides what an attempt means, or, if none was made, an expiry.
func (r *Runner) judge(l spool.Lease, tried []int, out Outcome) verdict {
	v := begin(l, tried, out)
	r.reach(&v, l, out)
	// A destination that was not even told of the message costs it nothing.
	ours := out.Reach == spool.Unreached && !out.Begun
	v.Attempted = v.tried && !ours
	v.KeepDue = ours
	if !v.KeepDue {
		wait := r.schedule(l).NextAttempt(l.Task.Attempts+1, r.opt.Rand())
		v.Delay = max(soon(out.Results, l.Task.Attempts+1, wait), asked(out))
	}
	if l.Cause == spool.CauseExpired {
		for i := range v.Results {
			if v.Results[i].Status.Class() == mail.Transient {
				v.Results[i].Status = expired(v.last[i])
			}
		}
	}
	v.sort(l, out)
	return v
}

// interrupted judges an attempt that the end of the daemon broke off: what is
// definite counts, for the rest it is as if nothing had been tried.
func (r *Runner) interrupted(l spool.Lease, tried []int, out Outcome) verdict {
	v := begin(l, tried, out)
	v.KeepDue = true
	v.sort(l, out)
	return v
}

// begin makes a verdict with the status of everybody, new or as it was.
func begin(l spool.Lease, tried []int, out Outcome) verdict {
	n := len(l.Task.Recipients)
	v := verdict{last: make([]mail.Status, n), tried: len(tried) > 0, attempted: tried, contacts: out.Contacts}
	v.Results = make([]spool.Result, n)
	for i, r := range l.Task.Recipients {
		v.last[i] = r.Last
	}
	for n, i := range tried {
		v.last[i] = out.Results[n]
	}
	for i := range v.last {
		if v.last[i] == (mail.Status{}) {
			// Never tried itself: its destination's word stands for it.
			v.last[i] = l.Destination.Last
		}
		v.Results[i].Status = v.last[i]
	}
	return v
}

func (r *Runner) reach(v *verdict, l spool.Lease, out Outcome) {
	v.Destination.Outcome = out.Reach
	if out.Reach == spool.Unreached {
		v.Destination.Status = out.Fault
		v.Destination.Backoff = r.schedule(l).NextAttempt(l.Destination.Failures+1, r.opt.Rand())
		switch wish := asked(out); {
		case wish > 0 && l.Destination.Failures == 0:
			v.Destination.Backoff = wish
		case wish > 0:
			// Who asks for short waits and then is not there is not believed.
			v.Destination.Backoff = max(v.Destination.Backoff, wish)
		}
	}
}

// asked is how long an outcome asks to wait, within bounds: a next hop must
// not have us wait until a message has expired.
func asked(out Outcome) time.Duration {
	const least, most = time.Second, 24 * time.Hour
	if out.RetryAfter <= 0 {
		return 0
	}
	return min(max(out.RetryAfter, least), most)
}

// sort ends the recipients that can be ended, and lists those of whom the
// sender has to be told first.
func (v *verdict) sort(l spool.Lease, out Outcome) {
	env := &l.Task.Envelope
	for i, rcpt := range l.Task.Recipients {
		switch v.Results[i].Status.Class() {
		case mail.Delivered:
			v.Results[i].Ended = true
			if mayBeTold(env) && tellPassed(env, rcpt.Notify, out) {
				v.passed = append(v.passed, i)
			}
		case mail.Permanent:
			if rcpt.Notify.Wants(mail.NotifyFailure) {
				v.failed = append(v.failed, i)
			} else {
				v.Results[i].Ended = true
			}
		}
	}
}

// mayBeTold tells whether there is a sender who may have reports. One who seems
// to be forged is somebody else, who did not write.
func mayBeTold(env *mail.Envelope) bool { return !env.From.IsNull() && !env.Unverified }

// tellPassed tells whether the sender has to know that a message was passed on:
// since nobody else will tell of its delivery (RFC 3461 section 5.2.2), or of
// its being late, or since a trace was asked for (RFC 2852 section 4).
func tellPassed(env *mail.Envelope, n mail.Notify, out Outcome) bool {
	if !env.By.IsZero() && n&mail.NotifyNever == 0 && (out.Untimed || env.By.Trace) {
		return true
	}
	return !out.Promised && n.Wants(mail.NotifySuccess)
}

// expired is the status of a recipient whose time is over (RFC 3463: X.4.7).
func expired(last mail.Status) mail.Status {
	text := "delivery time expired"
	if last != (mail.Status{}) {
		text += ", last: " + last.String()
	} else {
		text += " before an attempt could be made"
	}
	return mail.Status{Code: 550, Enhanced: [3]int{4, 4, 7}, Text: text}
}

// warning is the verdict on a task whose sender is to be told of the delay.
func warning(l spool.Lease) verdict {
	v := begin(l, nil, Outcome{})
	v.Warned, v.KeepDue = true, true
	for i, rcpt := range l.Task.Recipients {
		v.Results[i] = spool.Result{} // nothing new
		if mayBeTold(&l.Task.Envelope) && rcpt.Notify.Wants(mail.NotifyDelay) &&
			rcpt.Last.Class() != mail.Permanent {
			v.late = append(v.late, i)
		}
	}
	return v
}
