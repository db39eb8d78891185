package resolver

import (
	"context"
	"fmt"
	"net"
	"testing"
)

// What is secure, and what is not, among hosts and their aliases.
func TestAddresses(t *testing.T) {
	r, d := newResolver(t, Options{},
		"both.signed. A 192.0.2.1", "both.signed. AAAA 2001:db8::1",
		"four.signed. A 192.0.2.2",
		"plain.open. A 192.0.2.3",
		"in.signed. CNAME both.signed.",
		"out.signed. CNAME plain.open.",
		"back.open. CNAME both.signed.",
		"text.signed. TXT x",
		"half.signed. A 192.0.2.4",
		"broken.signed. A 192.0.2.5",
	)
	d.Sign("signed", true)
	d.FailType("half.signed", "AAAA", true)
	d.Fail("broken.signed", true)
	for name, want := range map[string]string{
		"both.signed":   "[2001:db8::1 192.0.2.1] true  false",
		"FOUR.signed":   "[192.0.2.2] true  false",
		"plain.open":    "[192.0.2.3] false  false",
		"in.signed":     "[2001:db8::1 192.0.2.1] true both.signed false",
		"out.signed":    "[192.0.2.3] false plain.open true",
		"back.open":     "[2001:db8::1 192.0.2.1] false both.signed false",
		"text.signed":   "[] true  false",
		"half.signed":   "[192.0.2.4] true  false",
		"broken.signed": "temporary",
		"none.signed":   "missing",
	} {
		h, err := r.Addresses(context.Background(), name)
		got := fmt.Sprint(h.Addrs, " ", h.Secure, " ", h.Alias, " ", h.SecureAlias)
		if e, ok := err.(*net.DNSError); ok {
			got = map[bool]string{true: "missing", false: "temporary"}[e.IsNotFound]
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", name, got, err, want)
		}
	}
}

func TestTLSAAndExchangers(t *testing.T) {
	r, d := newResolver(t, Options{},
		"signed. MX 10 mx.signed.",
		"_25._tcp.mx.signed. TLSA 3 1 1 0a0B",
		"_25._tcp.alias.signed. CNAME _25._tcp.mx.signed.",
		"alias.signed. A 192.0.2.1",
		"open. MX 10 mx.open.",
	)
	d.Sign("signed", true)
	d.FailType("_26._tcp.mx.signed", "TLSA", true)
	ctx := context.Background()
	for _, name := range []string{"mx.signed", "alias.signed"} {
		list, secure, err := r.LookupTLSA(ctx, name, 25)
		if err != nil || !secure || len(list) != 1 || fmt.Sprint(list[0]) != "{3 1 1 [10 11]}" {
			t.Errorf("%s: %v, %v, %v", name, list, secure, err)
		}
	}
	if list, secure, err := r.LookupTLSA(ctx, "none.signed", 25); err != nil || !secure && len(list) > 0 {
		t.Errorf("none: %v, %v", list, err)
	}
	if _, _, err := r.LookupTLSA(ctx, "mx.signed", 26); err == nil {
		t.Error("SERVFAIL is no error")
	}
	for domain, want := range map[string]bool{"signed": true, "open": false} {
		if list, secure, err := r.Exchangers(ctx, domain); err != nil || len(list) != 1 || secure != want {
			t.Errorf("%s: %v, %v, %v", domain, list, secure, err)
		}
	}
	if _, _, err := r.Exchangers(ctx, "absent"); err == nil {
		t.Error("a domain that does not exist is no error")
	}
}

// The bit is worth what its server is worth.
func TestTrust(t *testing.T) {
	for _, c := range []struct {
		trust Trust
		addr  string
		want  bool
	}{
		{TrustLoopback, "127.0.0.1:53", true},
		{TrustLoopback, "127.0.0.53:53", true},
		{TrustLoopback, "[::1]:53", true},
		{TrustLoopback, "192.0.2.1:53", false},
		{TrustLoopback, "[::ffff:192.0.2.1]:53", false},
		{TrustAll, "192.0.2.1:53", true},
		{TrustNone, "127.0.0.1:53", false},
	} {
		if got := c.trust.server(c.addr); got != c.want {
			t.Errorf("%v of %s: %v", c.trust, c.addr, got)
		}
	}
	r, d := newResolver(t, Options{Trust: TrustNone}, "a.signed. A 192.0.2.1")
	d.Sign("signed", true)
	if h, err := r.Addresses(context.Background(), "a.signed"); err != nil || h.Secure {
		t.Errorf("without trust: %+v, %v", h, err)
	}
}
