package remote

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"restante/internal/mail"
	"restante/internal/standin"
)

// dialects are the ways in which a transaction is spoken.
var dialects = map[string]standin.Options{
	"DATA":                        {},
	"DATA, one at a time":         {Without: []string{"PIPELINING"}},
	"BDAT":                        {Extra: []string{"CHUNKING"}},
	"BDAT, one at a time":         {Extra: []string{"CHUNKING"}, Without: []string{"PIPELINING"}},
	"LMTP with DATA":              {LMTP: true},
	"LMTP with BDAT":              {LMTP: true, Extra: []string{"CHUNKING"}},
	"LMTP, one at a time":         {LMTP: true, Without: []string{"PIPELINING"}},
	"SMTP of 1982, one at a time": {Without: []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "SIZE"}},
}

// meter counts what goes through the connections of a courier.
type meter struct{ in, out atomic.Int64 }

func (m *meter) dial(ctx context.Context, source netip.Addr, network, address string) (net.Conn, error) {
	conn, err := dial(ctx, source, network, address)
	return &meteredConn{conn, m}, err
}

type meteredConn struct {
	net.Conn
	m *meter
}

func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.m.in.Add(int64(n))
	return n, err
}

func (c *meteredConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.m.out.Add(int64(n))
	return n, err
}

// TestBrokenAtEveryOctet breaks a transaction after each octet that the next
// hop receives, and after each that it sends. Whatever comes of it, nobody is
// taken for delivered whom the next hop has not answered for, nobody is
// refused, and no message is accepted that is not whole.
func TestBrokenAtEveryOctet(t *testing.T) {
	const a, b = "a@example.com", "b@example.com"
	for name, opt := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := server(t, opt)
			route := to(srv)
			route.LMTP, route.Idle = opt.LMTP, -1
			var m meter
			whole := New(Options{Hostname: "relay.test", Dial: m.dial})
			deliver(t, whole, job(route, a, b))
			whole.Close() // after QUIT and its answer
			for at, octets := range map[standin.Point]int64{standin.Received: m.out.Load(), standin.Sent: m.in.Load()} {
				if octets < 100 {
					t.Fatalf("only %d octets %s", octets, at)
				}
				for n := range int(octets) + 1 {
					before := len(srv.Messages())
					srv.Next(script(standin.Fault{At: at, Octets: n}))
					c := New(Options{Hostname: "relay.test"})
					out := deliver(t, c, job(route, a, b))
					c.Close()
					answered := make(map[string]bool)
					for _, msg := range srv.Messages()[before:] {
						if string(msg.Data) != letter {
							t.Fatalf("%d octets %s: message %q was accepted", n, at, msg.Data)
						}
						for _, to := range msg.To {
							answered[to] = msg.Answered
						}
					}
					for i, to := range []string{a, b} {
						switch class := out.Results[i].Class(); {
						case class == mail.Delivered && !answered[to], class == mail.Permanent, out.Results[i].Code == 0:
							t.Fatalf("%d octets %s: %s has %v, and the next hop answered %v", n, at, to, out.Results[i], answered)
						}
					}
					if n == int(octets) && (out.Results[0].Code != 250 || out.Results[1].Code != 250) {
						t.Fatalf("all %d octets %s: %+v", n, at, out)
					}
				}
			}
		})
	}
}

// TestSlowOctets: a next hop whose every octet takes its time is waited for.
func TestSlowOctets(t *testing.T) {
	slow := func(at standin.Point) standin.Fault { return standin.Fault{At: at, Delay: 100_000} }
	for name, opt := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := server(t, opt, script(slow(standin.Received), slow(standin.Sent)))
			route := to(srv)
			route.LMTP = opt.LMTP
			out := deliver(t, courier(t, Options{}), job(route, "a@example.com", "b@example.com"))
			if fmt.Sprint(codes(out)) != "[250 250]" || string(srv.Messages()[0].Data) != letter {
				t.Errorf("outcome %+v", out)
			}
		})
	}
}
