package smtpd

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"

	"restante/internal/mail"
)

func TestParseXtext(t *testing.T) {
	for in, want := range map[string]string{"": "", "abc": "abc", "a+2Bb": "a+b", "+20": " ", "+C3+A4": "ä", "a!~b": "a!~b"} {
		if got, ok := parseXtext(in); !ok || got != want {
			t.Errorf("%q: %q, %t", in, got, ok)
		}
	}
	for _, in := range []string{"+", "+2", "+2b", "+G0", "+0A", "+7F", "+1F", "+C3", "a b", "a=b", "ä", "a\x7f", "++", "+-1"} {
		if got, ok := parseXtext(in); ok {
			t.Errorf("%q gave %q", in, got)
		}
	}
}

func TestParseOrcpt(t *testing.T) {
	for _, c := range []struct {
		in    string
		utf8  bool
		want  string
		wrong bool
	}{
		{in: "rfc822;a+2Bb@c.example", want: "rfc822;a+b@c.example"},
		{in: "x-400;a", want: "x-400;a"},
		{in: `utf-8;j\x{FC}@x`, want: "utf-8;jü@x"},
		{in: `UTF-8;\x{5C}\x{2B}\x{3D}`, want: `UTF-8;\+=`},
		{in: "utf-8;jü@x", utf8: true, want: "utf-8;jü@x"},
		{in: "utf-8;jü@x", wrong: true},
		{in: "rfc822;jü@x", utf8: true, wrong: true},
		{in: `utf-8;\x{}`, wrong: true},
		{in: `utf-8;\x{0000041}`, wrong: true},
		{in: `utf-8;\x{D800}`, wrong: true},
		{in: `utf-8;\x{A}`, wrong: true},
		{in: `utf-8;\u00fc`, wrong: true},
		{in: "utf-8;a\xffb", utf8: true, wrong: true},
		{in: "a_b;c", wrong: true},
		{in: "é;c", utf8: true, wrong: true},
	} {
		if got, ok := parseOrcpt(c.in, c.utf8); ok == c.wrong || ok && got != c.want {
			t.Errorf("%q (SMTPUTF8 %t): %q, %t", c.in, c.utf8, got, ok)
		}
	}
}

func TestParseNotify(t *testing.T) {
	for in, want := range map[string]mail.Notify{
		"NEVER": mail.NotifyNever, "success": mail.NotifySuccess, "DELAY,FAILURE": mail.NotifyDelay | mail.NotifyFailure,
		"FAILURE,FAILURE": mail.NotifyFailure, "NEVER,NEVER": mail.NotifyNever,
	} {
		if got, ok := parseNotify(in); !ok || got != want {
			t.Errorf("%q: %v, %t", in, got, ok)
		}
	}
	for _, in := range []string{"", ",", "NEVER,DELAY", "DELAY,", "x", "DELAY, FAILURE"} {
		if got, ok := parseNotify(in); ok {
			t.Errorf("%q gave %v", in, got)
		}
	}
}

func TestParseBy(t *testing.T) {
	for in, want := range map[string]deliverBy{
		"1;R":          {true, time.Second, true, false},
		"+000000060;r": {true, time.Minute, true, false},
		"999999999;NT": {true, 999999999 * time.Second, false, true},
		"-999999999;n": {true, -999999999 * time.Second, false, false},
		"0;nt":         {true, 0, false, true},
	} {
		if got, ok := parseBy(in); !ok || got != want {
			t.Errorf("%q: %+v, %t", in, got, ok)
		}
	}
}

func TestParseHoldUntil(t *testing.T) {
	for in, want := range map[string]string{
		"2024-02-03T12:00:00Z":          "2024-02-03T12:00:00Z",
		"2024-02-03t12:00:00.25z":       "2024-02-03T12:00:00.25Z",
		"2024-02-03T12:00:00-05:30":     "2024-02-03T17:30:00Z",
		"2024-02-29T23:59:59.999+00:00": "2024-02-29T23:59:59.999Z",
	} {
		if got, ok := parseHoldUntil(in); !ok || got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%q: %v, %t", in, got, ok)
		}
	}
}

// FuzzParseMail: whatever is taken can be written again, and comes to the same.
func FuzzParseMail(f *testing.F) {
	f.Add("FROM:<a@b.example> SIZE=1 BODY=8BITMIME RET=FULL ENVID=a+2Bb BY=5;RT MT-PRIORITY=-3 HOLDFOR=7 REQUIRETLS XONCE=NO")
	f.Add("FROM:<ü@b.example> SMTPUTF8 HOLDUNTIL=2024-02-03T12:00:00Z AUTH=<>")
	f.Add(`FROM:<"a> RET=FULL"@b.example> ENVID=+20`)
	f.Add("FROM:a@b ENVID=x ENVID=y")
	f.Fuzz(func(t *testing.T, arg string) {
		all := offer{maxSize: 1000, requireTLS: true, once: true, dsn: true, maxHold: time.Hour}
		m, err := parseMail(arg, all)
		if err != nil {
			if r, ok := err.(reply); !ok || r.code/100 != 5 || r.enhanced[0] != 5 {
				t.Fatalf("%q: the refusal is %v", arg, err)
			}
			return
		}
		if strings.ContainsFunc(m.envID, unicode.IsControl) || m.size > 1000 || m.priority < -9 || m.priority > 9 ||
			m.by.back && m.by.in <= 0 || m.holdFor < 0 || m.holdFor > 0 && !m.holdUntil.IsZero() {
			t.Fatalf("%q gave %+v", arg, m)
		}
		if none, err := parseMail(arg, offer{maxSize: 1000}); err == nil && (none.requireTLS || none.repeat || none.envID != "" || none.ret != 0 || none.holdFor > 0 || !none.holdUntil.IsZero()) {
			t.Fatalf("%q was taken without an offer", arg)
		}
	})
}

func FuzzParseRcpt(f *testing.F) {
	f.Add("TO:<a@b.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb", false)
	f.Add(`TO:<ü@b.example> ORCPT=utf-8;\x{FC}ü`, true)
	f.Add(`TO:<"x> NOTIFY=NEVER"@b.example>`, false)
	f.Fuzz(func(t *testing.T, arg string, utf8 bool) {
		r, err := parseRcpt(arg, offer{utf8: utf8, dsn: true})
		if err != nil {
			return
		}
		if strings.ContainsFunc(r.original, unicode.IsControl) || r.notify&mail.NotifyNever != 0 && r.notify != mail.NotifyNever {
			t.Fatalf("%q gave %+v", arg, r)
		}
		if kind, address, ok := strings.Cut(r.original, ";"); r.original != "" && (!ok || kind == "" || address == "") {
			t.Fatalf("%q gave ORCPT %q", arg, r.original)
		}
		again, err := parseRcpt(fmt.Sprintf("TO:<%s>", r.to), offer{utf8: true})
		if err != nil || again.to != r.to {
			t.Fatalf("<%s> gave <%s>, %v", r.to, again.to, err)
		}
	})
}

func FuzzParseXclient(f *testing.F) {
	f.Add("ADDR=192.0.2.1 PORT=25 NAME=x.example PROTO=ESMTP HELO=y LOGIN=a+2Bb DESTADDR=IPV6:::1 DESTPORT=[UNAVAILABLE]")
	f.Add("addr=[tempunavail]")
	f.Add("LOGIN=+0D")
	f.Fuzz(func(t *testing.T, arg string) {
		x, err := parseXclient(arg)
		if err != nil {
			return
		}
		if len(x.has) == 0 || x.addr.Zone() != "" || x.addr.Is4In6() || x.helo != "" && !goodHelo(x.helo) {
			t.Fatalf("%q gave %+v", arg, x)
		}
		for _, s := range []string{x.name, x.login} {
			if strings.ContainsFunc(s, unicode.IsControl) || len(s) > 255 {
				t.Fatalf("%q gave %+v", arg, x)
			}
		}
	})
}

// FuzzReadProxy: the header is read to its end and not an octet further, in
// bounded space, and names an address or none.
func FuzzReadProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\nEHLO x\r\n"))
	f.Add([]byte("PROXY TCP6 2001:db8::7 ::1 4711 25\r\n"))
	f.Add([]byte("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nrest"))
	f.Add([]byte(proxySignature + "\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x12\x67\x00\x19EHLO"))
	f.Add([]byte(proxySignature + "\x21\x21\x00\x25" + strings.Repeat("x", 37) + "EHLO"))
	f.Add([]byte(proxySignature + "\x20\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := strings.NewReader(string(data))
		p, err := readProxy(r)
		used := len(data) - r.Len()
		if used > 16+maxProxyBody {
			t.Fatalf("%d octets were read", used)
		}
		if err != nil {
			return
		}
		if a := p.from.Addr(); p.own && a.IsValid() || a.Zone() != "" || a.Is4In6() {
			t.Fatalf("%q gave %+v", data[:used], p)
		}
		if data[0] == 'P' && (!strings.HasSuffix(string(data[:used]), "\r\n") || used > maxProxyLine) {
			t.Fatalf("%q was read for a line", data[:used])
		}
		again, err := readProxy(strings.NewReader(string(data[:used])))
		if err != nil || again != p {
			t.Fatalf("%q alone gives %+v, %v", data[:used], again, err)
		}
	})
}

// TestUnwrapBounds: a proxy that trickles, or says nothing, is not waited for.
func TestUnwrapBounds(t *testing.T) {
	h := open(t, func(o *Options) {
		o.Extensions.Proxy = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		o.Limits.CommandTimeout = 50 * time.Millisecond
	})
	c := h.dial()
	fmt.Fprint(c, "PROXY TCP4 ")
	if n, err := c.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Errorf("a greeting before the header: %d, %v", n, err)
	}
}
