package structure

import (
	"bytes"
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/japanese"

	"restante/internal/decode"
)

// FieldText is what a reader sees of a field's value.
func FieldText(value []byte) string {
	// Without its line end most text is clean.
	return DecodeWords(strings.TrimSpace(clean(bytes.TrimRight(value, " \t\r\n"))))
}

// clean makes header text of octets: line ends are taken out (what is folded
// keeps the white space behind them), other control characters become spaces,
// and what is not UTF-8 is read as raw ISO-2022-JP if it has its escapes, else
// as windows-1252, which is what raw octets mostly are.
func clean(b []byte) string {
	if bytes.Contains(b, []byte("\x1b$")) {
		if s, err := japanese.ISO2022JP.NewDecoder().Bytes(b); err == nil {
			b = s
		}
	}
	if !utf8.Valid(b) {
		if s, err := charmap.Windows1252.NewDecoder().Bytes(b); err == nil {
			b = s
		}
	}
	return cleanText(string(b))
}

// cleanText is clean for what is text already.
func cleanText(s string) string {
	plain, ascii := true, true
	for i := range len(s) {
		c := s[i]
		// U+0080 to U+009F begin with 0xc2.
		plain = plain && c >= ' ' && c != 0x7f && (c != 0xc2 || i+1 < len(s) && s[i+1] >= 0xa0)
		ascii = ascii && c < utf8.RuneSelf
	}
	if plain && (ascii || utf8.ValidString(s)) {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r' || r == '\n':
			return -1
		case r < ' ' || r >= 0x7f && r < 0xa0:
			return ' '
		}
		return r
	}, s)
}

// maxWord bounds an encoded word, in octets. RFC 2047 section 2 allows 75, but
// some mailers put a whole subject into one.
const maxWord = 4 << 10

// DecodeWords decodes the encoded words of RFC 2047 in clean text. It goes on
// where mailers err: words may be long, have other text directly beside them,
// or cut a character in two. What cannot be decoded stays as it is.
func DecodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return s
	}
	var out strings.Builder
	out.Grow(len(s))
	var run wordRun
	for s != "" {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		w, n, ok := parseWord(s[i:])
		if !ok {
			run.flush(&out)
			out.WriteString(s[:i+2])
			s = s[i+2:]
			continue
		}
		// White space between two encoded words is not shown.
		if !run.open || strings.TrimLeft(s[:i], " \t") != "" {
			run.flush(&out)
			out.WriteString(s[:i])
		}
		run.add(&out, w)
		s = s[i+n:]
	}
	run.flush(&out)
	out.WriteString(s)
	return cleanText(out.String())
}

// word is an encoded word, decoded as far as its octets.
type word struct {
	charset string
	octets  []byte
}

// wordRun joins the octets of neighbouring words of one character set.
type wordRun struct {
	open bool
	word
}

func (r *wordRun) add(out *strings.Builder, w word) {
	if r.open && strings.EqualFold(r.charset, w.charset) {
		r.octets = append(r.octets, w.octets...)
		return
	}
	r.flush(out)
	r.open, r.word = true, w
}

func (r *wordRun) flush(out *strings.Builder) {
	if r.open {
		b := r.octets
		if !isUTF8(r.charset) {
			if charset, err := htmlindex.Get(r.charset); err == nil {
				if s, err := charset.NewDecoder().Bytes(b); err == nil {
					b = s
				}
			}
		}
		if utf8.Valid(b) {
			out.Write(b)
		} else {
			out.WriteString(strings.ToValidUTF8(string(b), "\uFFFD"))
		}
	}
	*r = wordRun{}
}

func isUTF8(charset string) bool {
	return strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
}

// parseWord reads the encoded word that s begins with, n octets long.
func parseWord(s string) (w word, n int, ok bool) {
	s = s[:min(len(s), maxWord)]
	name, rest, ok1 := strings.Cut(s[2:], "?")
	kind, rest, ok2 := strings.Cut(rest, "?")
	text, rest, ok3 := strings.Cut(rest, "?=")
	if !ok1 || !ok2 || !ok3 || len(name) > maxToken || len(kind) != 1 {
		return word{}, 0, false
	}
	n = len(s) - len(rest)
	w.charset, _, _ = strings.Cut(name, "*") // RFC 2231 section 5: the language
	if !isUTF8(w.charset) {
		if _, err := htmlindex.Get(w.charset); err != nil {
			return word{}, 0, false
		}
	}
	switch kind {
	case "b", "B":
		w.octets, ok = decodeBase64(text)
	case "q", "Q":
		w.octets, ok = decodeQ(text), true
	default:
		ok = false
	}
	return w, n, ok
}

// decodeBase64 decodes as much of s as it can.
func decodeBase64(s string) ([]byte, bool) {
	s = strings.TrimRight(strings.ReplaceAll(s, " ", ""), "=")
	b := make([]byte, base64.RawStdEncoding.DecodedLen(len(s)))
	n, err := base64.RawStdEncoding.Decode(b, []byte(s))
	return b[:n], err == nil || n > 0
}

// decodeQ decodes the Q encoding of RFC 2047 section 4.2.
func decodeQ(s string) []byte {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '_' {
			c = ' '
		} else if c == '=' && i+2 < len(s) {
			if hi, lo := decode.Unhex(s[i+1]), decode.Unhex(s[i+2]); hi >= 0 && lo >= 0 {
				c = byte(hi<<4 | lo)
				i += 2
			}
		}
		b = append(b, c)
	}
	return b
}
