package accept_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"restante/internal/accept"
	"restante/internal/corpus"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/internal/rewrite"
	"restante/internal/screen"
	"restante/spool"
)

func received(id mail.ID) string { return "Received: id " + id.String() + "\r\n" }

// Outside mail keeps every octet, whatever it looks like; only what we trace is
// in front of it. And the structure is that of what is stored.
func TestOutsideMailIsNotTouched(t *testing.T) {
	for _, c := range corpus.Messages() {
		t.Run(c.Name, func(t *testing.T) {
			h := newHouse(t, func(o *accept.Options) {
				o.Screens = []screen.Screen{&fakeScreen{verdict: screen.Verdict{Fields: []byte("Authentication-Results: x\r\n")}}}
				o.Signers = []accept.Signer{fakeSigner{name: "X-Signed"}}
			})
			s := submission("carol@there.example", "alice@here.example")
			s.Trace, s.Screened = received, true
			text := string(c.Bytes())
			if _, _, err := header.Read(strings.NewReader(text), 0); err != nil {
				t.Skip(err)
			}
			r, err := h.take(s, text)
			if err != nil {
				t.Fatal(err)
			}
			block, rest, _ := header.Read(strings.NewReader(text), 0)
			body, _ := io.ReadAll(rest)
			want := received(r.ID) + "Authentication-Results: x\r\n" + text
			if !block.Separated() && len(body) > 0 {
				want = received(r.ID) + "Authentication-Results: x\r\n" + string(block.Raw()) + "\r\n" + string(body)
			} else if !block.Separated() && len(text) > 0 && !strings.HasSuffix(text, "\n") {
				want += "\r\n" // a line that broke off
			}
			if block.Has("Return-Path") {
				return
			}
			if got := h.stored(r.ID); got != want {
				t.Errorf("stored is\n%.2000q\nwant\n%.2000q", got, want)
			}
		})
	}
}

// The same messages, written whole in pieces of any size.
func TestWrittenWhole(t *testing.T) {
	for _, c := range corpus.Messages() {
		text := c.Bytes()
		if len(text) > 4<<10 {
			continue
		}
		h := newHouse(t, nil)
		var first string
		for _, piece := range []int{len(text) + 1, 1, 7, 100} {
			m, err := h.Begin(mail.Envelope{}, rcpts("alice@here.example"))
			if err != nil {
				t.Fatal(err)
			}
			for rest := text; len(rest) > 0; {
				n := min(piece, len(rest))
				if _, err := m.Write(rest[:n]); err != nil {
					t.Fatal(c.Name, err)
				}
				rest = rest[n:]
			}
			r, err := m.Commit(context.Background())
			if err != nil {
				t.Fatal(c.Name, err)
			}
			got := h.stored(r.ID)
			if first == "" {
				first = got
			}
			if got != first || !strings.HasSuffix(got, string(text[len(text)/2:])) && len(text) > 0 && text[len(text)-1] == '\n' {
				t.Errorf("%s in pieces of %d is\n%.300q\nwant\n%.300q", c.Name, piece, got, first)
			}
		}
	}
}

func TestHeaderWithoutEnd(t *testing.T) {
	h := newHouse(t, nil)
	m, err := h.Begin(mail.Envelope{}, rcpts("alice@here.example"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Abort()
	line := []byte("X: " + strings.Repeat("x", 1000) + "\r\n")
	for range 2 * spool.MaxHead / len(line) {
		if _, err = m.Write(line); err != nil {
			break
		}
	}
	if !errors.Is(err, header.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

// Signatures are first, then the trace, then what screens add, then the header:
// and what is signed has neither.
func TestOrderOfTheHead(t *testing.T) {
	one := &fakeScreen{verdict: screen.Verdict{Fields: []byte("X-One: 1\r\n")}}
	two := &fakeScreen{verdict: screen.Verdict{Fields: []byte("X-Two: 2\r\n"), Edits: []screen.Edit{{Op: screen.Change, Name: "Subject", Index: 1, Value: "new"}}}}
	h := newHouse(t, func(o *accept.Options) {
		o.Screens = []screen.Screen{one, &fakeScreen{pass: true}, two}
		o.Signers = []accept.Signer{fakeSigner{name: "X-Rsa"}, fakeSigner{name: "X-Ed"}}
	})
	s := submission("alice@here.example", "bob@here.example", "x@there.example")
	s.Envelope.Client.Account, s.TLS, s.Screened, s.Complete = "alice@here.example", "TLS1.3", true, true
	s.Trace = received
	const text = "From: alice@here.example\r\nReturn-Path: <x@y.example>\r\nSubject: old\r\nBcc: x\r\n\tand y\r\nDate: now\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"
	r, err := h.take(s, text)
	if err != nil {
		t.Fatal(err)
	}
	want := "X-Rsa: new/0/\"body\\r\\n\"\r\nX-Ed: new/0/\"body\\r\\n\"\r\n" + received(r.ID) + "X-One: 1\r\nX-Two: 2\r\n" +
		"From: alice@here.example\r\nSubject: new\r\nDate: now\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"
	if got := h.stored(r.ID); got != want {
		t.Errorf("stored is\n%s\nwant\n%s", got, want)
	}
	for _, f := range []*fakeScreen{one, two} {
		if f.body != "body\r\n" || f.header+"\r\nbody\r\n" != text || f.closed != 1 {
			t.Errorf("the screen saw %q and %q, and was closed %d times", f.header, f.body, f.closed)
		}
		if f.message.ID != r.ID || f.message.TLS != "TLS1.3" || len(f.message.Recipients) != 2 || f.message.Outside() {
			t.Errorf("the screen was told %+v", f.message)
		}
	}
}

func TestComplete(t *testing.T) {
	m, err := rewrite.NewMasquerade(map[string]string{"*.internal.example": "here.example"})
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, func(o *accept.Options) { o.Masquerade = m })
	s := submission("root@db.internal.example", "alice@here.example")
	s.Complete, s.Trusted = true, true
	got := h.taken(s, "To: Root <root@db.internal.example>\r\nSubject: x\r\n\r\nroot@db.internal.example\r\n")
	id := got[strings.Index(got, "<"):strings.Index(got, "@mx")]
	want := "From: root@here.example\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: " + id + "@mx.here.example>\r\n" +
		"To: Root <root@here.example>\r\nSubject: x\r\n\r\nroot@db.internal.example\r\n"
	if got != want {
		t.Errorf("stored is\n%s\nwant\n%s", got, want)
	}
	h.wantStored("all is there", s, "From: a@b.example\r\nDate: x\r\nMessage-ID: <x>\r\nResent-Bcc: c\r\nbcc: d\r\n\r\n", "From: a@b.example\r\nDate: x\r\nMessage-ID: <x>\r\n\r\n")
	const signed = "DKIM-Signature: v=1\r\nFrom: root@db.internal.example\r\nReply-To: x\r\n\r\ntext\r\n"
	h.wantStored("signed by somebody", s, "Bcc: b\r\n"+signed, signed)
	h.wantStored("sealed by somebody", s, "ARC-Seal: i=1\r\n\r\ntext\r\n", "ARC-Seal: i=1\r\n\r\ntext\r\n")
	s.Complete = false
	h.wantStored("not ours", s, "bcc: x\r\nReturn-Path: <y>\r\nFrom: root@db.internal.example\r\n\r\ntext\r\n", "bcc: x\r\nFrom: root@db.internal.example\r\n\r\ntext\r\n")

	s = submission("", "alice@here.example")
	s.Complete = true
	if got := h.taken(s, "\r\ntext\r\n"); !strings.HasPrefix(got, "From: MAILER-DAEMON@mx.here.example\r\nDate: ") || !strings.HasSuffix(got, "\r\n\r\ntext\r\n") {
		t.Errorf("the null sender's message is %q", got)
	}
	if got := h.taken(s, "no header at all\r\n"); !strings.HasSuffix(got, ">\r\n\r\nno header at all\r\n") {
		t.Errorf("a message without a header is %q", got)
	}

	// The masqueraded sender is the envelope's too.
	s = submission("root@db.internal.example", "alice@here.example", "x@there.example")
	s.Complete = true
	r, err := h.take(s, "Subject: x\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := h.tasksOf(r.ID); got != "queued mx/there.example from <root@here.example> to x@there.example" {
		t.Error(got)
	}
	e, err := h.Entry(r.Deposited[0].Mailbox, r.Deposited[0].UID)
	if err != nil || string(e.Prefix) != "Return-Path: <root@here.example>\r\nDelivered-To: alice@here.example\r\n" {
		t.Errorf("prefix %q, %v", e.Prefix, err)
	}
}

// What another server brings by LMTP is not signed, although the server is
// trusted: it may be anybody's.
func TestWhoIsSignedFor(t *testing.T) {
	h := newHouse(t, func(o *accept.Options) { o.Signers = []accept.Signer{fakeSigner{name: "X-Signed"}} })
	for _, c := range []struct {
		name                        string
		trusted, screened, complete bool
		want                        bool
	}{
		{"a report", true, false, false, true},
		{"a device", true, true, true, true},
		{"LMTP", true, true, false, false},
		{"outside", false, true, false, false},
	} {
		s := submission("alice@here.example", "bob@here.example")
		s.Trusted, s.Screened, s.Complete = c.trusted, c.screened, c.complete
		if got := strings.HasPrefix(h.taken(s, text), "X-Signed: "); got != c.want {
			t.Errorf("%s: signed %v", c.name, got)
		}
		block, err := h.Signed(context.Background(), s, mail.MustParseAddress("alice@here.example"))
		if err != nil || block.Has("X-Signed") != c.want {
			t.Errorf("%s: told that it is signed: %v, %v", c.name, !c.want, err)
		}
	}
}

func TestSignerFails(t *testing.T) {
	h := newHouse(t, func(o *accept.Options) { o.Signers = []accept.Signer{fakeSigner{name: "X", err: io.ErrUnexpectedEOF}} })
	s := submission("alice@here.example", "bob@here.example")
	s.Trusted = true
	if _, err := h.take(s, text); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	// A report is more important than its signature.
	m, err := h.Begin(mail.Envelope{}, rcpts("bob@here.example"))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(m, text)
	if r := m.Report(); string(r.Message.Head) != "Subject: hello\r\n\r\n" || r.Message.Structure == nil {
		t.Errorf("the report's head is %q", r.Message.Head)
	}
	m.Abort()
}
