package remote

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/internal/resolver"
	"restante/internal/standin"
	"restante/relay"
)

// memBody is a spool.Body in memory.
type memBody struct{ *bytes.Reader }

func (memBody) Close() error { return nil }

func body(s string) memBody { return memBody{bytes.NewReader([]byte(s))} }

const letter = "From: a@example.org\r\nSubject: hello\r\n\r\n.one dot\r\nand a line\r\n"

func server(t *testing.T, opt standin.Options, scripts ...standin.Script) *standin.Server {
	t.Helper()
	srv, err := standin.NewServer(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	srv.Next(scripts...)
	return srv
}

func courier(t *testing.T, opt Options) *Courier {
	t.Helper()
	if opt.Hostname == "" {
		opt.Hostname = "relay.test"
	}
	c := New(opt)
	t.Cleanup(c.Close)
	return c
}

// asking is a Resolver for a name server.
func asking(t *testing.T, dns *standin.DNS) *DNS {
	t.Helper()
	r, err := resolver.New(resolver.Options{Server: dns.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	return NewDNS(r)
}

// to is a route to one fixed host.
func to(srv *standin.Server) relay.Route {
	return relay.Route{
		Name: "r", Domains: []string{"*"}, Kind: relay.Smarthost,
		Hosts: []relay.Host{{Name: "127.0.0.1", Port: srv.Port()}},
	}
}

func job(route relay.Route, rcpts ...string) relay.Job {
	j := relay.Job{
		Route:    &route,
		Envelope: mail.Envelope{From: mail.MustParseAddress("sender@example.org")},
		Body:     body(letter),
	}
	if len(rcpts) == 0 {
		rcpts = []string{"b@example.com"}
	}
	for _, r := range rcpts {
		j.Recipients = append(j.Recipients, mail.Recipient{To: mail.MustParseAddress(r)})
	}
	return j
}

func deliver(t *testing.T, c *Courier, j relay.Job) relay.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out := c.Deliver(ctx, j)
	if len(out.Results) != len(j.Recipients) {
		t.Fatalf("%d results for %d recipients", len(out.Results), len(j.Recipients))
	}
	return out
}

// codes are the results' codes, in order.
func codes(out relay.Outcome) (list []int) {
	for _, s := range out.Results {
		list = append(list, s.Code)
	}
	return list
}

func contains(t *testing.T, what, s, sub string) {
	t.Helper()
	if !strings.Contains(s, sub) {
		t.Errorf("%s: %q does not contain %q", what, s, sub)
	}
}

func script(f ...standin.Fault) standin.Script { return f }

// silentConn takes what is written and ends when it is read from.
type silentConn struct {
	net.Conn
	mu    sync.Mutex
	wrote string
	ended bool
}

func (c *silentConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrote += string(p)
	return len(p), nil
}

func (c *silentConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	return nil
}

// end tells whether it was closed, and what had been written.
func (c *silentConn) end() (closed bool, wrote string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended, c.wrote
}

func (c *silentConn) Read([]byte) (int, error)         { return 0, io.EOF }
func (c *silentConn) SetReadDeadline(time.Time) error  { return nil }
func (c *silentConn) SetWriteDeadline(time.Time) error { return nil }
