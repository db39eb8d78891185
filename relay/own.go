package relay

import (
	"errors"
	"fmt"
	"io"
	"time"

	"restante/internal/accept"
	"restante/internal/dsn"
	"restante/internal/mail"
	"restante/spool"
)

// Tasks that need no next hop: see accept.LocalRoute, accept.NoticeRoute,
// accept.ExpandedRoute and accept.ArchiveRoute.

// notices are what the tasks say that only tell of a success.
var notices = map[string]struct {
	action dsn.Action
	status mail.Status
	event  spool.EventKind
}{
	accept.NoticeRoute:   {dsn.Delivered, deposited(), spool.EventDeposited},
	accept.ExpandedRoute: {dsn.Expanded, mail.Status{Code: 250, Enhanced: [3]int{2, 1, 5}, Text: "accepted for all who are behind the address"}, spool.EventDelivered},
	accept.RelayedRoute:  {dsn.Relayed, mail.Status{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "passed on"}, spool.EventDelivered},
}

// notice is the verdict on a task that tells of what was done with its commit.
func notice(l spool.Lease) verdict {
	v := begin(l, nil, Outcome{})
	for i := range v.Results {
		v.Results[i] = spool.Result{Status: notices[l.Task.Destination.Route].status, Ended: true}
		v.noticed = append(v.noticed, i)
		v.last[i] = mail.Status{}
	}
	return v
}

func deposited() mail.Status {
	return mail.Status{Code: 250, Enhanced: [3]int{2, 1, 5}, Text: "delivered to the mailbox"}
}

// release is the verdict on a task that was held back for local recipients:
// who is still there gets the message now.
func (r *Runner) release(l spool.Lease) verdict {
	v := begin(l, nil, Outcome{})
	v.Attempted = true
	v.Delay = r.schedule(l).NextAttempt(l.Task.Attempts+1, r.opt.Rand())
	for i, rcpt := range l.Task.Recipients {
		m, err := r.opt.Reports.Begin(released(l.Task.Envelope), []mail.Recipient{rcpt.Recipient})
		switch {
		case err == nil:
			m.Abort()
			v.Results[i] = spool.Result{Status: deposited(), Ended: true}
			v.released = append(v.released, i)
			continue
		case errors.Is(err, mail.ErrNoSuchUser):
			v.last[i] = mail.Status{Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "no such user here"}
		case l.Cause == spool.CauseExpired:
			v.last[i] = expired(mail.Status{})
		default:
			r.opt.Logger.Error("mail that was held back cannot be delivered now", append(attrs(l), "to", rcpt.To, "error", err)...)
			v.last[i] = mail.Status{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: "cannot be stored at the moment"}
		}
		v.Results[i].Status = v.last[i]
		if v.last[i].Class() != mail.Permanent {
			continue
		}
		if rcpt.Notify.Wants(mail.NotifyFailure) {
			v.failed = append(v.failed, i)
		} else {
			v.Results[i].Ended = true
		}
	}
	return v
}

// released is the envelope of a message whose time has come.
func released(env mail.Envelope) mail.Envelope {
	env.HoldUntil = time.Time{}
	return env
}

// deposit makes a message of its own of the one that was held back, for the
// recipients that are to have it now. It is committed with the settlement.
func (r *Runner) deposit(l spool.Lease, about []int) (spool.Report, error) {
	var rcpts []mail.Recipient
	for _, i := range about {
		rcpts = append(rcpts, l.Task.Recipients[i].Recipient)
	}
	body, err := r.opt.Bodies.OpenBody(l.Task.ID.Message)
	if err != nil {
		return spool.Report{}, fmt.Errorf("opening the message: %w", err)
	}
	defer body.Close()
	m, err := r.opt.Reports.Begin(released(l.Task.Envelope), rcpts)
	if err != nil {
		return spool.Report{}, fmt.Errorf("beginning the deposit: %w", err)
	}
	if _, err := io.Copy(m, io.NewSectionReader(body, 0, body.Size())); err != nil {
		m.Abort()
		return spool.Report{}, fmt.Errorf("copying the message: %w", err)
	}
	r.opt.Logger.Info("released", append(attrs(l), "new", m.ID(), "from", l.Task.Envelope.From, "recipients", len(rcpts))...)
	return m.Report(), nil
}

// composeOwn adds to a settlement what the verdicts above call for. It is not
// ok if the task has to come back for it.
func (r *Runner) composeOwn(s *spool.Settlement, l spool.Lease, v verdict) (ok bool) {
	if len(v.released) > 0 {
		report, err := r.deposit(l, v.released)
		if err != nil {
			r.opt.Logger.Error("mail that was held back cannot be delivered now", append(attrs(l), "error", err)...)
			for _, i := range v.released {
				s.Results[i] = spool.Result{Status: mail.Status{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: "cannot be stored at the moment"}}
			}
			return l.Cause != spool.CauseExpired
		}
		s.Reports = append(s.Reports, report)
		v.refs.released = report.Staged.ID()
	}
	if len(v.archived) > 0 {
		report, err := r.archiveCopy(l)
		if err != nil {
			r.opt.Logger.Error("archive copy cannot be made, will be tried again", append(attrs(l), "error", err)...)
			for _, i := range v.archived {
				s.Results[i] = spool.Result{Status: mail.Status{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: "archive copy cannot be made at the moment"}}
			}
			return true
		}
		s.Reports = append(s.Reports, report)
		v.refs.released = report.Staged.ID()
	}
	return r.composeNotice(s, l, v)
}

// composeNotice tells the sender of a success. It is not ok if that has to be
// tried again.
func (r *Runner) composeNotice(s *spool.Settlement, l spool.Lease, v verdict) (ok bool) {
	if len(v.noticed) == 0 {
		return true
	}
	report, err := r.report(notices[l.Task.Destination.Route].action, l, v, v.noticed)
	if errors.Is(err, errNobody) {
		return true
	}
	if err != nil {
		r.opt.Logger.Error("notice of delivery cannot be made, will be tried again", append(attrs(l), "error", err)...)
		return false
	}
	s.Reports = append(s.Reports, report)
	v.refs.noticed = report.Staged.ID()
	return true
}
