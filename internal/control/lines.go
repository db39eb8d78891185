package control

import (
	"bytes"
	"io"
	"mime"
	"strings"
)

// lines turns every line end of a stream, LF, CRLF or a lone CR, into CRLF, and
// ends the last line if it has no end.
// Nothing else may reach the spool: a bare LF or CR in a stored body would be
// taken for a line end by one relay and not by the next, and what looks like
// the end of a message could be smuggled in by it.
type lines struct {
	r   io.Reader
	in  []byte // what r gave and is not converted yet
	buf []byte
	err error
	cr  bool // the octet before in was a CR, and its CRLF is written
	mid bool // a line has begun and not ended
}

func newLines(r io.Reader) *lines { return &lines{r: r, buf: make([]byte, 16<<10)} }

// Read fills p with at least one octet, or fails. p must have room for two.
func (l *lines) Read(p []byte) (int, error) {
	if len(p) < 2 {
		return 0, io.ErrShortBuffer
	}
	n := 0
	for n == 0 {
		switch {
		case len(l.in) > 0:
			n = l.convert(p)
		case l.err == nil:
			var k int
			k, l.err = l.r.Read(l.buf)
			l.in = l.buf[:k]
		case l.err == io.EOF && l.mid:
			l.in = append(l.in, '\n')
		default:
			return 0, l.err
		}
	}
	return n, nil
}

func (l *lines) convert(p []byte) (n int) {
	for len(l.in) > 0 && n+1 < len(p) {
		c := l.in[0]
		l.in = l.in[1:]
		switch {
		case c == '\n' && l.cr:
			// The LF of a CRLF that is written already.
		case c == '\n' || c == '\r':
			p[n], p[n+1] = '\r', '\n'
			n += 2
		default:
			p[n] = c
			n++
		}
		l.cr = c == '\r'
		l.mid = c != '\r' && c != '\n'
	}
	return n
}

// eightBit looks for octets that are not ASCII as they pass.
type eightBit struct {
	w    io.Writer
	seen bool
}

func (e *eightBit) Write(p []byte) (int, error) {
	if !e.seen {
		e.seen = bytes.ContainsFunc(p, func(r rune) bool { return r >= 0x80 })
	}
	return e.w.Write(p)
}

// cutLine returns the first line of b, with its end, and the rest.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, nil, false
	}
	return b[:i+1], b[i+1:], true
}

// displayName writes a phrase of RFC 5322 section 3.2.5: encoded by RFC 2047
// or quoted where it has to be.
func displayName(s string) string {
	if enc := mime.QEncoding.Encode("utf-8", s); enc != s {
		return enc
	}
	if !strings.ContainsAny(s, `"\(),.:;<>@[]`) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
