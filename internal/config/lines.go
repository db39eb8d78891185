package config

import (
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// keyPath leads to a value: names of keys, and indexes into lists as numbers
// in brackets, which no key can be mistaken for since keys are held quoted.
type keyPath []string

func (p keyPath) key(name string) keyPath {
	return append(p[:len(p):len(p)], strconv.Quote(name))
}

func (p keyPath) index(i int) keyPath {
	return append(p[:len(p):len(p)], "["+strconv.Itoa(i)+"]")
}

func (p keyPath) String() string { return strings.Join(p, ".") }

// lineIndex tells in which line a key or an element begins. The TOML library
// knows this only for its own errors.
type lineIndex map[string]int

// line returns the line of the value, or of the nearest thing around it.
func (x lineIndex) line(p keyPath) int {
	for ; len(p) > 0; p = p[:len(p)-1] {
		if n := x[p.String()]; n > 0 {
			return n
		}
	}
	return 0
}

// indexLines finds the lines of all keys and list elements in a document that
// the TOML library has accepted; it relies on that and checks nothing.
func indexLines(text string) lineIndex {
	s := scanner{text: text, line: 1, index: make(lineIndex), tables: make(map[string]int)}
	s.document()
	return s.index
}

// scanner walks over a valid TOML document.
type scanner struct {
	text  string
	pos   int
	line  int
	index lineIndex
	// tables counts the elements of each array of tables.
	tables map[string]int
}

func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *scanner) done() bool { return s.pos >= len(s.text) }

// advance moves on by n octets, counting lines.
func (s *scanner) advance(n int) {
	end := min(s.pos+n, len(s.text))
	s.line += strings.Count(s.text[s.pos:end], "\n")
	s.pos = end
}

// space skips white space, line ends and comments.
func (s *scanner) space() {
	for !s.done() {
		switch s.peek() {
		case ' ', '\t', '\r', '\n':
			s.advance(1)
		case '#':
			if n := strings.IndexByte(s.text[s.pos:], '\n'); n >= 0 {
				s.advance(n)
			} else {
				s.pos = len(s.text)
			}
		default:
			return
		}
	}
}

func (s *scanner) note(p keyPath, line int) {
	if _, ok := s.index[p.String()]; !ok {
		s.index[p.String()] = line
	}
}

func (s *scanner) document() {
	// A byte order mark is allowed in front.
	s.text = strings.TrimPrefix(s.text, "\ufeff")
	var table keyPath
	for s.space(); !s.done(); s.space() {
		before := s.pos
		if s.peek() == '[' {
			table = s.header()
		} else {
			s.pair(table)
		}
		if s.pos == before {
			return
		}
	}
}

// header reads [a.b] or [[a.b]] and returns the path of the table it opens.
func (s *scanner) header() keyPath {
	line := s.line
	s.advance(1)
	array := s.peek() == '['
	if array {
		s.advance(1)
	}
	var p keyPath
	names := s.keys()
	for i, name := range names {
		p = p.key(name)
		n := s.tables[p.String()]
		if array && i == len(names)-1 {
			s.note(p, line)
			s.tables[p.String()] = n + 1
			n++
		}
		if n > 0 {
			p = p.index(n - 1)
		}
		s.note(p, line)
	}
	s.advance(1)
	if array {
		s.advance(1)
	}
	return p
}

// pair reads key = value.
func (s *scanner) pair(table keyPath) {
	line := s.line
	p := table
	for _, name := range s.keys() {
		p = p.key(name)
		s.note(p, line)
	}
	s.advance(1) // =
	s.value(p)
}

// keys reads a dotted key, up to what follows it.
func (s *scanner) keys() []string {
	var names []string
	for {
		s.space()
		start := s.pos
		if c := s.peek(); c == '"' || c == '\'' {
			s.str()
			names = append(names, unquote(s.text[start:s.pos]))
		} else {
			for !s.done() && strings.IndexByte(".=] \t\r\n", s.peek()) < 0 {
				s.pos++
			}
			names = append(names, s.text[start:s.pos])
		}
		s.space()
		if s.peek() != '.' {
			return names
		}
		s.advance(1)
	}
}

// unquote gives the string that a quoted key means.
func unquote(quoted string) string {
	var v struct{ K string }
	if _, err := toml.Decode("K = "+quoted, &v); err != nil {
		return quoted
	}
	return v.K
}

func (s *scanner) value(p keyPath) {
	s.space()
	switch s.peek() {
	case '"', '\'':
		s.str()
	case '[':
		s.advance(1)
		for i := 0; ; i++ {
			if s.space(); s.done() || s.peek() == ']' {
				break
			}
			before := s.pos
			s.note(p.index(i), s.line)
			s.value(p.index(i))
			if s.comma(); s.pos == before {
				return
			}
		}
		s.advance(1)
	case '{':
		s.advance(1)
		for {
			if s.space(); s.done() || s.peek() == '}' {
				break
			}
			before := s.pos
			s.pair(p)
			if s.comma(); s.pos == before {
				return
			}
		}
		s.advance(1)
	default:
		for !s.done() && strings.IndexByte(",]}#\n", s.peek()) < 0 {
			s.pos++
		}
	}
}

func (s *scanner) comma() {
	if s.space(); s.peek() == ',' {
		s.advance(1)
	}
}

// str skips a string of any of the four kinds.
func (s *scanner) str() {
	quote := s.text[s.pos : s.pos+1]
	if strings.HasPrefix(s.text[s.pos:], strings.Repeat(quote, 3)) {
		s.advance(3)
		s.until(strings.Repeat(quote, 3), quote == `"`)
		// Up to two quotes may stand before the closing three.
		for range 2 {
			if !s.done() && s.text[s.pos] == quote[0] {
				s.advance(1)
			}
		}
		return
	}
	s.advance(1)
	s.until(quote, quote == `"`)
}

// until moves behind the next end, passing over what a backslash escapes.
func (s *scanner) until(end string, escapes bool) {
	for !s.done() {
		switch {
		case escapes && s.peek() == '\\':
			s.advance(2)
		case strings.HasPrefix(s.text[s.pos:], end):
			s.advance(len(end))
			return
		default:
			s.advance(1)
		}
	}
}
