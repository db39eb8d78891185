package e2e

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"restante/internal/corpus"
	"restante/internal/header"
	"restante/internal/standin"
)

// TestCorpus sends every message of the corpus with DATA and with BDAT, each
// to a mailbox and to a next hop, and compares all octets at both ends.
func TestCorpus(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(*client, corpus.Message) (reply, error){
		"DATA": func(c *client, m corpus.Message) (reply, error) {
			// As devices do: no word about 8-bit octets, whatever there is.
			if err := c.envelope(alice, "bob+"+m.Name+"@example.org", m.Name+"@example.net"); err != nil {
				return reply{}, err
			}
			return c.data(m.Bytes())
		},
		"BDAT": func(c *client, m corpus.Message) (reply, error) {
			params := ""
			if m.Has(corpus.EightBit) {
				params += " BODY=8BITMIME"
			}
			if m.Has(corpus.EightBitHeader) {
				params += " SMTPUTF8"
			}
			if err := c.expect(250, "MAIL FROM:<%s>%s", alice, params); err != nil {
				return reply{}, err
			}
			for _, to := range []string{"bob+" + m.Name + "@example.org", m.Name + "@example.net"} {
				if err := c.expect(250, "RCPT TO:<%s>", to); err != nil {
					return reply{}, err
				}
			}
			return c.bdat(m.Bytes(), 1<<20-7)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testCorpus(t, name == "BDAT", send)
		})
	}
}

func testCorpus(t *testing.T, exact bool, send func(*client, corpus.Message) (reply, error)) {
	hop := nextHop(t, standin.Options{})
	d := newDaemon(t, away(hop), quick(""))
	messages := corpus.Sendable()
	if len(messages) < 40 {
		t.Fatalf("the corpus has %d messages, want 40 or more", len(messages))
	}
	c := d.smtp()
	for _, m := range messages {
		if r, err := send(c, m); err != nil || r.code != 250 {
			t.Fatalf("%s: %v %v", m.Name, r, err)
		}
	}
	deposited := make(map[string][]byte)
	for _, got := range d.inbox(bob, len(messages)) {
		if got.size != int64(len(got.body)) {
			t.Errorf("message %d: RFC822.SIZE is %d, the message has %d octets", got.uid, got.size, len(got.body))
		}
		_, name, _ := strings.Cut(string(got.body[:min(500, len(got.body))]), "Delivered-To: bob+")
		name, _, _ = strings.Cut(name, "@")
		deposited[name] = got.body
	}
	forwarded := make(map[string][]byte)
	for _, m := range reaches(t, hop, len(messages)) {
		forwarded[strings.TrimSuffix(m.To[0], "@example.net")] = m.Data
	}
	for _, m := range messages {
		t.Run(m.Name, func(t *testing.T) {
			sent := lines(m.Bytes())
			want := sent
			if exact {
				want = m.Bytes()
			}
			if m.Name == "no-header-no-separator" {
				// Nothing but text: an empty line keeps it out of the header.
				want, sent = append([]byte("\r\n"), want...), append([]byte("\r\n"), sent...)
			}
			want, added := completed(want)
			sameButTrace(t, deposited[m.Name], want, append(slices.Clone(local), added...)...)
			// The way on is with DATA, which needs a CRLF at the end.
			sent, _ = completed(sent)
			sameButTrace(t, forwarded[m.Name], sent, append(slices.Clone(relayed), added...)...)
		})
	}
	d.emptied()
	views(t, d, len(messages))
}

// completed is what becomes of a trusted client's message: Return-Path goes, so
// does Bcc, and in front comes what is missing; nothing does that was signed.
func completed(message []byte) (want []byte, added []string) {
	block := header.Parse(message)
	want = bytes.Clone(message)
	for _, f := range block.Fields() {
		if f.Is("Return-Path") || f.Is("Bcc") || f.Is("Resent-Bcc") {
			want = bytes.Replace(want, f.Raw, nil, 1)
		}
	}
	if !block.Has("DKIM-Signature") && !block.Has("ARC-Seal") {
		added = block.Missing("From", "Date", "Message-ID")
	}
	return want, added
}

// views asks for everything about every message that needs parsing: whatever
// is in a mailbox, a client can list it.
func views(t *testing.T, d *daemon, n int) {
	c := d.imap(bob, password, nil)
	if _, err := c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		t.Fatal(err)
	}
	header := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, Peek: true}
	text := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierText, Peek: true}
	whole := &imap.FetchItemBodySection{Peek: true}
	got, err := c.Fetch(imap.UIDSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{
		UID: true, Envelope: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
		BodySection: []*imap.FetchItemBodySection{header, text, whole},
	}).Collect()
	if err != nil {
		t.Fatalf("FETCH (ENVELOPE BODYSTRUCTURE BODY[HEADER] BODY[TEXT] BODY[]): %v", err)
	}
	if len(got) != n {
		t.Errorf("%d messages are listed, want %d", len(got), n)
	}
	for _, m := range got {
		if m.Envelope == nil || m.BodyStructure == nil {
			t.Errorf("message %d has no envelope or no structure", m.UID)
		}
		parts := append(bytes.Clone(m.FindBodySection(header)), m.FindBodySection(text)...)
		if !bytes.Equal(parts, m.FindBodySection(whole)) {
			t.Errorf("message %d: header and text are not the whole:\n%q", m.UID, clip(m.FindBodySection(header)))
		}
	}
}
