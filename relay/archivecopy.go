package relay

import (
	"fmt"
	"io"
	"strings"

	"restante/internal/accept"
	"restante/internal/archive"
	"restante/internal/mail"
	"restante/spool"
)

// copied is the verdict on a task that has a copy of its message sent to an
// archive elsewhere; see accept.ArchiveRoute.
func (r *Runner) copied(l spool.Lease) verdict {
	v := begin(l, nil, Outcome{})
	v.Attempted = true
	v.Delay = r.opt.Schedule.NextAttempt(l.Task.Attempts+1, r.opt.Rand())
	for i := range v.Results {
		v.Results[i] = spool.Result{Status: mail.Status{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "copy sent to the archive"}, Ended: true}
		v.archived = append(v.archived, i)
	}
	return v
}

// archiveCopy makes the copy: the message, with its envelope in front, for the address
// that is the task's destination. Nothing of it is reported to the sender; a
// copy that cannot be delivered becomes a dead letter.
func (r *Runner) archiveCopy(l spool.Lease) (spool.Report, error) {
	to, err := mail.ParseAddress(l.Task.Destination.Domain)
	if err != nil {
		return spool.Report{}, err
	}
	env := l.Task.Envelope
	kept := archive.Copy{Message: l.Task.ID.Message, Envelope: env}
	for _, rcpt := range l.Task.Recipients {
		original, err := archive.ParseRecipient(strings.TrimPrefix(rcpt.Original, accept.ArchiveOriginal))
		if err != nil {
			return spool.Report{}, err
		}
		kept.Recipients = append(kept.Recipients, original)
	}
	body, err := r.opt.Bodies.OpenBody(l.Task.ID.Message)
	if err != nil {
		return spool.Report{}, fmt.Errorf("opening the message: %w", err)
	}
	defer body.Close()
	m, err := r.opt.Reports.Submit(accept.Submission{
		Envelope: mail.Envelope{
			EightBit: env.EightBit, UTF8: env.UTF8, RequireTLS: env.RequireTLS,
			Client: mail.Client{Protocol: "archive"},
		},
		Recipients: []mail.Recipient{{To: to, Notify: mail.NotifyFailure}},
		Trusted:    true, Again: true,
	})
	if err != nil {
		return spool.Report{}, fmt.Errorf("beginning a copy: %w", err)
	}
	if _, err = m.Write(kept.Fields()); err == nil {
		_, err = io.Copy(m, io.NewSectionReader(body, 0, body.Size()))
	}
	if err != nil {
		m.Abort()
		return spool.Report{}, fmt.Errorf("copying the message: %w", err)
	}
	return m.Report(), nil
}
