package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"restante/internal/standin"
)

func newResolver(t *testing.T, opt Options, records ...string) (*Resolver, *standin.DNS) {
	t.Helper()
	d, err := standin.NewDNS(records...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	opt.Server = d.Addr()
	r, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return r, d
}

func TestLookups(t *testing.T) {
	long := strings.Repeat("x", 250)
	r, _ := newResolver(t, Options{},
		`text.example. TXT "one " "string"`,
		`text.example. TXT "two"`,
		`odd.example. TXT "a\"b\\c\195\188"`,
		`long.example. TXT "`+long+`" "`+long+`" "`+long+`"`, // by TCP: it does not fit
		"text.example. MX 10 mx.text.example.",
		"host.example. A 192.0.2.1", "host.example. A 192.0.2.2", "host.example. AAAA 2001:db8::1",
		"alias.example. CNAME host.example.",
		"1.2.0.192.in-addr.arpa. PTR host.example.",
		"xn--bcher-kva.example. A 192.0.2.9",
		"a+b=c._spf.example. A 192.0.2.10",
	)
	ctx := context.Background()
	show := func(v any, err error) string {
		if err != nil {
			return "error " + err.Error()
		}
		return fmt.Sprint(v)
	}
	txt := func(name string) string { v, err := r.LookupTXT(ctx, name); return show(v, err) }
	a := func(name string) string { v, err := r.LookupIPv4(ctx, name); return show(v, err) }
	for _, c := range []struct{ got, want string }{
		{txt("Text.Example"), "[one string two]"},
		{txt("text.example."), "[one string two]"},
		{txt("odd.example"), `[a"b\cü]`},
		{txt("long.example"), "[" + strings.Repeat(long, 3) + "]"},
		{txt("host.example"), "[]"},
		{a("host.example"), "[192.0.2.1 192.0.2.2]"},
		{a("alias.example"), "[192.0.2.1 192.0.2.2]"},
		{a("bücher.example"), "[192.0.2.9]"},
		{a("a+b=c._spf.example"), "[192.0.2.10]"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
	if v, err := r.LookupIPv6(ctx, "alias.example"); err != nil || len(v) != 1 || v[0] != netip.MustParseAddr("2001:db8::1") {
		t.Errorf("AAAA: %v, %v", v, err)
	}
	if v, err := r.LookupMX(ctx, "text.example"); err != nil || len(v) != 1 || v[0].Host != "mx.text.example." || v[0].Pref != 10 {
		t.Errorf("MX: %v, %v", v, err)
	}
	if v, err := r.LookupAddr(ctx, netip.MustParseAddr("192.0.2.1")); err != nil || !slices.Equal(v, []string{"host.example."}) {
		t.Errorf("PTR: %v, %v", v, err)
	}
}

// The SPF library looks at the error's own type.
func TestErrors(t *testing.T) {
	r, d := newResolver(t, Options{}, "there.example. A 192.0.2.1")
	d.Fail("broken.example", true)
	ctx := context.Background()
	for _, name := range []string{"nowhere.example", "a..b", ".", "", `a\.b.example`, "a b.example", "\xff.example",
		strings.Repeat("x", 64) + ".example", strings.Repeat("x.", 130) + "example"} {
		_, err := r.LookupTXT(ctx, name)
		if e, ok := err.(*net.DNSError); !ok || !e.IsNotFound || e.Temporary() {
			t.Errorf("%q: %#v, want one that is not found", name, err)
		}
	}
	_, err := r.LookupTXT(ctx, "broken.example")
	if e, ok := err.(*net.DNSError); !ok || e.IsNotFound || !e.Temporary() || !strings.Contains(e.Error(), "SERVFAIL") {
		t.Errorf("SERVFAIL: %#v", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	_, err = r.LookupTXT(ctx, "other.example")
	if e, ok := err.(*net.DNSError); !ok || !e.Temporary() || !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %#v", err)
	}
	for _, q := range d.Queries() {
		if !strings.HasPrefix(q, "nowhere.") && !strings.HasPrefix(q, "broken.") {
			t.Errorf("the name server was asked for %s", q)
		}
	}
}

// A question waits for a place no longer than its context.
func TestPlaces(t *testing.T) {
	r, _ := newResolver(t, Options{Questions: 1}, "a.example. A 192.0.2.1")
	r.places <- struct{}{}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := r.LookupIPv4(ctx, "a.example")
	if e, ok := err.(*net.DNSError); !ok || !e.IsTimeout {
		t.Errorf("without a place: %#v", err)
	}
	<-r.places
	if v, err := r.LookupIPv4(context.Background(), "a.example"); err != nil || len(v) != 1 {
		t.Errorf("with a place: %v, %v", v, err)
	}
}

func TestCache(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	r, d := newResolver(t, Options{Now: func() time.Time { return now }},
		`a.example. 60 TXT "x"`, `b.example. 7200 TXT "y"`, `c.example. 0 TXT "z"`)
	ctx := context.Background()
	asked := func(name string, want int) {
		t.Helper()
		r.LookupTXT(ctx, name)
		n := 0
		for _, q := range d.Queries() {
			if strings.EqualFold(q, name+". TXT") {
				n++
			}
		}
		if n != want {
			t.Errorf("%s was asked for %d times, want %d", name, n, want)
		}
	}
	asked("a.example", 1)
	asked("A.EXAMPLE", 1)
	asked("b.example", 1)
	asked("c.example", 1)
	asked("c.example", 2) // it may not be kept
	asked("none.example", 1)
	asked("none.example", 2) // nobody said for how long it does not exist
	now = now.Add(time.Minute)
	asked("a.example", 2)
	asked("b.example", 1)
	now = now.Add(time.Hour)
	asked("b.example", 2) // an hour is enough, whatever the record says
}

func TestCacheIsBounded(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	c := newCache(10<<10, func() time.Time { return now })
	for i := range 1000 {
		c.put(question{fmt.Sprintf("n%d.example.", i), dns.TypeTXT}, answer{text: []string{strings.Repeat("x", i)}}, time.Minute)
		c.get(question{"n0.example.", dns.TypeTXT})
	}
	if c.size > c.limit || len(c.entries) != c.order.Len() {
		t.Errorf("%d octets of %d, %d entries, %d in order", c.size, c.limit, len(c.entries), c.order.Len())
	}
	if _, ok := c.get(question{"n0.example.", dns.TypeTXT}); !ok {
		t.Error("the one that is asked for all the time is gone")
	}
	if _, ok := c.get(question{"n1.example.", dns.TypeTXT}); ok {
		t.Error("the one that nobody asks for is still there")
	}
	c.put(question{"huge.example.", dns.TypeTXT}, answer{text: []string{strings.Repeat("x", 9<<10)}}, time.Minute)
	if _, ok := c.get(question{"huge.example.", dns.TypeTXT}); ok {
		t.Error("one answer may take the whole cache")
	}
}

func TestNegativeLifetime(t *testing.T) {
	soa, err := dns.NewRR("example. 600 SOA ns.example. x.example. 1 1 1 1 120")
	if err != nil {
		t.Fatal(err)
	}
	msg := &dns.Msg{Ns: []dns.RR{soa}}
	msg.Rcode = dns.RcodeNameError
	if got := lifetime(msg); got != 2*time.Minute {
		t.Errorf("SOA minimum of 2 minutes: %v", got)
	}
	soa.(*dns.SOA).Minttl = 86400
	if got := lifetime(msg); got != maxNegative {
		t.Errorf("SOA minimum of a day: %v", got)
	}
}

func TestNew(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1": "127.0.0.1:53", "127.0.0.1:5353": "127.0.0.1:5353", "::1": "[::1]:53", "[::1]": "[::1]:53", "[::1]:5": "[::1]:5", "": "",
	} {
		r, err := New(Options{Server: in})
		if err != nil || r.server != want {
			t.Errorf("%q: %v, %v", in, r, err)
		}
	}
	if _, err := New(Options{Server: "ns.example.org"}); err == nil {
		t.Error("a name was taken for a server")
	}
	r, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if servers, err := Servers(r.server); err == nil && len(servers) == 0 {
		t.Error("no servers, and no error")
	}
}

func TestAnswers(t *testing.T) {
	query := new(dns.Msg).SetQuestion("a.example.", dns.TypeTXT)
	reply := new(dns.Msg).SetReply(query)
	if !answers(reply, query) {
		t.Error("the reply to a question is not taken")
	}
	other := new(dns.Msg).SetReply(new(dns.Msg).SetQuestion("b.example.", dns.TypeTXT))
	for _, m := range []*dns.Msg{query, other, {MsgHdr: reply.MsgHdr}} {
		if answers(m, query) {
			t.Errorf("taken for the reply: %v", m)
		}
	}
}
