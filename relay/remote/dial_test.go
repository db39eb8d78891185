package remote

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/mail"
	"restante/internal/resolver"
	"restante/relay"
)

// hosts is a Resolver with one host of some addresses.
type hosts []netip.Addr

func (hosts) LookupMX(context.Context, string) ([]MX, bool, error) { return nil, false, nil }
func (hosts) LookupTLSA(context.Context, string, int) ([]resolver.TLSA, bool, error) {
	return nil, false, nil
}
func (h hosts) LookupHost(_ context.Context, name string) (resolver.Host, error) {
	return resolver.Host{Addrs: h}, nil
}

// network is what a Dialer finds: how long each address takes, and whether it
// answers in the end. Those that do answer with a greeting of 421.
type network struct {
	takes  map[string]time.Duration
	refuse map[string]bool

	mu    sync.Mutex
	begun []string
	times []time.Duration
	open  int
	start time.Time
}

func (n *network) dial(ctx context.Context, source netip.Addr, _, address string) (net.Conn, error) {
	addr := netip.MustParseAddrPort(address).Addr().String()
	n.mu.Lock()
	n.begun, n.times = append(n.begun, addr), append(n.times, time.Since(n.start))
	n.mu.Unlock()
	takes, known := n.takes[addr]
	if !known {
		takes = time.Hour
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if n.refuse[addr] {
		return nil, &net.OpError{Op: "dial", Err: errors.New("network is unreachable")}
	}
	ours, theirs := net.Pipe()
	n.mu.Lock()
	n.open++
	n.mu.Unlock()
	go theirs.Write([]byte("421 4.3.2 busy\r\n"))
	return &countedConn{Conn: ours, n: n}, nil
}

type countedConn struct {
	net.Conn
	n    *network
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() {
		c.n.mu.Lock()
		defer c.n.mu.Unlock()
		c.n.open--
	})
	return c.Conn.Close()
}

// TestHappyEyeballs: an address that does not answer has the next tried beside
// it, one that fails has it tried at once, and only one connection is left.
func TestHappyEyeballs(t *testing.T) {
	const a4, b4, a6, b6 = "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"
	ms := time.Millisecond
	for _, c := range []struct {
		name     string
		addrs    []string
		takes    map[string]time.Duration
		refuse   []string
		begun    []string
		times    []time.Duration
		contacts []string
	}{
		{"first answers", []string{a6, a4}, map[string]time.Duration{a6: 10 * ms, a4: 10 * ms}, nil,
			[]string{a6, a4}, []time.Duration{0, 10 * ms}, []string{a6, a4}}, // 421: the other is tried after it
		{"first is silent", []string{a6, a4}, map[string]time.Duration{a4: 10 * ms}, nil,
			[]string{a6, a4, a6}, []time.Duration{0, 250 * ms, 260 * ms}, []string{a4, a6}},
		{"no route to the first family", []string{a6, b6, a4}, map[string]time.Duration{a6: 0, b6: 0, a4: 10 * ms}, []string{a6, b6},
			[]string{a6, a4, b6}, []time.Duration{0, 0, 10 * ms}, []string{a6, a4, b6}},
		{"second is faster than the first", []string{a6, a4}, map[string]time.Duration{a6: 300 * ms, a4: 10 * ms}, nil,
			[]string{a6, a4, a6}, []time.Duration{0, 250 * ms, 260 * ms}, []string{a4, a6}},
		{"families take turns", []string{a6, b6, a4, b4}, map[string]time.Duration{}, nil,
			[]string{a6, a4, b6, b4}, []time.Duration{0, 250 * ms, 500 * ms, 750 * ms}, []string{a6, a4, b6, b4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{takes: c.takes, refuse: make(map[string]bool), start: time.Now()}
				for _, a := range c.refuse {
					n.refuse[a] = true
				}
				var addrs hosts
				for _, a := range c.addrs {
					addrs = append(addrs, netip.MustParseAddr(a))
				}
				courier := New(Options{Hostname: "relay.test", Resolver: addrs, Dial: n.dial})
				defer courier.Close()
				out := courier.Deliver(t.Context(), relay.Job{
					Route: &relay.Route{Kind: relay.Smarthost, Hosts: []relay.Host{{Name: "mx.test"}}}, Body: body(letter),
					Recipients: []mail.Recipient{{To: mail.MustParseAddress("b@example.com")}},
				})
				if !slices.Equal(n.begun, c.begun) || !slices.Equal(n.times, c.times) {
					t.Errorf("dialled %v at %v, want %v at %v", n.begun, n.times, c.begun, c.times)
				}
				var contacts []string
				for _, x := range out.Contacts {
					contacts = append(contacts, netip.MustParseAddrPort(x.Addr).Addr().String())
					if x.Status.Code == 0 {
						t.Errorf("contact without a status: %+v", x)
					}
				}
				if !slices.Equal(contacts, c.contacts) {
					t.Errorf("contacts %v, want %v", contacts, c.contacts)
				}
				if n.open != 0 {
					t.Errorf("%d connections left open", n.open)
				}
			})
		})
	}
}

// TestManyAddresses: one attempt dials a bounded number of addresses.
func TestManyAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{start: time.Now()}
		var addrs hosts
		for i := range 100 {
			addrs = append(addrs, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		}
		courier := New(Options{Hostname: "relay.test", Resolver: addrs, Dial: n.dial})
		defer courier.Close()
		out := courier.Deliver(t.Context(), relay.Job{
			Route: &relay.Route{Kind: relay.Smarthost, Hosts: []relay.Host{{Name: "mx.test"}, {Name: "my.test"}}}, Body: body(letter),
			Recipients: []mail.Recipient{{To: mail.MustParseAddress("b@example.com")}},
		})
		if len(n.begun) != maxAddresses || len(out.Contacts) != maxAddresses {
			t.Errorf("%d dialled, %d contacts", len(n.begun), len(out.Contacts))
		}
		if took := time.Since(n.start); took > courier.opt.Timeouts.Dial+maxAddresses*stagger {
			t.Errorf("took %v", took)
		}
	})
}

func TestSourceFor(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")
	for _, c := range []struct {
		source []netip.Addr
		to     string
		want   netip.Addr
		ok     bool
	}{
		{nil, "192.0.2.1", netip.Addr{}, true},
		{nil, "2001:db8::1", netip.Addr{}, true},
		{[]netip.Addr{v4}, "192.0.2.1", v4, true},
		{[]netip.Addr{v4}, "::ffff:192.0.2.1", v4, true},
		{[]netip.Addr{v4}, "2001:db8::1", netip.Addr{}, false},
		{[]netip.Addr{v4, v6}, "2001:db8::1", v6, true},
	} {
		if got, ok := sourceFor(&relay.Route{Source: c.source}, netip.MustParseAddr(c.to)); got != c.want || ok != c.ok {
			t.Errorf("from %v to %s: %v, %t", c.source, c.to, got, ok)
		}
	}
}
