package search

import (
	"bytes"
	"fmt"
	"strings"

	"restante/imapd/casemap"
	"restante/internal/header"
	"restante/internal/structure"
)

// fieldSearch looks for a string in a header field. Its memory is used again for
// the next message.
type fieldSearch struct {
	name string
	want string // folded
	// addresses tells that it is a field of addresses.
	addresses bool
	line      []byte // a field's value in one line
	text      []byte // folded
}

func (f *fieldSearch) match(m Message) (bool, error) {
	return eachField(f.name, m, f.has)
}

// has tells whether a value has the string in it, as it stands, or as ENVELOPE has
// it (RFC 9051 section 6.4.4, FROM).
func (f *fieldSearch) has(value []byte) bool {
	return f.want == "" || f.stands(value) || f.addresses && obscure(value) && strings.Contains(casemap.Fold(structure.AddressText(value)), f.want)
}

// obscure tells whether addresses may stand otherwise than in ENVELOPE.
func obscure(value []byte) bool {
	return bytes.ContainsAny(value, `(\`) || bytes.Contains(value, []byte(" @")) || bytes.Contains(value, []byte("@ "))
}

func (f *fieldSearch) stands(value []byte) bool {
	plain := true
	f.line = f.line[:0]
	for i, c := range value {
		if c >= 0x80 || c == '=' && i+1 < len(value) && value[i+1] == '?' {
			plain = false
			break
		}
		if c != '\r' && c != '\n' {
			f.line = append(f.line, c)
		}
	}
	if plain {
		f.text, _ = casemap.Append(f.text[:0], f.line, true)
	} else {
		f.text, _ = casemap.Append(f.text[:0], []byte(structure.FieldText(value)), true)
	}
	return bytes.Contains(f.text, []byte(f.want))
}

// fieldTexts visits the fields of a name as readers see them, until one is right.
func fieldTexts(name string, m Message, right func(text string) bool) (bool, error) {
	return eachField(name, m, func(value []byte) bool { return right(structure.FieldText(value)) })
}

// eachField visits the values of the fields of a name, until one is right. Most
// names are known without opening the body, unless the message is older than that.
func eachField(name string, m Message, right func(value []byte) bool) (bool, error) {
	if structure.Keeps(name) {
		r, err := m.Record()
		if err != nil {
			return false, fmt.Errorf("search header: %w", err)
		}
		prefix := m.Entry().Prefix
		if r.Fields.Known() && (len(prefix) == 0 || prefix[len(prefix)-1] == '\n') {
			return len(prefix) > 0 && inHeader(name, prefix, right) || inFields(name, r.Fields, right), nil
		}
	}
	head, err := m.Header()
	if err != nil {
		return false, fmt.Errorf("search header: %w", err)
	}
	return inHeader(name, head, right), nil
}

func inFields(name string, fields structure.Fields, right func(value []byte) bool) bool {
	for n, raw := range fields.All() {
		if structure.Equal(n, name) && right(valueOf(raw, n)) {
			return true
		}
	}
	return false
}

func inHeader(name string, head []byte, right func(value []byte) bool) bool {
	for _, f := range header.Parse(head).Fields() {
		if f.Is(name) && right(f.RawValue()) {
			return true
		}
	}
	return false
}

// valueOf is what stands after the colon.
func valueOf(raw, name []byte) []byte {
	return raw[len(name)+bytes.IndexByte(raw[len(name):], ':')+1:]
}

// headerText is all of the header, as readers see it.
func headerText(m Message) (string, error) {
	head, err := m.Header()
	if err != nil {
		return "", fmt.Errorf("search header: %w", err)
	}
	return readable(string(head)), nil
}

// readable is a whole header as readers see it, with a line for each field.
func readable(head string) string {
	head = strings.NewReplacer("\r\n ", " ", "\r\n\t", "\t", "\n ", " ", "\n\t", "\t").Replace(head)
	if !strings.Contains(head, "=?") {
		return head
	}
	var b strings.Builder
	for line := range strings.SplitAfterSeq(head, "\n") {
		if text, ended := strings.CutSuffix(line, "\n"); strings.Contains(text, "=?") {
			if b.WriteString(structure.DecodeWords(text)); ended {
				b.WriteByte('\n')
			}
			continue
		}
		b.WriteString(line)
	}
	return b.String()
}

func foldText(s string) string { return casemap.Fold(s) }
