package e2e

import (
	"strings"
	"testing"

	"restante/internal/header"
	"restante/internal/standin"
)

// forwarding has an alias that leads elsewhere, a group of people elsewhere and
// here, and masquerading.
const forwarding = `
[smtp]
trusted_networks = ["127.0.0.1"]
hide_clients = true
[aliases]
"away@example.org" = ["carol@far.example.net"]
[[group]]
name = "team@example.org"
members = ["dora@far.example.net", "bob@example.org"]
owner = "alice@example.org"
[masquerade]
"*.internal.example.org" = "example.org"
`

// fields reads the header of a message that reached a next hop.
func fields(m standin.Message) *header.Block { return header.Parse(m.Data) }

// TestForwardedAndReturned sends to an alias that leads elsewhere: the next hop
// sees a sender of ours, and what it returns to that sender gets back to who
// sent the message, also after a restart.
func TestForwardedAndReturned(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	d := newDaemon(t, forwarding, away(hop), quick(""))
	c := d.smtp()
	if _, err := c.mail([]byte(letter("forward me")), "zoe@out.example.net", "away@example.org"); err != nil {
		t.Fatal(err)
	}
	sent := reaches(t, hop, 1)[0]
	if !strings.HasPrefix(sent.From, "SRS0=") || !strings.HasSuffix(sent.From, "=out.example.net=zoe@example.org") || sent.To[0] != "carol@far.example.net" {
		t.Fatalf("sent from %s to %s", sent.From, sent.To)
	}
	d.restart()
	c = d.smtp()
	if _, err := c.mail([]byte(letter("returned")), "", sent.From); err != nil {
		t.Fatal(err)
	}
	back := reaches(t, hop, 2)[1]
	if back.From != "" || back.To[0] != "zoe@out.example.net" {
		t.Errorf("returned from <%s> to %s", back.From, back.To)
	}
	forged := strings.Replace(sent.From, "=zoe@", "=victim@", 1)
	if r, err := c.cmd("MAIL FROM:<>"); err != nil || r.code != 250 {
		t.Fatal(r, err)
	}
	if r, err := c.cmd("RCPT TO:<%s>", forged); err != nil || r.code != 550 {
		t.Errorf("a forged sender: %v, %v", r, err)
	}
}

// TestGroup sends to a group: members elsewhere get it from the owner, who is
// told when they cannot be reached.
func TestGroup(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	hop.Always(standin.Script{{At: standin.Rcpt, Code: 550, Text: "5.1.1 gone"}})
	d := newDaemon(t, forwarding, away(hop), quick(""))
	if _, err := d.smtp().mail([]byte(letter("to the team")), "zoe@out.example.net", "team@example.org"); err != nil {
		t.Fatal(err)
	}
	d.inbox(bob, 1)
	report := d.inbox(alice, 1)[0]
	has(t, string(report.body), "dora@far.example.net", "5.1.1 gone", "to the team")
	d.emptied()
}

// TestOwnMailIsCompleted hands mail over as a device and as a user: what is
// missing is added, what nobody shall see is taken out, and a next hop that
// insists on one sender gets it.
func TestOwnMailIsCompleted(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	route := strings.Replace(away(hop), "[[route]]", "[[route]]\nrewrite_sender = \"relay@isp.example.net\"\nrewrite_from = \"relay@isp.example.net\"", 1)
	d := newDaemon(t, forwarding, route, quick(""))
	const text = "From: Cron <root@db.internal.example.org>\r\nTo: x@far.example.net\r\nBcc: bob@example.org\r\nSubject: done\r\n\r\ntext\r\n"
	if _, err := d.smtp().mail([]byte(text), "root@db.internal.example.org", "x@far.example.net", bob); err != nil {
		t.Fatal(err)
	}
	here := header.Parse(d.inbox(bob, 1)[0].body)
	sent := reaches(t, hop, 1)[0]
	there := fields(sent)
	for what, x := range map[string][2]string{
		"sender":         {sent.From, "relay@isp.example.net"},
		"Return-Path":    {value(here, "Return-Path"), "<root@example.org>"},
		"From here":      {value(here, "From"), "Cron <root@example.org>"},
		"From there":     {value(there, "From"), "Cron <relay@isp.example.net>"},
		"Reply-To there": {value(there, "Reply-To"), "Cron <root@example.org>"},
		"Reply-To here":  {value(here, "Reply-To"), ""},
	} {
		if x[0] != x[1] {
			t.Errorf("%s is %q, want %q", what, x[0], x[1])
		}
	}
	for where, b := range map[string]*header.Block{"here": here, "there": there} {
		if b.Has("Bcc") || !b.Has("Date") || !b.Has("Message-ID") {
			t.Errorf("%s the header is\n%s", where, b.Raw())
		}
	}

	if r := run(t, d.dir, d.env, "Subject: by sendmail\n\ntext\n", binary(t), "sendmail", "--state", d.state, "--config", d.config,
		"-f", "root@db.internal.example.org", bob); r.code != 0 {
		t.Fatalf("sendmail: %d %s", r.code, r.stderr)
	}
	if from := value(header.Parse(d.inbox(bob, 2)[1].body), "From"); !strings.HasSuffix(from, "root@example.org>") && from != "root@example.org" {
		t.Errorf("what sendmail took is from %q", from)
	}

	c := d.submission(alice)
	if _, err := c.mail([]byte(letter("from somewhere")), alice, bob); err != nil {
		t.Fatal(err)
	}
	received := value(header.Parse(d.inbox(bob, 3)[2].body), "Received")
	if strings.Contains(received, "127.0.0.1") || strings.Contains(received, "client.example") || !strings.HasPrefix(received, "by mx.example.org") || !strings.Contains(received, "with ESMTPSA") {
		t.Errorf("Received tells where alice is: %s", received)
	}
}

func value(b *header.Block, name string) string {
	v, _ := b.Get(name)
	return v
}

// TestRewrittenMailIsSignedAnew sends through a route that rewrites From to an
// address that there is a key for: the signature is that of the new address,
// and holds; other recipients get the one that was made at first.
func TestRewrittenMailIsSignedAnew(t *testing.T) {
	t.Parallel()
	hop, plain := nextHop(t, standin.Options{}), nextHop(t, standin.Options{})
	rewriting := strings.NewReplacer(`"*"`, `"isp.example.net"`, `"away"`, `"isp"`, "[[route]]", "[[route]]\nrewrite_from = \"news@example.org\"")
	d := prepare(t, forwarding, rewriting.Replace(away(hop)), away(plain), quick(""))
	records := map[string]string{"one._domainkey.example.org": d.must("", "dkim", "keygen", "example.org", "--selector", "one")}
	d.start()
	d.send(letter("signed twice"), alice, "x@isp.example.net", "y@else.example.net")
	rewritten, first := reaches(t, hop, 1)[0].Data, reaches(t, plain, 1)[0].Data
	verified(t, rewritten, records, 1)
	verified(t, first, records, 1)
	if from := value(header.Parse(rewritten), "From"); from != "Alice <news@example.org>" {
		t.Errorf("From is %q", from)
	}
	if from := value(header.Parse(first), "From"); from != "Alice <alice@example.org>" {
		t.Errorf("From is %q", from)
	}
}
