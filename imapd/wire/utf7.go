package wire

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrUTF7 tells of a name that is not modified UTF-7.
var ErrUTF7 = errors.New("malformed modified UTF-7")

var utf7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// EncodeUTF7 writes a name in modified UTF-7 (RFC 3501 section 5.1.3).
func EncodeUTF7(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r == '&' || !direct(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for s != "" {
		n := strings.IndexFunc(s, func(r rune) bool { return !direct(r) })
		if n < 0 {
			n = len(s)
		}
		b.WriteString(strings.ReplaceAll(s[:n], "&", "&-"))
		if s = s[n:]; s == "" {
			break
		}
		n = strings.IndexFunc(s, direct)
		if n < 0 {
			n = len(s)
		}
		var octets []byte
		for _, u := range utf16.Encode([]rune(s[:n])) {
			octets = append(octets, byte(u>>8), byte(u))
		}
		b.WriteString("&" + utf7.EncodeToString(octets) + "-")
		s = s[n:]
	}
	return b.String()
}

func direct(r rune) bool { return r >= ' ' && r <= '~' }

// DecodeUTF7 reads modified UTF-7, and nothing that EncodeUTF7 would write in
// another way.
func DecodeUTF7(s string) (string, error) {
	var b strings.Builder
	for {
		plain, rest, shifted := strings.Cut(s, "&")
		if strings.IndexFunc(plain, func(r rune) bool { return !direct(r) }) >= 0 {
			return "", ErrUTF7
		}
		b.WriteString(plain)
		if !shifted {
			return b.String(), nil
		}
		code, after, closed := strings.Cut(rest, "-")
		if !closed {
			return "", ErrUTF7
		}
		if code == "" {
			b.WriteByte('&')
		} else {
			text, err := decodeShifted(code)
			if err != nil || strings.HasPrefix(after, "&") && !strings.HasPrefix(after, "&-") {
				return "", ErrUTF7
			}
			b.WriteString(text)
		}
		s = after
	}
}

func decodeShifted(code string) (string, error) {
	octets, err := utf7.Strict().DecodeString(code)
	if err != nil || len(octets)%2 != 0 {
		return "", ErrUTF7
	}
	units := make([]uint16, 0, len(octets)/2)
	for i := 0; i < len(octets); i += 2 {
		units = append(units, uint16(octets[i])<<8|uint16(octets[i+1]))
	}
	runes := utf16.Decode(units)
	for _, r := range runes {
		if direct(r) || r == utf8.RuneError {
			return "", ErrUTF7
		}
	}
	return string(runes), nil
}
