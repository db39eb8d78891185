package authres

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"blitiri.com.ar/go/spf"

	"restante/internal/mail"
	"restante/internal/screen"
)

// judge authenticates one message. While the body is written one goroutine asks
// the DNS; whoever needs its answers, or ends the judging, waits for it.
type judge struct {
	opt        *Options
	id         mail.ID
	edits      []screen.Edit
	evaluation *evaluation // nil if the message is not from outside

	cancel context.CancelFunc
	done   chan struct{}
}

// start begins the lookups. They outlive the context of Begin, which may be
// that of the call alone, and end with the judge.
func (j *judge) start(ctx context.Context) {
	ctx, j.cancel = context.WithTimeout(context.WithoutCancel(ctx), j.opt.Timeout)
	j.done = make(chan struct{})
	go func() {
		defer close(j.done)
		j.evaluation.lookups(ctx)
	}()
}

// Write implements screen.Judge.
func (j *judge) Write(p []byte) (int, error) {
	if j.evaluation != nil {
		return j.evaluation.dkim.Write(p)
	}
	return len(p), nil
}

// Close implements screen.Judge.
func (j *judge) Close() {
	if j.done != nil {
		j.cancel()
		<-j.done
	}
}

// Verdict implements screen.Judge.
func (j *judge) Verdict(ctx context.Context) (screen.Verdict, error) {
	v := screen.Verdict{Edits: j.edits}
	e := j.evaluation
	if e == nil {
		return v, nil
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		return screen.Verdict{}, fmt.Errorf("authentication: %w", ctx.Err())
	}
	e.conclude(ctx, lot(j.id))
	d := j.decide()
	j.log(d)
	switch d.action {
	case Reject:
		v.Refuse = d.reply
	case Quarantine:
		v.Quarantine = d.reason
	}
	v.Fields = compose(j.opt.ID, e, d)
	v.Unverified = e.forged()
	return v, nil
}

// lot draws a number from 0 to 99 by the message's own ID, whose end is random.
func lot(id mail.ID) int { return int(binary.BigEndian.Uint32(id[6:]) % 100) }

// decision is what is done with a message, and why.
type decision struct {
	action Action
	reason string // "" if there is nothing to be said
	reply  mail.Status
}

// decide looks at the results with the eyes of the configuration.
func (j *judge) decide() decision {
	e := j.evaluation
	d := decision{action: None}
	passed, unknown := len(e.verdicts) > 0, false
	for _, r := range e.verdicts {
		passed = passed && r.state == dmarcPass
		unknown = unknown || r.state == dmarcTempError
		action := r.action.atMost(j.opt.DMARC)
		if action.strictness() <= d.action.strictness() {
			continue
		}
		d = decision{action: action, reason: "DMARC: " + r.reason, reply: refusal(5, 7, 1, "The author of this message cannot be told: "+r.reason)}
		if r.state == dmarcFail {
			d.reason = "DMARC: not authenticated as " + r.domain
			d.reply = refusal(5, 7, 26, "This message is not authenticated as "+r.domain+", whose DMARC policy is to reject it")
		}
	}
	s := e.sender()
	if action := j.opt.SPF; s.state == spf.Fail && !passed && action.strictness() > d.action.strictness() {
		d.action = action
		d.reason = "SPF: not a sender of " + s.domain
		d.reply = refusal(5, 7, 23, "SPF of "+s.domain+" does not allow mail from here")
	}
	if j.opt.Defer && d.action != Reject &&
		(unknown && j.opt.DMARC != None || s.state == spf.TempError && !passed && j.opt.SPF != None) {
		d.action, d.reason = Reject, "the DNS did not answer"
		d.reply = mail.Status{Code: 451, Enhanced: [3]int{4, 4, 3}, Text: "The sender cannot be authenticated for now, try again"}
	}
	return d
}

func refusal(a, b, c int, text string) mail.Status {
	return mail.Status{Code: 550, Enhanced: [3]int{a, b, c}, Text: text}
}

// log tells what was found, in one line.
func (j *judge) log(d decision) {
	e := j.evaluation
	var dkim, dmarc []string
	for _, s := range e.signatures {
		dkim = append(dkim, string(s.State)+" "+s.Domain)
	}
	for _, r := range e.verdicts {
		dmarc = append(dmarc, r.state+" "+r.domain)
	}
	j.opt.Logger.Info("authentication", "id", j.id.String(), "from", e.from.String(), "remote", e.client.Addr.String(),
		"spf", string(e.mailFrom.state), "helo", string(e.helo.state),
		"dkim", strings.Join(dkim, ", "), "dmarc", strings.Join(dmarc, ", "),
		"action", string(d.action), "reason", d.reason)
}
