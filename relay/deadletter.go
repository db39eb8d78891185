package relay

import (
	"errors"
	"fmt"

	"restante/internal/accept"
	"restante/internal/archive"
	"restante/internal/dsn"
	"restante/internal/mail"
	"restante/spool"
)

// A dead letter is what can neither be delivered nor returned: a report whose
// sender is nobody, mail of somebody who is gone, or of somebody who seems to be
// forged. It is put, whole and with its envelope, into a mailbox that an
// administrator reads; in the transaction that ends its recipients, so that it
// is there once and never lost. Where there is no such mailbox the task stays in
// the queue, in state Dead.

// bury writes the dead letter for recipients of a lease. It wraps errNobody if
// there is no mailbox for it.
func (r *Runner) bury(l spool.Lease, v verdict, about []int) (spool.Report, error) {
	if r.opt.DeadLetters.IsNull() {
		return spool.Report{}, errNobody
	}
	kept := archive.Copy{Message: l.Task.ID.Message, Envelope: l.Task.Envelope}
	for _, i := range about {
		kept.Recipients = append(kept.Recipients, archive.Recipient{
			Recipient: l.Task.Recipients[i].Recipient,
			Route:     l.Task.Destination.Route,
			Reason:    v.last[i].String(),
		})
	}
	m, err := r.opt.Reports.File(
		mail.Envelope{Client: mail.Client{Protocol: "report"}},
		accept.Drawer{Owner: r.opt.DeadLetters, Mailbox: archive.DeadLetters},
		kept.Fields(),
	)
	if errors.Is(err, mail.ErrNoSuchUser) {
		return spool.Report{}, fmt.Errorf("%w: %w", errNobody, err)
	}
	if err != nil {
		return spool.Report{}, fmt.Errorf("beginning a dead letter: %w", err)
	}
	d := r.draft(dsn.Failed, m.ID(), l, v, about)
	d.DeadLetter, d.To = true, r.opt.DeadLetters
	if err := r.write(m, d, l); err != nil {
		return spool.Report{}, err
	}
	r.opt.Logger.Warn("can neither be delivered nor returned, kept as a dead letter",
		append(attrs(l), "from", l.Task.Envelope.From, "letter", m.ID(), "recipients", len(about))...)
	return m.Report(), nil
}
