// Package imapstring writes the strings of IMAP (RFC 9051 section 4.3): quoted
// where they can be, else as literals.
package imapstring

import (
	"strconv"
	"unicode/utf8"
)

// MaxQuoted bounds what is quoted, in octets; longer strings are literals.
const MaxQuoted = 8 << 10

// Append appends a string. eight tells that the client takes UTF-8 in quoted
// strings: after ENABLE IMAP4rev2 or UTF8=ACCEPT.
func Append(b []byte, s string, eight bool) []byte {
	if len(s) <= MaxQuoted && quotable(s, eight) {
		return AppendQuoted(b, s)
	}
	b = append(b, '{')
	b = strconv.AppendUint(b, uint64(len(s)), 10)
	b = append(b, "}\r\n"...)
	return append(b, s...)
}

// AppendN is Append with NIL for "".
func AppendN(b []byte, s string, eight bool) []byte {
	if s == "" {
		return append(b, "NIL"...)
	}
	return Append(b, s, eight)
}

// AppendQuoted appends a quoted string.
func AppendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if c := s[i]; c == '"' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// quotable tells whether a string can be quoted.
func quotable(s string, eight bool) bool {
	plain := true
	for i := range len(s) {
		c := s[i]
		if c == '\r' || c == '\n' || c == 0 {
			return false
		}
		plain = plain && c < 0x80
	}
	return plain || eight && utf8.ValidString(s)
}
