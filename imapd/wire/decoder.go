package wire

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Limits of a command, in octets.
const (
	// MaxLine bounds what a command has outside of literals.
	MaxLine = 64 << 10
	// MaxLiterals bounds its literals together, but for the messages of APPEND;
	// MaxEarly those of a client that has not logged in.
	MaxLiterals = 256 << 10
	MaxEarly    = 4 << 10
	// maxDepth bounds parentheses inside each other.
	maxDepth = 100
	// footSize is how many octets at the end of a line are looked at for a
	// literal.
	footSize = 64
)

// SyntaxError tells what is wrong with a command. The answer is BAD.
type SyntaxError struct{ Text string }

func (e *SyntaxError) Error() string { return e.Text }

// LimitError tells that a command is too large. The answer is NO or BAD with a
// code.
type LimitError struct{ Text string }

func (e *LimitError) Error() string { return e.Text }

// ErrLost ends a connection whose client sends more than is worth throwing away.
var ErrLost = errors.New("command is too large to be thrown away")

// Decoder reads one command. After its first error it reads nothing more and
// returns zero values; Err tells of it.
type Decoder struct {
	c     *Conn
	err   error
	line  int   // octets outside of literals so far
	lits  int64 // and in them
	limit int64 // for lits
	depth int
	ended bool // the line end was read
	// foot is a ring of the last octets of the line that were taken: what is left
	// of a refused command may begin in the middle of a literal's announcement.
	foot [footSize]byte
	// tail is what is left of a literal that is being streamed.
	tail int64
	// refused: a synchronising literal was announced, and the client waits to
	// hear whether it is wanted.
	refused bool
	// big bounds a literal that is thrown away.
	big int64
}

// Decode begins a command. Literals have limit octets together; one that is
// thrown away has at most 4 times big, or the connection is ended.
func (c *Conn) Decode(limit, big int64) *Decoder {
	return &Decoder{c: c, limit: limit, big: max(big, limit)}
}

// Err is the first error: a *SyntaxError, a *LimitError, or the connection's.
func (d *Decoder) Err() error { return d.err }

// Fail makes a *SyntaxError, unless there was an error before.
func (d *Decoder) Fail(format string, args ...any) {
	if d.err == nil {
		d.err = &SyntaxError{fmt.Sprintf(format, args...)}
	}
}

// Refuse ends the command with an error of its executor's, which Err returns
// and which is told to the client. What is left of the command is thrown away.
// The result is always nil.
func (d *Decoder) Refuse(err error) func() error {
	if d.err == nil {
		d.err = &RefusedError{err}
	}
	return nil
}

// RefusedError is what Refuse was given.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap returns what Refuse was given.
func (e *RefusedError) Unwrap() error { return e.Err }

func (d *Decoder) fault(err error) {
	if d.err != nil || err == nil {
		return
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	d.err = err
}

// peek returns the next octet without taking it; 0 after an error.
func (d *Decoder) peek() byte {
	if d.err != nil || d.ended {
		return 0
	}
	b, err := d.c.reader().Peek(1)
	if err != nil {
		d.fault(err)
		return 0
	}
	return b[0]
}

// next takes the octet that peek has shown.
func (d *Decoder) next() {
	if d.err != nil {
		return
	}
	b, _ := d.c.br.ReadByte()
	d.foot[d.line%footSize] = b
	if d.line++; d.line > MaxLine && d.err == nil {
		d.err = &LimitError{"Command line is too long"}
	}
}

// Try takes an octet if it is the next.
func (d *Decoder) Try(b byte) bool {
	if d.peek() != b || d.err != nil {
		return false
	}
	d.next()
	return true
}

// Expect takes an octet that has to be there.
func (d *Decoder) Expect(b byte) {
	if !d.Try(b) {
		d.Fail("Expected %q", b)
	}
}

// Space takes the blank that has to be there. Of clients that send more than one
// all are taken.
func (d *Decoder) Space() {
	if !d.Try(' ') {
		d.Fail("An argument is missing")
	}
	for d.Try(' ') {
	}
}

// TrySpace takes a blank if there is one, and tells whether anything follows.
func (d *Decoder) TrySpace() bool {
	if !d.Try(' ') {
		return false
	}
	for d.Try(' ') {
	}
	c := d.peek()
	return c != '\r' && c != '\n' && c != 0
}

// End takes the line end.
func (d *Decoder) End() {
	if d.err != nil || d.ended {
		return
	}
	for d.Try(' ') {
	}
	d.Try('\r')
	if !d.Try('\n') {
		d.Fail("Too many arguments")
		return
	}
	d.ended = true
}

// AtEnd tells whether the line end is next.
func (d *Decoder) AtEnd() bool {
	c := d.peek()
	return d.ended || d.err != nil || c == '\r' || c == '\n'
}

// while takes octets for as long as ok says.
func (d *Decoder) while(ok func(c byte) bool) string {
	var b []byte
	for d.err == nil {
		c := d.peek()
		if d.err != nil || d.ended || !ok(c) {
			break
		}
		b = append(b, c)
		d.next()
	}
	return string(b)
}

func isAtomChar(c byte) bool {
	return c > ' ' && c < 0x7f && strings.IndexByte(`(){%*"\]`, c) < 0
}

// isAstringChar allows "]" too (RFC 9051, ASTRING-CHAR), and eight bits: what is
// valid UTF-8 some clients send without asking.
func isAstringChar(c byte) bool { return isAtomChar(c) || c == ']' || c >= 0x80 }

// Tag takes the tag of a command. An empty one is an error.
func (d *Decoder) Tag() string {
	s := d.while(func(c byte) bool { return isAstringChar(c) && c != '+' && c < 0x80 })
	if s == "" || len(s) > 128 {
		d.Fail("Malformed tag")
		return ""
	}
	return s
}

// Atom takes an atom.
func (d *Decoder) Atom() string {
	s := d.while(isAtomChar)
	if s == "" {
		d.Fail("A word is missing")
	}
	return s
}

// Word takes an atom and makes it upper case.
func (d *Decoder) Word() string { return strings.ToUpper(d.Atom()) }

// Until takes what comes before one of some octets, or the line's end: for items
// that are no atoms, such as BODY[...].
func (d *Decoder) Until(stop string) string {
	return d.while(func(c byte) bool { return c > ' ' && c < 0x7f && strings.IndexByte(stop, c) < 0 })
}

// Number takes a number of 32 bits.
func (d *Decoder) Number() uint32 {
	n := d.Number64()
	if n > math.MaxUint32 {
		d.Fail("Number is too large")
		return 0
	}
	return uint32(n)
}

// Number64 takes a number of 63 bits.
func (d *Decoder) Number64() uint64 {
	s := d.while(func(c byte) bool { return c >= '0' && c <= '9' })
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		d.Fail("A number is missing or too large")
		return 0
	}
	return n
}

// AString takes an atom, a quoted string or a literal.
func (d *Decoder) AString() string {
	if s, ok := d.tryString(); ok {
		return s
	}
	s := d.while(isAstringChar)
	if s == "" {
		d.Fail("A string is missing")
	}
	return s
}

// String takes a quoted string or a literal.
func (d *Decoder) String() string {
	s, ok := d.tryString()
	if !ok {
		d.Fail("A string is missing")
	}
	return s
}

// NString takes a string or NIL; ok is false for the latter.
func (d *Decoder) NString() (s string, ok bool) {
	if s, ok := d.tryString(); ok {
		return s, true
	}
	if d.err == nil && !strings.EqualFold(d.Atom(), "NIL") {
		d.Fail("Expected a string or NIL")
	}
	return "", false
}

func (d *Decoder) tryString() (string, bool) {
	switch d.peek() {
	case '"':
		return d.quoted(), true
	case '{', '~':
		if d.tilde() {
			return "", false
		}
		size, _, ok := d.Literal()
		if !ok {
			return "", false
		}
		return d.whole(size), true
	}
	return "", false
}

// tilde tells whether what is next is a "~" that begins an atom, and no literal8.
func (d *Decoder) tilde() bool {
	if d.peek() != '~' {
		return false
	}
	b, err := d.c.reader().Peek(2)
	d.fault(err)
	return d.err == nil && b[1] != '{'
}

func (d *Decoder) quoted() string {
	d.Expect('"')
	var b []byte
	for d.err == nil {
		c := d.peek()
		switch c {
		case '\r', '\n', 0:
			d.Fail("Quoted string is not closed")
			return ""
		case '"':
			d.next()
			return string(b)
		case '\\':
			d.next()
			if c = d.peek(); c != '"' && c != '\\' {
				d.Fail("Malformed escape in a quoted string")
				return ""
			}
		}
		b = append(b, c)
		d.next()
	}
	return ""
}

// List takes a list in parentheses, whose elements item takes.
func (d *Decoder) List(item func()) {
	d.Expect('(')
	d.items(item)
}

func (d *Decoder) items(item func()) {
	if d.depth++; d.depth > maxDepth {
		d.Fail("Too many parentheses")
	}
	defer func() { d.depth-- }()
	for d.Try(' ') {
	}
	if d.Try(')') {
		return
	}
	for d.err == nil {
		item()
		if d.Try(')') || d.err != nil {
			return
		}
		d.Space()
		if d.Try(')') {
			return
		}
	}
}

// TryList is List if there is a parenthesis.
func (d *Decoder) TryList(item func()) bool {
	if !d.Try('(') {
		return false
	}
	d.items(item)
	return true
}

// TryAfterSpace is TryList for a list that a blank comes before. A blank before
// something else is not taken.
func (d *Decoder) TryAfterSpace(item func()) bool {
	if d.peek() != ' ' {
		return false
	}
	// After a blank there is another octet, the line's end at least.
	b, err := d.c.reader().Peek(2)
	if err != nil {
		d.fault(err)
		return false
	}
	if b[1] != '(' {
		return false
	}
	d.next()
	d.List(item)
	return true
}

// Peek is the next octet, which is not taken: 0 if there is none.
func (d *Decoder) Peek() byte { return d.peek() }
