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
	signatures, err := r.signatures(ctx, job, m.Fields(), text{m})
	if err == nil {
		m.Prepend(signatures)
	}
	return err
}

// text is that of a rewritten message.
type text struct{ m *rewrite.Rewritten }

// WriteTo implements io.WriterTo.
func (t text) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, t.m.Text()) }

// signatures makes those of a message that goes on with another header, or
// another encoding, than it was stored with.
func (r *Runner) signatures(ctx context.Context, job *Job, fields []byte, text io.WriterTo) (signatures []byte, err error) {
	seen := &screen.Message{
		ID: job.Task.Message, Envelope: job.Envelope, Trusted: true, Header: fields,
		Recipients: append([]mail.Recipient(nil), job.Recipients...),
	}
	for _, s := range r.opt.Signers {
		work := s.Begin(seen)
		if work == nil {
			continue
		}
		if _, err := text.WriteTo(work); err != nil {
			return nil, fmt.Errorf("reading the message to sign it: %w", err)
		}
		signature, err := work.Sign(ctx, fields)
		if err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
		signatures = append(signatures, signature...)
	}
	return signatures, nil
}

// signer is Job.Sign.
func (r *Runner) signer(job *Job) func(context.Context, []byte, io.WriterTo) ([]byte, error) {
	if len(r.opt.Signers) == 0 {
		return nil
	}
	return func(ctx context.Context, fields []byte, text io.WriterTo) ([]byte, error) {
		return r.signatures(ctx, job, fields, text)
	}
}
