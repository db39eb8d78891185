package e2e

import (
	"strings"
	"testing"

	"restante/internal/standin"
)

// TestNoOpenRelay asks to relay in the ways that relays have fallen for.
func TestNoOpenRelay(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	d := newDaemon(t, "[smtp]\ntrusted_networks = []", away(hop), quick(""))
	c := d.smtp()
	if err := c.expect(250, "MAIL FROM:<%s>", alice); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{
		"victim@example.net",
		"victim@[192.0.2.1]",
		"victim%example.net@example.org",
		"example.net!victim@example.org",
		"@example.org:victim@example.net",
		`"victim@example.net"@example.org`,
		`"victim@example.net ORCPT=rfc822;x"@example.org`,
		`"victim@example.net> "@example.org`,
		"victim@example.net.",
		"victim@example.org@example.net",
		"nobody@example.org",
	} {
		r, err := c.cmd("RCPT TO:<%s>", to)
		if err != nil {
			t.Fatal(err)
		}
		if r.code/100 != 5 || !strings.HasPrefix(r.text, "5.") {
			t.Errorf("RCPT TO:<%s>: %s", to, r)
		}
	}
	if err := c.expect(250, "RCPT TO:<%s>", bob); err != nil {
		t.Errorf("mail for a local address: %v", err)
	}
	if r, err := c.data([]byte(letter("local"))); err != nil || r.code != 250 {
		t.Errorf("DATA: %v %v", r, err)
	}
	d.inbox(bob, 1)
	d.emptied()
}

func TestSubmissionPolicy(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	c, err := dialSMTP(d.addr("submission"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	refused := func(code int, format string, args ...any) {
		t.Helper()
		if err := c.expect(code, format, args...); err != nil {
			t.Error(err)
		}
	}
	refused(530, "MAIL FROM:<%s>", alice) // without TLS
	if r, err := c.cmd("AUTH PLAIN AGFsaWNlAHB3"); err != nil || r.code/100 != 5 {
		t.Errorf("AUTH without TLS: %s %v", r, err)
	}
	if err := c.startTLS(d.cert.client); err != nil {
		t.Fatal(err)
	}
	refused(530, "MAIL FROM:<%s>", alice) // without a login
	if err := c.auth(alice, "wrong"); err == nil || !strings.Contains(err.Error(), "535 5.7.8") {
		t.Errorf("a wrong password: %v", err)
	}
	if err := c.auth(alice, password); err != nil {
		t.Fatal(err)
	}
	refused(553, "MAIL FROM:<%s>", bob)
	refused(250, "MAIL FROM:<%s>", alice)
	refused(550, "RCPT TO:<nobody@example.org>")
	refused(250, "RCPT TO:<%s>", bob)
	forged := strings.Replace(letter("forged"), "<alice@", "<bob@", 1)
	if r, err := c.data([]byte(forged)); err != nil || r.code != 550 {
		t.Errorf("a From field of somebody else: %s %v", r, err)
	}
	d.inbox(bob, 0)
}

func TestAliases(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	d := newDaemon(t, away(hop), `
[aliases]
"team@example.org" = ["alice@example.org", "bob@example.org", "carol@example.net"]
"postmaster" = ["bob@example.org"] # as it is written without a domain
`)
	message := letter("alias")
	d.send(message, "x@example.com", "team@example.org", alice)
	for _, user := range []string{alice, bob} {
		sameButTrace(t, d.inbox(user, 1)[0].body, []byte(message), local...)
	}
	if m := reaches(t, hop, 1)[0]; len(m.To) != 1 || m.To[0] != "carol@example.net" {
		t.Errorf("forwarded to %s", m.To)
	}
	d.send(message, "", "postmaster")
	d.inbox(bob, 2)
}
