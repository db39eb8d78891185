package mail

import (
	"strings"
	"testing"
	"time"
)

func TestParseAddress(t *testing.T) {
	for _, c := range []struct{ in, local, domain, out string }{
		{"alice@example.org", "alice", "example.org", "alice@example.org"},
		{"Alice@EXAMPLE.Org.", "Alice", "example.org", "Alice@example.org"},
		{`"alice"@example.org`, "alice", "example.org", "alice@example.org"},
		{`"a b"@example.org`, "a b", "example.org", `"a b"@example.org`},
		{`"a\"b\\c"@example.org`, `a"b\c`, "example.org", `"a\"b\\c"@example.org`},
		{`"victim@evil.example> X=y"@example.org`, "victim@evil.example> X=y", "example.org", `"victim@evil.example> X=y"@example.org`},
		{"a+b/c=d!#$@example.org", "a+b/c=d!#$", "example.org", "a+b/c=d!#$@example.org"},
		{"jörg@bücher.example", "jörg", "xn--bcher-kva.example", "jörg@xn--bcher-kva.example"},
		{"a@[192.0.2.1]", "a", "[192.0.2.1]", "a@[192.0.2.1]"},
		{"a@[ipv6:2001:DB8::1]", "a", "[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"},
		{"a@x_y.example", "a", "x_y.example", "a@x_y.example"},
		{"Postmaster", "Postmaster", "", "Postmaster"},
		{"a@localhost", "a", "localhost", "a@localhost"},
	} {
		a, err := ParseAddress(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if a.Local != c.local || a.Domain != c.domain || a.String() != c.out {
			t.Errorf("%s: got %q %q %q", c.in, a.Local, a.Domain, a.String())
		}
	}
}

func TestParseAddressRefuses(t *testing.T) {
	for _, in := range []string{
		"", "@", "a", "a@", "@b.example", "a b@c.example", "a@b c", "a@b@c", "a..b@c.example", ".a@c.example",
		`"a@c.example`, `"a"b@c.example`, `""@c.example`, "\"a\nb\"@c.example", "a@c.example\r\n", "a@-c.example",
		"a@c-.example", "a@c..example", "a@[300.0.0.1]", "a@[IPv6:1.2.3.4]", "a@[]", "a@[192.0.2.1", "<a@c.example>",
		"@x:a@c.example", "a@c.example x", "a\x00@c.example", "a\xff@c.example", "a@\xff.example",
		strings.Repeat("x", 65) + "@c.example", "a@" + strings.Repeat("x", 64) + ".example",
		"a@" + strings.Repeat("x.", 127) + "x",
	} {
		if a, err := ParseAddress(in); err == nil {
			t.Errorf("%q was taken as %+v", in, a)
		}
	}
}

// What is printed must parse to the same address, or an address could change
// its meaning on its way through the queue.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"a@b.example", `"a b"@c.example`, `"\\\""@[127.0.0.1]`, "ü@ü.example", "postmaster"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		b, err := ParseAddress(a.String())
		if err != nil || a != b {
			t.Fatalf("%q parses to %+v, prints as %q, parses to %+v, %v", s, a, a.String(), b, err)
		}
		if strings.ContainsAny(a.String(), "\r\n\x00") {
			t.Fatalf("%q prints a control character", s)
		}
	})
}

func TestIDsAscendAndAreDistinct(t *testing.T) {
	var s IDs
	now := time.UnixMilli(1_800_000_000_123)
	last := ID{}
	for i := range 10_000 {
		at := now
		if i%3 == 0 {
			at = now.Add(-time.Second) // a clock that steps back
		}
		id := s.Next(at)
		if id.String() <= last.String() {
			t.Fatalf("%s follows %s", id, last)
		}
		back, err := ParseID(id.String())
		if err != nil || back != id {
			t.Fatalf("%s does not parse back: %v", id, err)
		}
		last = id
	}
	if got := s.Next(now.Add(time.Hour)).Time(); !got.Equal(now.Add(time.Hour)) {
		t.Errorf("Time is %v", got)
	}
	for _, bad := range []string{"", "0", strings.Repeat("0", 15), strings.Repeat("Z", 16), strings.Repeat("0", 17)} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("ParseID took %q", bad)
		}
	}
}

func TestNotifyWants(t *testing.T) {
	for _, c := range []struct {
		n                       Notify
		success, failure, delay bool
	}{
		{0, false, true, true},
		{NotifyNever, false, false, false},
		{NotifySuccess, true, false, false},
		{NotifyFailure | NotifyDelay, false, true, true},
	} {
		if c.n.Wants(NotifySuccess) != c.success || c.n.Wants(NotifyFailure) != c.failure || c.n.Wants(NotifyDelay) != c.delay {
			t.Errorf("Notify %d", c.n)
		}
	}
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		s     Status
		class Class
		text  string
	}{
		{Status{}, Transient, ""},
		{Status{Code: 250}, Delivered, "250 2.0.0"},
		{Status{Code: 354}, Transient, "354 4.0.0"},
		{Status{Code: 421, Text: "busy", Remote: "mx.example [192.0.2.1]"}, Transient, "421 4.0.0 busy (mx.example [192.0.2.1])"},
		{Status{Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "nobody"}, Permanent, "550 5.1.1 nobody"},
	} {
		if c.s.Class() != c.class || c.s.String() != c.text {
			t.Errorf("%+v: %s, %q", c.s, c.s.Class(), c.s)
		}
	}
}
