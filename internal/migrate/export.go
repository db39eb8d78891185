package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"restante/internal/control"
	"restante/spool"
)

// Store is what mail is exported from; *control.Client is one.
type Store interface {
	Mailboxes(ctx context.Context, account string) ([]control.Mailbox, error)
	Mail(ctx context.Context, account, mailbox string, after spool.UID) iter.Seq2[control.Mail, error]
	MailContent(ctx context.Context, account, mailbox string, uid spool.UID) (io.ReadCloser, error)
}

// Sink is where exported mail goes.
type Sink interface {
	// Begin begins a mailbox. It is left out for the reason returned.
	Begin(m control.Mailbox) (why string, err error)
	// Has tells whether a message is there already.
	Has(m control.Mail) bool
	// Put stores one. An error of the text leaves the sink as it was, and wraps
	// errRead.
	Put(m control.Mail, text io.Reader) error
	// End makes the mailbox durable.
	End() error
	// Abort leaves a mailbox that cannot be ended.
	Abort()
}

// Export is one run.
type Export struct {
	Store   Store
	Sink    Sink
	Account string
	DryRun  bool
	// Tell and Progress are as in Import.
	Tell     func(text string)
	Progress func(Counts)

	counts Counts
}

// Run writes what is missing.
func (e *Export) Run(ctx context.Context) (Counts, error) {
	if e.Tell == nil {
		e.Tell = func(string) {}
	}
	if e.Progress == nil {
		e.Progress = func(Counts) {}
	}
	boxes, err := e.Store.Mailboxes(ctx, e.Account)
	if err != nil {
		return e.counts, err
	}
	for _, m := range boxes {
		if err := e.mailbox(ctx, m); err != nil {
			return e.counts, fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return e.counts, nil
}

func (e *Export) mailbox(ctx context.Context, box control.Mailbox) error {
	if e.DryRun {
		e.counts.Taken += int(box.Messages)
		e.counts.Octets += box.Size
		e.Tell(fmt.Sprintf("%s: %d", box.Name, box.Messages))
		return nil
	}
	why, err := e.Sink.Begin(box)
	if err != nil {
		return err
	}
	if why != "" {
		e.Tell(fmt.Sprintf("%s: left out: %s", box.Name, why))
		return nil
	}
	before := e.counts.Taken
	for m, err := range e.Store.Mail(ctx, e.Account, box.Name, 0) {
		if err == nil {
			err = e.one(ctx, box.Name, m)
		}
		if err != nil {
			e.Sink.Abort()
			return err
		}
	}
	if err := e.Sink.End(); err != nil {
		return err
	}
	if n := e.counts.Taken - before; n > 0 {
		e.Tell(fmt.Sprintf("%s: %d", box.Name, n))
	}
	return nil
}

func (e *Export) one(ctx context.Context, mailbox string, m control.Mail) error {
	if e.Sink.Has(m) {
		e.counts.Before++
		return nil
	}
	text, err := e.Store.MailContent(ctx, e.Account, mailbox, m.UID)
	var api *control.Error
	if err == nil {
		err = errors.Join(e.Sink.Put(m, &texts{text}), text.Close())
	} else if errors.As(err, &api) && api.Code == control.CodeNotFound {
		return nil // it was expunged in the meantime
	}
	switch {
	case err == nil:
		e.counts.Taken++
		e.counts.Octets += m.Size
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errRead), errors.As(err, &api) && api.Code == control.CodeInternal:
		e.counts.Failed++
		e.Tell(fmt.Sprintf("%s: message %d is passed over: %v", mailbox, m.UID, err))
	default:
		return err
	}
	e.Progress(e.counts)
	return nil
}

// texts marks what goes wrong with a text, to tell it from what goes wrong with
// a sink.
type texts struct{ r io.Reader }

func (t *texts) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errRead, err)
	}
	return n, err
}
