package smtpd

import (
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
)

var anyLineEnd = regexp.MustCompile(`\r*\n|\r`)

// modelClean is what a normalized message is, said in another way than the
// code says it.
func modelClean(s string) string {
	return anyLineEnd.ReplaceAllStringFunc(strings.ReplaceAll(s, "\x00", ""), func(end string) string {
		return strings.Repeat("\r\n", max(1, strings.Count(end, "\r")-1))
	})
}

func TestNormalize(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"a\r\nb\r\n":            "a\r\nb\r\n",
		"a\nb\n\nc":             "a\r\nb\r\n\r\nc",
		"a\rb\r\rc":             "a\r\nb\r\n\r\nc",
		"a\r\r\nb\r\r\n\r\r\nc": "a\r\nb\r\n\r\nc",
		"a\r\x00\nb\x00":        "a\r\nb",
		"a\n\rb":                "a\r\n\r\nb",
		"a\r":                   "a\r\n",
		"a\r\r":                 "a\r\n\r\n",
		"\n.\n\r.\r\x00\n.\n":   "\r\n.\r\n\r\n.\r\n.\r\n",
	} {
		got, err := readBySteps(newNormalizer(strings.NewReader(in)), 7)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
		if model := modelClean(in); model != want {
			t.Errorf("%q: the model says %q", in, model)
		}
	}
}

// FuzzNormalize: for any input, cut up in any way, the message is what the
// model says, and has no line ends but CR LF, and no NUL.
func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"", "a\nb\rc\r\nd\r\r\ne\x00f", "\r\x00\r\x00\n\x00\r", "\n.\n", "\r\n.\r", strings.Repeat("\r", 9) + "\n"} {
		f.Add(s, uint8(1))
		f.Add(s, uint8(9))
	}
	f.Fuzz(func(t *testing.T, in string, step uint8) {
		r := newNormalizer(iotest.HalfReader(strings.NewReader(in)))
		got, err := readBySteps(r, int(step)+1)
		if want := modelClean(in); err != nil || got != want {
			t.Fatalf("%q: %q, %v, want %q", in, got, err, want)
		}
		if modelBare(got) || strings.ContainsRune(got, 0) {
			t.Fatalf("%q: %q is not clean", in, got)
		}
	})
}
