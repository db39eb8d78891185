package relay

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"restante/internal/accept"
	"restante/internal/dsn"
	"restante/internal/mail"
	"restante/spool"
)

const (
	// settlePause is how long to wait after a Settle that failed; it doubles
	// up to maxSettlePause.
	settlePause    = 100 * time.Millisecond
	maxSettlePause = 15 * time.Second
	// settleTime bounds one Settle.
	settleTime = time.Minute
	// lastTries is how often a Settle is tried once the daemon is ending.
	lastTries = 3
	// abandonTime is how long a lease rests that cannot be settled since its
	// report cannot be made, and would come back at once if it were.
	abandonTime = time.Minute
)

// conclude makes the reports of a verdict and settles it. It goes on trying,
// within the lease, for as long as the spool refuses: a settlement that is
// lost is a delivery made twice. stop ends the extending of the lease.
func (r *Runner) conclude(ctx context.Context, l spool.Lease, v verdict, stop func()) {
	pause := settlePause
	for try := 1; ; try++ {
		s, buried, ok := r.compose(l, v)
		if !ok {
			abort(s.Reports)
			stop()
			if err := r.opt.Queue.Extend(l, abandonTime); err != nil {
				r.opt.Logger.Error("lease cannot be extended", append(attrs(l), "error", err)...)
			}
			return
		}
		err := r.settle(ctx, l, s)
		if err == nil {
			r.logEnds(l, s, buried)
			return
		}
		abort(s.Reports)
		if errors.Is(err, spool.ErrStaleLease) {
			// After an uncertain try it is likely that that one was recorded.
			r.opt.Logger.Error("settlement came too late, a delivery may be made twice", append(attrs(l), "error", err, "try", try)...)
			return
		}
		r.opt.Logger.Error("settlement failed, a delivery may be made twice", append(attrs(l), "error", err, "try", try, "again", pause)...)
		if errors.Is(err, spool.ErrClosed) || ctx.Err() != nil && try >= lastTries {
			return
		}
		timer := time.NewTimer(pause)
		if try < lastTries {
			<-timer.C
		} else {
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
		}
		pause = min(2*pause, maxSettlePause)
	}
}

func abort(reports []spool.Report) {
	for _, report := range reports {
		report.Staged.Abort()
	}
}

// noticeLater is a task that tells the sender what he asked to be told.
func noticeLater(l spool.Lease, about []int) spool.Task {
	t := spool.Task{Destination: spool.Destination{Route: accept.RelayedRoute}}
	for _, i := range about {
		t.Recipients = append(t.Recipients, l.Task.Recipients[i].Recipient)
	}
	return t
}

// settle tries once, whether or not the daemon is ending.
func (r *Runner) settle(ctx context.Context, l spool.Lease, s spool.Settlement) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	return r.opt.Queue.Settle(ctx, l, s)
}

// compose makes a settlement of a verdict, with its reports. It tells whether
// what has failed became a dead letter instead of being returned. It is not ok
// if the task would come back at once without being a step further.
func (r *Runner) compose(l spool.Lease, v verdict) (s spool.Settlement, buried, ok bool) {
	s = v.Settlement
	s.Results = slices.Clone(v.Results)
	v.refs = new(refs)
	parked, later := r.composeBounce(&s, l, v)
	if !r.composeWarning(&s, l, v) || !r.composeOwn(&s, l, v) {
		return s, v.refs.buried, false
	}
	r.composePassed(&s, l, v)
	ended, open := 0, 0
	for _, result := range s.Results {
		switch {
		case result.Ended:
			ended++
		case result.Status.Class() != mail.Permanent:
			open++
		}
	}
	s.Dead = parked && open == 0
	if later {
		s.KeepDue = false
		s.Delay = max(s.Delay, r.schedule(l).NextAttempt(l.Task.Attempts+1, r.opt.Rand()))
	}
	s.Events = r.story(l, &v, &s)
	return s, v.refs.buried, !(later && l.Cause == spool.CauseExpired && ended == 0)
}

// composeBounce ends those who have failed, with a report or, where there is
// nobody to report to, a dead letter. They are parked if neither can be; later
// tells that it is to be tried again.
func (r *Runner) composeBounce(s *spool.Settlement, l spool.Lease, v verdict) (parked, later bool) {
	if len(v.failed) == 0 {
		return false, false
	}
	report, err := r.report(dsn.Failed, l, v, v.failed)
	if errors.Is(err, errNobody) {
		report, err = r.bury(l, v, v.failed)
		v.refs.buried = err == nil
	}
	switch {
	case errors.Is(err, errNobody):
		return true, false
	case err != nil:
		r.opt.Logger.Error("bounce cannot be made, will be tried again", append(attrs(l), "error", err)...)
		return false, true
	}
	s.Reports = append(s.Reports, report)
	v.refs.failed = report.Staged.ID()
	for _, i := range v.failed {
		s.Results[i].Ended = true
	}
	return false, false
}

// composeWarning tells the sender of a delay. It is not ok if that has to be
// tried again.
func (r *Runner) composeWarning(s *spool.Settlement, l spool.Lease, v verdict) (ok bool) {
	if len(v.late) == 0 {
		return true
	}
	report, err := r.report(dsn.Delayed, l, v, v.late)
	if errors.Is(err, errNobody) {
		return true
	}
	if err != nil {
		r.opt.Logger.Error("delay warning cannot be made, will be tried again", append(attrs(l), "error", err)...)
		return false
	}
	s.Reports = append(s.Reports, report)
	v.refs.late = report.Staged.ID()
	return true
}

// composePassed tells the sender that the message was passed on. The delivery is
// a fact, and is recorded now: if the notice of it cannot be made, that becomes a
// task of its own.
func (r *Runner) composePassed(s *spool.Settlement, l spool.Lease, v verdict) {
	if len(v.passed) == 0 {
		return
	}
	report, err := r.report(dsn.Relayed, l, v, v.passed)
	if err == nil {
		s.Reports = append(s.Reports, report)
		v.refs.passed = report.Staged.ID()
	} else if !errors.Is(err, errNobody) {
		r.opt.Logger.Error("notice of delivery cannot be made, will be tried again", append(attrs(l), "error", err)...)
		s.Moved = append(s.Moved, noticeLater(l, v.passed))
	}
}

// errNobody: there is no sender who could be told.
var errNobody = errors.New("nobody to report to")

// report writes a report to the sender. It wraps errNobody if there is none,
// or no longer.
func (r *Runner) report(action dsn.Action, l spool.Lease, v verdict, about []int) (spool.Report, error) {
	from := l.Task.Envelope.From
	if !mayBeTold(&l.Task.Envelope) {
		return spool.Report{}, errNobody
	}
	m, err := r.opt.Reports.Begin(mail.Envelope{
		RequireTLS: l.Task.Envelope.RequireTLS,
		Client:     mail.Client{Protocol: "report"},
	}, []mail.Recipient{{To: from}})
	if errors.Is(err, mail.ErrNoSuchUser) {
		return spool.Report{}, fmt.Errorf("%w: %w", errNobody, err)
	}
	if err != nil {
		return spool.Report{}, fmt.Errorf("beginning a report: %w", err)
	}
	d := r.draft(action, m.ID(), l, v, about)
	if d.Envelope.RequireTLS {
		// RFC 8689 section 5: what was not to be seen is not sent about again.
		d.Envelope.Ret = mail.ReturnHeaders
	}
	if err := r.write(m, d, l); err != nil {
		return spool.Report{}, err
	}
	r.opt.Logger.Info("report", append(attrs(l), "action", string(action), "report", m.ID(), "to", from)...)
	return m.Report(), nil
}

// draft is a report without the message it is about.
func (r *Runner) draft(action dsn.Action, id mail.ID, l spool.Lease, v verdict, about []int) *dsn.Report {
	d := &dsn.Report{
		Action:     action,
		Hostname:   r.opt.Hostname,
		ID:         id,
		Original:   l.Task.ID.Message,
		Envelope:   l.Task.Envelope,
		Now:        r.opt.Now(),
		RetryUntil: l.Task.Expires,
		MaxReturn:  r.opt.MaxReturn,
	}
	for _, i := range about {
		d.Recipients = append(d.Recipients, r.about(l, v, i))
	}
	return d
}

// write writes a report, or aborts it.
func (r *Runner) write(m *accept.Message, d *dsn.Report, l spool.Lease) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.opt.Logger.Error("panic in a report", append(attrs(l), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))...)
			err = errors.New("internal fault while writing the report")
		}
		if err != nil {
			m.Abort()
		}
	}()
	body, err := r.opt.Bodies.OpenBody(l.Task.ID.Message)
	if err == nil {
		defer body.Close()
		d.Message, d.Size = body, body.Size()
	} else {
		// The reader is told all the same, only without the message.
		r.opt.Logger.Error("message cannot be read for a report", append(attrs(l), "error", err)...)
	}
	eightBit, err := d.Write(m)
	if err != nil {
		return fmt.Errorf("writing a report: %w", err)
	}
	m.Envelope().EightBit, m.Envelope().UTF8 = eightBit, d.UTF8()
	return nil
}

// about is what a report says of one recipient.
func (r *Runner) about(l spool.Lease, v verdict, i int) dsn.Recipient {
	rcpt := l.Task.Recipients[i]
	a := dsn.Recipient{Recipient: rcpt.Recipient, Status: v.Results[i].Status, Said: v.last[i]}
	if a.Status == (mail.Status{}) {
		a.Status = v.last[i]
	}
	if v.tried {
		a.Attempted = r.opt.Now()
	}
	return a
}

// logEnds writes one line for each recipient that has left the queue without
// delivery, and one for a task that is parked.
func (r *Runner) logEnds(l spool.Lease, s spool.Settlement, buried bool) {
	r.opt.Logger.Debug("settled", attrs(l)...)
	for i, result := range s.Results {
		if !result.Ended || result.Status.Class() != mail.Permanent {
			continue
		}
		end := "bounced"
		if !l.Task.Recipients[i].Notify.Wants(mail.NotifyFailure) {
			end = "ended without a report, as the sender asked"
		} else if buried {
			end = "ended as a dead letter"
		}
		r.opt.Logger.Info(end, append(attrs(l), "from", l.Task.Envelope.From, "to", l.Task.Recipients[i].To, "status", result.Status.String())...)
	}
	if s.Dead {
		r.opt.Logger.Warn("can neither be delivered nor returned, kept as dead", append(attrs(l), "from", l.Task.Envelope.From)...)
	}
}
