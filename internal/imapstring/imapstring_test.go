package imapstring

import (
	"strings"
	"testing"
)

func TestAppend(t *testing.T) {
	long := strings.Repeat("x", MaxQuoted+1)
	for _, c := range []struct {
		s     string
		eight bool
		want  string
	}{
		{"", false, `""`},
		{"a b", false, `"a b"`},
		{`a"b\c`, false, `"a\"b\\c"`},
		{"a\r\nb", true, "{4}\r\na\r\nb"},
		{"a\x00b", true, "{3}\r\na\x00b"},
		{"ä", false, "{2}\r\nä"},
		{"ä", true, `"ä"`},
		{"\xff", true, "{1}\r\n\xff"},
		{long[1:], false, `"` + long[1:] + `"`},
		{long, false, "{8193}\r\n" + long},
	} {
		if got := string(Append([]byte("-"), c.s, c.eight)); got != "-"+c.want {
			t.Errorf("%.20q, %v: %.40q, want %.40q", c.s, c.eight, got, c.want)
		}
	}
	if got := string(AppendN(nil, "", false)) + string(AppendN(nil, "x", false)); got != `NIL"x"` {
		t.Errorf("AppendN: %q", got)
	}
}
