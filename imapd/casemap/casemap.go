// Package casemap is i;unicode-casemap (RFC 5051), the comparator in which
// IMAP's searches and sorting are done (RFC 5255 section 4.7, RFC 5256 section
// 3): letters are equal whatever their case, and a letter with an accent is the
// letter and then the accent. Two texts are equal if their folded octets are,
// and are in the order of these.
//
// It never fails: octets that are no UTF-8 stay as they are.
package casemap

import (
	"encoding/binary"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Fold returns the folded form of a text.
func Fold(s string) string {
	out, _ := Append(make([]byte, 0, len(s)), []byte(s), true)
	return string(out)
}

// Append appends the folded form of a piece of text. Unless it is the last piece
// what may be the beginning of a letter is left over: rest has to stand before
// the next piece. It is shorter than utf8.UTFMax octets. The folded form of a
// text has at most 11 times its octets.
func Append(dst, src []byte, last bool) (out, rest []byte) {
	for i := 0; i < len(src); {
		n := i
		for n < len(src) && src[n] < utf8.RuneSelf {
			n++
		}
		if n > i {
			dst = appendASCII(dst, src[i:n])
			i = n
			continue
		}
		if !last && !utf8.FullRune(src[i:]) {
			return dst, src[i:]
		}
		r, size := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, src[i])
		} else {
			dst = appendRune(dst, unicode.ToTitle(r))
		}
		i += size
	}
	return dst, nil
}

// appendASCII appends a run of ASCII, eight letters at a time: of each octet the
// highest bit is free to tell whether it is from a to z.
func appendASCII(dst, src []byte) []byte {
	const ones = 0x0101010101010101
	from := len(dst)
	dst = append(dst, src...)
	run := dst[from:]
	for ; len(run) >= 8; run = run[8:] {
		v := binary.LittleEndian.Uint64(run)
		small := (v + (0x80-'a')*ones) &^ (v + (0x7f-'z')*ones) & (0x80 * ones)
		binary.LittleEndian.PutUint64(run, v-small>>2)
	}
	for i, c := range run {
		if 'a' <= c && c <= 'z' {
			run[i] = c - ('a' - 'A')
		}
	}
	return dst
}

// appendRune appends a letter in its parts.
func appendRune(dst []byte, r rune) []byte {
	var b [utf8.UTFMax]byte
	s := b[:utf8.EncodeRune(b[:], r)]
	if parts := norm.NFKD.Properties(s).Decomposition(); parts != nil {
		return append(dst, parts...)
	}
	return append(dst, s...)
}

// Unmarked returns the folded form without the accents.
func Unmarked(s string) string { return string(WithoutMarks([]byte(Fold(s)))) }

// WithoutMarks removes accents from folded text, in place: the combining
// characters U+0300 to U+036F.
func WithoutMarks(b []byte) []byte {
	out := b[:0]
	for i := 0; i < len(b); i++ {
		if c := b[i]; i+1 < len(b) && (c == 0xcc && b[i+1] >= 0x80 || c == 0xcd && b[i+1] >= 0x80 && b[i+1] <= 0xaf) {
			i++
			continue
		}
		out = append(out, b[i])
	}
	return out
}
