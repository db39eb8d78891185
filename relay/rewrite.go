package relay

import (
	"context"
	"fmt"
	"io"

	"restante/internal/mail"
	"restante/internal/rewrite"
	"restante/internal/screen"
	"restante/spool"
)

// Senders and From fields are rewritten here, while a message is sent, and not
// where it is stored: the body is shared with the tasks of other routes and
// with mailboxes, a task may have been rerouted since, and reports must go to
// the sender that there really was.

// rewrittenBody is a message with another header, on top of a stored one.
type rewrittenBody struct {
	*rewrite.Rewritten
	io.Closer
}

var _ spool.Body = rewrittenBody{}

// rewrite makes of a job what its route asks for. It replaces the body, which
// the caller still closes. What is signed anew is read once more for that.
func (r *Runner) rewrite(ctx context.Context, job *Job) error {
	o := job.Route.Rewrite
	if o.IsZero() {
		return nil
	}
	job.Envelope.From = o.Envelope(job.Envelope.From)
	if o.From.IsNull() {
		return nil
	}
	m, err := o.Message(job.Body)
	if err != nil {
		return err
	}
	if err := r.sign(ctx, job, m); err != nil {
		return err
	}
	job.Body = rewrittenBody{m, job.Body}
	return nil
}

// sign signs in the name that the From field has now.
func (r *Runner) sign(ctx context.Context, job *Job, m *rewrite.Rewritten) error {
	fields := m.Fields()
	seen := &screen.Message{
		ID: job.Task.Message, Envelope: job.Envelope, Trusted: true, Header: fields,
		Recipients: append([]mail.Recipient(nil), job.Recipients...),
	}
	var signatures []byte
	for _, s := range r.opt.Signers {
		work := s.Begin(seen)
		if work == nil {
			continue
		}
		if _, err := io.Copy(work, m.Text()); err != nil {
			return fmt.Errorf("reading the message to sign it: %w", err)
		}
		signature, err := work.Sign(ctx, fields)
		if err != nil {
			return fmt.Errorf("signing: %w", err)
		}
		signatures = append(signatures, signature...)
	}
	m.Prepend(signatures)
	return nil
}
