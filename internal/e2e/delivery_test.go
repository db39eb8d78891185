package e2e

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"restante/internal/standin"
)

// TestSubmitAndCollect is the way of a message from one person's client to
// another's, on all three ports that take mail.
func TestSubmitAndCollect(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	starttls := d.submission(alice)
	implicit, err := dialSMTP(d.addr("submissions"), d.cert.client)
	if err != nil {
		t.Fatal(err)
	}
	defer implicit.close()
	if err := implicit.auth("alice", password); err != nil { // in the first domain
		t.Fatal(err)
	}
	for i, c := range []struct {
		client *client
		with   string
	}{
		{starttls, "with ESMTPSA"},
		{implicit, "with ESMTPSA"},
		{d.smtp(), "with ESMTP"},
	} {
		// Each is another message: one that is repeated is taken once.
		message := []byte(letter(fmt.Sprint("submit ", i)))
		text, err := c.client.mail(message, alice, bob)
		if err != nil {
			t.Fatal(err)
		}
		got := d.inbox(bob, i+1)[i]
		trace := sameButTrace(t, got.body, message, local...)
		if got.size != int64(len(got.body)) {
			t.Errorf("RFC822.SIZE is %d, the message has %d octets", got.size, len(got.body))
		}
		for _, want := range []string{"Return-Path: <" + alice + ">\r\n", "Delivered-To: " + bob + "\r\n", c.with, "by mx.example.org"} {
			if !strings.Contains(trace, want) {
				t.Errorf("%q is missing in %q", want, trace)
			}
		}
		id := regexp.MustCompile(`\sid (\w{16})\b`).FindStringSubmatch(trace)
		if id == nil || !strings.Contains(text, id[1]) {
			t.Errorf("the reply %q does not name the queue ID in %q", text, trace)
		}
	}
	if n := len(d.fetch(alice)); n != 0 {
		t.Errorf("the sender got %d messages", n)
	}
}

func TestSubmissionCompletes(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	message := []byte("From: alice@example.org\r\nSubject: bare\r\n\r\nHello\r\n")
	if _, err := d.submission(alice).mail(message, alice, bob); err != nil {
		t.Fatal(err)
	}
	sameButTrace(t, d.inbox(bob, 1)[0].body, message, complete...)
}

// TestRelay follows one message through a bad night of its next hop.
func TestRelay(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	died := make(chan struct{})
	hop.Next(
		standin.Script{{At: standin.Rcpt, Code: 451, Text: "4.3.0 not now"}},
		standin.Script{{At: standin.Body, Wait: died, Drop: true}},
	)
	d := newDaemon(t, away(hop), quick(""))
	message := []byte(letter("relay"))
	if _, err := d.submission(alice).mail(message, alice, "carol@example.net"); err != nil {
		t.Fatal(err)
	}
	got := d.one("leased") // the second attempt stands still
	if got.Attempts != 1 || got.Recipients[0].Last.Code != 451 {
		t.Errorf("during the second attempt the task is %+v", got)
	}
	close(died)
	m := reaches(t, hop, 1)[0]
	sameButTrace(t, m.Data, message, relayed...)
	if m.From != alice || len(m.To) != 1 || m.To[0] != "carol@example.net" {
		t.Errorf("the envelope is %s -> %s", m.From, m.To)
	}
	d.emptied()
	if n := len(hop.Messages()); n != 1 {
		t.Errorf("delivered %d times", n)
	}
	d.inbox(alice, 0) // no bounce, no warning
}

// TestRestartWithMailQueued ends the daemon in both ways.
func TestRestartWithMailQueued(t *testing.T) {
	for name, end := range map[string]func(*daemon){"SIGTERM": (*daemon).stop, "SIGKILL": (*daemon).kill} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hop := nextHop(t, standin.Options{})
			hop.Always(later)
			d := newDaemon(t, away(hop), quick(""))
			message := letter("restart")
			d.send(message, alice, "carol@example.net", bob)
			d.one("queued")
			end(d)
			hop.Always(nil)
			d.start()
			m := reaches(t, hop, 1)[0]
			sameButTrace(t, m.Data, []byte(message), relayed...)
			d.emptied()
			sameButTrace(t, d.inbox(bob, 1)[0].body, []byte(message), local...)
		})
	}
}

// TestSmarthost relays with a login over TLS that is checked.
func TestSmarthost(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{TLS: standin.STARTTLS, Username: "restante", Password: "of the smarthost"})
	route := strings.Replace(away(hop), `tls = "none"`, `tls = "required"
verify = false
username = "restante"
password_file = "smarthost"`, 1)
	d := prepare(t, route, quick(""))
	d.write("smarthost", "of the smarthost\n")
	d.start()
	d.send(letter("smarthost"), alice, "carol@example.net")
	if m := reaches(t, hop, 1)[0]; !m.TLS || m.Account != "restante" || m.Helo != "mx.example.org" {
		t.Errorf("the session had TLS %v, account %q, EHLO %q", m.TLS, m.Account, m.Helo)
	}
	d.emptied()
}

// TestMX looks the next hop up in the DNS. Mail exchangers listen on port 25,
// which tests cannot have: here the lookup alone is seen, and its failure.
func TestMX(t *testing.T) {
	t.Parallel()
	names, err := standin.NewDNS("null.example. MX 0 .")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { names.Close() })
	d := newDaemon(t, quick(""), "[dns]\nresolver = \""+names.Addr()+"\"")
	d.send(letter("no such domain"), alice, "carol@missing.example", "carol@null.example")
	var text []byte
	for _, m := range d.inbox(alice, 2) {
		text = append(text, m.body...)
	}
	for _, want := range []string{"carol@missing.example", "carol@null.example", "Status: 5.1.2", "Status: 5.1.10"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%q is missing in the reports:\n%s", want, text)
		}
	}
	d.emptied()
}
