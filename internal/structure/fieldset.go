package structure

import (
	"strings"

	"restante/internal/header"
)

// fieldSet collects the fields of one header that are kept.
type fieldSet struct {
	values  [fieldCount][]byte
	present [fieldCount]bool
	size    int
	current field // the one that a continuation line belongs to
	any     bool  // a line was seen
}

// verdict is what a line is to a header.
type verdict uint8

const (
	inHeader verdict = iota
	endsHeader
	isBody
)

func (s *fieldSet) reset() {
	for i := range s.values {
		s.values[i] = s.values[i][:0]
	}
	s.present = [fieldCount]bool{}
	s.size, s.current, s.any = 0, unknownField, false
}

// add takes a line of the header. message tells whether it is a message's, so
// that an mbox line may stand first.
func (s *fieldSet) add(line []byte, message bool) verdict {
	if string(line) == "\r\n" || string(line) == "\n" {
		return endsHeader
	}
	first := !s.any
	name, colon, ok := header.Cut(line)
	switch {
	case first && !ok && !(message && header.IsMboxFrom(line)):
		return isBody
	case ok:
		s.begin(fieldNamed(name), line[colon+1:])
	case line[0] == ' ' || line[0] == '\t':
		s.append(line)
	default:
		s.current = unknownField
	}
	s.any = true
	return inHeader
}

func (s *fieldSet) begin(f field, value []byte) {
	s.current = f
	switch {
	case f == unknownField:
		return
	case s.present[f] && !f.repeats():
		s.current = unknownField
		return
	case s.present[f]:
		s.append([]byte(","))
	}
	s.present[f] = true
	s.append(value)
}

func (s *fieldSet) append(b []byte) {
	if s.current == unknownField {
		return
	}
	b = b[:min(len(b), MaxHeader-s.size)]
	s.size += len(b)
	s.values[s.current] = append(s.values[s.current], b...)
}

// text returns a field's value, unfolded and cleaned.
func (s *fieldSet) text(f field) string { return strings.TrimSpace(clean(s.values[f])) }
