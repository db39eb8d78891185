// Package author tells in whose name a message is written: the domains of its
// From field, as DKIM signing and DMARC need them, and the organisational
// domain that a domain belongs to.
//
// It reads what stands there without mending it: whatever could be read in two
// ways is reported as malformed, so that the caller can be strict. It costs
// time linear in the field and never fails otherwise.
package author

import (
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"restante/internal/header"
	"restante/internal/mail"
)

// Author is what the From fields of a header say.
type Author struct {
	// Fields is the number of From fields.
	Fields int
	// Domains are those of the addresses, each once, in their order, as
	// mail.ParseDomain gives them: lower case, A-labels. At most maxDomains.
	Domains []string
	// Malformed: something in a field could be read in several ways, has no
	// legal domain or no end, or there are more domains than are kept.
	Malformed bool
}

// maxDomains bounds the domains that are kept.
const maxDomains = 8

// Of reads the From fields of a header.
func Of(head *header.Block) Author {
	var a Author
	for _, f := range head.Fields() {
		if strings.EqualFold(f.Name, "From") {
			a.Fields++
			a.add(string(f.RawValue()))
		}
	}
	return a
}

// Organisational returns the organisational domain of a domain (RFC 7489
// section 3.2), by the public suffix list: the label below the suffix with all
// to its right. A public suffix, and an address literal, is its own.
func Organisational(domain string) string {
	if strings.HasPrefix(domain, "[") {
		return domain
	}
	if org, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return org
	}
	return domain
}

// Parents returns a domain and those above it, down to the organisational
// domain: "a.b.example.org", "b.example.org", "example.org".
func Parents(domain string) []string {
	org := Organisational(domain)
	list := []string{domain}
	for domain != org {
		_, rest, ok := strings.Cut(domain, ".")
		if !ok {
			break
		}
		domain = rest
		list = append(list, domain)
	}
	return list
}

// add reads one field's value: an address list of RFC 5322 section 3.4.
func (a *Author) add(value string) {
	s := scanner{in: value}
	for {
		e, more := s.element()
		a.element(e)
		if !more {
			break
		}
	}
	if s.broken {
		a.Malformed = true
	}
}

func (a *Author) element(e element) {
	switch {
	case len(e.angles) == 1:
		a.address(e.angles[0])
	case len(e.angles) > 1:
		a.Malformed = true
		for _, s := range e.angles {
			a.address(s)
		}
	case strings.TrimSpace(e.text) != "":
		a.address(e.text)
	}
}

// address takes the domain of an addr-spec whose quoted strings and comments
// have been taken out. Words without an @ are passed over: names with a comma
// in them often stand without quotes.
func (a *Author) address(spec string) {
	// A source route, "@a,@b:local@domain", is obsolete but legal.
	if route, rest, ok := strings.Cut(spec, ":"); ok && strings.HasPrefix(strings.TrimSpace(route), "@") {
		spec = rest
	}
	local, domain, ok := strings.Cut(spec, "@")
	if ok && strings.TrimSpace(local) == "" {
		a.Malformed = true
	}
	for ok { // "a@b@c" could be either
		var this string
		this, domain, ok = strings.Cut(domain, "@")
		if ok {
			a.Malformed = true
		}
		a.domain(this)
	}
}

func (a *Author) domain(s string) {
	// White space may stand around the dots (RFC 5322 section 4.4).
	name, err := mail.ParseDomain(strings.Join(strings.Fields(s), ""))
	switch {
	case err != nil:
		a.Malformed = true
	case slices.Contains(a.Domains, name):
	case len(a.Domains) == maxDomains:
		a.Malformed = true
	default:
		a.Domains = append(a.Domains, name)
	}
}

// element is one of an address list: what stands outside of quotes, comments
// and angle brackets, and what stands in those brackets.
type element struct {
	text   string
	angles []string
}

// scanner takes an address list apart.
type scanner struct {
	in     string
	broken bool
}

// quoted stands for a quoted string, of which nothing but its being there
// matters.
const quoted = "q"

// element reads up to the next separator. Groups are flattened: the name of one
// is thrown away.
func (s *scanner) element() (e element, more bool) {
	var text strings.Builder
	for s.in != "" {
		c := s.in[0]
		switch c {
		case '"':
			text.WriteString(quoted)
			s.skipQuoted()
			continue
		case '(':
			s.skipComment()
			text.WriteByte(' ')
			continue
		case '<':
			e.angles = append(e.angles, s.angle())
			continue
		case '[':
			text.WriteString(s.literal())
			continue
		}
		s.in = s.in[1:]
		switch c {
		case ',', ';':
			e.text = text.String()
			return e, true
		case ':':
			text.Reset()
		default:
			text.WriteByte(c)
		}
	}
	e.text = text.String()
	return e, false
}

// angle reads "<…>" and returns what is in it.
func (s *scanner) angle() string {
	var text strings.Builder
	s.in = s.in[1:]
	for s.in != "" {
		c := s.in[0]
		switch c {
		case '"':
			text.WriteString(quoted)
			s.skipQuoted()
			continue
		case '(':
			s.skipComment()
			continue
		case '[':
			text.WriteString(s.literal())
			continue
		}
		s.in = s.in[1:]
		switch c {
		case '>':
			return text.String()
		case '<':
			s.broken = true
		default:
			text.WriteByte(c)
		}
	}
	s.broken = true
	return text.String()
}

// literal reads "[…]" and returns it whole.
func (s *scanner) literal() string {
	end := strings.IndexByte(s.in, ']')
	if end < 0 {
		s.broken = true
		end = len(s.in) - 1
	}
	text := s.in[:end+1]
	s.in = s.in[end+1:]
	return text
}

func (s *scanner) skipQuoted()  { s.skip(header.AfterQuoted(s.in, 0)) }
func (s *scanner) skipComment() { s.skip(header.AfterComment(s.in, 0)) }

func (s *scanner) skip(n int, closed bool) { s.in, s.broken = s.in[n:], s.broken || !closed }
