package e2e

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"

	mt "restante/internal/milter/miltertest"
	"restante/internal/standin"
)

// filtered is the configuration of a filter, with more keys of it.
func filtered(name, addr, more string) string {
	if strings.HasPrefix(addr, "/") {
		addr = "unix:" + addr
	}
	return fmt.Sprintf("\n[[milter]]\nname = %q\naddress = %q\ntimeout = \"30s\"\n%s\n", name, addr, more)
}

// atTheEnd is a filter that is content until the message is complete.
func atTheEnd(acts ...mt.Act) mt.Options {
	return mt.Options{Answer: func(c mt.Command) []mt.Act {
		if c.Code == 'E' {
			return acts
		}
		return nil
	}}
}

// folder reads a mailbox of an account, which must be there.
func (d *daemon) folder(user, name string) []stored {
	d.t.Helper()
	c := d.imap(user, password, nil)
	defer c.Close()
	data, err := c.Select(name, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		d.t.Fatalf("EXAMINE %s: %v", name, err)
	}
	if data.NumMessages == 0 {
		return nil
	}
	return fetch(d.t, c)
}

// TestMilterVerdicts has a filter decide about mail for a mailbox.
func TestMilterVerdicts(t *testing.T) {
	for _, c := range []struct {
		name  string
		opt   mt.Options
		more  string // keys of the filter
		code  int
		reply string
		inbox int
		junk  int
	}{
		{name: "content", opt: mt.Options{}, code: 250, inbox: 1},
		{name: "refused", opt: atTheEnd(mt.Reply("554 5.7.1 Spam message rejected")), code: 554, reply: "5.7.1 Spam message rejected"},
		{name: "refused early", opt: mt.Options{Answer: func(c mt.Command) []mt.Act {
			if c.Code == 'R' {
				return []mt.Act{mt.Say('r')}
			}
			return nil
		}}, code: 550, reply: "5.7.1 The message was refused by a mail filter"},
		{name: "come again", opt: atTheEnd(mt.Say('t')), code: 451, reply: "4.7.1"},
		{name: "discarded", opt: atTheEnd(mt.Say('d')), code: 250},
		{name: "quarantined", opt: atTheEnd(mt.Say('q', "strange\x00"), mt.Say('c')), code: 250, junk: 1},
		{name: "fails closed", opt: atTheEnd(mt.AddHeader("X-Half", "done"), mt.Drop), code: 451},
		{name: "fails open", opt: atTheEnd(mt.AddHeader("X-Half", "done"), mt.Drop), more: "on_failure = \"accept\"", code: 250, inbox: 1},
		{name: "not for these clients", opt: atTheEnd(mt.Say('r')), more: "for = [\"outside\", \"authenticated\"]", code: 250, inbox: 1},
		{name: "for these clients", opt: atTheEnd(mt.Say('r')), more: "for = \"trusted\"", code: 550},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := mt.New(t, c.opt)
			d := newDaemon(t, filtered("stand-in", f.Addr(), c.more))
			smtp := d.smtp()
			if err := smtp.envelope(alice, bob); err != nil {
				t.Fatal(err)
			}
			r, err := smtp.data([]byte(letter(c.name)))
			if err != nil || r.code != c.code || !strings.Contains(r.text, c.reply) {
				t.Errorf("the reply is %s %v, want %d %s", r, err, c.code, c.reply)
			}
			for _, m := range d.inbox(bob, c.inbox) {
				sameButTrace(t, m.body, []byte(letter(c.name)), local...)
			}
			if c.junk > 0 {
				if n := len(d.folder(bob, "Junk")); n != c.junk {
					t.Errorf("%d messages in Junk, want %d", n, c.junk)
				}
			}
		})
	}
}

// TestMilterChanges has two filters change a message that goes to a mailbox and
// to a next hop, whole or in part.
func TestMilterChanges(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	first := mt.New(t, atTheEnd(
		mt.AddHeader("X-Last", "a\n b"),
		mt.InsHeader(0, "X-First", "1"),
		mt.ChgHeader(1, "Subject", "[changed] header"),
		mt.ChgHeader(2, "X-Gone", ""),
		mt.Say('b', "A body of\nanother length.\n"),
		mt.Say('+', "<carol@example.net>\x00"),
		mt.Say('c'),
	))
	second := mt.New(t, mt.Options{Network: "unix", Answer: atTheEnd(
		mt.AddHeader("X-Second", "2"),
		mt.Say('-', "<alice@example.org>\x00"),
		mt.Say('e', "<bounces@example.com>\x00"),
		mt.Say('c'),
	).Answer})
	d := newDaemon(t, away(hop), quick(""), filtered("first", first.Addr(), ""), filtered("second", second.Addr(), ""))
	d.send("X-Gone: 1\r\nX-Gone: 2\r\n"+letter("before"), "sender@example.com", alice, bob)

	want := "X-First: 1\r\nX-Gone: 1\r\nFrom: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: [changed] header\r\n" +
		"Date: Mon, 02 Mar 2026 10:00:00 +0000\r\nMessage-ID: <before@example.org>\r\nX-Last: a\r\n b\r\nX-Second: 2\r\n\r\nA body of\r\nanother length.\r\n"
	got := d.inbox(bob, 1)[0].body
	trace := sameButTrace(t, got, []byte(want), local...)
	has(t, trace, "Return-Path: <bounces@example.com>\r\n")
	d.inbox(alice, 0)
	m := reaches(t, hop, 1)[0]
	sameButTrace(t, m.Data, []byte(want), relayed...)
	if m.From != "bounces@example.com" || strings.Join(m.To, " ") != "carol@example.net" {
		t.Errorf("relayed from %s to %s", m.From, m.To)
	}
	d.emptied()
	// The second filter saw what came, not what the first made of it.
	for _, c := range second.Sessions(t)[0] {
		if c.Code == 'L' && c.Strings()[0] == "Subject" && c.Strings()[1] != "before" {
			t.Errorf("the second filter saw %s", c)
		}
	}
}

// TestMilterSees compares what a filter is told of clients of all kinds.
func TestMilterSees(t *testing.T) {
	t.Parallel()
	f := mt.New(t, mt.Options{})
	d := newDaemon(t, filtered("stand-in", f.Addr(), ""))
	d.send(letter("trusted"), alice, bob)
	if _, err := d.submission(alice).mail([]byte(letter("account")), alice, bob); err != nil {
		t.Fatal(err)
	}
	d.inbox(bob, 2)
	sessions := f.Sessions(t)
	if len(sessions) != 2 {
		t.Fatalf("%d sessions, want 2", len(sessions))
	}
	for i, account := range []string{"", alice} {
		var said strings.Builder
		for _, c := range sessions[i] {
			if c.Code == 'O' {
				continue
			}
			fmt.Fprintln(&said, c)
			if c.Code == 'E' && (c.Macros["{auth_authen}"] != account || c.Macros["{client_addr}"] != "127.0.0.1" ||
				strings.HasPrefix(c.Macros["{tls_version}"], "TLSv1.") != (account != "") || len(c.Macros["i"]) != 16) {
				t.Errorf("session %d: the macros are %q", i, c.Macros)
			}
		}
		has(t, said.String(), "127.0.0.1\n", "H client.example.net\n", "M <alice@example.org>", "R <bob@example.org>\n",
			"L Subject|"+[]string{"trusted", "account"}[i]+"\n", "B Hello.\r\n.dot\r\n\n")
	}
}

// TestMilterReload: filters come and go without a restart, and one that is not
// there costs nobody a message.
func TestMilterReload(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	f := mt.New(t, mt.Options{Answer: func(c mt.Command) []mt.Act {
		if c.Code == 'E' {
			asked.Add(1)
		}
		return nil
	}})
	d := newDaemon(t)
	send := func() error {
		c := d.smtp()
		defer c.close()
		_, err := c.mail([]byte(letter("reload")), alice, bob)
		return err
	}
	d.configure(filtered("stand-in", f.Addr(), ""))
	d.signal(syscall.SIGHUP)
	eventually(t, "the filter is asked", func() bool {
		if err := send(); err != nil {
			t.Fatal(err)
		}
		return asked.Load() > 0
	})
	f.Close()
	if err := send(); err == nil || !strings.Contains(err.Error(), "451") {
		t.Errorf("without the filter: %v", err)
	}
	d.configure()
	d.signal(syscall.SIGHUP)
	eventually(t, "the filter is not asked any more", func() bool { return send() == nil })
}
