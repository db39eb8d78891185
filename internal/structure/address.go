package structure

import (
	"strings"

	"restante/internal/header"
)

// maxAddresses bounds the addresses kept of one list.
const maxAddresses = 4096

// IsAddresses tells whether a field of this name, in any case, has addresses.
func IsAddresses(name string) bool {
	f := fieldNamed([]byte(name))
	return f >= fieldFrom && f <= fieldBcc
}

// AddressText is the value of such a field with its addresses as ENVELOPE has them:
// without comments, quotes, and white space that means nothing. Encoded words are
// decoded.
func AddressText(value []byte) string {
	var b strings.Builder
	for i, a := range parseAddresses(strings.TrimSpace(clean(value))) {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(FieldText([]byte(a.Name)))
		if a.Kind == Mailbox {
			b.WriteString(" <" + a.Mailbox + "@" + a.Host + ">")
		}
	}
	return b.String()
}

// addressReader reads an address list of RFC 5322 section 3.4 from clean text,
// in one pass, and makes the best of what is none.
type addressReader struct {
	in      string
	out     []Address
	inGroup bool
	// A quote or a comment that never ends is looked for only once.
	noQuotes, noComments bool

	// The element being read: its words without quotes, the same as they
	// stand, the last comment, and the address in angle brackets.
	phrase, raw strings.Builder
	comment     string
	angle       string
	hasAngle    bool
	hasAt       bool // raw has what no name of a group has
}

// parseAddresses reads an address list. It never fails.
func parseAddresses(s string) []Address {
	r := addressReader{in: s}
	for r.in != "" && len(r.out) < maxAddresses {
		r.next()
	}
	r.flush()
	if r.inGroup {
		r.out = append(r.out, Address{Kind: GroupEnd})
	}
	return r.out
}

// next reads a character, or what it opens.
func (r *addressReader) next() {
	c := r.in[0]
	switch {
	case c == '"' && r.quoted(), c == '(' && r.skipComment():
		return
	case c == '<' && !r.hasAngle:
		r.readAngle()
		return
	}
	r.in = r.in[1:]
	switch {
	case c == ',':
		r.flush()
	case c == ';':
		r.flush()
		if r.inGroup {
			r.inGroup = false
			r.out = append(r.out, Address{Kind: GroupEnd})
		}
	case c == ':' && r.startsGroup():
		r.out = append(r.out, Address{Kind: GroupStart, Name: strings.TrimSpace(r.phrase.String())})
		r.inGroup = true
		r.clear()
	case c == '"' || r.hasAngle: // a stray quote, or junk behind the address
	default:
		r.hasAt = r.hasAt || c == '@' || c == '['
		r.phrase.WriteByte(c)
		r.raw.WriteByte(c)
	}
}

// startsGroup tells whether a colon makes what was read the name of a group.
func (r *addressReader) startsGroup() bool {
	return !r.inGroup && !r.hasAngle && !r.hasAt && strings.TrimSpace(r.raw.String()) != ""
}

func (r *addressReader) quoted() bool {
	if r.noQuotes || r.hasAngle {
		return false
	}
	value, rest, ok := cutQuoted(r.in)
	if !ok {
		r.noQuotes = true
		return false
	}
	r.phrase.WriteString(value)
	r.raw.WriteString(r.in[:len(r.in)-len(rest)])
	r.in = rest
	return true
}

func (r *addressReader) skipComment() bool {
	if r.noComments {
		return false
	}
	if end, closed := header.AfterComment(r.in, 0); closed {
		r.comment = strings.TrimSpace(r.in[1 : end-1])
		r.in = r.in[end:]
		return true
	}
	r.noComments = true
	return false
}

// readAngle reads an address in angle brackets, up to the comma or the end of
// the list if the closing one is missing.
func (r *addressReader) readAngle() {
	r.hasAngle = true
	routed := strings.HasPrefix(strings.TrimLeft(r.in[1:], " "), "@")
	for i := 1; i < len(r.in); i++ {
		switch r.in[i] {
		case '"':
			if r.noQuotes {
				continue
			}
			_, rest, ok := cutQuoted(r.in[i:])
			if !ok {
				r.noQuotes = true
				continue
			}
			i = len(r.in) - len(rest) - 1
		case '>':
			r.angle, r.in = r.in[1:i], r.in[i+1:]
			return
		case ',', '<':
			// A comma may also be in a source route: "<@a,@b:c@d>".
			if !routed {
				r.angle, r.in = r.in[1:i], r.in[i:]
				return
			}
		}
	}
	r.angle, r.in = r.in[1:], ""
}

// flush ends the element that was read.
func (r *addressReader) flush() {
	defer r.clear()
	phrase := strings.TrimSpace(r.phrase.String())
	raw := strings.TrimSpace(r.raw.String())
	a := Address{Name: phrase}
	switch {
	case r.hasAngle:
		a.Route, a.Mailbox, a.Host = splitAddress(uncommented(r.angle))
		if a.Name == "" {
			a.Name = r.comment
		}
	case raw == "":
		return
	default:
		a.Name = r.comment
		if at := strings.LastIndexByte(raw, '@'); at >= 0 && raw[0] != '"' {
			// "two words@host": only the last word belongs to the address.
			if i := strings.LastIndexAny(strings.TrimRight(raw[:at], " "), " "); i >= 0 && raw[i+1] != '.' && raw[i-1] != '.' {
				a.Name, raw = strings.TrimSpace(raw[:i]), raw[i+1:]
			}
		}
		a.Route, a.Mailbox, a.Host = splitAddress(raw)
	}
	if a != (Address{}) && len(r.out) < maxAddresses {
		r.out = append(r.out, a)
	}
}

func (r *addressReader) clear() {
	r.phrase.Reset()
	r.raw.Reset()
	r.comment, r.angle, r.hasAngle, r.hasAt = "", "", false, false
}

// uncommented takes comments out of what stands in angle brackets (RFC 5322
// section 3.4.1 allows them on both sides of the @).
func uncommented(s string) string {
	if !strings.Contains(s, "(") {
		return s
	}
	var b strings.Builder
	for s != "" {
		n := 1
		switch s[0] {
		case '"':
			if _, rest, ok := cutQuoted(s); ok {
				n = len(s) - len(rest)
			}
		case '(':
			if end, closed := header.AfterComment(s, 0); closed {
				s = s[end:]
				continue
			}
			return b.String() + s
		}
		b.WriteString(s[:n])
		s = s[n:]
	}
	return b.String()
}

// splitAddress takes an address apart, without quotes and white space.
func splitAddress(s string) (route, mailbox, host string) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "@") {
		if before, rest, ok := strings.Cut(s, ":"); ok {
			route, s = strings.ReplaceAll(before, " ", ""), strings.TrimSpace(rest)
		}
	}
	if strings.HasPrefix(s, `"`) {
		if local, rest, ok := cutQuoted(s); ok {
			if host, ok := strings.CutPrefix(strings.TrimSpace(rest), "@"); ok {
				return route, local, strings.TrimSpace(host)
			}
		}
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return route, strings.Trim(s, `"`), ""
	}
	// White space around the dots is allowed by section 4.4 and means nothing.
	return route, strings.ReplaceAll(s[:at], " ", ""), strings.ReplaceAll(s[at+1:], " ", "")
}
