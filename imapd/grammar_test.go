package imapd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The responses of the server, read by the grammar of RFC 9051 section 9 and by
// nothing looser: what a client does not forgive shall not pass here.

// An atom is a word of a response, NIL and numbers among them; with its brackets
// and what is in them it is the name of a section.
type atom string

// text is a quoted string or a literal.
type text string

// response is one response: its elements, lists of which are []any, and what it is
// without the CRLF, if there is no literal in it.
type response struct {
	line     string
	elements []any
}

type responseReader struct {
	r *bufio.Reader
	// utf8 tells that quoted strings may have eight bits.
	utf8 bool
}

// next reads a response. Status responses have free text and are only lines.
func (p responseReader) next() (response, error) {
	begin, err := p.r.Peek(1)
	if err != nil {
		return response{}, err
	}
	if begin[0] != '*' {
		line, err := p.line()
		return response{line: line}, err
	}
	if status, err := p.r.Peek(5); err == nil && (strings.HasPrefix(string(status), "* OK") || strings.HasPrefix(string(status), "* NO") || string(status) == "* BAD" || string(status) == "* BYE") {
		line, err := p.line()
		return response{line: line}, err
	}
	list, err := p.elements('\r')
	if err == nil {
		err = p.expect('\n')
	}
	if err != nil {
		return response{}, fmt.Errorf("after %q: %w", list, err)
	}
	return response{line: fmt.Sprint(list), elements: list}, nil
}

func (p responseReader) line() (string, error) {
	line, err := p.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(line, "\r\n\x00") {
		return "", fmt.Errorf("malformed line %q", line)
	}
	return line, nil
}

func (p responseReader) expect(c byte) error {
	got, err := p.r.ReadByte()
	if err == nil && got != c {
		err = fmt.Errorf("got %q, want %q", got, c)
	}
	return err
}

// elements reads what one blank stands between, up to an octet that is taken. Lists
// need no blank between them (body-type-mpart).
func (p responseReader) elements(end byte) (list []any, err error) {
	for blank := true; ; {
		c, err := p.r.ReadByte()
		if err != nil {
			return list, err
		}
		_, wasList := last(list).([]any)
		switch {
		case c == end && (!blank || len(list) == 0):
			return list, nil
		case c == ' ' && !blank:
			blank = true
			continue
		case !blank && !(wasList && c == '('):
			return list, fmt.Errorf("%q without a blank before it", c)
		}
		var e any
		switch c {
		case '(':
			inner, ierr := p.elements(')')
			if e, err = inner, ierr; inner == nil {
				e = []any{}
			}
		case '"':
			e, err = p.quoted()
		case '{':
			e, err = p.literal()
		case '~':
			if err = p.expect('{'); err == nil {
				e, err = p.literal()
			}
		default:
			p.r.UnreadByte()
			e, err = p.atom()
		}
		if list = append(list, e); err != nil {
			return list, err
		}
		blank = false
	}
}

func last(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list[len(list)-1]
}

func (p responseReader) quoted() (text, error) {
	var b strings.Builder
	for {
		c, err := p.r.ReadByte()
		if err != nil {
			return "", err
		}
		switch {
		case c == '"':
			return text(b.String()), nil
		case c == '\\':
			if c, err = p.r.ReadByte(); err != nil || c != '"' && c != '\\' {
				return "", fmt.Errorf("escape of %q (%v)", c, err)
			}
		case c == '\r' || c == '\n' || c == 0 || c >= 0x80 && !p.utf8:
			return "", fmt.Errorf("%q in a quoted string", c)
		}
		b.WriteByte(c)
	}
}

// literal reads what follows the brace.
func (p responseReader) literal() (text, error) {
	digits, err := p.r.ReadString('}')
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(digits, "}"), 10, 31)
	if err != nil {
		return "", err
	}
	if err := errors.Join(p.expect('\r'), p.expect('\n')); err != nil {
		return "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(p.r, b)
	return text(b), err
}

// atom reads a word. In the brackets of a section's name there may be anything.
func (p responseReader) atom() (atom, error) {
	var b strings.Builder
	inside := false
	for {
		c, err := p.r.ReadByte()
		if err != nil {
			return "", err
		}
		switch {
		case c == '[':
			// Anywhere else it is a letter of an atom, of a keyword for instance.
			name := b.String()
			inside = inside || strings.HasPrefix(name, "BODY") || strings.HasPrefix(name, "BINARY")
		case c == ']':
			inside = false
		case inside && c >= ' ' && c < 0x7f:
		case c <= ' ' || c >= 0x7f || c == ')' || c == '(' || c == '"' || c == '{':
			p.r.UnreadByte()
			if b.Len() == 0 {
				return "", fmt.Errorf("%q where a word should be", c)
			}
			return atom(b.String()), nil
		}
		b.WriteByte(c)
	}
}

// fetched is what a FETCH response tells of a message, by the names of the items.
func (r response) fetched() (map[string]any, bool) {
	if len(r.elements) != 4 || r.elements[2] != any(atom("FETCH")) {
		return nil, false
	}
	list, ok := r.elements[3].([]any)
	if !ok || len(list)%2 != 0 {
		return nil, false
	}
	items := make(map[string]any)
	for i := 0; i < len(list); i += 2 {
		name, ok := list[i].(atom)
		if !ok {
			return nil, false
		}
		items[string(name)] = list[i+1]
	}
	return items, true
}

// checkEnvelope fails if v is no envelope of RFC 9051 section 9.
func checkEnvelope(v any) error {
	list, ok := v.([]any)
	if !ok || len(list) != 10 {
		return fmt.Errorf("no envelope: %q", v)
	}
	for i, e := range list {
		addresses, is := e.([]any)
		switch {
		case i < 2 || i > 7:
			if !isNString(e) {
				return fmt.Errorf("field %d of an envelope is %q", i, e)
			}
		case is:
			if err := checkAddresses(addresses); err != nil {
				return err
			}
		case e != any(atom("NIL")):
			return fmt.Errorf("addresses %q", e)
		}
	}
	return nil
}

func checkAddresses(list []any) error {
	for _, e := range list {
		address, ok := e.([]any)
		if !ok || len(address) != 4 {
			return fmt.Errorf("address %q", e)
		}
		for _, part := range address {
			if !isNString(part) {
				return fmt.Errorf("address %q", e)
			}
		}
	}
	if len(list) == 0 {
		return errors.New("an empty list of addresses")
	}
	return nil
}

func isNString(v any) bool {
	_, ok := v.(text)
	return ok || v == any(atom("NIL"))
}

func isNumber(v any) bool {
	a, _ := v.(atom)
	_, err := strconv.ParseUint(string(a), 10, 63)
	return err == nil
}

// bodyPart is a part as a BODYSTRUCTURE tells of it.
type bodyPart struct {
	number   []int
	size     int // -1 for a multipart
	encoding string
	message  bool // it has a message in it
}

// checkBody fails if v is no body of RFC 9051 section 9, and lists the parts in
// it. number is what it has if it is a part, else nil.
func checkBody(v any, number []int, extended bool) (parts []bodyPart, err error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, fmt.Errorf("no body: %q", v)
	}
	if _, multipart := list[0].([]any); multipart {
		if number != nil {
			parts = append(parts, bodyPart{number: number, size: -1})
		}
		n := 0
		for ; n < len(list); n++ {
			if _, is := list[n].([]any); !is {
				break
			}
			inner, err := checkBody(list[n], below(number, n+1), extended)
			if err != nil {
				return nil, err
			}
			parts = append(parts, inner...)
		}
		if list = list[n:]; len(list) == 0 || !isString(list[0]) {
			return nil, fmt.Errorf("multipart without a subtype: %q", list)
		}
		return parts, checkExtensions(list[1:], extended, isParams)
	}
	if number == nil {
		number = []int{1}
	}
	return checkSingle(list, number, extended)
}

func below(number []int, n int) []int { return append(append([]int{}, number...), n) }

func isString(v any) bool { _, ok := v.(text); return ok }

// checkSingle is checkBody for what is no multipart.
func checkSingle(list []any, number []int, extended bool) (parts []bodyPart, err error) {
	if len(list) < 7 || !isString(list[0]) || !isString(list[1]) || !isParams(list[2]) || !isNString(list[3]) ||
		!isNString(list[4]) || !isString(list[5]) || !isNumber(list[6]) {
		return nil, fmt.Errorf("malformed body %q", list)
	}
	size, _ := strconv.Atoi(string(list[6].(atom)))
	p := bodyPart{number: number, size: size, encoding: string(list[5].(text))}
	kind := strings.ToLower(string(list[0].(text)) + "/" + string(list[1].(text)))
	rest := list[7:]
	switch p.message = kind == "message/rfc822" || kind == "message/global"; {
	case p.message:
		if len(rest) < 3 || !isNumber(rest[2]) {
			return nil, fmt.Errorf("malformed message %q", list)
		}
		if err := checkEnvelope(rest[0]); err != nil {
			return nil, err
		}
		// The parts of the message are numbered below it.
		inner, err := checkInner(rest[1], number, extended)
		if err != nil {
			return nil, err
		}
		parts, rest = inner, rest[3:]
	case strings.HasPrefix(kind, "text/"):
		if len(rest) < 1 || !isNumber(rest[0]) {
			return nil, fmt.Errorf("malformed text %q", list)
		}
		rest = rest[1:]
	}
	return append([]bodyPart{p}, parts...), checkExtensions(rest, extended, isNString)
}

// checkInner is checkBody for a message in a part.
func checkInner(v any, number []int, extended bool) ([]bodyPart, error) {
	list, _ := v.([]any)
	if len(list) > 0 {
		if _, multipart := list[0].([]any); multipart {
			parts, err := checkBody(v, number, extended)
			if len(parts) > 0 {
				parts = parts[1:] // the message itself
			}
			return parts, err
		}
	}
	return checkBody(v, below(number, 1), extended)
}

// checkExtensions looks at body-ext-1part or body-ext-mpart, which begin with a
// string or with parameters.
func checkExtensions(list []any, there bool, first func(any) bool) error {
	if !there {
		if len(list) != 0 {
			return fmt.Errorf("extension data in a BODY: %q", list)
		}
		return nil
	}
	if len(list) != 4 || !first(list[0]) || !isNString(list[3]) {
		return fmt.Errorf("malformed extension data %q", list)
	}
	if d, is := list[1].([]any); is && (len(d) != 2 || !isString(d[0]) || !isParams(d[1])) || !is && list[1] != any(atom("NIL")) {
		return fmt.Errorf("disposition %q", list[1])
	}
	languages, is := list[2].([]any)
	for _, l := range languages {
		is = is && isString(l)
	}
	if !isNString(list[2]) && (!is || len(languages) == 0) {
		return fmt.Errorf("languages %q", list[2])
	}
	return nil
}

func isParams(v any) bool {
	list, ok := v.([]any)
	if !ok {
		return v == any(atom("NIL"))
	}
	for _, e := range list {
		if !isString(e) {
			return false
		}
	}
	return len(list) > 0 && len(list)%2 == 0
}
