package wire

import (
	"io"
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2"

	"restante/internal/imapstring"
)

// Encoder writes responses to a Conn. Errors of the connection are kept by it,
// and Flush tells of them.
type Encoder struct {
	c *Conn
	// UTF8 tells that the client takes UTF-8 in quoted strings, and mailbox
	// names as they are: after ENABLE IMAP4rev2 or UTF8=ACCEPT.
	UTF8 bool
}

// Encode returns an Encoder.
func (c *Conn) Encode() *Encoder { return &Encoder{c: c} }

// room makes sure that n octets fit into the buffer, if that can be.
func (e *Encoder) room(n int) {
	if len(e.c.bw)+n > writeBuffer {
		e.c.send(e.c.bw)
		e.c.bw = e.c.bw[:0]
	}
	e.c.grab()
}

// Raw writes octets as they are: of the protocol, or known to be fit for it.
func (e *Encoder) Raw(s string) *Encoder {
	if len(s) > writeBuffer/2 {
		e.c.Write([]byte(s))
		return e
	}
	e.room(len(s))
	e.c.bw = append(e.c.bw, s...)
	return e
}

// Bytes is Raw.
func (e *Encoder) Bytes(b []byte) *Encoder {
	if len(b) > writeBuffer/2 {
		e.c.Write(b)
		return e
	}
	e.room(len(b))
	e.c.bw = append(e.c.bw, b...)
	return e
}

// Number writes a number.
func (e *Encoder) Number(n uint64) *Encoder {
	e.room(20)
	e.c.bw = strconv.AppendUint(e.c.bw, n, 10)
	return e
}

// Number32 writes a number.
func (e *Encoder) Number32(n uint32) *Encoder { return e.Number(uint64(n)) }

// CRLF ends a response.
func (e *Encoder) CRLF() *Encoder { return e.Raw("\r\n") }

// String writes a string: quoted if it can be, else as a literal.
func (e *Encoder) String(s string) *Encoder {
	if len(s) > imapstring.MaxQuoted {
		e.Raw("{").Number(uint64(len(s))).Raw("}\r\n")
		return e.Raw(s)
	}
	e.room(2*len(s) + 16)
	e.c.bw = imapstring.Append(e.c.bw, s, e.UTF8)
	return e
}

// NString writes NIL for "".
func (e *Encoder) NString(s string) *Encoder {
	if s == "" {
		return e.Raw("NIL")
	}
	return e.String(s)
}

// Mailbox writes the name of a mailbox, in modified UTF-7 where the client does
// not take UTF-8 (RFC 3501 section 5.1.3).
func (e *Encoder) Mailbox(name string) *Encoder {
	if !e.UTF8 {
		name = EncodeUTF7(name)
	}
	if name == "INBOX" {
		return e.Raw(name)
	}
	return e.String(name)
}

// Flags writes a list of flags.
func (e *Encoder) Flags(list []imap.Flag) *Encoder {
	e.Raw("(")
	for i, f := range list {
		if i > 0 {
			e.Raw(" ")
		}
		e.Raw(string(f))
	}
	return e.Raw(")")
}

// DateTime writes an INTERNALDATE.
func (e *Encoder) DateTime(t time.Time) *Encoder {
	e.room(32)
	e.c.bw = t.AppendFormat(e.c.bw, `"_2-Jan-2006 15:04:05 -0700"`)
	return e
}

// LiteralHead announces a literal of size octets, which has to follow.
func (e *Encoder) LiteralHead(size int64, binary bool) *Encoder {
	if binary {
		e.Raw("~")
	}
	return e.Raw("{").Number(uint64(size)).Raw("}\r\n")
}

// Literal copies a literal of size octets. When it fails the response is broken,
// and the connection has to be cut.
func (e *Encoder) Literal(r io.Reader, size int64, binary bool, buf []byte) error {
	e.LiteralHead(size, binary)
	n, err := io.CopyBuffer(struct{ io.Writer }{e.c}, struct{ io.Reader }{io.LimitReader(r, size)}, buf)
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return err
}
