package header

import (
	"bytes"
	"slices"
	"strings"
)

// Editor changes a header. What is not changed stays as it was, octet for
// octet, lines that are no fields included.
type Editor struct {
	pieces []piece
	// end is the empty line, nil if there was none.
	end []byte
}

// piece is a field, or lines that are none; those have no name.
type piece struct {
	name string
	raw  []byte
}

// Edit returns an Editor of the block, which is not changed by it.
func (b *Block) Edit() *Editor {
	e := &Editor{pieces: make([]piece, 0, len(b.fields)+4)}
	end := len(b.raw)
	if b.separated {
		if end--; end > 0 && b.raw[end-1] == '\r' {
			end--
		}
		e.end = b.raw[end:]
	}
	at := 0
	for _, f := range b.fields {
		if f.start > at {
			e.pieces = append(e.pieces, piece{raw: b.raw[at:f.start]})
		}
		e.pieces = append(e.pieces, piece{f.Name, f.Raw})
		at = f.start + len(f.Raw)
	}
	if at < end {
		e.pieces = append(e.pieces, piece{raw: b.raw[at:end]})
	}
	return e
}

// Get returns the unfolded value of the first field of a name.
func (e *Editor) Get(name string) (value string, ok bool) {
	i := e.find(name, 1)
	if i < 0 {
		return "", false
	}
	return Parse(e.pieces[i].raw).Get(name)
}

// Fields returns the header as it stands now, without the empty line. The last
// line has its line end.
func (e *Editor) Fields() []byte {
	var out []byte
	for _, p := range e.pieces {
		out = append(out, p.raw...)
	}
	if n := len(out); n > 0 && out[n-1] != '\n' {
		out = append(out, "\r\n"...)
	}
	return out
}

// Block returns the header as it stands now, with an empty line if it had one.
func (e *Editor) Block() *Block { return Parse(append(e.Fields(), e.end...)) }

// Prepend puts whole fields in front of everything.
func (e *Editor) Prepend(fields []byte) { e.put(0, fields) }

// Append puts a field behind the last.
func (e *Editor) Append(name, value string) {
	if n := len(e.pieces); n > 0 {
		last := &e.pieces[n-1]
		if !bytes.HasSuffix(last.raw, []byte("\n")) {
			last.raw = append(bytes.Clone(last.raw), "\r\n"...)
		}
	}
	e.put(len(e.pieces), field(name, value))
}

// Insert puts a field behind the first n fields, of any name; behind the last
// if there are not so many.
func (e *Editor) Insert(n int, name, value string) {
	for i, p := range e.pieces {
		if n <= 0 {
			e.put(i, field(name, value))
			return
		}
		if p.name != "" {
			n--
		}
	}
	e.Append(name, value)
}

// Change replaces the value of the nth field of a name, 1 being the first, and
// tells whether there was one.
func (e *Editor) Change(name string, n int, value string) bool {
	i := e.find(name, n)
	if i < 0 {
		return false
	}
	e.pieces[i].raw = field(e.pieces[i].name, value)
	return true
}

// Delete takes the nth field of a name out, 1 being the first, and tells
// whether there was one.
func (e *Editor) Delete(name string, n int) bool {
	i := e.find(name, n)
	if i < 0 {
		return false
	}
	e.pieces = slices.Delete(e.pieces, i, i+1)
	return true
}

// DeleteAll takes all fields of the names out, and returns how many there were.
func (e *Editor) DeleteAll(names ...string) int {
	before := len(e.pieces)
	e.pieces = slices.DeleteFunc(e.pieces, func(p piece) bool { return p.named(names) })
	return before - len(e.pieces)
}

// Map replaces the fields of the names by what f makes of them, each with its
// line ends.
func (e *Editor) Map(f func(raw []byte) []byte, names ...string) {
	for i, p := range e.pieces {
		if p.named(names) {
			e.pieces[i].raw = f(p.raw)
		}
	}
}

func (p piece) named(names []string) bool {
	return p.name != "" && slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, p.name) })
}

func (e *Editor) find(name string, n int) int {
	for i, p := range e.pieces {
		if p.named([]string{name}) {
			if n--; n == 0 {
				return i
			}
		}
	}
	return -1
}

// put inserts whole fields. Each becomes a piece, so that it can be found.
func (e *Editor) put(at int, fields []byte) {
	if len(fields) > 0 {
		e.pieces = slices.Insert(e.pieces, at, Parse(fields).Edit().pieces...)
	}
}

// field writes a field whose value may be folded. What would end the field
// early, or could not be sent, is mended: a line that does not begin with white
// space is made to, empty lines and control characters are taken out.
func field(name, value string) []byte {
	out := []byte(keep(name, func(c byte) bool { return c > ' ' && c < 0x7f && c != ':' }))
	if len(out) == 0 {
		return nil
	}
	out = append(out, ':')
	for i, line := range strings.Split(strings.ReplaceAll(value, "\r\n", "\n"), "\n") {
		line = strings.TrimRight(strings.Map(printable, line), " \t")
		switch {
		case i == 0:
			out = append(append(out, ' '), strings.TrimLeft(line, " \t")...)
		case strings.Trim(line, " \t") == "":
			continue
		case line[0] != ' ' && line[0] != '\t':
			out = append(append(out, '\t'), line...)
		default:
			out = append(out, line...)
		}
		out = append(out, "\r\n"...)
	}
	return out
}

func printable(r rune) rune {
	if r < ' ' && r != '\t' || r == 0x7f {
		return -1
	}
	return r
}
