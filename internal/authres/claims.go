package authres

import (
	"strings"

	"restante/internal/header"
	"restante/internal/mail"
	"restante/internal/screen"
)

// claims are the edits that take out the fields of others that claim to be
// ours, from the last to the first so that none changes the place of another.
func claims(head *header.Block, id string) []screen.Edit {
	var edits []screen.Edit
	n := 0
	for _, f := range head.Fields() {
		if !strings.EqualFold(f.Name, fieldName) {
			continue
		}
		if n++; claimed(string(f.RawValue()), id) {
			edits = append([]screen.Edit{{Op: screen.Delete, Name: fieldName, Index: n}}, edits...)
		}
	}
	return edits
}

// claimed tells whether the value of an Authentication-Results field is, or
// could be taken to be, of the server with that authserv-id.
func claimed(value, id string) bool {
	said, ok := authserv(value)
	if !ok {
		return strings.Contains(strings.ToLower(value), strings.ToLower(id))
	}
	return same(said, id)
}

func same(a, b string) bool {
	if strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, ".")) {
		return true
	}
	x, err1 := mail.ParseDomain(a)
	y, err2 := mail.ParseDomain(b)
	return err1 == nil && err2 == nil && x == y
}

// authserv reads the authserv-id (RFC 8601 section 2.2): a token, which may
// have octets of UTF-8, or a quoted string, after comments and white space.
func authserv(value string) (id string, ok bool) {
	s, ok := skipComments(value)
	if !ok || s == "" {
		return "", false
	}
	if s[0] == '"' {
		return unquote(s)
	}
	end := 0
	for end < len(s) && (tokenChar(s[end]) || s[end] >= 0x80) {
		end++
	}
	return s[:end], end > 0
}

// skipComments passes over comments and white space.
func skipComments(s string) (rest string, ok bool) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++
		case depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n':
			return s[i:], true
		}
	}
	return "", depth == 0
}

// unquote reads a quoted string, unfolded.
func unquote(s string) (text string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), true
		case '\r', '\n':
			continue
		case '\\':
			if i++; i == len(s) {
				return "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", false
}
