package smtpd

import (
	"strings"
	"testing"

	"restante/internal/mail"
)

func TestParseRcpt(t *testing.T) {
	for arg, want := range map[string]string{
		"TO:<a@b.example>":               "a@b.example",
		"to:<a@b.example> ":              "a@b.example",
		"TO:  <a@b.example>":             "a@b.example",
		"TO:a@b.example":                 "a@b.example",
		"TO:<a@B.EXAMPLE.>":              "a@b.example",
		"TO:<Postmaster>":                "Postmaster",
		`TO:<"a b"@c.example>`:           `"a b"@c.example`,
		`TO:<"a>b"@c.example>`:           `"a>b"@c.example`,
		`TO:<"a\">b"@c.example>`:         `"a\">b"@c.example`,
		`TO:<"ab"@c.example>`:            `ab@c.example`,
		"TO:<@x.example:a@b.example>":    "a@b.example",
		"TO:<@x,@y.example:a@b.example>": "a@b.example",
		"TO:<a@[192.0.2.1]>":             "a@[192.0.2.1]",
		// The hazard: the quotes are gone after go-smtp, and with them the
		// difference between a local part and an address with parameters.
		`TO:<"victim@evil.com> ORCPT=rfc822;x"@local.com>`: `"victim@evil.com> ORCPT=rfc822;x"@local.com`,
	} {
		got, err := parseRcpt(arg, offer{})
		if err != nil || got.to.String() != want {
			t.Errorf("%s: %s, %v; want %s", arg, got.to, err, want)
		}
	}
	for _, arg := range []string{
		"", "TO", "TO:", "TO:<>", "TO:<", "TO:<a@b.example", "TO:<a@b.example>>", "TO:<a@b.example>x", "TO:<<a@b.example>",
		`TO:<"a@b.example>`, `TO:<"a"b@c.example>`, `TO:"a b@c.example`, "TO:<a b@c.example>", "TO:<a@b example>",
		"TO:<@x.example>", "TO:<@x.example:>", "TO:<x:a@b.example>", "TO:<@x,y:a@b.example>", "TO:<@:a@b.example>",
		"TO:<a@b.example> X=1", "TO:a@b.example,c@d.example", "TO:<ä@b.example>", "FROM:<a@b.example>",
	} {
		if got, err := parseRcpt(arg, offer{}); err == nil {
			t.Errorf("%s gave %s", arg, got.to)
		}
	}
}

// FuzzParsePath: what is taken for an address is one, in one piece, when it is
// written again.
func FuzzParsePath(f *testing.F) {
	f.Add(`<"victim@evil.com> ORCPT=rfc822;x"@local.com>`)
	f.Add(`<@a,@b:"x\"y"@c> SIZE=1`)
	f.Add(`a@b SIZE=1`)
	f.Add("<>")
	f.Fuzz(func(t *testing.T, arg string) {
		m, err := parseMail("FROM:"+arg, offer{maxSize: 1000})
		if err != nil || m.from.IsNull() {
			return
		}
		again, err := parseMail("FROM:<"+m.from.String()+">"+map[bool]string{true: " SMTPUTF8"}[m.utf8], offer{})
		if err != nil || again.from != m.from {
			t.Fatalf("%q gave <%s>, and that gave <%s>, %v", arg, m.from, again.from, err)
		}
		if a, err := mail.ParseAddress(m.from.String()); err != nil || a != m.from {
			t.Fatalf("<%s> does not come back: <%s>, %v", m.from, a, err)
		}
		if strings.ContainsAny(m.from.Domain, "<> \"\\\r\n") {
			t.Fatalf("domain %q", m.from.Domain)
		}
	})
}

func FuzzParseBdat(f *testing.F) {
	f.Add("5 LAST")
	f.Add("-1")
	f.Add("9223372036854775808")
	f.Fuzz(func(t *testing.T, arg string) {
		if size, _, err := parseBdat(arg); err == nil && size < 0 {
			t.Fatalf("%q gave %d", arg, size)
		}
	})
}
