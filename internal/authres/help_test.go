package authres

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"restante/internal/dkim"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/internal/resolver"
	"restante/internal/screen"
	"restante/internal/standin"
)

// us is our authserv-id.
const us = "mx.here.example"

// world is a DNS, and keys published there.
type world struct {
	t   testing.TB
	dns *standin.DNS
	opt Options
	key dkim.Key
}

// records are those of every world. good.example signs and has SPF; its
// subdomains and others come in where a test needs them.
func records() []string {
	return []string{
		`good.example. TXT "v=spf1 ip4:192.0.2.1 -all"`,
		`mx.good.example. TXT "v=spf1 a -all"`,
		`mx.good.example. A 192.0.2.1`,
		`_dmarc.good.example. TXT "v=DMARC1; p=reject; sp=quarantine; rua=mailto:x@good.example"`,
		`soft.example. TXT "v=spf1 ~all"`,
		`_dmarc.soft.example. TXT "v=DMARC1; p=quarantine"`,
		`nopolicy.example. TXT "v=spf1 -all"`,
		`_dmarc.strict.example. TXT "v=DMARC1; p=reject; adkim=s; aspf=s"`,
		`strict.example. TXT "v=spf1 ip4:192.0.2.1 -all"`,
		`sub.strict.example. TXT "v=spf1 ip4:192.0.2.1 -all"`,
		`_dmarc.twice.example. TXT "v=DMARC1; p=reject"`,
		`_dmarc.twice.example. TXT "v=DMARC1; p=none"`,
		`_dmarc.xn--bcher-kva.example. TXT "v=DMARC1; p=reject"`,
		`xn--bcher-kva.example. TXT "v=spf1 ip4:192.0.2.1 -all"`,
		`_dmarc.half.example. TXT "v=DMARC1; p=reject; pct=50"`,
		`loop.example. TXT "v=spf1 include:loop.example -all"`,
		`evil.example. TXT "v=spf1 +all"`,
		`_dmarc.evil.example. TXT "v=DMARC1; p=none"`,
		`void.example. TXT "v=spf1 a:x1.example a:x2.example a:x3.example -all"`,
		`six.example. TXT "v=spf1 ip6:2001:db8::/32 -all"`,
	}
}

func newWorld(t testing.TB, more ...string) *world {
	t.Helper()
	private, err := dkim.Generate(dkim.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, key: dkim.Key{Domain: "good.example", Selector: "k", Private: private}}
	line, err := w.key.ZoneRecord()
	if err != nil {
		t.Fatal(err)
	}
	w.dns, err = standin.NewDNS(append(append(records(), line), more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.dns.Close() })
	r, err := resolver.New(resolver.Options{Server: w.dns.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	w.opt = Options{ID: us, Resolver: r, DMARC: Reject, Logger: slog.New(slog.DiscardHandler)}
	return w
}

// message is one from outside.
type message struct {
	client, helo, from string
	header, body       string
	signed             bool // by good.example
	change             func(*screen.Message)
}

func outside(m message) *screen.Message {
	s := &screen.Message{ID: mail.ID{9: 10}, Header: []byte(m.header)}
	s.Envelope.Client = mail.Client{Protocol: "ESMTP", Helo: m.helo, Addr: netip.MustParseAddr("192.0.2.1")}
	if m.client != "" {
		s.Envelope.Client.Addr = netip.MustParseAddr(m.client)
	}
	if m.from != "" {
		s.Envelope.From = mail.MustParseAddress(m.from)
	}
	if m.change != nil {
		m.change(s)
	}
	return s
}

// judge has a message judged.
func (w *world) judge(m message) screen.Verdict {
	w.t.Helper()
	if m.signed {
		m = sign(w.t, w, m)
	}
	j, err := New(w.opt).Begin(context.Background(), outside(m))
	if err != nil {
		w.t.Fatal(err)
	}
	if j == nil {
		return screen.Verdict{}
	}
	defer j.Close()
	io.WriteString(j, m.body)
	v, err := j.Verdict(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// brief is the field without its name, folding and signatures' own marks.
func brief(v screen.Verdict) string {
	block := header.Parse(v.Fields)
	if len(block.Fields()) != 1 || block.Fields()[0].Name != fieldName || !strings.HasSuffix(string(v.Fields), "\r\n") {
		return "not one field: " + string(v.Fields)
	}
	words := strings.Fields(block.Fields()[0].Value())
	var out []string
	for _, w := range words {
		if strings.HasPrefix(w, "header.b=") {
			if strings.HasSuffix(w, ";") {
				out[len(out)-1] += ";"
			}
			continue
		}
		out = append(out, w)
	}
	return strings.Join(out, " ")
}

// sign puts good.example's signature on a message.
func sign(t testing.TB, w *world, m message) message {
	t.Helper()
	job := dkim.NewSigner(dkim.SignerOptions{Keys: []dkim.Key{w.key}}).Begin(&screen.Message{Trusted: true})
	io.WriteString(job, m.body)
	fields, err := job.Sign(context.Background(), []byte(m.header))
	if err != nil || len(fields) == 0 {
		t.Fatalf("not signed: %v", err)
	}
	m.header = string(fields) + m.header
	return m
}

// temporary is what a resolver says that got no answer.
func temporary(name string) error {
	return &net.DNSError{Err: "no answer", Name: name, IsTemporary: true}
}
