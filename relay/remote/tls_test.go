package remote

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"restante/internal/standin"
	"restante/relay"
	"restante/spool"
)

func TestTLS(t *testing.T) {
	tests := []struct {
		name   string
		server standin.Options
		route  relay.Route
		trust  bool
		script standin.Script
		reach  spool.Outcome
		tls    bool
		detail [3]int // of the fault
	}{
		{name: "opportunistic, offered", server: standin.Options{TLS: standin.STARTTLS}, reach: spool.Reached, tls: true},
		{name: "opportunistic, not offered", reach: spool.Reached},
		{name: "opportunistic, refused", server: standin.Options{TLS: standin.STARTTLS}, script: script(standin.Fault{At: standin.StartTLS, Code: 454, Text: "4.7.0 not now"}), reach: spool.Reached},
		{name: "opportunistic, broken", server: standin.Options{TLS: standin.STARTTLS}, script: script(standin.Fault{At: standin.StartTLS, Raw: "220 go ahead\r\n"}), reach: spool.Reached},
		{name: "none", server: standin.Options{TLS: standin.STARTTLS}, route: relay.Route{TLS: relay.TLSNone}, reach: spool.Reached},
		{name: "required, offered", server: standin.Options{TLS: standin.STARTTLS}, route: relay.Route{TLS: relay.TLSRequired}, reach: spool.Reached, tls: true},
		{name: "required, not offered", route: relay.Route{TLS: relay.TLSRequired}, reach: spool.Unreached, detail: [3]int{4, 7, 4}},
		{name: "required, refused", server: standin.Options{TLS: standin.STARTTLS}, route: relay.Route{TLS: relay.TLSRequired}, script: script(standin.Fault{At: standin.StartTLS, Code: 454, Text: "4.7.0 not now"}), reach: spool.Unreached, detail: [3]int{4, 7, 0}},
		{name: "verified", server: standin.Options{TLS: standin.STARTTLS}, route: relay.Route{TLS: relay.TLSRequired, Verify: true}, trust: true, reach: spool.Reached, tls: true},
		{name: "verified, other name", server: standin.Options{TLS: standin.STARTTLS}, route: relay.Route{TLS: relay.TLSRequired, Verify: true, TLSNames: []string{"mx.example.com"}}, trust: true, reach: spool.Unreached, detail: [3]int{4, 7, 5}},
		{name: "verified, name of the certificate", server: standin.Options{TLS: standin.STARTTLS, Names: []string{"mx.example.com"}}, route: relay.Route{TLS: relay.TLSRequired, Verify: true, TLSNames: []string{"mx.example.com"}}, trust: true, reach: spool.Reached, tls: true},
		{name: "verified, unknown authority", server: standin.Options{TLS: standin.STARTTLS}, route: relay.Route{TLS: relay.TLSRequired, Verify: true}, reach: spool.Unreached, detail: [3]int{4, 7, 5}},
		{name: "implicit", server: standin.Options{TLS: standin.ImplicitTLS}, route: relay.Route{TLS: relay.TLSImplicit, Verify: true}, trust: true, reach: spool.Reached, tls: true},
		{name: "implicit, to one who speaks first", route: relay.Route{TLS: relay.TLSImplicit}, reach: spool.Unreached, detail: [3]int{4, 4, 2}},
		{name: "words before the handshake", server: standin.Options{TLS: standin.STARTTLS}, route: relay.Route{TLS: relay.TLSRequired}, script: script(standin.Fault{At: standin.StartTLS, Raw: "220 go\r\n250-injected\r\n"}), reach: spool.Unreached, detail: [3]int{4, 7, 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := server(t, tt.server, tt.script)
			route := to(srv)
			route.TLS, route.Verify, route.TLSNames = tt.route.TLS, tt.route.Verify, tt.route.TLSNames
			opt := Options{}
			if tt.trust {
				opt.RootCAs = srv.RootCAs()
			}
			out := deliver(t, courier(t, opt), job(route))
			if out.Reach != tt.reach || out.Fault.Enhanced != tt.detail {
				t.Fatalf("outcome %+v", out)
			}
			got := srv.Messages()
			if (len(got) == 1) != (tt.reach == spool.Reached) {
				t.Fatalf("%d messages", len(got))
			}
			if len(got) == 1 && (got[0].TLS != tt.tls || (out.TLS != "") != tt.tls || got[0].Helo != "relay.test") {
				t.Errorf("TLS %v and %q, EHLO %q", got[0].TLS, out.TLS, got[0].Helo)
			}
			for _, line := range srv.Commands() {
				if line == "EHLO localhost" {
					t.Error("EHLO with a name that is not ours")
				}
			}
		})
	}
}

func TestAuth(t *testing.T) {
	password := func() (string, error) { return "secret", nil }
	tests := []struct {
		name   string
		server standin.Options
		change func(*relay.Route)
		reach  spool.Outcome
	}{
		{"PLAIN", standin.Options{TLS: standin.STARTTLS}, nil, spool.Reached},
		{"LOGIN", standin.Options{TLS: standin.STARTTLS, Without: []string{"PLAIN"}}, nil, spool.Reached},
		{"to loopback without TLS", standin.Options{}, nil, spool.Reached},
		{"nothing we know", standin.Options{Without: []string{"PLAIN", "LOGIN"}}, nil, spool.Unreached},
		{"wrong password", standin.Options{}, func(r *relay.Route) { r.Password = func() (string, error) { return "wrong", nil } }, spool.Unreached},
		{"no password", standin.Options{}, func(r *relay.Route) { r.Password = func() (string, error) { return "", errors.New("no file") } }, spool.Unreached},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.server.Username, tt.server.Password = "user", "secret"
			srv := server(t, tt.server)
			route := to(srv)
			route.Username, route.Password = "user", password
			if tt.change != nil {
				tt.change(&route)
			}
			out := deliver(t, courier(t, Options{}), job(route))
			if out.Reach != tt.reach || out.Results[0].Code == 535 {
				t.Fatalf("outcome %+v", out)
			}
			if got := srv.Messages(); tt.reach == spool.Reached && (len(got) != 1 || got[0].Account != "user") {
				t.Errorf("messages %+v", got)
			}
		})
	}
}

// A password never travels in the clear to another machine, unless told so.
func TestNoPasswordInTheClear(t *testing.T) {
	c := courier(t, Options{})
	route := &relay.Route{Username: "u", Password: func() (string, error) {
		t.Error("the password was asked for")
		return "", nil
	}}
	s := &session{route: route, target: target{addr: netip.MustParseAddr("192.0.2.1")}, ext: map[string]string{"AUTH": "PLAIN"}}
	if err := c.authenticate(t.Context(), s); err == nil {
		t.Error("no error")
	}
}

func TestHeloFromRoute(t *testing.T) {
	srv := server(t, standin.Options{TLS: standin.STARTTLS})
	route := to(srv)
	route.Helo = "other.test"
	deliver(t, courier(t, Options{}), job(route))
	var hellos []string
	for _, line := range srv.Commands() {
		if len(line) > 5 && line[:5] == "EHLO " {
			hellos = append(hellos, line[5:])
		}
	}
	if !slices.Equal(hellos, []string{"other.test", "other.test"}) {
		t.Errorf("EHLO %v", hellos)
	}
}
