package remote

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"restante/internal/mail"
	"restante/internal/standin"
	"restante/relay"
)

func TestTargets(t *testing.T) {
	dns, err := standin.NewDNS(
		"two.test. MX 20 b.two.test.",
		"two.test. MX 10 a.two.test.",
		"bare.test. A 127.0.0.1",
		"null.test. MX 0 .",
		"empty.test. TXT \"nothing\"",
		"alias.test. CNAME two.test.",
		"backup.test. MX 10 a.two.test.",
		"backup.test. MX 20 relay.test.",
		"backup.test. MX 30 c.two.test.",
		"own.test. MX 10 relay.test.",
		"number.test. MX 10 127.0.0.2.",
		"relay.test. A 127.0.0.1",
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Close() })
	dns.Fail("broken.test", true)
	resolver := asking(t, dns)
	c := courier(t, Options{Resolver: resolver})
	tests := []struct {
		domain, want string
		status       string
	}{
		{domain: "two.test", want: "a.two.test:25 b.two.test:25"},
		{domain: "alias.test", want: "a.two.test:25 b.two.test:25"},
		{domain: "bare.test", want: "bare.test:25"},
		{domain: "[127.0.0.1]", want: "[127.0.0.1]=127.0.0.1:25"},
		{domain: "[IPv6:::1]", want: "[IPv6:::1]=::1:25"},
		{domain: "number.test", want: "127.0.0.2=127.0.0.2:25"},
		{domain: "backup.test", want: "a.two.test:25"},
		{domain: "own.test", status: "550 5.4.6"},
		{domain: "relay.test", status: "550 5.4.6"},
		{domain: "null.test", status: "556 5.1.10"},
		{domain: "empty.test", status: "550 5.1.2"},
		{domain: "absent.test", status: "550 5.1.2"},
		{domain: "broken.test", status: "451 4.4.3"},
	}
	for _, tt := range tests {
		t.Run(tt.domain, func(t *testing.T) {
			list, status := c.targets(context.Background(), &relay.Job{Route: &relay.Route{}, Domain: tt.domain})
			// The same is known at the door, where only what is certain counts.
			if s, refused := Refusal(context.Background(), resolver, "relay.test", &relay.Route{}, tt.domain); refused != (status.Class() == mail.Permanent) || s != status {
				t.Errorf("at the door %v, %v", s, refused)
			}
			var got []string
			for _, x := range list {
				s := x.name
				if x.addr.IsValid() {
					s += "=" + x.addr.String()
				}
				got = append(got, fmt.Sprintf("%s:%d", s, x.port))
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("targets %q, want %q", s, tt.want)
			}
			if tt.status == "" && status != (mail.Status{}) || !strings.HasPrefix(status.String(), tt.status) {
				t.Errorf("status %q, want %q", status, tt.status)
			}
		})
	}
}

// Equal preferences are shuffled, different ones never change places.
func TestPreferredOrder(t *testing.T) {
	reverse := func(n int, swap func(i, j int)) {
		for i := range n / 2 {
			swap(i, n-1-i)
		}
	}
	c := courier(t, Options{Shuffle: reverse})
	var got []string
	for _, mx := range c.preferred([]MX{{"a", 10}, {"b", 5}, {"c", 10}, {"d", 20}, {"e", 5}}) {
		got = append(got, mx.Host)
	}
	if want := []string{"e", "b", "c", "a", "d"}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

func TestFixedTargetPorts(t *testing.T) {
	for _, tt := range []struct {
		route relay.Route
		want  int
	}{
		{relay.Route{}, 25},
		{relay.Route{TLS: relay.TLSImplicit}, 465},
		{relay.Route{Username: "u"}, 587},
		{relay.Route{Username: "u", TLS: relay.TLSImplicit}, 465},
	} {
		tt.route.Hosts = []relay.Host{{Name: "h"}, {Name: "h", Port: 99}}
		got := fixedTargets(&tt.route)
		if got[0].port != tt.want || got[1].port != 99 {
			t.Errorf("%+v: ports %d and %d", tt.route, got[0].port, got[1].port)
		}
	}
}

// An answer that does not fit into a datagram is asked for again by TCP.
func TestLookupMXByTCP(t *testing.T) {
	var records []string
	for i := range 40 {
		records = append(records, fmt.Sprintf("many.test. MX %d exchanger-number-%d.many.test.", i, i))
	}
	dns, err := standin.NewDNS(records...)
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	resolver := asking(t, dns)
	mx, _, err := resolver.LookupMX(context.Background(), "many.test")
	if err != nil || len(mx) != 40 {
		t.Errorf("%d records, %v", len(mx), err)
	}
}
