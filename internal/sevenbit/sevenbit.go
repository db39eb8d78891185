// Package sevenbit turns a message with 8-bit text into one that a mail system
// without 8BITMIME can take (RFC 6152 section 3): each body with octets beyond
// ASCII is encoded, as quoted-printable if it is text, otherwise in base64, and
// the fields that tell of the encoding are changed. Everything else stays as it
// is, octet by octet.
//
// What is done is found out before anything is written: either the message can
// be converted whole, or New fails with ErrCannot. A signature over the message
// (DKIM) does not outlive it; what is signed inside the message, in a
// multipart/signed, is not touched, and makes the message one that cannot be
// converted. Headers are left alone: 8-bit octets in them are not what 8BITMIME
// is about.
//
// In the same way WithoutNUL turns a message with octets of value 0 into one
// without: the bodies that have some are encoded in base64, and nothing else.
package sevenbit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"

	"restante/internal/header"
	"restante/internal/structure"
)

// ErrCannot is wrapped by the errors about a message that cannot be converted.
var ErrCannot = errors.New("cannot be converted to 7 bits")

const (
	// block is what is read at a time.
	block = 32 << 10
	// maxHeader bounds the header of a part that is changed.
	maxHeader = 1 << 20
)

// Message is a message that is to be written with 7 bits.
type Message struct {
	r     io.ReaderAt
	size  int64
	tasks []task // in the order of the message
	// nul tells that only octets of value 0 are to go.
	nul bool
}

// task is what is done with a range of the message; what lies between two is
// copied.
type task struct {
	from, to int64
	// encode is the encoding of a body, or else header is written in its place.
	encode string
	header []byte
}

// New reads a message and decides what is to be done. Errors are r's, or wrap
// ErrCannot.
func New(r io.ReaderAt, size int64) (*Message, error) {
	m := &Message{r: r, size: size}
	return m, m.read()
}

// WithoutNUL is New for a message that may keep its 8-bit octets. It cannot be
// converted if there are octets of value 0 outside of the bodies of its parts.
func WithoutNUL(r io.ReaderAt, size int64) (*Message, error) {
	m := &Message{r: r, size: size, nul: true}
	if err := m.read(); err != nil {
		return nil, err
	}
	at := int64(0)
	for _, t := range append(m.tasks[:len(m.tasks):len(m.tasks)], task{from: size, to: size}) {
		left, err := m.unwanted(at, t.from)
		if err != nil {
			return nil, err
		}
		if left || bytes.IndexByte(t.header, 0) >= 0 {
			return nil, fmt.Errorf("%w: it has octets of value 0 outside of its bodies", ErrCannot)
		}
		at = t.to
	}
	return m, nil
}

func (m *Message) read() error {
	p := structure.NewParser()
	if _, err := io.CopyBuffer(p, io.NewSectionReader(m.r, 0, m.size), make([]byte, block)); err != nil {
		return fmt.Errorf("reading the message: %w", err)
	}
	_, err := m.plan(p.Finish().Root, true)
	return err
}

// plan adds the tasks of a part, and tells whether it has any.
func (m *Message) plan(p *structure.Part, top bool) (bool, error) {
	at := len(m.tasks)
	changed, encoding := false, "7bit"
	inner := p.Children
	if p.Embedded != nil {
		inner = []*structure.Part{p.Embedded}
	}
	m.tasks = append(m.tasks, task{}) // the header's place
	for _, child := range inner {
		c, err := m.plan(child, false)
		if err != nil {
			return false, err
		}
		changed = changed || c
	}
	if len(inner) == 0 {
		found, err := m.unwanted(p.BodyStart, p.BodyEnd)
		switch {
		case err != nil:
			return false, err
		case found && (p.Encoding == "base64" || p.Encoding == "quoted-printable"):
			return false, fmt.Errorf("%w: a part that is encoded has octets that no encoding has", ErrCannot)
		case found:
			changed, encoding = true, "base64"
			if !m.nul && (p.Type == "text" || p.Type == "message") {
				encoding = "quoted-printable"
			}
			m.tasks = append(m.tasks, task{from: p.BodyStart, to: p.BodyEnd, encode: encoding})
		}
	}
	switch {
	case !changed:
		m.tasks = append(m.tasks[:at], m.tasks[at+1:]...)
		return false, nil
	case p.Type == "multipart" && (p.Subtype == "signed" || p.Subtype == "encrypted"):
		return false, fmt.Errorf("%w: it would break a signature in the message", ErrCannot)
	case p.Type == "message" && p.Subtype == "global", p.Type == "message" && len(inner) == 0:
		return false, fmt.Errorf("%w: it has a message inside that needs 8 bits", ErrCannot)
	}
	if m.nul && len(inner) > 0 {
		// It says what its parts may be, which they still may.
		m.tasks = append(m.tasks[:at], m.tasks[at+1:]...)
		return true, nil
	}
	head, err := m.header(p, encoding, top)
	m.tasks[at] = task{from: p.HeaderStart, to: p.BodyStart, header: head}
	return true, err
}

// unwanted tells whether there is an octet in a range that has to go.
func (m *Message) unwanted(from, to int64) (bool, error) {
	buf := make([]byte, block)
	r := io.NewSectionReader(m.r, from, to-from)
	for {
		n, err := r.Read(buf)
		if m.nul && bytes.IndexByte(buf[:n], 0) >= 0 || !m.nul && beyondASCII(buf[:n]) {
			return true, nil
		}
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("reading the message: %w", err)
		}
	}
}

func beyondASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

// header is that of a part with another encoding. A message from before MIME
// becomes one, with a character set that nobody knows (RFC 1428 section 3).
func (m *Message) header(p *structure.Part, encoding string, top bool) ([]byte, error) {
	n := p.BodyStart - p.HeaderStart
	switch {
	case n > maxHeader:
		return nil, fmt.Errorf("%w: a header is too large", ErrCannot)
	case n == 0 && !top:
		return nil, fmt.Errorf("%w: a part has no header to be told apart by", ErrCannot)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(m.r, p.HeaderStart, n), raw); err != nil {
		return nil, fmt.Errorf("reading the message: %w", err)
	}
	block := header.Parse(raw)
	end := len(raw)
	if block.Separated() {
		end = bytes.LastIndexByte(bytes.TrimSuffix(raw, []byte("\n")), '\n') + 1
	}
	field := "Content-Transfer-Encoding: " + encoding + "\r\n"
	var out []byte
	dropping := false
	for line := range bytes.Lines(raw[:end]) {
		name, _, ok := header.Cut(line)
		switch {
		case ok && strings.EqualFold(string(name), "Content-Transfer-Encoding"):
			// The new one stands where the first one stood.
			out = append(out, field...)
			field, dropping = "", true
		case dropping && (line[0] == ' ' || line[0] == '\t'):
		default:
			out = append(out, line...)
			dropping = false
		}
	}
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, "\r\n"...)
	}
	if top && !block.Has("MIME-Version") {
		out = append(out, "MIME-Version: 1.0\r\n"...)
	}
	if !block.Has("Content-Type") && encoding == "quoted-printable" {
		out = append(out, "Content-Type: text/plain; charset=unknown-8bit\r\n"...)
	}
	out = append(out, field...)
	if block.Separated() {
		out = append(out, raw[end:]...)
	} else {
		out = append(out, "\r\n"...)
	}
	return out, nil
}

// WriteTo writes the message. It can be called again.
func (m *Message) WriteTo(w io.Writer) (int64, error) {
	out := &counter{w: w}
	buf := make([]byte, block)
	at := int64(0)
	for _, t := range append(m.tasks[:len(m.tasks):len(m.tasks)], task{from: m.size, to: m.size}) {
		if _, err := io.CopyBuffer(plain{out}, io.NewSectionReader(m.r, at, t.from-at), buf); err != nil {
			return out.n, err
		}
		at = t.to
		if t.encode == "" {
			if _, err := out.Write(t.header); err != nil {
				return out.n, err
			}
			continue
		}
		enc := encoder(out, t.encode)
		if _, err := io.CopyBuffer(plain{enc}, io.NewSectionReader(m.r, t.from, t.to-t.from), buf); err != nil {
			return out.n, err
		}
		if err := enc.Close(); err != nil {
			return out.n, err
		}
	}
	return out.n, nil
}

// plain hides what else a writer can, so that the buffer is used.
type plain struct{ io.Writer }

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func encoder(w io.Writer, encoding string) io.WriteCloser {
	if encoding == "quoted-printable" {
		return quotedprintable.NewWriter(w)
	}
	return base64.NewEncoder(base64.StdEncoding, &lines{w: w})
}

// lines divides base64 into lines (RFC 2045 section 6.8).
type lines struct {
	w      io.Writer
	column int
}

func (l *lines) Write(p []byte) (int, error) {
	const width = 76
	written := 0
	for len(p) > 0 {
		if l.column == width {
			if _, err := io.WriteString(l.w, "\r\n"); err != nil {
				return written, err
			}
			l.column = 0
		}
		n, err := l.w.Write(p[:min(len(p), width-l.column)])
		written, l.column = written+n, l.column+n
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}
