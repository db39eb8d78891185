package main

import (
	"bufio"
	"strings"
	"testing"
	"time"

	"restante/internal/control"
	"restante/internal/mail"
)

func TestTableFitsTheTerminal(t *testing.T) {
	var out strings.Builder
	tab := newTable(&out, "ID", "N", "SENDER", "LAST STATUS").numbers(1)
	tab.width = 40
	tab.row("06H0AUEDU7PI71FC.0", "7", "somebody@far.example", "451 4.7.1 try again some time later")
	tab.row("short", "1234", "", "日本語のステータスです、はい")
	if err := tab.end(); err != nil {
		t.Fatal(err)
	}
	want := `ID                     N  SENDER  LAST …
06H0AUEDU7PI71FC.0     7  someb…  451 4…
short               1234  -       日本…
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	for line := range strings.Lines(out.String()) {
		if n := cells(strings.TrimSuffix(line, "\n")); n > 40 {
			t.Errorf("%d cells in %q", n, line)
		}
	}
	// Elsewhere nothing is cut, and the last column is not filled up.
	out.Reset()
	tab = newTable(&out, "ID", "LAST STATUS")
	tab.row("1", strings.Repeat("x", 300))
	tab.end()
	if got := out.String(); got != "ID  LAST STATUS\n1   "+strings.Repeat("x", 300)+"\n" {
		t.Errorf("got %q", got)
	}
}

func TestStrangersDoNotSteerTheTerminal(t *testing.T) {
	const evil = "a\x1b[2Jb\u202ec\td\x00\xff\u009b\U000e0001é"
	if got := visible(evil); got != "a?[2Jb?c?d?\ufffd??é" {
		t.Errorf("visible: %q", got)
	}
	var out strings.Builder
	if err := copyVisible(&out, strings.NewReader(evil+"\r\nx\ry\n\r")); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), `a\x1b[2Jb\u202ec`+"\t"+`d\x00\xff\x9b\U000e0001é`+"\n"+`x\x0dy`+"\n"+`\x0d`; got != want {
		t.Errorf("copied as %q, want %q", got, want)
	}
}

func TestMboxIsQuoted(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	long := strings.Repeat("y", 70000)
	for text, want := range map[string]string{
		"S: x\r\n\r\nFrom me\r\n>From you\r\n>>From us\r\n From\r\nFromage\r\n": "S: x\n\n>From me\n>>From you\n>>>From us\n From\nFromage\n\n",
		"no end":                         "no end\n\n",
		"":                               "\n",
		"a\rb\r\n" + long + "\r\nFrom x": "a\rb\n" + long + "\n>From x\n\n",
		// A CR at the end of what is read at a time, with and without its LF.
		strings.Repeat("z", 65535) + "\r\nFrom x\r\n":   strings.Repeat("z", 65535) + "\n>From x\n\n",
		strings.Repeat("z", 65535) + "\rFrom x\r\n":     strings.Repeat("z", 65535) + "\rFrom x\n\n",
		strings.Repeat("z", 65535) + "\r":               strings.Repeat("z", 65535) + "\r\n\n",
		strings.Repeat("From ", 20000) + "\r\nFrom\r\n": ">" + strings.Repeat("From ", 20000) + "\nFrom\n\n",
	} {
		var out strings.Builder
		m := &mboxWriter{w: bufio.NewWriter(&out)}
		if err := m.message(mail.MustParseAddress(`"a b"@x.example`), at, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		m.w.Flush()
		if got := out.String(); got != `From "a-b"@x.example Fri Jan  2 03:04:05 2026`+"\n"+want {
			t.Errorf("%.60q became %.120q", text, got)
		}
	}
}

func TestProgressLines(t *testing.T) {
	var out strings.Builder
	p := newProgress(&out, "hold", 34000)
	if got := p.line(control.Progress{Done: 1200, Failed: 30}, 3*time.Second); got != "hold: 1200 of 34000 done, 30 failed, 410/s" {
		t.Errorf("got %q", got)
	}
	// Where there is no terminal, a line comes now and then.
	p.tell(control.Progress{Done: 1})
	p.last = p.last.Add(-logEvery)
	p.tell(control.Progress{Done: 2})
	p.end()
	if got := out.String(); got != "hold: 2 of 34000 done\n" {
		t.Errorf("told %q", got)
	}
}
