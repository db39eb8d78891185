package mail

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line makes one printable line of a stranger's words, of at most limit octets;
// one that is longer is cut, and ends with "…".
func Line(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '?'
		case !unicode.IsPrint(r):
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}

// ParseEnhanced reads an enhanced status code, "5.1.1" (RFC 3463 section 2). It
// is not ok unless its class is 2, 4 or 5, and its other numbers have at most
// three digits.
func ParseEnhanced(s string) (code [3]int, ok bool) {
	words := strings.Split(s, ".")
	if len(words) != 3 {
		return [3]int{}, false
	}
	for i, w := range words {
		n, err := strconv.ParseUint(w, 10, 16)
		if err != nil || n > 999 {
			return [3]int{}, false
		}
		code[i] = int(n)
	}
	if c := code[0]; c != 2 && c != 4 && c != 5 {
		return [3]int{}, false
	}
	return code, true
}
