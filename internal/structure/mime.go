package structure

import (
	"slices"
	"strconv"
	"strings"
)

const (
	// maxParams bounds the parameters of one field.
	maxParams = 64
	// maxToken bounds a type or subtype (RFC 6838 section 4.2), a disposition,
	// an encoding or a language tag, in octets.
	maxToken = 127
)

// parseContentType reads Content-Type's value. It is not ok if there is no
// type/subtype at its beginning; in the parameters anything goes.
func parseContentType(s string) (typ, subtype string, params []Param, ok bool) {
	media, rest := cutToken(s, "/")
	typ, subtype, ok = strings.Cut(strings.ToLower(media), "/")
	if !ok || !isToken(typ) || !isToken(subtype) {
		return "", "", nil, false
	}
	return typ, subtype, parseParams(rest), true
}

// parseDisposition reads Content-Disposition's value; "" if it has no type.
func parseDisposition(s string) (disposition string, params []Param) {
	token, rest := cutToken(s, "")
	if !isToken(token) {
		return "", nil
	}
	return strings.ToLower(token), parseParams(rest)
}

// parseLanguages reads Content-Language's value (RFC 3282).
func parseLanguages(s string) (tags []string) {
	for tag := range strings.SplitSeq(s, ",") {
		if tag = firstToken(tag); tag != "" && len(tags) < maxParams {
			tags = append(tags, tag)
		}
	}
	return tags
}

// firstToken returns the token at the beginning of s, in lower case, or "".
func firstToken(s string) string {
	token, _ := cutToken(s, "")
	if !isToken(token) {
		return ""
	}
	return strings.ToLower(token)
}

// cutToken cuts s behind the token characters, and those of more, that it
// begins with.
func cutToken(s, more string) (token, rest string) {
	s = strings.TrimLeft(s, " \t")
	i := 0
	for i < len(s) && (isTokenChar(s[i]) || strings.IndexByte(more, s[i]) >= 0) {
		i++
	}
	return s[:i], s[i:]
}

func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenChar(s[i]) {
			return false
		}
	}
	return s != "" && len(s) <= maxToken
}

// isTokenChar follows token of RFC 2045 section 5.1.
func isTokenChar(c byte) bool {
	return c > ' ' && c < 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0
}

// parameter returns the value of a parameter, "" if it is missing.
func parameter(params []Param, name string) string {
	for _, p := range params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// parseParams reads "; name=value" lists. Of parameters of the same name the
// first counts. What is no parameter is passed over, up to the next semicolon.
func parseParams(s string) []Param {
	var raw []Param
	for s != "" && len(raw) < maxParams {
		end := strings.IndexAny(s, ";=")
		if end < 0 {
			break
		}
		name, equals := strings.TrimSpace(s[:end]), s[end] == '='
		s = s[end+1:]
		if !equals {
			continue
		}
		var value string
		value, s = cutValue(s)
		// "text/plain charset=utf-8": take the last word for the name.
		if i := strings.LastIndexAny(name, " \t"); i >= 0 {
			name = name[i+1:]
		}
		if name = strings.ToLower(name); isToken(name) {
			raw = append(raw, Param{name, value})
		}
	}
	return joinParams(raw)
}

// cutValue reads a parameter's value and what follows up to its semicolon.
func cutValue(s string) (value, rest string) {
	s = strings.TrimLeft(s, " \t")
	if strings.HasPrefix(s, `"`) {
		if value, rest, ok := cutQuoted(s); ok {
			_, rest, _ = strings.Cut(rest, ";")
			return value, rest
		}
		s = s[1:]
	}
	value, rest, _ = strings.Cut(s, ";")
	if i := strings.Index(value, " ("); i >= 0 {
		value = value[:i] // a comment
	}
	return strings.TrimSpace(value), rest
}

// cutQuoted reads the quoted string that s begins with. It is not ok if it
// never ends.
func cutQuoted(s string) (value, rest string, ok bool) {
	if i := strings.IndexAny(s[1:], `"\`); i >= 0 && s[1+i] == '"' {
		return s[1 : 1+i], s[i+2:], true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// section is one of the sections of a parameter that is cut up (RFC 2231
// section 3), number 0 for one that is not.
type section struct {
	base     string
	number   int
	encoded  bool
	cut      bool
	position int
	value    string
}

// joinParams puts together what RFC 2231 took apart, and drops repetitions.
func joinParams(raw []Param) []Param {
	sections := make([]section, len(raw))
	for i, p := range raw {
		sections[i] = parseSection(p, i)
	}
	// All sections of a name side by side, in their order.
	slices.SortStableFunc(sections, func(a, b section) int {
		if c := strings.Compare(a.base, b.base); c != 0 {
			return c
		}
		if a.cut != b.cut {
			if b.cut {
				return -1
			}
			return 1
		}
		return a.number - b.number
	})
	type placed struct {
		Param
		position int
	}
	var out []placed
	for i := 0; i < len(sections); {
		n := 1
		if sections[i].cut {
			n = run(sections[i:])
		}
		out = append(out, placed{join(sections[i : i+n]), sections[i].position})
		i += n
		// Sections that do not follow on are lost.
		for n > 0 && sections[i-1].cut && i < len(sections) && sections[i].cut && sections[i].base == sections[i-1].base {
			i++
		}
	}
	slices.SortStableFunc(out, func(a, b placed) int { return a.position - b.position })
	var params []Param
	for _, p := range out {
		if !slices.ContainsFunc(params, func(q Param) bool { return q.Name == p.Name }) {
			params = append(params, p.Param)
		}
	}
	return params
}

// run counts the sections at the beginning that follow on each other.
func run(s []section) int {
	n := 1
	for n < len(s) && s[n].cut && s[n].base == s[0].base && s[n].number == s[n-1].number+1 {
		n++
	}
	return n
}

// parseSection takes a name such as "title*0*" apart.
func parseSection(p Param, position int) section {
	s := section{base: p.Name, position: position, value: p.Value}
	name, encoded := strings.CutSuffix(p.Name, "*")
	if base, number, ok := strings.Cut(name, "*"); ok && base != "" {
		if n, err := strconv.ParseUint(number, 10, 16); err == nil {
			s.base, s.number, s.cut, s.encoded = base, int(n), true, encoded
		}
	}
	return s
}

// join makes one parameter of sections that belong together. If the first is
// encoded, and so names the character set, the whole is.
func join(s []section) Param {
	if !s[0].cut {
		return Param{s[0].base, s[0].value}
	}
	var b strings.Builder
	for _, part := range s {
		switch {
		case s[0].encoded && !part.encoded:
			percentEncode(&b, part.value)
		case !s[0].encoded && part.encoded:
			b.WriteString(percentDecode(part.value))
		default:
			b.WriteString(part.value)
		}
	}
	if s[0].encoded {
		return Param{s[0].base + "*", b.String()}
	}
	return Param{s[0].base, b.String()}
}

// percentEncode writes s as extended-other-values of RFC 2231 section 7.
func percentEncode(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; isTokenChar(c) && c != '*' && c != '\'' && c != '%' {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
}

// percentDecode undoes it; the result is clean text.
func percentDecode(s string) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return clean(b)
}
