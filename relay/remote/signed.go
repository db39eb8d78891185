package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"restante/internal/header"
	"restante/relay"
)

// A message that is converted to 7 bits loses the signature that it was given
// here: so that goes, and another is made of what is sent. Ours are the fields in
// front of the first trace field: nobody else's can be there, since what comes
// from outside has our trace on top (see package accept). Signatures of others
// stay as they are, broken.

// resigned is a converted message with new signatures.
type resigned struct {
	head []byte // signatures, and the header without those of before
	rest divided
}

// signedAgain signs a converted message, if it had been signed here.
func signedAgain(ctx context.Context, job *relay.Job, m io.WriterTo) (io.WriterTo, error) {
	if job.Sign == nil {
		return m, nil
	}
	d := divided{m: m}
	var err error
	if d.head, err = headOf(m); err != nil {
		return nil, fmt.Errorf("reading the message to sign it: %w", err)
	}
	fields := d.head
	for {
		b := header.Parse(fields)
		if list := b.Fields(); len(list) == 0 || !list[0].Is("DKIM-Signature") {
			break
		} else {
			fields = fields[len(list[0].Raw):]
		}
	}
	if len(fields) == len(d.head) {
		return m, nil // nothing of it is ours to sign
	}
	b := header.Parse(fields)
	var own []byte
	for _, f := range b.Fields() {
		own = append(own, f.Raw...)
	}
	signatures, err := job.Sign(ctx, own, d)
	if err != nil {
		return nil, err
	}
	return resigned{head: append(signatures, fields...), rest: d}, nil
}

// WriteTo implements io.WriterTo.
func (r resigned) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(r.head)
	if err != nil {
		return int64(n), err
	}
	m, err := r.rest.WriteTo(w)
	return int64(n) + m, err
}

// divided is a message of which only what follows the header is written.
type divided struct {
	m    io.WriterTo
	head []byte // with the empty line
}

// WriteTo implements io.WriterTo.
func (d divided) WriteTo(w io.Writer) (int64, error) {
	n, err := d.m.WriteTo(&skipper{w: w, left: len(d.head)})
	return max(0, n-int64(len(d.head))), err
}

type skipper struct {
	w    io.Writer
	left int
}

func (s *skipper) Write(p []byte) (int, error) {
	skip := min(s.left, len(p))
	s.left -= skip
	if skip == len(p) {
		return len(p), nil
	}
	n, err := s.w.Write(p[skip:])
	return skip + n, err
}

// errEnough ends the writing of a message of which only the header is wanted.
var errEnough = errors.New("the header has ended")

// maxSigned bounds a header that is signed, in octets.
const maxSigned = 1 << 20

// headOf returns the header of a message, with the empty line.
func headOf(m io.WriterTo) ([]byte, error) {
	var c collector
	if _, err := m.WriteTo(&c); err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	b, _, err := header.Read(bytes.NewReader(c.b), maxSigned)
	if err != nil {
		return nil, err
	}
	raw := b.Raw()
	return raw, nil
}

type collector struct{ b []byte }

func (c *collector) Write(p []byte) (int, error) {
	c.b = append(c.b, p...)
	if header.Ends(c.b) || len(c.b) > maxSigned {
		return len(p), errEnough
	}
	return len(p), nil
}
