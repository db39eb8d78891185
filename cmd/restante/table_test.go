package main

import (
	"strings"
	"testing"
	"time"

	"restante/internal/control"
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
