package rewrite

import (
	"fmt"
	"io"
	"strings"

	"restante/internal/header"
	"restante/internal/mail"
)

// maxHead bounds the headers that can be rewritten, in octets.
const maxHead = 512 << 10

// Outgoing is what a route does to the mail that takes it. The zero value does
// nothing. Null addresses change nothing.
type Outgoing struct {
	// Sender replaces the reverse-path. The null sender of reports stays, or
	// they could bounce (RFC 5321 section 6.1).
	Sender mail.Address
	// From replaces the address in the From field; the display name stays. The
	// old From becomes Reply-To, if there is none. A Sender field, and
	// signatures (DKIM-Signature), which cover From and so do not hold any
	// more, are taken out.
	From mail.Address
}

// IsZero tells that nothing is changed.
func (o Outgoing) IsZero() bool { return o == Outgoing{} }

// Envelope returns the reverse-path to send with.
func (o Outgoing) Envelope(from mail.Address) mail.Address {
	if from.IsNull() || o.Sender.IsNull() {
		return from
	}
	return o.Sender
}

// Header rewrites a header.
func (o Outgoing) Header(b *header.Block) *header.Block {
	if o.From.IsNull() {
		return b
	}
	e := b.Edit()
	e.DeleteAll("Sender", "DKIM-Signature")
	old, had := b.Get("From")
	value := o.From.String()
	if phrase := header.Phrase(old); phrase != "" {
		value = phrase + " <" + value + ">"
	}
	if same, err := mail.ParseAddress(strings.Trim(old, " <>")); had && err == nil && same == o.From {
		return e.Block()
	}
	if !b.Has("Reply-To") && had && strings.TrimSpace(old) != "" && !strings.Contains(old, "<"+o.From.String()+">") {
		e.Prepend([]byte(header.Compose("Reply-To", old)))
	}
	if !e.Change("From", 1, value) {
		e.Prepend([]byte(header.Compose("From", value)))
	}
	for e.Delete("From", 2) {
		// Of several, which are not allowed, one is left.
	}
	return e.Block()
}

// Body is a stored message; spool.Body is one.
type Body interface {
	io.ReaderAt
	Size() int64
}

// Message returns a message with its header rewritten, and how many octets of
// it are header; the body is read from b as it is. A header longer than 512 KiB
// is an error.
func (o Outgoing) Message(b Body) (*Rewritten, error) {
	block, _, err := header.Read(io.NewSectionReader(b, 0, b.Size()), maxHead)
	if err != nil {
		return nil, fmt.Errorf("rewriting a header: %w", err)
	}
	was := int64(len(block.Raw()))
	head := o.Header(block)
	r := &Rewritten{head: head.Raw(), header: len(head.Raw()), body: b, skip: was}
	if !block.Separated() && was < b.Size() {
		// It had no header, and has one now.
		r.head = append(r.head[:len(r.head):len(r.head)], "\r\n"...)
	} else if head.Separated() {
		r.header -= emptyLine(head.Raw())
	}
	return r, nil
}

// emptyLine is the length of the line that ends a header.
func emptyLine(raw []byte) int {
	if n := len(raw); n > 1 && raw[n-2] == '\r' {
		return 2
	}
	return 1
}

// Rewritten is a message with another header. It is as safe for concurrent use
// as what it is made of.
type Rewritten struct {
	head   []byte
	header int // octets of head that are fields
	body   Body
	skip   int64 // octets of body that head stands for
}

// Fields returns the fields of the header, without the empty line.
func (r *Rewritten) Fields() []byte { return r.head[:r.header] }

// Text returns what follows the empty line.
func (r *Rewritten) Text() io.Reader {
	return io.NewSectionReader(r.body, r.skip, r.body.Size()-r.skip)
}

// Prepend puts whole fields in front.
func (r *Rewritten) Prepend(fields []byte) {
	r.head = append(fields[:len(fields):len(fields)], r.head...)
	r.header += len(fields)
}

// Size is the length of it all, in octets.
func (r *Rewritten) Size() int64 { return int64(len(r.head)) + r.body.Size() - r.skip }

// ReadAt implements io.ReaderAt.
func (r *Rewritten) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("rewritten message: bad offset %d", off)
	}
	n := 0
	if off < int64(len(r.head)) {
		n = copy(p, r.head[off:])
	}
	if n == len(p) {
		return n, nil
	}
	m, err := r.body.ReadAt(p[n:], off+int64(n)-int64(len(r.head))+r.skip)
	return n + m, err
}
