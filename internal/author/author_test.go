package author

import (
	"slices"
	"strings"
	"testing"

	"restante/internal/header"
)

func TestOf(t *testing.T) {
	for _, c := range []struct {
		header  string
		fields  int
		domains string
		bad     bool
	}{
		{"From: alice@example.org\r\n", 1, "example.org", false},
		{"Subject: x\r\nFROM : Alice <alice@Example.ORG>\r\nTo: b@else.example\r\n", 1, "example.org", false},
		{"From: \"bob@bank.example\" <alice@example.org>\r\n", 1, "example.org", false},
		{"From: bob@bank.example <alice@example.org>\r\n", 1, "example.org", false},
		{"From: \"<bob@bank.example>, x\" <alice@example.org>\r\n", 1, "example.org", false},
		{"From: (bob@bank.example) alice (x\\)y (z)) @ (c) example . org\r\n", 1, "example.org", false},
		{"From: =?utf-8?q?bob=40bank.example?=\r\n <alice@example.org>\r\n", 1, "example.org", false},
		{"From: \"a b\\\"@x\"@example.org\r\n", 1, "example.org", false},
		{"From: <@relay.example,@b.example:alice@example.org>\r\n", 1, "example.org", false},
		{"From: a@one.example, B <b@two.example>, c@ONE.example\r\n", 1, "one.example two.example", false},
		{"From: The board: a@one.example, <b@two.example>;\r\n", 1, "one.example two.example", false},
		{"From: jörg@bücher.example\r\n", 1, "xn--bcher-kva.example", false},
		{"From: <a@xn--bcher-kva.example>\r\n", 1, "xn--bcher-kva.example", false},
		{"From: a@[192.0.2.1]\r\n", 1, "[192.0.2.1]", false},
		{"From: a@[IPv6:2001:db8::1]\r\n", 1, "[IPv6:2001:db8::1]", false},
		{"From: a@one.example\r\nFrom: b@two.example\r\n", 2, "one.example two.example", false},
		{"Subject: none\r\n", 0, "", false},
		{"From:\r\n", 1, "", false},
		{"From: undisclosed:;\r\n", 1, "", false},
		{"From: <>\r\n", 1, "", false},
		{"From: MAILER-DAEMON (Mail Delivery System)\r\n", 1, "", false},
		{"From: Liddell, Alice <alice@example.org>\r\n", 1, "example.org", false},
		{"From: Alice \\ Bob > Carol <alice@example.org>\r\n", 1, "example.org", false},
		{"From: <a@one.example> <b@two.example>\r\n", 1, "one.example two.example", true},
		{"From: a@one.example@two.example\r\n", 1, "one.example two.example", true},
		{"From: <a@one.example\r\n", 1, "one.example", true},
		{"From: \"a@one.example\r\n", 1, "", true},
		{"From: a@one.example (b@two.example\r\n", 1, "one.example", true},
		{"From: a@one..example\r\n", 1, "", true},
		{"From: a@[192.0.2.1\r\n", 1, "", true},
		{"From: @one.example\r\n", 1, "one.example", true},
	} {
		a := Of(header.Parse([]byte(c.header)))
		if a.Fields != c.fields || strings.Join(a.Domains, " ") != c.domains || a.Malformed != c.bad {
			t.Errorf("%q: %+v", c.header, a)
		}
	}
}

func TestDomainsAreBounded(t *testing.T) {
	var list []string
	for i := range 1000 {
		list = append(list, "x@"+strings.Repeat("d", 1+i%60)+".example")
	}
	a := Of(header.Parse([]byte("From: " + strings.Join(list, ", ") + "\r\n")))
	if len(a.Domains) != maxDomains || !a.Malformed {
		t.Errorf("%d domains, malformed %v", len(a.Domains), a.Malformed)
	}
}

func TestOrganisational(t *testing.T) {
	for in, want := range map[string]string{
		"example.org": "example.org", "a.b.example.org": "example.org", "a.example.co.uk": "example.co.uk",
		"co.uk": "co.uk", "org": "org", "localhost": "localhost", "x.test": "x.test", "a.x.test": "x.test",
		"[192.0.2.1]": "[192.0.2.1]", "shop.xn--bcher-kva.example": "xn--bcher-kva.example",
	} {
		if got := Organisational(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if got := Parents("a.b.example.co.uk"); !slices.Equal(got, []string{"a.b.example.co.uk", "b.example.co.uk", "example.co.uk"}) {
		t.Errorf("parents: %v", got)
	}
	if got := Parents("localhost"); !slices.Equal(got, []string{"localhost"}) {
		t.Errorf("parents: %v", got)
	}
}

func FuzzOf(f *testing.F) {
	for _, s := range []string{"a@b.example", "x <a@b.example>, y: c@d.example;", `"a\"b"@[1.2.3.4] (c(d))`, "<@r:a@b>", "ü@ü.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var a Author
		a.add(s)
		for _, d := range a.Domains {
			if d == "" || strings.ContainsAny(d, " \t\r\n;()<>@") {
				t.Fatalf("%q gives the domain %q", s, d)
			}
			if org := Organisational(d); !strings.HasSuffix(d, org) {
				t.Fatalf("%q is not below its organisational domain %q", d, org)
			}
		}
	})
}
