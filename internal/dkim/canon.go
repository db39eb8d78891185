package dkim

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"strings"
)

// The canonicalisations of RFC 6376 section 3.4.
const (
	simple  = "simple"
	relaxed = "relaxed"
)

// body canonicalises a body that streams by (RFC 6376 sections 3.4.3 and
// 3.4.4) and hashes it. Bare line feeds count as line ends, since they will be
// sent as such; a bare carriage return is an octet like any other. Its memory
// is constant.
type body struct {
	relaxed bool
	hash    hash.Hash
	size    int64 // octets hashed
	buf     []byte
	// What has been read but not hashed, since it may stand at the end: line
	// ends, then white space (relaxed), then a carriage return.
	lines     int64
	space, cr bool
	any       bool // something has been hashed
}

// bodyBuffer is what is gathered before it is hashed.
const bodyBuffer = 2 << 10

func newBody(canonicalisation string) *body {
	return &body{relaxed: canonicalisation == relaxed, hash: sha256.New(), buf: make([]byte, 0, bodyBuffer)}
}

// Write takes the next piece. It never fails.
func (b *body) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if end := b.ordinary(p); end > 0 {
			b.text(p[:end])
			p = p[end:]
			continue
		}
		c := p[0]
		p = p[1:]
		switch c {
		case '\n':
			b.lines++
			b.space, b.cr = false, false
		case '\r':
			if b.cr {
				b.text(nil)
			}
			b.cr = true
		default: // white space, in relaxed
			if b.cr {
				b.text(nil)
			}
			// After line ends, it is white space at the beginning of a line.
			b.space = true
		}
	}
	return n, nil
}

// ordinary returns how many octets p begins with that mean nothing but
// themselves.
func (b *body) ordinary(p []byte) int {
	if !b.relaxed {
		for i, c := range p {
			if c == '\r' || c == '\n' {
				return i
			}
		}
		return len(p)
	}
	for i, c := range p {
		if c <= ' ' && (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
			return i
		}
	}
	return len(p)
}

// text hashes what was held back, and then p.
func (b *body) text(p []byte) {
	b.any = true
	for ; b.lines > 0; b.lines-- {
		b.put("\r\n")
	}
	if b.space {
		b.put(" ")
		b.space = false
	}
	if b.cr {
		b.put("\r")
		b.cr = false
	}
	b.size += int64(len(p))
	if len(b.buf)+len(p) > cap(b.buf) {
		b.flush()
	}
	if len(p) > cap(b.buf) {
		b.hash.Write(p)
		return
	}
	b.buf = append(b.buf, p...)
}

func (b *body) put(s string) {
	if len(b.buf)+len(s) > cap(b.buf) {
		b.flush()
	}
	b.buf = append(b.buf, s...)
	b.size += int64(len(s))
}

func (b *body) flush() {
	b.hash.Write(b.buf)
	b.buf = b.buf[:0]
}

// sum ends the body and returns its hash.
func (b *body) sum() []byte {
	if b.cr {
		b.text(nil)
	}
	// White space and empty lines at the end do not count.
	b.lines, b.space = 0, false
	if b.any || !b.relaxed {
		b.put("\r\n")
	}
	b.flush()
	return b.hash.Sum(nil)
}

// appendField canonicalises a field with its name and line ends (RFC 6376
// sections 3.4.1 and 3.4.2).
func appendField(dst []byte, canonicalisation string, raw []byte) []byte {
	if canonicalisation != relaxed {
		for line := range bytes.Lines(raw) {
			dst = append(dst, bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))...)
			dst = append(dst, '\r', '\n')
		}
		return dst
	}
	name, value, _ := bytes.Cut(raw, []byte(":"))
	dst = append(dst, bytes.ToLower(bytes.TrimSpace(name))...)
	dst = append(dst, ':')
	start := len(dst)
	space := false
	for _, c := range value {
		switch c {
		case ' ', '\t', '\r', '\n':
			space = true
			continue
		}
		if space && len(dst) > start {
			dst = append(dst, ' ')
		}
		space = false
		dst = append(dst, c)
	}
	return append(dst, '\r', '\n')
}

// appendSignature canonicalises a signature's own field: with an empty b=, and
// without its last line end (RFC 6376 section 3.7).
func appendSignature(dst []byte, canonicalisation string, raw []byte) []byte {
	dst = appendField(dst, canonicalisation, withoutB(raw))
	return bytes.TrimSuffix(dst, []byte("\r\n"))
}

// withoutB takes out the value of the b= tag.
func withoutB(raw []byte) []byte {
	colon := bytes.IndexByte(raw, ':')
	out := append([]byte(nil), raw[:colon+1]...)
	for rest := raw[colon+1:]; ; {
		tag, after, more := bytes.Cut(rest, []byte(";"))
		if name, _, ok := bytes.Cut(tag, []byte("=")); ok && string(bytes.TrimSpace(name)) == "b" {
			tag = tag[:len(name)+1]
		}
		out = append(out, tag...)
		if !more {
			return out
		}
		out = append(out, ';')
		rest = after
	}
}

// stripSpace takes out all white space, which may fold values anywhere.
func stripSpace(s string) string {
	if !strings.ContainsAny(s, " \t\r\n") {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, s)
}
