package accept

import (
	"context"
	"io"

	"restante/internal/header"
	"restante/internal/mail"
	"restante/internal/screen"
)

// Signed returns the fields that the signers would put in front of a message by
// an author: they sign a short one for it. It is told with the header as it
// would go on, and none is sent.
func (a *Acceptor) Signed(ctx context.Context, s Submission, author mail.Address) (*header.Block, error) {
	fields := []byte(header.Compose("From", author.String()) + header.Date(a.now()) + "Subject: explained\r\n")
	m := &screen.Message{Envelope: s.Envelope, Recipients: s.Recipients, Trusted: s.Trusted, TLS: s.TLS, Header: fields}
	var all []byte
	if !s.ours() {
		return header.Parse(nil), nil
	}
	for _, signer := range a.opt.Signers {
		job := signer.Begin(m)
		if job == nil {
			continue
		}
		if _, err := io.WriteString(job, "\r\n"); err != nil {
			return nil, err
		}
		signature, err := job.Sign(ctx, fields)
		if err != nil {
			return nil, err
		}
		all = append(all, signature...)
	}
	return header.Parse(all), nil
}
