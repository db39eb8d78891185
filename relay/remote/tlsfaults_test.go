package remote

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/internal/standin"
	"restante/relay"
	"restante/spool"
)

// TestTLSFaults: a handshake that goes wrong is a fault of the next hop where
// TLS is required, and leads to the clear where it is not.
func TestTLSFaults(t *testing.T) {
	wait := make(chan struct{})
	defer close(wait)
	faults := map[string]standin.Fault{
		"garbage":               {At: standin.Handshake, Raw: "\x15\x03\x01what is this\r\n250 ok\r\n"},
		"closed":                {At: standin.Handshake, Drop: true},
		"closed after STARTTLS": {At: standin.StartTLS, Code: 220, Text: "go ahead", Drop: true},
		"silent":                {At: standin.Handshake, Wait: wait},
	}
	for name, fault := range faults {
		for _, mode := range []relay.TLSMode{relay.TLSOpportunistic, relay.TLSRequired, relay.TLSImplicit} {
			t.Run(name+" "+mode.String(), func(t *testing.T) {
				opt := standin.Options{TLS: standin.STARTTLS}
				if mode == relay.TLSImplicit {
					if fault.At == standin.StartTLS {
						return // there is none
					}
					opt.TLS = standin.ImplicitTLS
				}
				srv := server(t, opt, script(fault))
				route := to(srv)
				route.TLS = mode
				var timeouts Timeouts
				if fault.Wait != nil {
					timeouts.Dial = time.Second
				}
				out := deliver(t, courier(t, Options{Timeouts: timeouts}), job(route))
				if mode == relay.TLSOpportunistic {
					if got := srv.Messages(); !slices.Equal(codes(out), []int{250}) || got[0].TLS || len(out.Contacts) != 2 {
						t.Errorf("outcome %+v", out)
					}
					return
				}
				if out.Reach != spool.Unreached || out.Begun || out.Results[0].Class() != mail.Transient || len(srv.Messages()) != 0 {
					t.Errorf("outcome %+v", out)
				}
			})
		}
	}
}

// TestSourceAddress: connections come from the address of the route.
func TestSourceAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	from := make(chan net.Addr, 1)
	go func() {
		if conn, err := l.Accept(); err == nil {
			from <- conn.RemoteAddr()
			conn.Close()
		}
	}()
	route := relay.Route{
		Kind: relay.Smarthost, Source: []netip.Addr{netip.MustParseAddr("127.0.0.77")},
		Hosts: []relay.Host{{Name: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}},
	}
	if out := deliver(t, courier(t, Options{}), job(route)); out.Reach != spool.Unreached {
		t.Errorf("outcome %+v", out)
	}
	select {
	case got := <-from:
		if host, _, _ := net.SplitHostPort(got.String()); host != "127.0.0.77" {
			t.Errorf("it came from %s", got)
		}
	case <-time.After(time.Minute):
		t.Error("nobody came")
	}
	// No address of ours is of the family of the host.
	route.Source = []netip.Addr{netip.IPv6Loopback()}
	out := deliver(t, courier(t, Options{}), job(route))
	if out.Reach != spool.Unreached {
		t.Errorf("outcome %+v", out)
	}
	contains(t, "fault", out.Fault.Text, "source address")
}
