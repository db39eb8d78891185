package dsn

import (
	"bytes"
	"errors"
	"io"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset"

	"restante/internal/mail"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

const original = "From: Ann <ann@example.org>\r\nTo: bob@example.com\r\n" +
	"Subject: =?utf-8?q?Caf=C3=A9?=\r\nMessage-ID: <one@example.org>\r\n\r\nthe body\r\n"

func sample() *Report {
	ids := new(mail.IDs)
	return &Report{
		Action:   Failed,
		Hostname: "relay.test",
		ID:       ids.Next(now),
		Original: ids.Next(now),
		Envelope: mail.Envelope{
			From:    mail.MustParseAddress("ann@example.org"),
			EnvID:   "env-1",
			Arrived: now.Add(-time.Hour),
		},
		Recipients: []Recipient{{
			Recipient: mail.Recipient{To: mail.MustParseAddress("bob@example.com"), Original: "rfc822;robert@example.net"},
			Status:    mail.Status{Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "no such user", Remote: "mx.example.com [192.0.2.1]"},
			Attempted: now,
		}},
		Now:       now,
		Message:   strings.NewReader(original),
		Size:      int64(len(original)),
		MaxReturn: 1 << 20,
	}
}

// report is a report read again.
type report struct {
	header   message.Header
	types    []string
	parts    []string
	status   []textproto.MIMEHeader // the message's, then each recipient's
	eightBit bool
	raw      []byte
}

func parse(t *testing.T, r *Report) report {
	t.Helper()
	var buf bytes.Buffer
	eightBit, err := r.Write(&buf)
	if err != nil {
		t.Fatal(err)
	}
	raw := buf.Bytes()
	if bytes.Contains(bytes.ReplaceAll(raw, []byte("\r\n"), nil), []byte("\n")) {
		t.Error("bare LF")
	}
	e, err := message.Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	got := report{header: e.Header, eightBit: eightBit, raw: raw}
	kind, params, err := e.Header.ContentType()
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("content type %q %v, %v", kind, params, err)
	}
	mr := e.MultipartReader()
	for {
		p, err := mr.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kind, _, err := p.Header.ContentType()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p.Body)
		if err != nil {
			t.Fatal(err)
		}
		got.types, got.parts = append(got.types, kind), append(got.parts, string(body))
	}
	if len(got.parts) < 2 {
		t.Fatalf("parts %v", got.types)
	}
	for block := range strings.SplitSeq(strings.TrimRight(got.parts[1], "\r\n"), "\r\n\r\n") {
		h, err := message.Read(strings.NewReader(block + "\r\n\r\n"))
		if err != nil {
			t.Fatalf("status block %q: %v", block, err)
		}
		m := make(textproto.MIMEHeader)
		for f := h.Header.Fields(); f.Next(); {
			m.Add(f.Key(), f.Value())
		}
		got.status = append(got.status, m)
	}
	return got
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func has(t *testing.T, what, got, sub string) {
	t.Helper()
	if !strings.Contains(got, sub) {
		t.Errorf("%s has no %q:\n%s", what, sub, got)
	}
}

func TestBounce(t *testing.T) {
	got := parse(t, sample())
	h := got.header
	want(t, "To", h.Get("To"), "<ann@example.org>")
	want(t, "From", h.Get("From"), "Mail Delivery System <MAILER-DAEMON@relay.test>")
	want(t, "Auto-Submitted", h.Get("Auto-Submitted"), "auto-replied")
	want(t, "In-Reply-To", h.Get("In-Reply-To"), "<one@example.org>")
	want(t, "Date", h.Get("Date"), "Wed, 4 Mar 2026 05:06:07 +0000")
	if !h.Has("Message-Id") || !h.Has("Mime-Version") {
		t.Error("no Message-ID or MIME-Version")
	}
	want(t, "parts", strings.Join(got.types, " "), "text/plain message/delivery-status text/rfc822-headers")
	if len(got.status) != 2 {
		t.Fatalf("status %v", got.status)
	}
	for key, value := range map[string]string{
		"Reporting-Mta":        "dns; relay.test",
		"Arrival-Date":         "Wed, 4 Mar 2026 04:06:07 +0000",
		"Original-Envelope-Id": "env-1",
	} {
		want(t, key, got.status[0].Get(key), value)
	}
	for key, value := range map[string]string{
		"Original-Recipient": "rfc822; robert@example.net",
		"Final-Recipient":    "rfc822; bob@example.com",
		"Action":             "failed",
		"Status":             "5.1.1",
		"Remote-Mta":         "dns; mx.example.com",
		"Diagnostic-Code":    "smtp; 550 5.1.1 no such user",
		"Last-Attempt-Date":  "Wed, 4 Mar 2026 05:06:07 +0000",
		"Will-Retry-Until":   "",
	} {
		want(t, key, got.status[1].Get(key), value)
	}
	text := got.parts[0]
	for _, s := range []string{"<bob@example.com>", "robert@example.net", "Café", "There is no mailbox of that name", "What to do:", "550 5.1.1 no such user", "mx.example.com", "Its header is attached"} {
		has(t, "the text", text, s)
	}
	has(t, "the returned header", got.parts[2], "Message-ID: <one@example.org>")
	if strings.Contains(got.parts[2], "the body") {
		t.Error("the body was returned")
	}
}

func TestExpired(t *testing.T) {
	r := sample()
	r.Recipients[0].Status = mail.Status{Code: 550, Enhanced: [3]int{4, 4, 7}, Text: "delivery time expired"}
	r.Recipients[0].Said = mail.Status{Code: 451, Enhanced: [3]int{4, 7, 1}, Text: "greylisted", Remote: "mx"}
	got := parse(t, r)
	want(t, "Status", got.status[1].Get("Status"), "4.4.7")
	want(t, "Diagnostic-Code", got.status[1].Get("Diagnostic-Code"), "smtp; 451 4.7.1 greylisted")
	has(t, "the text", got.parts[0], "within the time allowed")
}

func TestDelayed(t *testing.T) {
	r := sample()
	r.Action, r.RetryUntil, r.Envelope.Ret = Delayed, now.Add(24*time.Hour), mail.ReturnFull
	r.Recipients[0].Status = mail.Status{}
	r.Recipients[0].Attempted = time.Time{}
	got := parse(t, r)
	want(t, "Action", got.status[1].Get("Action"), "delayed")
	want(t, "Status", got.status[1].Get("Status"), "4.0.0")
	want(t, "Will-Retry-Until", got.status[1].Get("Will-Retry-Until"), "Thu, 5 Mar 2026 05:06:07 +0000")
	want(t, "part", got.types[2], "text/rfc822-headers")
	has(t, "the text", got.parts[0], "need not send it again")
}

func TestRelayed(t *testing.T) {
	r := sample()
	r.Action = Relayed
	r.Recipients[0].Status = mail.Status{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "ok"}
	got := parse(t, r)
	want(t, "Action", got.status[1].Get("Action"), "relayed")
	want(t, "Status", got.status[1].Get("Status"), "2.0.0")
}

func TestReturnFull(t *testing.T) {
	r := sample()
	r.Envelope.Ret = mail.ReturnFull
	got := parse(t, r)
	want(t, "part", got.types[2], "message/rfc822")
	want(t, "message", got.parts[2], original)
	r.MaxReturn = 10
	want(t, "part of one too large", parse(t, r).types[2], "text/rfc822-headers")
}

func TestSeveralRecipients(t *testing.T) {
	r := sample()
	r.Recipients = append(r.Recipients, Recipient{
		Recipient: mail.Recipient{To: mail.MustParseAddress(`"a b"@example.com`)},
		Status:    mail.Status{Code: 552, Enhanced: [3]int{5, 2, 2}, Text: "full"},
	})
	got := parse(t, r)
	if len(got.status) != 3 {
		t.Fatalf("status %v", got.status)
	}
	want(t, "Final-Recipient", got.status[2].Get("Final-Recipient"), `rfc822; "a b"@example.com`)
	has(t, "the text", got.parts[0], "mailbox is full")
}

// No word of a stranger may end a field or a part.
func TestInjection(t *testing.T) {
	evil := "x\r\nBcc: victim@example.com\r\n\r\n--report\r\n\x00\x1b[31m\xff ü"
	r := sample()
	r.Envelope.EnvID = evil
	r.Hostname = "relay.test\r\nX: y"
	r.Recipients[0].Original = "rfc822;" + evil
	r.Recipients[0].Status.Text = evil + strings.Repeat("y", 5000)
	r.Recipients[0].Status.Remote = evil
	raw := "Subject: =?utf-8?q?a=0D=0ABcc:_victim@example.com?=\r\nMessage-ID: <a b>\r\nX: \xff\r\n\r\n"
	r.Message, r.Size = strings.NewReader(raw), int64(len(raw))
	got := parse(t, r)
	if got.header.Has("Bcc") || got.header.Has("X") || got.header.Has("In-Reply-To") {
		t.Errorf("header %v", got.header.Map())
	}
	if len(got.parts) != 3 || len(got.status) != 2 || got.status[0].Get("Bcc") != "" || got.status[1].Get("Bcc") != "" {
		t.Errorf("parts %v, status %v", got.types, got.status)
	}
	for _, c := range []byte(got.parts[1]) {
		if c >= 0x80 || c < ' ' && c != '\r' && c != '\n' && c != '\t' {
			t.Fatalf("octet %#x in the status part", c)
		}
	}
	for line := range strings.SplitSeq(string(got.raw), "\r\n") {
		if len(line) > 998 {
			t.Errorf("line of %d octets", len(line))
		}
	}
	for line := range strings.SplitSeq(got.parts[0], "\r\n") {
		if strings.HasPrefix(line, "Bcc") {
			t.Errorf("a line of its own: %q", line)
		}
	}
	if !got.eightBit {
		t.Error("not marked as 8-bit")
	}
}

func TestUTF8(t *testing.T) {
	r := sample()
	r.Recipients[0].To.Local = "bü"
	if !r.UTF8() {
		t.Fatal("needs SMTPUTF8")
	}
	got := parse(t, r)
	want(t, "parts", strings.Join(got.types, " "), "text/plain message/global-delivery-status message/global-headers")
	want(t, "Final-Recipient", got.status[1].Get("Final-Recipient"), "utf-8; bü@example.com")
	if !got.eightBit {
		t.Error("not marked as 8-bit")
	}
}

type unreadable struct{}

func (unreadable) ReadAt([]byte, int64) (int, error) { return 0, errors.New("damaged") }

// What there is of a message is returned; that it is gone stops no report.
func TestMessageGone(t *testing.T) {
	for name, change := range map[string]func(*Report){
		"nil":        func(r *Report) { r.Message = nil },
		"unreadable": func(r *Report) { r.Message, r.Envelope.Ret = unreadable{}, mail.ReturnFull },
	} {
		r := sample()
		change(r)
		if got := parse(t, r); len(got.parts) != 2 {
			t.Errorf("%s: parts %v", name, got.types)
		}
	}
	r := sample()
	huge := strings.Repeat("X-Long: "+strings.Repeat("x", 60)+"\r\n", 5000)
	r.Message, r.Size = strings.NewReader(huge), int64(len(huge))
	if got := parse(t, r); len(got.parts[2]) > maxHeader || !strings.HasSuffix(got.parts[2], "x\r\n") && !strings.HasSuffix(got.parts[2], "x") {
		t.Errorf("%d octets of header", len(got.parts[2]))
	}
	r = sample()
	r.Message, r.Size = strings.NewReader(""), 0
	parse(t, r)
}

func TestWriteError(t *testing.T) {
	if _, err := sample().Write(failing{}); err == nil {
		t.Error("no error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("full") }
