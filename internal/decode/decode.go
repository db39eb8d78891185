// Package decode undoes content transfer encodings (RFC 2045 section 6) while
// a part streams by, for IMAP's BINARY and SEARCH and for webhooks. It is
// tolerant: what no encoder would write is passed over (base64) or passed on
// (quoted-printable), so that a reader always gets as much as there is. The
// only errors are those of the reader below. Memory does not depend on the
// input.
package decode

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"slices"
	"strings"
)

// Reader returns a reader of the decoded octets. It is not ok if the encoding
// is unknown; the empty one is 7bit.
func Reader(r io.Reader, encoding string) (decoded io.Reader, ok bool) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "7bit", "8bit", "binary":
		return r, true
	case "base64":
		return &base64Reader{r: r, in: make([]byte, 4<<10)}, true
	case "quoted-printable":
		return &quotedReader{r: bufio.NewReaderSize(r, maxLine)}, true
	}
	return nil, false
}

// base64Reader decodes in groups of four characters. Padding ends a group and
// not the input: parts that were glued together decode as one.
type base64Reader struct {
	r     io.Reader
	in    []byte
	group [4]byte
	n     int    // characters in group
	out   []byte // decoded and not yet read
	buf   []byte
	err   error
}

func (b *base64Reader) Read(p []byte) (int, error) {
	for len(b.out) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		n, err := b.r.Read(b.in)
		b.out = b.buf[:0]
		for _, c := range b.in[:n] {
			b.take(c)
		}
		if b.err = err; err != nil {
			b.endGroup()
		}
		b.buf = b.out
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	return n, nil
}

func (b *base64Reader) take(c byte) {
	switch {
	case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '+', c == '/':
		b.group[b.n] = c
		if b.n++; b.n == len(b.group) {
			b.endGroup()
		}
	case c == '=':
		b.endGroup()
	}
}

// endGroup decodes what there is of a group: 2 to 4 characters are 1 to 3
// octets, and one alone is nothing.
func (b *base64Reader) endGroup() {
	var dst [3]byte
	if b.n > 1 {
		// The last bits of a short group may be anything: not an error here.
		n, _ := base64.RawStdEncoding.Decode(dst[:], b.group[:b.n])
		b.out = append(b.out, dst[:n]...)
	}
	b.n = 0
}

// maxLine bounds a line of quoted-printable that is looked at as one. A longer
// one is taken in pieces; only white space at its end might then be kept.
const maxLine = 4 << 10

type quotedReader struct {
	r     *bufio.Reader
	carry []byte // an escape that the end of a piece would have cut in two
	out   []byte // decoded and not yet read
	buf   []byte
	err   error
}

func (q *quotedReader) Read(p []byte) (int, error) {
	for len(q.out) == 0 {
		if q.err != nil {
			return 0, q.err
		}
		piece, err := q.r.ReadSlice('\n')
		line := append(q.carry, piece...)
		q.carry = nil
		if err == bufio.ErrBufferFull {
			err = nil
			if i := bytes.LastIndexByte(line, '='); i >= 0 && i >= len(line)-2 {
				q.carry = slices.Clone(line[i:])
				line = line[:i]
			}
		}
		q.err = err
		q.buf = decodeQuoted(q.buf[:0], line)
		q.out = q.buf
	}
	n := copy(p, q.out)
	q.out = q.out[n:]
	return n, nil
}

func decodeQuoted(dst, line []byte) []byte {
	end := ""
	switch s := string(line); {
	case strings.HasSuffix(s, "\r\n"):
		end = "\r\n"
	case strings.HasSuffix(s, "\n"):
		end = "\n"
	}
	line = line[:len(line)-len(end)]
	if end != "" {
		// White space at a line's end was added on the way (RFC 2045
		// section 6.7, rule 3).
		line = []byte(strings.TrimRight(string(line), " \t"))
		if n := len(line); n > 0 && line[n-1] == '=' {
			line, end = line[:n-1], ""
		}
	}
	for i := 0; i < len(line); i++ {
		if line[i] == '=' && i+2 < len(line) {
			hi, lo := Unhex(line[i+1]), Unhex(line[i+2])
			if hi >= 0 && lo >= 0 {
				dst = append(dst, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		dst = append(dst, line[i])
	}
	return append(dst, end...)
}

// Unhex is the value of a hexadecimal digit in either case, -1 of what is none.
func Unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
