package remote

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"restante/internal/resolver"
	"restante/internal/standin"
	"restante/internal/tlsrpt"
	"restante/relay"
	"restante/spool"
)

func authority(t *testing.T) *standin.Authority {
	t.Helper()
	a, err := standin.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issued(t *testing.T, a *standin.Authority, spec standin.Spec) *standin.Certificate {
	t.Helper()
	c, err := a.Issue(spec)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// record makes the TLSA record of a certificate.
func record(usage, selector, matching uint8, cert *x509.Certificate) resolver.TLSA {
	data := cert.Raw
	if selector == selectKey {
		data = cert.RawSubjectPublicKeyInfo
	}
	switch matching {
	case matchSHA256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case matchSHA512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return resolver.TLSA{Usage: usage, Selector: selector, Matching: matching, Data: data}
}

func TestCheckTLSA(t *testing.T) {
	ca, other := authority(t), authority(t)
	now := time.Now()
	names := []string{"mx.example.com", "example.com"}
	good := issued(t, ca, standin.Spec{Names: []string{"mx.example.com"}})
	old := issued(t, ca, standin.Spec{Names: []string{"mx.example.com"}, From: now.Add(-48 * time.Hour), Until: now.Add(-time.Hour)})
	domain := issued(t, ca, standin.Spec{Names: []string{"example.com"}})
	wild := issued(t, ca, standin.Spec{Names: []string{"*.example.com"}})
	strange := issued(t, ca, standin.Spec{Names: []string{"mx.example.net"}})
	alone := issued(t, ca, standin.Spec{Names: []string{"mx.example.com"}, Alone: true})
	type records = []resolver.TLSA
	var all records
	for _, selector := range []uint8{0, 1} {
		for _, matching := range []uint8{0, 1, 2} {
			all = append(all, record(usageEE, selector, matching, good.Certificate.Leaf), record(usageTA, selector, matching, ca.Certificate))
		}
	}
	for _, r := range all {
		if err := checkTLSA(records{r}, names, chainOf(t, good), now); err != nil {
			t.Errorf("%d %d %d: %v", r.Usage, r.Selector, r.Matching, err)
		}
		if r.Usage == usageEE {
			if err := checkTLSA(records{r}, names, chainOf(t, domain), now); err == nil {
				t.Errorf("%d %d %d holds for another certificate", r.Usage, r.Selector, r.Matching)
			}
		}
	}
	for _, tt := range []struct {
		name    string
		records records
		cert    *standin.Certificate
		want    tlsrpt.Result
	}{
		{"EE: dates do not count", records{record(3, 1, 1, old.Certificate.Leaf)}, old, ""},
		{"EE: names do not count", records{record(3, 1, 1, strange.Certificate.Leaf)}, strange, ""},
		{"EE of the authority is of no server", records{record(3, 1, 1, ca.Certificate)}, good, tlsrpt.ValidationFailure},
		{"TA of the server is of no authority", records{record(2, 1, 1, good.Certificate.Leaf)}, good, tlsrpt.ValidationFailure},
		{"TA: dates count", records{record(2, 1, 1, ca.Certificate)}, old, tlsrpt.Expired},
		{"TA: names count", records{record(2, 1, 1, ca.Certificate)}, strange, tlsrpt.HostMismatch},
		{"TA: the domain will do", records{record(2, 1, 1, ca.Certificate)}, domain, ""},
		{"TA: a wildcard will do", records{record(2, 1, 1, ca.Certificate)}, wild, ""},
		{"TA: another authority", records{record(2, 1, 1, other.Certificate)}, good, tlsrpt.ValidationFailure},
		{"TA: an authority that is not shown", records{record(2, 1, 1, ca.Certificate)}, alone, tlsrpt.ValidationFailure},
		{"TA: one that the record holds", records{record(2, 0, 0, ca.Certificate)}, alone, ""},
		{"TA: another that the record holds", records{record(2, 0, 0, other.Certificate)}, alone, tlsrpt.NotTrusted},
		{"one of several", records{record(3, 1, 1, other.Certificate), record(2, 0, 1, ca.Certificate)}, good, ""},
		{"TA is named and fails, EE holds", records{record(2, 1, 1, ca.Certificate), record(3, 1, 1, strange.Certificate.Leaf)}, strange, ""},
	} {
		err := checkTLSA(tt.records, names, chainOf(t, tt.cert), now)
		bad := (*demandError)(nil)
		errors.As(err, &bad)
		if (err == nil) != (tt.want == "") || bad != nil && bad.result != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func chainOf(t *testing.T, c *standin.Certificate) (chain []*x509.Certificate) {
	t.Helper()
	for _, der := range c.Certificate.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, cert)
	}
	return chain
}

func TestUsable(t *testing.T) {
	digest := func(usage, selector, matching uint8, n int) resolver.TLSA {
		return resolver.TLSA{Usage: usage, Selector: selector, Matching: matching, Data: make([]byte, n)}
	}
	for _, tt := range []struct {
		name string
		in   []resolver.TLSA
		want string
	}{
		{"PKIX usages", []resolver.TLSA{digest(0, 0, 1, 32), digest(1, 1, 1, 32)}, ""},
		{"private use", []resolver.TLSA{digest(255, 0, 1, 32), digest(3, 255, 1, 32), digest(3, 1, 255, 32)}, ""},
		{"wrong lengths", []resolver.TLSA{digest(3, 1, 1, 31), digest(3, 1, 2, 32), digest(3, 1, 0, 0)}, ""},
		{"one of two", []resolver.TLSA{digest(1, 0, 1, 32), digest(3, 1, 1, 32)}, "311"},
		{"the stronger digest", []resolver.TLSA{digest(3, 1, 1, 32), digest(3, 1, 2, 64), digest(3, 0, 1, 32)}, "312 301"},
		{"whole data beside digests", []resolver.TLSA{digest(2, 0, 0, 9), digest(2, 0, 1, 32)}, "200 201"},
	} {
		var got []string
		for _, r := range usable(tt.in) {
			got = append(got, fmt.Sprintf("%d%d%d", r.Usage, r.Selector, r.Matching))
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, s, tt.want)
		}
	}
}

// events remembers what was recorded.
type events []tlsrpt.Event

func (e *events) Record(x tlsrpt.Event) { *e = append(*e, x) }

// TestDANE delivers by MX with what the DNS may say of it.
func TestDANE(t *testing.T) {
	ca := authority(t)
	cert := issued(t, ca, standin.Spec{Names: []string{"mx.example.com"}})
	ee := tlsaText(record(3, 1, 1, cert.Certificate.Leaf))
	ta := tlsaText(record(2, 0, 1, ca.Certificate))
	wrong := tlsaText(record(3, 1, 1, ca.Certificate))
	const mx = "example.com. MX 10 mx.example.com."
	const host = "mx.example.com. A 127.0.0.1"
	for _, tt := range []struct {
		name    string
		records []string // TLSA is _PORT
		signed  []string
		fail    bool // the lookup of TLSA
		off     bool
		plain   bool // no STARTTLS
		reach   spool.Outcome
		how     string
		says    string
		result  tlsrpt.Result
		kind    tlsrpt.Kind
	}{
		{name: "EE", records: []string{mx, host, "_PORT._tcp.mx.example.com. TLSA " + ee}, signed: []string{"example.com"}, reach: spool.Reached, how: "DANE", kind: tlsrpt.TLSA},
		{name: "TA", records: []string{mx, host, "_PORT._tcp.mx.example.com. TLSA " + ta}, signed: []string{"example.com"}, reach: spool.Reached, how: "DANE", kind: tlsrpt.TLSA},
		{name: "wrong", records: []string{mx, host, "_PORT._tcp.mx.example.com. TLSA " + wrong}, signed: []string{"example.com"}, says: "matches none of its TLSA records (DANE demands it)", result: tlsrpt.ValidationFailure, kind: tlsrpt.TLSA},
		{name: "wrong, and not wanted", records: []string{mx, host, "_PORT._tcp.mx.example.com. TLSA " + wrong}, signed: []string{"example.com"}, off: true, reach: spool.Reached, kind: tlsrpt.NoPolicy},
		{name: "no STARTTLS", records: []string{mx, host, "_PORT._tcp.mx.example.com. TLSA " + ee}, signed: []string{"example.com"}, plain: true, says: "no STARTTLS, and DANE demands TLS", result: tlsrpt.StartTLSNotSupported, kind: tlsrpt.TLSA},
		{name: "unusable", records: []string{mx, host, "_PORT._tcp.mx.example.com. TLSA 1" + wrong[1:]}, signed: []string{"example.com"}, reach: spool.Reached, kind: tlsrpt.TLSA},
		{name: "unusable, no STARTTLS", records: []string{mx, host, "_PORT._tcp.mx.example.com. TLSA 1" + wrong[1:]}, signed: []string{"example.com"}, plain: true, says: "DANE demands TLS", result: tlsrpt.StartTLSNotSupported, kind: tlsrpt.TLSA},
		{name: "SERVFAIL", records: []string{mx, host}, signed: []string{"example.com"}, fail: true, says: "DANE: the TLSA records of mx.example.com cannot be looked up", result: tlsrpt.DNSSECInvalid, kind: tlsrpt.TLSA},
		{name: "none", records: []string{mx, host}, signed: []string{"example.com"}, reach: spool.Reached, kind: tlsrpt.NoPolicy},
		{name: "nothing signed", records: []string{mx, host, "_PORT._tcp.mx.example.com. TLSA " + wrong}, fail: true, reach: spool.Reached, kind: tlsrpt.NoPolicy},
		{name: "only the host signed", records: []string{mx, host, "_PORT._tcp.mx.example.com. TLSA " + wrong}, signed: []string{"mx.example.com"}, reach: spool.Reached, kind: tlsrpt.NoPolicy},
		{name: "host not signed", records: []string{"example.com. MX 10 mx.example.org.", "mx.example.org. A 127.0.0.1", "_PORT._tcp.mx.example.org. TLSA " + wrong}, signed: []string{"example.com"}, reach: spool.Reached, kind: tlsrpt.NoPolicy},
		{name: "no MX", records: []string{"example.com. A 127.0.0.1", "_PORT._tcp.example.com. TLSA " + ee}, signed: []string{"example.com"}, reach: spool.Reached, how: "DANE", kind: tlsrpt.TLSA},
		{name: "an alias's records", records: []string{mx, "mx.example.com. CNAME real.example.com.", "real.example.com. A 127.0.0.1", "_PORT._tcp.real.example.com. TLSA " + ee, "_PORT._tcp.mx.example.com. TLSA " + wrong}, signed: []string{"example.com"}, reach: spool.Reached, how: "DANE", kind: tlsrpt.TLSA},
		{name: "records of what is an alias", records: []string{mx, "mx.example.com. CNAME real.example.com.", "real.example.com. A 127.0.0.1", "_PORT._tcp.mx.example.com. TLSA " + ee}, signed: []string{"example.com"}, reach: spool.Reached, how: "DANE", kind: tlsrpt.TLSA},
		{name: "an alias to where nothing is signed", records: []string{mx, "mx.example.com. CNAME real.example.org.", "real.example.org. A 127.0.0.1", "_PORT._tcp.real.example.org. TLSA " + wrong, "_PORT._tcp.mx.example.com. TLSA " + ee}, signed: []string{"example.com"}, reach: spool.Reached, how: "DANE", kind: tlsrpt.TLSA},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.says != "" {
				tt.reach = spool.Unreached
			}
			opt := standin.Options{TLS: standin.STARTTLS, Certificate: cert}
			if tt.plain {
				opt = standin.Options{}
			}
			srv := server(t, opt)
			dns := names(t, srv, tt.records...)
			for _, zone := range tt.signed {
				dns.Sign(zone, true)
			}
			dns.FailType(fmt.Sprintf("_%d._tcp.mx.example.com", srv.Port()), "TLSA", tt.fail)
			var seen events
			c := courier(t, Options{Resolver: asking(t, dns), Reports: &seen})
			out := deliver(t, c, byMX(srv, relay.Route{DANE: !tt.off}))
			if out.Reach != tt.reach || !strings.Contains(out.Fault.String(), tt.says) || tt.says != "" && out.Results[0].Code/100 != 4 {
				t.Fatalf("outcome %+v", out)
			}
			if last := out.Contacts[len(out.Contacts)-1]; last.Verified != tt.how {
				t.Errorf("verified by %q, want %q", last.Verified, tt.how)
			}
			if len(seen) != 1 || seen[0].Result != tt.result || seen[0].Kind != tt.kind || seen[0].Domain != "example.com" {
				t.Errorf("events %+v", seen)
			}
			if len(srv.Messages()) > 0 && tt.reach != spool.Reached {
				t.Error("a message was sent")
			}
		})
	}
}

// names is a name server; PORT in its records is the server's.
func names(t *testing.T, srv *standin.Server, records ...string) *standin.DNS {
	t.Helper()
	var list []string
	for _, r := range records {
		list = append(list, strings.ReplaceAll(r, "PORT", fmt.Sprint(srv.Port())))
	}
	dns, err := standin.NewDNS(list...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Close() })
	return dns
}

// byMX is a job for example.com by MX, at the server's port.
func byMX(srv *standin.Server, route relay.Route) relay.Job {
	route.Name, route.Domains, route.Port = "mx", []string{"*"}, srv.Port()
	j := job(route)
	j.Domain = "example.com"
	return j
}

// A smarthost has no MX to be forged; its own answers have to be validated.
func TestDANESmarthost(t *testing.T) {
	cert := issued(t, authority(t), standin.Spec{Names: []string{"other.test"}})
	srv := server(t, standin.Options{TLS: standin.STARTTLS, Certificate: cert})
	dns := names(t, srv, "hub.test. A 127.0.0.1", "_PORT._tcp.hub.test. TLSA "+tlsaText(record(3, 1, 1, cert.Certificate.Leaf)))
	dns.Sign("hub.test", true)
	route := to(srv)
	route.Hosts[0].Name, route.TLS, route.Verify, route.DANE = "hub.test", relay.TLSRequired, true, true
	c := courier(t, Options{Resolver: asking(t, dns)})
	if out := deliver(t, c, job(route)); out.Reach != spool.Reached || out.Contacts[0].Verified != "DANE" {
		t.Errorf("outcome %+v", out)
	}
	route.TLSNames = []string{"third.test"}
	if out := deliver(t, c, job(route)); out.Reach == spool.Reached || !strings.Contains(out.Fault.Text, "the route demands it") {
		t.Errorf("names that the administrator gave: %+v", out)
	}
}
