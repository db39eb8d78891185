package casemap

import (
	"bytes"
	"strings"
	"testing"
)

func TestFold(t *testing.T) {
	for _, c := range []struct{ a, b string }{
		{"", ""},
		{"Hello, World 12", "hELLO, wORLD 12"},
		{"schön", "SCHÖN"},
		{"scho\u0308n", "SCHÖN"},
		{"привет", "ПРИВЕТ"},
		{"ΣΑΣ", "σας"},
		{"ǆ", "ǅ"},
		{"Ångström", "A\u030angstro\u0308m"},
		{"\xff\xfe", "\xff\xfe"},
		{"a\xc3", "A\xc3"},
	} {
		if Fold(c.a) != Fold(c.b) {
			t.Errorf("%q folds to %q, %q to %q", c.a, Fold(c.a), c.b, Fold(c.b))
		}
	}
	for _, c := range []struct{ a, b string }{
		{"a", "b"}, {"schön", "schon"}, {"ß", "s"}, {"ı", "j"}, {"\xc3", "\xc4"},
	} {
		if Fold(c.a) == Fold(c.b) {
			t.Errorf("%q and %q are equal", c.a, c.b)
		}
	}
}

// TestPieces: however a text is cut, its folded form is the same.
func TestPieces(t *testing.T) {
	text := "Größe привет ﷺ 日本語 \xff\xe6\x97 x \U0001F600 end \xe6"
	want := Fold(text)
	for size := 1; size < 9; size++ {
		var got, held []byte
		for b := []byte(text); len(b) > 0; {
			n := min(size, len(b))
			got, held = Append(got, append(append([]byte{}, held...), b[:n]...), n == len(b))
			if len(held) > 3 {
				t.Fatalf("%q is left over", held)
			}
			b = b[n:]
		}
		if string(got) != want {
			t.Errorf("by %d octets: %q, want %q", size, got, want)
		}
	}
	if got := len(Fold("ﷺ")); got > 11*len("ﷺ") {
		t.Errorf("%d octets", got)
	}
}

func FuzzPieces(f *testing.F) {
	f.Add("Grüße", 3)
	f.Add("\xe6\x97x", 1)
	f.Fuzz(func(t *testing.T, s string, at int) {
		if at < 0 || at > len(s) {
			return
		}
		out, rest := Append(nil, []byte(s[:at]), false)
		out, _ = Append(out, append(append([]byte{}, rest...), s[at:]...), true)
		if string(out) != Fold(s) {
			t.Errorf("%q cut at %d: %q, want %q", s, at, out, Fold(s))
		}
		if len(out) > 11*len(s) {
			t.Errorf("%d octets of %d", len(out), len(s))
		}
		if strings.ToUpper(s) == s && Fold(strings.ToLower(s)) != Fold(s) && isASCII(s) {
			t.Errorf("%q differs in lower case", s)
		}
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func TestUnmarked(t *testing.T) {
	for s, want := range map[string]string{
		"":            "",
		"École Šašek": "ECOLE SASEK",
		"привет":      "ПРИВЕТ",
		"й":           "И",
		"\xcc":        "\xcc",
		"ͰΆ":          "ͰΑ",
	} {
		if got := Unmarked(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, text := range map[string]string{
		"English": strings.Repeat("The quick brown fox jumps over the lazy dog. ", 700),
		"German":  strings.Repeat("Zwölf Boxkämpfer jagen Viktor quer über den Deich. ", 600),
		"Russian": strings.Repeat("Съешь ещё этих мягких французских булок. ", 400),
	} {
		b.Run(name, func(b *testing.B) {
			src, dst := []byte(text), make([]byte, 0, 2*len(text))
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				dst, _ = Append(dst[:0], src, true)
			}
		})
	}
}

// TestASCII: every letter of ASCII is folded, wherever in a run it stands.
func TestASCII(t *testing.T) {
	for c := range 128 {
		want := byte(c)
		if 'a' <= want && want <= 'z' {
			want -= 'a' - 'A'
		}
		for n := range 20 {
			for at := range n {
				in := bytes.Repeat([]byte{'~'}, n)
				in[at] = byte(c)
				out := bytes.Repeat([]byte{'~'}, n)
				out[at] = want
				if got := Fold(string(in)); got != string(out) {
					t.Fatalf("%q is folded to %q, want %q", in, got, out)
				}
			}
		}
	}
}
