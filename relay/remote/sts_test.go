package remote

import (
	"context"
	"errors"
	"strings"
	"testing"

	"restante/internal/mail"
	"restante/internal/mtasts"
	"restante/internal/standin"
	"restante/internal/tlsrpt"
	"restante/relay"
	"restante/spool"
)

// policies is the policy of example.com.
type policies struct {
	p   mtasts.Policy
	err error
}

func (p policies) Policy(_ context.Context, domain string) (mtasts.Policy, bool, error) {
	return p.p, domain == "example.com" && p.p.Mode != "", p.err
}

func TestMTASTS(t *testing.T) {
	ca := authority(t)
	good := issued(t, ca, standin.Spec{Names: []string{"mx.example.com"}})
	other := issued(t, ca, standin.Spec{Names: []string{"mx.example.org"}})
	enforce := mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"*.example.com"}}
	inTesting := mtasts.Policy{Mode: mtasts.Testing, MX: []string{"mx.example.com"}}
	elsewhere := mtasts.Policy{Mode: mtasts.Testing, MX: []string{"mx.example.org"}}
	tlsOptional := "TLS-Required: No\r\n" + letter
	for _, tt := range []struct {
		name   string
		p      policies
		cert   *standin.Certificate // nil is no STARTTLS
		route  relay.Route
		change func(*relay.Job)
		says   string // of a fault
		how    string
		result tlsrpt.Result
		kind   tlsrpt.Kind
		events int // 1 if 0
	}{
		{name: "enforce", p: policies{p: enforce}, cert: good, how: "MTA-STS", kind: tlsrpt.STS},
		{name: "enforce, wrong certificate", p: policies{p: enforce}, cert: other, says: "not for mx.example.com (the MTA-STS policy of example.com demands it)", result: tlsrpt.HostMismatch, kind: tlsrpt.STS},
		{name: "enforce, no STARTTLS", p: policies{p: enforce}, says: "the MTA-STS policy of example.com demands TLS", result: tlsrpt.StartTLSNotSupported, kind: tlsrpt.STS},
		{name: "enforce, other hosts", p: policies{p: mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"mx.example.org"}}}, cert: good, says: "mail host mx.example.com is not in the MTA-STS policy of example.com", result: tlsrpt.ValidationFailure, kind: tlsrpt.STS},
		{name: "testing", p: policies{p: inTesting}, cert: good, kind: tlsrpt.STS},
		{name: "testing, wrong certificate", p: policies{p: inTesting}, cert: other, result: tlsrpt.HostMismatch, kind: tlsrpt.STS},
		{name: "testing, no STARTTLS", p: policies{p: inTesting}, result: tlsrpt.StartTLSNotSupported, kind: tlsrpt.STS},
		{name: "testing, other hosts", p: policies{p: elsewhere}, cert: good, result: tlsrpt.ValidationFailure, kind: tlsrpt.STS, events: 2},
		{name: "none", p: policies{p: mtasts.Policy{Mode: mtasts.None}}, cert: other, kind: tlsrpt.NoPolicy},
		{name: "cannot be had", p: policies{err: errors.New("404")}, cert: other, result: tlsrpt.STSFetch, kind: tlsrpt.STS, events: 2},
		{name: "not wanted", p: policies{p: enforce}, cert: other, route: relay.Route{MTASTS: false, Helo: "x.test"}, kind: tlsrpt.NoPolicy},
		{name: "the sender would rather have it arrive", p: policies{p: enforce}, cert: other, change: func(j *relay.Job) { j.Body = body(tlsOptional) }, kind: tlsrpt.NoPolicy},
		{name: "the sender says both", p: policies{p: enforce}, cert: other, change: func(j *relay.Job) { j.Body = body(tlsOptional); j.Envelope.RequireTLS = true }, says: "MTA-STS", result: tlsrpt.HostMismatch, kind: tlsrpt.STS},
		{name: "a report is not reported on", p: policies{p: enforce}, cert: other, change: func(j *relay.Job) { j.Envelope.Client.Protocol = mail.TLSReport }, events: -1},
		{name: "verified by the policy", p: policies{p: enforce}, cert: good, route: relay.Route{TLS: relay.TLSVerified, MTASTS: true}, how: "MTA-STS", kind: tlsrpt.STS},
		{name: "verified without a policy", cert: good, route: relay.Route{TLS: relay.TLSVerified}, how: "PKIX", kind: tlsrpt.NoPolicy},
		{name: "verified, another's mail host", cert: other, route: relay.Route{TLS: relay.TLSVerified}, says: "not for example.com or .example.com (the route demands it)", result: tlsrpt.HostMismatch, kind: tlsrpt.NoPolicy},
		{name: "verified, names given", cert: other, p: policies{p: enforce}, route: relay.Route{TLS: relay.TLSVerified, MTASTS: true, TLSNames: []string{".example.org"}}, how: "PKIX", kind: tlsrpt.NoPolicy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opt := standin.Options{}
			if tt.cert != nil {
				opt = standin.Options{TLS: standin.STARTTLS, Certificate: tt.cert}
			}
			srv := server(t, opt)
			dns := names(t, srv, "example.com. MX 1 mx.example.com.", "mx.example.com. A 127.0.0.1")
			if tt.route.TLS == 0 && tt.route.Helo == "" {
				tt.route.MTASTS = true
			}
			j := byMX(srv, tt.route)
			if tt.change != nil {
				tt.change(&j)
			}
			var seen events
			out := deliver(t, courier(t, Options{Resolver: asking(t, dns), RootCAs: ca.Pool, Policies: tt.p, Reports: &seen}), j)
			if (out.Reach == spool.Reached) != (tt.says == "") || !strings.Contains(out.Fault.String(), tt.says) {
				t.Fatalf("outcome %+v", out)
			}
			if last := out.Contacts[len(out.Contacts)-1]; last.Verified != tt.how {
				t.Errorf("verified by %q, want %q", last.Verified, tt.how)
			}
			want := max(0, tt.events)
			if tt.events == 0 {
				want = 1
			}
			if len(seen) != want || want > 0 && (seen[0].Result != tt.result || seen[0].Kind != tt.kind) {
				t.Errorf("events %+v", seen)
			}
		})
	}
}

// A connection that was opened for mail that does without a policy is not kept
// for mail that does not.
func TestLaxConnectionIsNotKept(t *testing.T) {
	ca := authority(t)
	srv := server(t, standin.Options{TLS: standin.STARTTLS, Certificate: issued(t, ca, standin.Spec{Names: []string{"other.example"}})})
	dns := names(t, srv, "example.com. MX 1 mx.example.com.", "mx.example.com. A 127.0.0.1")
	enforce := policies{p: mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"mx.example.com"}}}
	c := courier(t, Options{Resolver: asking(t, dns), RootCAs: ca.Pool, Policies: enforce})
	j := byMX(srv, relay.Route{MTASTS: true})
	lax := j
	lax.Body = body("TLS-Required: No\r\n" + letter)
	if out := deliver(t, c, lax); out.Reach != spool.Reached {
		t.Fatalf("outcome %+v", out)
	}
	if out := deliver(t, c, j); out.Reach == spool.Reached {
		t.Errorf("the policy was passed by on a kept connection: %+v", out)
	}
}

// TestRequireTLS: mail that asks for it goes where the host is known for sure
// and has a certificate that holds, and nowhere else (RFC 8689).
func TestRequireTLS(t *testing.T) {
	ca := authority(t)
	cert := issued(t, ca, standin.Spec{Names: []string{"mx.example.com"}})
	enforce := mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"mx.example.com"}}
	for _, tt := range []struct {
		name    string
		route   relay.Route
		p       policies
		signed  bool
		records []string
		lacks   bool
		code    int
	}{
		{name: "nothing is known for sure", code: 550},
		{name: "MTA-STS", p: policies{p: enforce}, route: relay.Route{MTASTS: true}, code: 250},
		{name: "MTA-STS, but REQUIRETLS is not offered", p: policies{p: enforce}, route: relay.Route{MTASTS: true}, lacks: true, code: 550},
		{name: "DANE", signed: true, route: relay.Route{DANE: true}, records: []string{"_PORT._tcp.mx.example.com. TLSA " + tlsaText(record(2, 1, 1, ca.Certificate))}, code: 250},
		{name: "DNSSEC", signed: true, code: 250},
		{name: "the name by a forged MX", route: relay.Route{TLS: relay.TLSRequired, Verify: true}, code: 550},
		{name: "verified", route: relay.Route{TLS: relay.TLSVerified}, code: 250},
		{name: "no TLS", route: relay.Route{TLS: relay.TLSNone}, code: 550},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opt := standin.Options{TLS: standin.STARTTLS, Certificate: cert, Extra: []string{"REQUIRETLS"}}
			if tt.lacks {
				opt.Extra = nil
			}
			srv := server(t, opt)
			dns := names(t, srv, append(tt.records, "example.com. MX 1 mx.example.com.", "mx.example.com. A 127.0.0.1")...)
			dns.Sign("example.com", tt.signed)
			j := byMX(srv, tt.route)
			j.Envelope.RequireTLS = true
			out := deliver(t, courier(t, Options{Resolver: asking(t, dns), RootCAs: ca.Pool, Policies: tt.p}), j)
			if codes(out)[0] != tt.code {
				t.Fatalf("outcome %+v", out)
			}
			if got := srv.Messages(); tt.code == 250 && !strings.Contains(got[0].MailParams, "REQUIRETLS") {
				t.Errorf("messages %+v", got)
			}
		})
	}
}

// TestHeaderSays: a field is found behind long lines and in any case, and not in
// the text.
func TestHeaderSays(t *testing.T) {
	long := "X-Long: " + strings.Repeat("x", 100<<10) + "\r\n"
	for text, want := range map[string]bool{
		"TLS-Required: No\r\n\r\n":               true,
		long + "tls-required :  NO \r\n\r\n":     true,
		"TLS-Required: Yes\r\n\r\n":              false,
		"Subject: x\r\n\r\nTLS-Required: No\r\n": false,
	} {
		if got := headerSays(strings.NewReader(text), "TLS-Required", "No"); got != want {
			t.Errorf("%.30q…: %v", text, got)
		}
	}
}
