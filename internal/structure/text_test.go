package structure

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseParams(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []Param
	}{
		{``, nil},
		{`;`, nil},
		{`; a=b`, []Param{{"a", "b"}}},
		{`; A = b ; c="d e" ;`, []Param{{"a", "b"}, {"c", "d e"}}},
		{`; a="x;y=z"; b=c`, []Param{{"a", "x;y=z"}, {"b", "c"}}},
		{`; a="x\"y\\z"`, []Param{{"a", `x"y\z`}}},
		{`; a="never closed; b=c`, []Param{{"a", "never closed"}, {"b", "c"}}},
		{`; a=b (comment)`, []Param{{"a", "b"}}},
		{`; name=a file.txt; b=c`, []Param{{"name", "a file.txt"}, {"b", "c"}}},
		{`; junk; a=b; =c; d=`, []Param{{"a", "b"}, {"d", ""}}},
		{`; a=1; a=2`, []Param{{"a", "1"}}},
		{` a=b`, []Param{{"a", "b"}}},
		{`; f*0=one; f*1=" two"`, []Param{{"f", "one two"}}},
		{`; f*0="one "; f*1="two "; n=" a "`, []Param{{"f", "one two "}, {"n", " a "}}},
		{`; f*1=two; x=y; f*0=one`, []Param{{"x", "y"}, {"f", "onetwo"}}},
		{`; f*0=one; f*2=three`, []Param{{"f", "one"}}},
		{`; f*=utf-8''%C3%A4`, []Param{{"f*", "utf-8''%C3%A4"}}},
		{`; f*0*=utf-8''%C3%A4; f*1*=%C3%B6; f*2=" ü'"`, []Param{{"f*", "utf-8''%C3%A4%C3%B6%20%C3%BC%27"}}},
		{`; f*0=a; f*1*=%20b`, []Param{{"f", "a b"}}},
		{`; f=plain; f*=utf-8''x; f*0=cut`, []Param{{"f", "plain"}, {"f*", "utf-8''x"}}},
		{`; f**=x; *=y; f*x=z`, []Param{{"f**", "x"}, {"*", "y"}, {"f*x", "z"}}},
	} {
		if got := parseParams(c.in); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s\ngot  %q\nwant %q", c.in, got, c.want)
		}
	}
	if n := len(parseParams(strings.Repeat(";a"+"=b", 5000))); n != 1 {
		t.Errorf("%d parameters of one name", n)
	}
}

func TestDecodeWords(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"=?utf-8?Q?a_b=C3=A4?=", "a bä"},
		{"=?UTF-8?b?w6Q=?=", "ä"},
		{"=?utf-8?B?w6Q?=", "ä"},
		{"=?iso-8859-1?q?=E4?= =?iso-8859-1?q?=F6?=", "äö"},
		{"=?utf-8?q?=C3?= =?UTF-8?q?=A4?=", "ä"},
		{"=?utf-8?q?a?=\t \t=?iso-8859-1?q?=E4?=", "aä"},
		{"x =?utf-8?q?a?= y =?utf-8?q?b?= z", "x a y b z"},
		{"x=?utf-8?q?a?=y", "xay"},
		{"=?utf-8*en?q?a?=", "a"},
		{"=?utf-8?q?with space?=", "with space"},
		{"=?utf-8?q?bad=ZZ=4?=", "bad=ZZ=4"},
		{"=?utf-8?q?=FF?=", "\uFFFD"},
		{"=?utf-8?q?=0D=0ABcc:_x=00?=", "Bcc: x "},
		{"=?no-such-charset?q?a?=", "=?no-such-charset?q?a?="},
		{"=?utf-8?x?a?=", "=?utf-8?x?a?="},
		{"=?utf-8?b?!?=", "=?utf-8?b?!?="},
		{"=?utf-8?q?never ended", "=?utf-8?q?never ended"},
		{"=?=?utf-8?q?a?=", "=?a"},
		{"=?ISO-2022-JP?B?GyRCMnE1RBsoQg==?=", "会議"},
		{"=?GB2312?B?xOO6ww==?=", "你好"},
		{"=?windows-1251?Q?=CF=F0?=", "Пр"},
		{"a =?", "a =?"},
	} {
		if got := DecodeWords(c.in); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

func TestClean(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a\r\n b\n\tc", "a b c"},
		{"a\x00b\x7fc", "a b c"},
		{"ä", "ä"},
		{"\xe4\x80", "ä€"},
		{"\x1b$B2q5D\x1b(B", "会議"},
		{"a\u0085b", "a b"},
		{"Gr\u00fc\u00dfe\u00a0\u2028x", "Gr\u00fc\u00dfe\u00a0\u2028x"},
	} {
		if got := clean([]byte(c.in)); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

func TestParseAddresses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"a@b", "|a|b"},
		{"<a@b>", "|a|b"},
		{"A B <a@b>, c@d", "A B|a|b; |c|d"},
		{`"B, A" <a@b>`, "B, A|a|b"},
		{`"A \"x\" \\ B" <a@b>`, `A "x" \ B|a|b`},
		{"a@b (A B)", "A B|a|b"},
		{"A (x (y)) <a@b>", "A|a|b"},
		{"(only) <a@b>", "only|a|b"},
		{"a . b @ c . d", "|a.b|c.d"},
		{`"a b"@c`, "|a b|c"},
		{`X <"a@x"@c>`, "X|a@x|c"},
		{"<@r,@s:a@b>", "|a|b|@r,@s"},
		{"X < @r , @s : a @ b >, c@d", "X|a|b|@r,@s; |c|d"},
		{`<@r:"a b"@c>`, "|a b|c|@r"},
		{"<@r:a>", "|a||@r"},
		{"<@r>", "||r"},
		{"<a (one)@ (two) b (three)>", "|a|b"},
		{"<\"a(b\"@c>", "|a(b|c"},
		{"<a(b@c>", "|a(b|c"},
		{"u@[IPv6:2001:db8::1], v@[192.0.2.1]", "|u|[IPv6:2001:db8::1]; |v|[192.0.2.1]"},
		{"root", "|root|"},
		{"root (Cron)", "Cron|root|"},
		{"Ann <ann>", "Ann|ann|"},
		{"<>", ""},
		{"Name <>", "Name||"},
		{",, a@b ,,", "|a|b"},
		{"a@b; c@d", "|a|b; |c|d"},
		{"G: a@b, c@d;, e@f", "G{; |a|b; |c|d; }; |e|f"},
		{"undisclosed-recipients:;", "undisclosed-recipients{; }"},
		{"G: a@b", "G{; |a|b; }"},
		{`"G, H":;`, "G, H{; }"},
		{"G: H: a@b;", "G{; H:|a|b; }"},
		{"two words@b", "two|words|b"},
		{"two words", "|two words|"},
		{`"never closed <a@b>, c@d`, "never closed|a|b; |c|d"},
		{"(never closed a@b", "(never closed|a|b"},
		{"A <a@b, C <c@d>", "A|a|b; C|c|d"},
		{"A <a@b> junk, c@d", "A|a|b; |c|d"},
		{"A <a@b> <c@d>", "A|a|b"},
		{"=?utf-8?Q?=22C=2C_B=22?= <a@b>", "=?utf-8?Q?=22C=2C_B=22?=|a|b"},
		{"a@b@c", "|a@b|c"},
		{"@", ""},
		{"Ä <ä@ö>", "Ä|ä|ö"},
	} {
		var got []string
		for _, a := range parseAddresses(c.in) {
			switch a.Kind {
			case GroupStart:
				got = append(got, a.Name+"{")
			case GroupEnd:
				got = append(got, "}")
			default:
				text := a.Name + "|" + a.Mailbox + "|" + a.Host
				if a.Route != "" {
					text += "|" + a.Route
				}
				got = append(got, text)
			}
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.in, s, c.want)
		}
	}
	if n := len(parseAddresses(strings.Repeat("a,", 30_000))); n != maxAddresses {
		t.Errorf("%d addresses", n)
	}
}

func TestParseDate(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"Mon, 1 Apr 2024 09:24:11 +0200", "2024-04-01T09:24:11+02:00"},
		{"1 Apr 2024 09:24 -0730", "2024-04-01T09:24:00-07:30"},
		{"Mon, 01 Apr 24 09:14:11", "2024-04-01T09:14:11Z"},
		{"1 Apr 99 00:00:00 GMT", "1999-04-01T00:00:00Z"},
		{"1 Apr 124 00:00:00 UT", "2024-04-01T00:00:00Z"},
		{"Mon Apr  1 09:24:11 2024", "2024-04-01T09:24:11Z"},
		{"Mon Apr  1 09:24:11 EST 2024", "2024-04-01T09:24:11-05:00"},
		{"Mon, 1 Apr 2024 09:24:11 EDT (Eastern (summer) Time)", "2024-04-01T09:24:11-04:00"},
		{"(x) Mon (y), 1 Apr(z)2024 09:24:11 +0000", "2024-04-01T09:24:11Z"},
		{"Monday, 1-April-2024 09:24:11 +0200", "2024-04-01T09:24:11+02:00"},
		{"2024-04-01 09:24:11 +0200", "2024-04-01T09:24:11+02:00"},
		{"Mon, 1 Apr 2024 09:24:11+02:00", "2024-04-01T09:24:11+02:00"},
		{"Mon, 1 Apr 2024 09:24:11.123 Z", "2024-04-01T09:24:11Z"},
		{"Mon,1 Apr 2024 23:59:60 -0000", "2024-04-02T00:00:00Z"},
		{"1 Apr 2024", "2024-04-01T00:00:00Z"},
		{"Mon, 1 Apr 2024 09:24:11 +9999", "2024-04-01T09:24:11Z"},
		{"29 Feb 2024 00:00 +0000", "2024-02-29T00:00:00Z"},
		{"29 Feb 2023 00:00 +0000", ""},
		{"1 Apr 2024 25:00:00", ""},
		{"1 Apr 0001 00:00:00", ""},
		{"", ""},
		{"yesterday", ""},
		{"Apr 2024", ""},
		{": - + -- 99999999999999999999", ""},
	} {
		got := parseDate(c.in)
		s := ""
		if !got.IsZero() {
			s = got.Format(time.RFC3339)
		}
		if s != c.want {
			t.Errorf("%q: got %s, want %s", c.in, s, c.want)
		}
	}
}

func TestMessageIDs(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"<a@b>", "[a@b]"},
		{" <a@b> (x) <c@d>junk", "[a@b c@d]"},
		{"a@b", "[a@b]"},
		{"a@b c@d", "[a@b]"},
		{"<a@b", "[]"},
		{"<>", "[]"},
		{"", "[]"},
	} {
		if got := fmt.Sprint(messageIDs(c.in)); got != c.want {
			t.Errorf("%q: got %s, want %s", c.in, got, c.want)
		}
	}
}

// FuzzText holds everything that reads header text to clean output.
func FuzzText(f *testing.F) {
	f.Add([]byte("G: \"a\" <b@c> (d), =?utf-8?q?=00?= <e@f>;"))
	f.Add([]byte("Mon, 1 Apr 2024 09:24:11 +0200 (x)"))
	f.Add([]byte("text/plain; a*0*=utf-8''%00; a*1=\"b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := clean(b)
		texts := []string{s, DecodeWords(s), percentDecode(s)}
		for _, a := range parseAddresses(s) {
			texts = append(texts, a.Name, a.Mailbox, a.Host)
		}
		_, _, params, _ := parseContentType(s)
		for _, p := range append(params, parseParams(s)...) {
			texts = append(texts, p.Name, p.Value)
		}
		for _, x := range append(texts, messageIDs(s)...) {
			if strings.ContainsAny(x, "\r\n\x00") {
				t.Fatalf("control characters in %q of %q", x, b)
			}
		}
		if d := parseDate(s); !d.IsZero() && (d.Year() < 1899 || d.Year() > 9999) {
			t.Fatalf("date %v of %q", d, b)
		}
	})
}
