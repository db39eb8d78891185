package remote

import (
	"strings"
	"testing"
)

var dataTests = []struct{ name, in, want string }{
	{"plain", "a\r\nb\r\n", "a\r\nb\r\n.\r\n"},
	{"empty", "", ".\r\n"},
	{"no final line end", "a", "a\r\n.\r\n"},
	{"dots", ".\r\n..\r\na.b\r\n.c", "..\r\n...\r\na.b\r\n..c\r\n.\r\n"},
	{"bare LF", "a\n.\nb\n", "a\r\n..\r\nb\r\n.\r\n"},
	{"bare CR", "a\r.\rb\r\n", "a . b\r\n.\r\n"},
	{"CR at the end", "a\r", "a \r\n.\r\n"},
	{"CR CR LF", "a\r\r\n.\r\n", "a \r\n..\r\n.\r\n"},
	{"CR at the beginning of a line", "\r.\r\n", " .\r\n.\r\n"},
	{"CR CR", "\r\r", "  \r\n.\r\n"},
	{"LF CR", "a\n\r.\n", "a\r\n .\r\n.\r\n"},
}

// stuff is what is sent of a body by DATA, and by BDAT without a dot.
func stuff(in string, part int, dots bool) string {
	var out []byte
	l := newLines(dots)
	for len(in) > 0 {
		n := min(part, len(in))
		out = l.append(out, []byte(in[:n]))
		in = in[n:]
	}
	if out = l.end(out); dots {
		out = append(out, ".\r\n"...)
	}
	return string(out)
}

func TestLines(t *testing.T) {
	for _, tt := range dataTests {
		for part := 1; part <= 4; part++ {
			if got := stuff(tt.in, part, true); got != tt.want {
				t.Errorf("%s, in parts of %d: got %q, want %q", tt.name, part, got, tt.want)
			}
		}
	}
}

// Whatever the body is, there is one end of data, at the end, and no bare CR
// or LF, however it is cut into parts.
func FuzzLines(f *testing.F) {
	for _, tt := range dataTests {
		f.Add(tt.in, 3)
	}
	f.Fuzz(func(t *testing.T, in string, part int) {
		part = 1 + (part&0xff)%7
		got := stuff(in, part, true)
		if whole := stuff(in, max(1, len(in)), true); got != whole {
			t.Fatalf("in parts %q, whole %q", got, whole)
		}
		chunk := stuff(in, part, false)
		unstuffed := strings.TrimSuffix(strings.TrimPrefix(strings.ReplaceAll("\r\n"+got, "\r\n..", "\r\n."), "\r\n"), ".\r\n")
		if chunk != unstuffed {
			t.Fatalf("BDAT %q, DATA %q", chunk, got)
		}
		if i := strings.Index("\r\n"+got, "\r\n.\r\n"); i != len(got)-len(".\r\n") {
			t.Fatalf("end of data at %d of %q", i, got)
		}
		rest := strings.ReplaceAll(got, "\r\n", "")
		if strings.ContainsAny(rest, "\r\n") {
			t.Fatalf("bare CR or LF in %q", got)
		}
	})
}

// The last guard against commands within commands, whatever came before it.
func TestCommandGuard(t *testing.T) {
	for _, bad := range []string{"EHLO a\r\nQUIT", "EHLO a\nQUIT", "EHLO a\x00"} {
		w := newWire(nil, Timeouts{}, newBuffers())
		if err := w.put(bad); err != errCommand {
			t.Errorf("put(%q): %v", bad, err)
		}
	}
}
