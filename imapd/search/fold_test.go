package search

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestNeedlesAcrossBorders: wherever a text is cut while it is read, letters are
// folded and strings are found.
func TestNeedlesAcrossBorders(t *testing.T) {
	want := "GRÖßE привет"
	for shift := range 64 {
		text := strings.Repeat("ü", (chunk-shift)/2) + strings.Repeat("x", shift%2) + strings.ToLower(want) + " end"
		for name, r := range map[string]io.Reader{
			"in one":   strings.NewReader(text),
			"in halfs": iotest.HalfReader(strings.NewReader(text)),
		} {
			n := new(needles)
			n.reset([]string{want, "END"})
			if err := n.search(r); err != nil || !n.allFound() {
				t.Fatalf("shift %d, %s: %d left, %v", shift, name, len(n.left), err)
			}
		}
		n := new(needles)
		n.reset([]string{"grösser"})
		if err := n.search(strings.NewReader(text)); err != nil || n.allFound() {
			t.Fatalf("shift %d: what is not there is found, %v", shift, err)
		}
	}
	n := new(needles)
	n.reset([]string{"x"})
	if err := n.search(iotest.ErrReader(io.ErrClosedPipe)); err != io.ErrClosedPipe {
		t.Error(err)
	}
}

func TestFolding(t *testing.T) {
	text := "Subject: =?utf-8?q?=D0=9F=D0=A0=D0=98=D0=92=D0=95=D0=A2?= Stra=\r\nX-Name: =?utf-8?q?=C3=89cole?=\r\n" +
		"Content-Type: text/plain; charset=iso-8859-1\r\n\r\n\xc4rger in der SCH\xd6NEN K\xdcCHE\r\n"
	for _, c := range []struct {
		name  string
		key   Key
		want  bool
		score uint8
	}{
		{"subject", Field("Subject", "привет"), true, 0},
		{"header", Field("X-Name", "éCOLE"), true, 0},
		{"header, no accent", Field("X-Name", "xcole"), false, 0},
		{"body", Body("ärger"), true, 0},
		{"body, upper case", Body("Schönen küche"), true, 0},
		{"body, other letter", Body("schünen"), false, 0},
		{"text in the header", Anywhere("ПРИвет"), true, 0},
		{"text in the body", Anywhere("ÄRGER IN"), true, 0},
		{"fuzzy phrase", FuzzyText("schonen kuche", false), true, Exact},
		{"fuzzy words", FuzzyText("küche, arger", false), true, Apart},
		{"fuzzy, a word is missing", FuzzyText("küche bad", false), false, 0},
		{"fuzzy in header and body", FuzzyText("привет arger", true), true, Apart},
		{"fuzzy, body alone", FuzzyText("привет arger", false), false, 0},
		{"fuzzy field", FuzzyField("X-Name", "ecole"), true, Exact},
		{"fuzzy field, words", FuzzyField("subject", "stra привет"), true, Apart},
		{"fuzzy field, missing", FuzzyField("X-Name", "ecole haute"), false, 0},
		{"fuzzy signs", FuzzyText("!?", false), false, 0},
	} {
		m := &message{text: text}
		got, err := c.key.Match(m)
		if err != nil || got != c.want || m.score != c.score {
			t.Errorf("%s: %v, score %d, %v", c.name, got, m.score, err)
		}
	}
}
