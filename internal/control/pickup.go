package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"restante/internal/accept"
	"restante/internal/dsn"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/spool"
)

// ErrUnfit is wrapped by errors of PickUp that no repetition mends and that
// nobody can be told of: the message is for an administrator to look at.
var ErrUnfit = errors.New("can neither be taken nor returned")

// Vet looks for what would have POST /v1/messages refuse a message that is not
// handed over yet, as far as that can be told without the daemon: its
// addresses, its header and its parameters. It reads no more than the header.
// Options needs Origin, and the limits that are to hold. The error is an *Error.
func Vet(opt Options, sub Submission, body io.Reader) error {
	if _, _, err := New(opt).submission(Peer{Name: "nobody"}, sub).read(body); err != nil {
		return toError(err)
	}
	return nil
}

// PickUp takes a message in that was left at the time given, by somebody who
// does not wait for an answer: what POST /v1/messages refuses is returned to
// the sender, the rest goes its way. The message has size octets. Without an error all of it is durable. It
// may be repeated after any error, and also without one: with Once set nothing
// is taken twice.
func (s *Server) PickUp(ctx context.Context, peer Peer, q Submission, left time.Time, body io.Reader, size int64) error {
	sub := s.submission(peer, q)
	sub.date, sub.service = left, "maildrop"
	block, rest, err := sub.read(body)
	if err == nil && size > s.opt.MaxSize {
		err = errorf(CodeTooLarge, "larger than %d octets", s.opt.MaxSize)
	}
	var refusal *Error
	switch {
	case err != nil && block != nil && errors.As(err, &refusal):
		// The header could be read, so it is known who is concerned.
		return sub.refuse(ctx, sub.rcpts, permanent(5, 0, err))
	case err != nil && toError(err).Code == CodeInternal:
		return err // of reading
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	var unknown []mail.Recipient
	if sub.rcpts, unknown, err = s.known(sub.rcpts); err != nil {
		return err
	}
	if len(sub.rcpts) > 0 {
		_, err := sub.commit(ctx, block, rest)
		var refused *accept.RefusedError
		if errors.As(err, &refused) && refused.Status.Class() == mail.Permanent {
			err = sub.refuse(ctx, sub.rcpts, refused.Status)
		}
		if err != nil {
			return err
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return sub.refuse(ctx, unknown, permanent(1, 1, mail.ErrNoSuchUser))
}

func permanent(subject, detail int, err error) mail.Status {
	return mail.Status{Code: 550, Enhanced: [3]int{5, subject, detail}, Text: err.Error()}
}

// known tells the recipients that lead somewhere from the others.
func (s *Server) known(all []mail.Recipient) (known, unknown []mail.Recipient, err error) {
	for _, r := range all {
		switch err := s.opt.Accept.Check(r.To); {
		case err == nil:
			known = append(known, r)
		case errors.Is(err, mail.ErrNoSuchUser):
			unknown = append(unknown, r)
		default:
			return nil, nil, err
		}
	}
	return known, unknown, nil
}

// refuse returns the message to its sender, for some of its recipients.
func (sub *submission) refuse(ctx context.Context, about []mail.Recipient, why mail.Status) error {
	s, from := sub.server, sub.env.From
	d := &dsn.Report{Action: dsn.Failed, Hostname: s.opt.Hostname, Envelope: sub.env, Now: s.opt.Now()}
	d.Envelope.Ret = mail.ReturnHeaders
	d.Envelope.Arrived = sub.date
	for _, r := range about {
		s.opt.Logger.Info("refused", "service", sub.service, "from", from.String(), "to", r.To.String(), "status", why.String(), "by", sub.peer.Name, "uid", sub.peer.UID)
		if r.Notify.Wants(mail.NotifyFailure) {
			d.Recipients = append(d.Recipients, dsn.Recipient{Recipient: r, Status: why})
		}
	}
	if len(d.Recipients) == 0 {
		return nil // as the sender asked
	}
	if from.IsNull() {
		return fmt.Errorf("%w: %s, and it has no sender", ErrUnfit, why.Text)
	}
	m, err := s.opt.Accept.Begin(mail.Envelope{Client: mail.Client{Protocol: "report"}}, []mail.Recipient{{To: from}})
	if errors.Is(err, mail.ErrNoSuchUser) {
		return fmt.Errorf("%w: %s, and neither is its sender %s known", ErrUnfit, why.Text, from)
	}
	if err != nil {
		return err
	}
	defer m.Abort()
	d.ID = m.ID()
	d.Original = m.ID() // that which is returned never had one
	text := sub.head
	if !header.Parse(text).Separated() {
		text = append(text, "\r\n"...)
	}
	d.Message, d.Size = bytes.NewReader(text), int64(len(text))
	eightBit, err := d.Write(m)
	if err != nil {
		return fmt.Errorf("writing a report: %w", err)
	}
	m.Envelope().EightBit, m.Envelope().UTF8 = eightBit, d.UTF8()
	if sub.Once != "" {
		m.Once(onceKey("report of "+sub.Once+": "+why.String()), spool.MaxOnce)
	}
	ctx, cancel := context.WithTimeout(ctx, commitPatience)
	defer cancel()
	_, err = m.Commit(ctx)
	var before *spool.DuplicateError
	if errors.As(err, &before) {
		return nil
	}
	return err
}
