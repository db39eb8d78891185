package header

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
)

var noon = time.Date(2024, 2, 3, 12, 0, 0, 0, time.FixedZone("", 3600))

func TestReceived(t *testing.T) {
	for _, c := range []struct {
		name string
		r    Received
		want string
	}{
		{"all", Received{
			Helo: "client.example", Name: "rdns.example", Addr: netip.MustParseAddr("192.0.2.1"), By: "mx.example",
			TLS: "TLS1.3 TLS_AES_128_GCM_SHA256", With: "ESMTPS", ID: "abc123", For: mail.MustParseAddress("u@example.org"), Time: noon,
		}, "from client.example (rdns.example [192.0.2.1]) by mx.example (TLS1.3 TLS_AES_128_GCM_SHA256) with ESMTPS id abc123 for <u@example.org>; Sat, 3 Feb 2024 12:00:00 +0100"},
		{"local", Received{By: "mx.example", With: "local", ID: "1", Time: noon}, "by mx.example with local id 1; Sat, 3 Feb 2024 12:00:00 +0100"},
		{"bad helo", Received{Helo: "my printer", Addr: netip.MustParseAddr("2001:db8::1"), By: "mx", Time: noon},
			"from [IPv6:2001:db8::1] ([IPv6:2001:db8::1] helo=my printer) by mx; Sat, 3 Feb 2024 12:00:00 +0100"},
		{"bad helo, no address", Received{Helo: "a b", By: "mx", Time: noon}, "from unknown (helo=a b) by mx; Sat, 3 Feb 2024 12:00:00 +0100"},
		{"mapped address", Received{Helo: "h", Addr: netip.MustParseAddr("::ffff:192.0.2.1"), By: "mx", Time: noon}, "from h ([192.0.2.1]) by mx; Sat, 3 Feb 2024 12:00:00 +0100"},
		{"zone of an address", Received{Helo: "h", Addr: netip.MustParseAddr("fe80::1%eth0"), By: "mx", Time: noon}, "from h ([IPv6:fe80::1]) by mx; Sat, 3 Feb 2024 12:00:00 +0100"},
		{"international recipient", Received{By: "mx", For: mail.Address{Local: "jürgen", Domain: "example"}, Time: noon}, "by mx; Sat, 3 Feb 2024 12:00:00 +0100"},
		{"quoted recipient", Received{By: "mx", For: mail.Address{Local: "a> b", Domain: "example"}, Time: noon}, `by mx for <"a> b"@example>; Sat, 3 Feb 2024 12:00:00 +0100`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.r.String()
			legalField(t, s, "Received")
			if got, _ := Parse([]byte(s)).Get("received"); strings.ReplaceAll(got, "\t", " ") != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// legalField fails the test if s is not exactly one field of printable ASCII.
func legalField(t *testing.T, s, name string) {
	t.Helper()
	b := Parse([]byte(s))
	if len(b.Fields()) != 1 || b.Fields()[0].Name != name || string(b.Fields()[0].Raw) != s || !strings.HasSuffix(s, "\r\n") {
		t.Fatalf("not one field: %q", s)
	}
	for _, line := range strings.Split(strings.TrimSuffix(s, "\r\n"), "\r\n") {
		if strings.TrimSpace(line) == "" || len(line) > 998 {
			t.Fatalf("line %q in %q", line, s)
		}
		for _, r := range line {
			if r < ' ' && r != '\t' || r == 0x7f {
				t.Fatalf("control character in %q", s)
			}
		}
	}
}

func TestReceivedIsFolded(t *testing.T) {
	s := Received{Helo: strings.Repeat("a", 60), Name: strings.Repeat("b", 60), By: strings.Repeat("c", 60), Time: noon}.String()
	for _, line := range strings.Split(s, "\r\n") {
		if len(line) > lineLength {
			t.Errorf("line of %d: %s", len(line), line)
		}
	}
}

func TestDateAndMessageID(t *testing.T) {
	if s := Date(noon); s != "Date: Sat, 3 Feb 2024 12:00:00 +0100\r\n" {
		t.Errorf("%q", s)
	}
	if s := MessageID("id.1", "mx.example"); s != "Message-ID: <id.1@mx.example>\r\n" {
		t.Errorf("%q", s)
	}
}

func TestCompose(t *testing.T) {
	if s := Compose("X-A", "one two"); s != "X-A: one two\r\n" {
		t.Errorf("%q", s)
	}
	if s := Compose("X\r\n-A:", "one\r\nBcc: evil\r\n\r\nbody"); s != "X-A: one Bcc: evil body\r\n" {
		t.Errorf("%q", s)
	}
}

func FuzzComposeHasNoInjection(f *testing.F) {
	f.Add("a\r\nEvil: 1", "b)\r\n\r\nbody", "x>\r\nBcc: y", "\x00\x1b\n")
	f.Add("", "", "", "")
	f.Add("(", `\`, "ü", strings.Repeat("x", 3000))
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		legalField(t, Received{Helo: a, Name: b, By: c, TLS: d, With: a, ID: b, For: mail.Address{Local: c, Domain: d}, Time: noon}.String(), "Received")
		legalField(t, Received{Helo: d, Addr: netip.MustParseAddr("192.0.2.1"), By: a, ID: c, Time: noon}.String(), "Received")
		legalField(t, MessageID(a, b), "Message-ID")
		if s := Compose("X-"+a, b); len(s) < 900 {
			legalField(t, s, Parse([]byte(s)).Fields()[0].Name)
		}
	})
}
