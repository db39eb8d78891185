package e2e

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"strings"
	"testing"

	"restante/internal/standin"
)

// report is an RFC 3464 report taken apart.
type report struct {
	header   netmail.Header
	status   string // the fields of message/delivery-status
	returned string // the third part
}

// parseReport fails the test unless the message is a report.
func parseReport(t testing.TB, message []byte) report {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("not a report: %v\n%s", err, message)
	}
	r := report{header: m.Header}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, want := range []string{"text/plain", "message/delivery-status", "message/rfc822"} {
		p, err := parts.NextRawPart()
		if err != nil {
			t.Fatalf("part %s: %v\n%s", want, err, message)
		}
		kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		text, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case kind == want && kind == "message/delivery-status":
			r.status = string(text)
		case kind == want, want == "message/rfc822" && kind == "text/rfc822-headers":
			r.returned = string(text)
		default:
			t.Fatalf("part is %s, want %s", kind, want)
		}
	}
	if from := m.Header.Get("Return-Path"); from != "<>" {
		t.Errorf("the report has Return-Path %s, want <>", from)
	}
	return r
}

// says fails the test unless the report's status has all the fields.
func (r report) says(t testing.TB, fields ...string) {
	t.Helper()
	for _, f := range fields {
		if !strings.Contains(strings.ToLower(r.status), strings.ToLower(f)) {
			t.Errorf("the report does not say %q:\n%s", f, r.status)
		}
	}
}

func TestPermanentRefusal(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	hop.Always(standin.Script{{At: standin.Rcpt, Code: 550, Text: "5.1.1 nobody of that name"}})
	d := newDaemon(t, away(hop), quick(""))
	if _, err := d.submission(alice).mail([]byte(letter("refused")), alice, "nobody@example.net"); err != nil {
		t.Fatal(err)
	}
	r := parseReport(t, d.inbox(alice, 1)[0].body)
	r.says(t, "Final-Recipient: rfc822; nobody@example.net", "Action: failed", "Status: 5.1.1",
		"nobody of that name", "Reporting-MTA: dns; mx.example.org")
	if !strings.Contains(r.returned, "Subject: refused\r\n") {
		t.Errorf("the report does not show which message it is about:\n%s", r.returned)
	}
	d.emptied()
}

func TestOneOfTwoRecipientsFails(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	hop.Always(standin.Script{{At: standin.Rcpt, To: "bad@example.net", Code: 550, Text: "5.1.1 unknown"}})
	d := newDaemon(t, away(hop), quick(""))
	message := letter("two")
	d.send(message, alice, "bad@example.net", "good@example.net")
	m := reaches(t, hop, 1)[0]
	if len(m.To) != 1 || m.To[0] != "good@example.net" {
		t.Errorf("delivered to %s", m.To)
	}
	sameButTrace(t, m.Data, []byte(message), relayed...)
	r := parseReport(t, d.inbox(alice, 1)[0].body)
	r.says(t, "bad@example.net", "Action: failed")
	if strings.Contains(r.status, "good@example.net") {
		t.Errorf("the report names the recipient that has it:\n%s", r.status)
	}
	d.emptied()
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	hop.Always(later)
	// Long enough for a first attempt, however busy the machine is.
	d := newDaemon(t, away(hop), quick(`warn_after = "0s"
expire_after = "8s"`))
	d.send(letter("expires"), alice, "carol@example.net")
	r := parseReport(t, d.inbox(alice, 1)[0].body)
	r.says(t, "carol@example.net", "Action: failed", "come again later")
	d.emptied()
	if n := len(hop.Messages()); n != 0 {
		t.Errorf("delivered %d times", n)
	}
}

func TestDelayWarning(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	hop.Always(later)
	d := newDaemon(t, away(hop), quick(`warn_after = "1s"`))
	d.send(letter("late"), alice, "carol@example.net")
	r := parseReport(t, d.inbox(alice, 1)[0].body)
	r.says(t, "carol@example.net", "Action: delayed", "Will-Retry-Until:")
	hop.Always(nil)
	reaches(t, hop, 1)
	d.emptied()
	d.inbox(alice, 1) // warned once
}

// TestNullSender has nobody to return anything to.
func TestNullSender(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	hop.Always(standin.Script{{At: standin.Rcpt, Code: 550, Text: "5.1.1 unknown"}})
	d := newDaemon(t, away(hop), quick(`dead_letters = ""`))
	d.send(letter("null sender"), "", "carol@example.net")
	d.one("dead")
	d.inbox(alice, 0)
}

// TestDeadLetter puts what cannot be returned where the postmaster sees it, and
// sends it again from there.
func TestDeadLetter(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	hop.Always(standin.Script{{At: standin.Rcpt, Code: 550, Text: "5.1.1 unknown"}})
	d := newDaemon(t, away(hop), quick(""))
	text := letter("lost")
	d.send(text, "", "carol@example.net")
	eventually(t, "there is a dead letter", func() bool {
		return strings.Contains(d.must("", "deadletters", "list"), "carol@example.net")
	})
	d.emptied()
	d.restart()
	c := d.imap(alice, password, nil)
	defer c.Close()
	if _, err := c.Select("Dead Letters", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	list := fetch(t, c)
	if len(list) != 1 || !bytes.Contains(list[0].body, []byte("X-Restante-Envelope-To: <carol@example.net>")) || !bytes.Contains(list[0].body, []byte("Subject: lost\r\n")) {
		t.Fatalf("%d dead letters: %+v", len(list), list)
	}
	hop.Always(nil)
	d.must("", "deadletters", "resend", "1")
	reaches(t, hop, 1)
	d.emptied()
	if list := fetch(t, c); len(list[0].flags) == 0 {
		t.Error("it is not marked as sent again")
	}
	if text := d.must("", "deadletters", "list"); !strings.Contains(text, "yes") {
		t.Errorf("the list does not show that it was sent:\n%s", text)
	}
}

// TestBounceThatCannotBeDelivered is kept in the queue where no mailbox is for
// it, and shown until somebody removes it.
func TestBounceThatCannotBeDelivered(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	hop.Always(standin.Script{{At: standin.Rcpt, Code: 550, Text: "5.1.1 unknown"}})
	d := newDaemon(t, away(hop), quick(`dead_letters = ""`))
	d.send(letter("double"), "gone@example.com", "nobody@example.net")
	dead := d.one("dead")
	if dead.From != "" || len(dead.Recipients) != 1 || dead.Recipients[0].To != "gone@example.com" {
		t.Errorf("the dead task is %+v", dead)
	}
	d.restart()
	if again := d.one("dead"); again.ID != dead.ID {
		t.Errorf("after a restart %s is dead, want %s", again.ID, dead.ID)
	}
	if shown := d.must("", "queue", "list"); !strings.Contains(shown, "dead") || !strings.Contains(shown, "gone@example.com") {
		t.Errorf("queue list does not show it:\n%s", shown)
	}
	if shown := d.must("", "queue", "show", dead.Message); !strings.Contains(shown, "gone@example.com") {
		t.Errorf("queue show does not show it:\n%s", shown)
	}
	d.must("", "queue", "remove", dead.ID)
	d.emptied()
}
