// Package header reads the header of a message on its way in, octet by octet
// as it stands, and composes the fields that restante adds in front.
//
// Reading never refuses a message for its syntax: lines that are no fields are
// kept where they are. The one failure of its own is ErrTooLarge, which bounds
// the memory a sender can take. What it composes is always a legal field of one
// or more CRLF-ended lines: whatever is put into it, no input can end the field
// early or add another.
package header

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// DefaultLimit bounds a header, in octets, if the caller has no limit of its own.
const DefaultLimit = 64 << 10

// ErrTooLarge tells that a header is longer than the limit.
var ErrTooLarge = errors.New("header too large")

// Block is a header as it was read.
type Block struct {
	raw       []byte
	separated bool
	fields    []Field
}

// Field is one field of a header.
type Field struct {
	// Name is the name as it stands, without white space before the colon.
	Name string
	// Raw is the whole field with its continuation lines and line ends.
	Raw []byte
	// colon is the offset of the colon in Raw, start that of Raw in the block.
	colon, start int
}

// Is tells whether the field has a name, in any case.
func (f Field) Is(name string) bool { return strings.EqualFold(f.Name, name) }

// RawValue is all that follows the colon, line ends included.
func (f Field) RawValue() []byte { return f.Raw[f.colon+1:] }

// Value is the field's value, unfolded: line ends are taken out and white
// space around it too.
func (f Field) Value() string {
	return strings.Trim(strings.NewReplacer("\r\n", "", "\n", "").Replace(string(f.RawValue())), " \t\r")
}

// Read reads a header of at most limit octets, its empty line included
// (DefaultLimit if limit is 0), and returns it with a reader of what follows:
// Block.Raw and then the rest are exactly the octets of r.
//
// The header ends with the first empty line or with the end of r. If the first
// line is neither a field nor an mbox "From " line, the message has no header:
// the block is empty and the rest begins with that line.
//
// On an error the block is nil. It is ErrTooLarge, or wraps one of r other
// than io.EOF.
func Read(r io.Reader, limit int) (*Block, io.Reader, error) {
	if limit <= 0 {
		limit = DefaultLimit
	}
	var (
		buf  []byte
		line int // where the line that is not yet complete begins
	)
	chunk := make([]byte, 4<<10)
	for {
		n, err := r.Read(chunk)
		scanned := len(buf)
		buf = append(buf, chunk[:n]...)
		for {
			i := bytes.IndexByte(buf[scanned:], '\n')
			if i < 0 {
				break
			}
			end := scanned + i + 1
			switch {
			case line == 0 && !opensHeader(buf[:end]):
				return split(buf, 0, r, err)
			case end > limit:
				return nil, r, ErrTooLarge
			case isEmpty(buf[line:end]):
				return split(buf, end, r, err)
			}
			line, scanned = end, end
		}
		if line == 0 && (err == io.EOF || len(buf) > limit) && !opensHeader(buf) {
			return split(buf, 0, r, err)
		}
		switch {
		case len(buf) > limit:
			return nil, r, ErrTooLarge
		case err == io.EOF:
			return split(buf, len(buf), r, err)
		case err != nil:
			return nil, r, fmt.Errorf("reading the header: %w", err)
		}
	}
}

// split makes the block of buf[:end]; the rest is what was read beyond it, and
// r, unless that has ended.
func split(buf []byte, end int, r io.Reader, err error) (*Block, io.Reader, error) {
	if err != nil && err != io.EOF {
		r = failing{err}
	}
	rest := io.MultiReader(bytes.NewReader(buf[end:]), r)
	return Parse(buf[:end:end]), rest, nil
}

// failing gives an error that was met together with the last octets.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Ends tells whether the octets that a message begins with have its whole
// header, so that Read will divide them as it will the whole message.
func Ends(b []byte) bool {
	first := bytes.IndexByte(b, '\n') + 1
	if first == 0 {
		return false
	}
	return isEmpty(b[:first]) || !opensHeader(b[:first]) ||
		bytes.Contains(b, []byte("\n\r\n")) || bytes.Contains(b, []byte("\n\n"))
}

// Parse makes a Block of a header that is already in memory. It keeps raw, and
// passes over what follows the empty line.
func Parse(raw []byte) *Block {
	b := &Block{raw: raw}
	var (
		start int  // where the last field begins
		open  bool // whether a continuation line would belong to it
	)
	for at := 0; at < len(raw); {
		end := len(raw)
		if i := bytes.IndexByte(raw[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		line := raw[at:end]
		if isEmpty(line) {
			b.raw, b.separated = raw[:end], true
			break
		}
		if name, colon, ok := Cut(line); ok {
			start, open = at, true
			b.fields = append(b.fields, Field{Name: string(name), Raw: raw[at:end:end], colon: colon, start: at})
		} else if open = open && (line[0] == ' ' || line[0] == '\t'); open {
			b.fields[len(b.fields)-1].Raw = raw[start:end:end]
		}
		at = end
	}
	return b
}

// Raw returns the header as it was read, with the empty line if it had one.
func (b *Block) Raw() []byte { return b.raw }

// Separated tells whether an empty line ended the header. If not, and a body
// follows, whoever adds fields in front must write the empty line.
func (b *Block) Separated() bool { return b.separated }

// Fields returns the fields in order. Lines that are no fields are left out.
func (b *Block) Fields() []Field { return b.fields }

// Get returns the value of the first field of a name, in any case; see
// Field.Value.
func (b *Block) Get(name string) (value string, ok bool) {
	for _, f := range b.fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value(), true
		}
	}
	return "", false
}

// Has tells whether there is a field of a name, in any case.
func (b *Block) Has(name string) bool {
	_, ok := b.Get(name)
	return ok
}

// Count returns how many fields have a name, in any case.
func (b *Block) Count(name string) int {
	n := 0
	for _, f := range b.fields {
		if strings.EqualFold(f.Name, name) {
			n++
		}
	}
	return n
}

// Hops counts the Received fields: the relays the message went through, for
// the detection of loops (RFC 5321 section 6.3).
func (b *Block) Hops() int { return b.Count("Received") }

// Missing returns those of the names given that no field has.
func (b *Block) Missing(names ...string) []string {
	var missing []string
	for _, n := range names {
		if !b.Has(n) {
			missing = append(missing, n)
		}
	}
	return missing
}

// EightBit tells whether the header has an octet that is not ASCII (RFC 6532).
func (b *Block) EightBit() bool {
	for _, c := range b.raw {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

// opensHeader tells whether a message's first line begins a header.
func opensHeader(line []byte) bool {
	if isEmpty(line) || IsMboxFrom(line) {
		return true
	}
	_, _, ok := Cut(line)
	return ok
}

// IsMboxFrom tells whether a line is the "From " line that mbox files put in
// front of a message.
func IsMboxFrom(line []byte) bool {
	return bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))
}

func isEmpty(line []byte) bool { return string(line) == "\r\n" || string(line) == "\n" }

// Cut finds the name of the field that a line begins, and the offset of the
// colon after it (RFC 5322 section 2.2; white space before the colon is
// section 4.5). A line that begins no field is not ok.
func Cut(line []byte) (name []byte, colon int, ok bool) {
	for i, c := range line {
		switch {
		case c == ':':
			return line[:i], i, i > 0
		case c == ' ' || c == '\t':
			rest := bytes.TrimLeft(line[i:], " \t")
			return line[:i], len(line) - len(rest), i > 0 && len(rest) > 0 && rest[0] == ':'
		case c < ' ' || c >= 0x7f:
			return nil, 0, false
		}
	}
	return nil, 0, false
}
