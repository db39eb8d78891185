package structure

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"restante/internal/corpus"
)

func open(t *testing.T, m *Message) Record {
	t.Helper()
	r, err := Open(m.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRecord: the pieces of a record are what they are said to be, for every
// message of the corpus.
func TestRecord(t *testing.T) {
	wires, fields := 0, 0
	for _, c := range corpus.Messages() {
		b := c.Bytes()
		m := parse(b, 0, nil)
		r := open(t, m)
		for _, eight := range []bool{false, true} {
			if want := AppendEnvelope(nil, m.Root.Envelope, eight); r.Envelope != nil && !bytes.Equal(r.Envelope, want) {
				t.Errorf("%s: ENVELOPE %q, want %q", c.Name, r.Envelope, want)
			}
			if want := AppendBody(nil, m.Root, true, eight); r.BodyStructure != nil && !bytes.Equal(r.BodyStructure, want) {
				t.Errorf("%s: BODYSTRUCTURE %q, want %q", c.Name, r.BodyStructure, want)
			}
		}
		if r.Envelope != nil && r.BodyStructure != nil {
			wires++
		}
		y, month, d := m.Sent().Date()
		if day, known := r.Sent(); !known || day.IsZero() != m.Sent().IsZero() || !day.IsZero() && !day.Equal(time.Date(y, month, d, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: sent on %v, %v; the date is %v", c.Name, day, known, m.Sent())
		}
		if r.Fields.Known() {
			fields++
			checkFields(t, c.Name, b[:m.Root.BodyStart], r.Fields)
		}
		if got, err := r.Message(); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %v is not what was encoded", c.Name, err)
		}
	}
	if wires < 20 || fields < 20 {
		t.Errorf("%d messages have both wire forms, %d have fields", wires, fields)
	}
}

// checkFields holds fields against what FilterHeader finds in the header.
func checkFields(t *testing.T, name string, head []byte, f Fields) {
	t.Helper()
	var got, all []byte
	for name, raw := range f.All() {
		if len(name) == 0 || !Keeps(string(name)) {
			t.Errorf("%s: %q is kept", name, name)
		}
		all = append(all, raw...)
		if strings.EqualFold(string(name), "subject") || strings.EqualFold(string(name), "from") {
			got = append(got, raw...)
		}
	}
	if got, want := string(got)+f.End(), FilterHeader(head, []string{"Subject", "From"}, false); got != string(want) {
		t.Errorf("%s: Subject and From are %q, want %q", name, got, want)
	}
	var away []string
	for _, field := range strings.Split(string(FilterHeader(head, nil, true)), "\n") {
		if n, _, ok := strings.Cut(field, ":"); ok && !Keeps(strings.TrimRight(n, " \t")) {
			away = append(away, strings.TrimRight(n, " \t"))
		}
	}
	if want := FilterHeader(head, away, true); string(all)+f.End() != string(want) {
		t.Errorf("%s: all fields are %q, want %q", name, all, want)
	}
}

func TestRecordOfOddMessages(t *testing.T) {
	long := strings.Repeat("x", maxWire)
	many := strings.Repeat("X-Many: "+strings.Repeat("m", 60)+"\r\n", MaxFields/60)
	for _, c := range []struct {
		name, message            string
		envelope, bodies, fields bool
	}{
		{"plain", "Subject: s\r\n\r\nx", true, true, true},
		{"no empty line", "Subject: s\r\n", true, true, true},
		{"8 bit in the subject", "Subject: \xc3\xa4\r\n\r\nx", false, true, true},
		{"8 bit in a name", "Content-Type: text/plain; name=\xc3\xa4\r\n\r\nx", true, false, true},
		{"long subject", "Subject: " + long + "\r\n\r\nx", false, true, false},
		{"long fields", many + "Subject: s\r\n\r\nx", true, true, false},
		{"a header beyond all measure", "Received: " + strings.Repeat("r", 2*MaxHeader) + "\r\nSubject: s\r\n\r\nx", true, true, false},
		{"no header", "text\r\nSubject: s\r\n\r\nx", true, true, false},
		{"no header but an empty line", "\r\ntext", true, true, false},
		{"begins with a continuation", " x\r\nSubject: s\r\n\r\nx", true, true, false},
		{"mbox", "From me\r\nSubject: s\r\n\r\nx", true, true, false},
		{"nothing", "", true, true, false},
	} {
		for _, piece := range []int{0, 1} {
			p := NewParser()
			for b := []byte(c.message); len(b) > 0; {
				n := len(b)
				if piece > 0 && len(b) > piece {
					n = piece
				}
				p.Write(b[:n])
				b = b[n:]
			}
			r := open(t, p.Finish())
			if r.Envelope != nil != c.envelope || r.BodyStructure != nil != c.bodies || r.Fields.Known() != c.fields {
				t.Errorf("%s: ENVELOPE %v, BODYSTRUCTURE %v, fields %v", c.name, r.Envelope != nil, r.BodyStructure != nil, r.Fields.Known())
			}
		}
	}
}

// TestKeeps: what clients ask for is kept, and what makes headers long is not.
func TestKeeps(t *testing.T) {
	for _, name := range []string{
		"From", "to", "CC", "Bcc", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Reply-To", "Sender",
		"Content-Type", "Content-Description", "X-Priority", "Priority", "Importance", "List-Id", "List-Post", "List-Unsubscribe",
		"Newsgroups", "X-Label", "X-TUID", "Lines", "Disposition-Notification-To", "X-Mailer", "User-Agent", "Return-Path",
		"Delivered-To", "X-Universally-Unique-Identifier", "X-Uniform-Type-Identifier", "X-Spam-Flag", "X-Spam-Status", "Received-", "a", "x", "",
	} {
		if !Keeps(name) {
			t.Errorf("%s is not kept", name)
		}
	}
	for _, name := range []string{
		"Received", "RECEIVED-SPF", "DKIM-Signature", "DomainKey-Signature", "ARC-Seal", "arc-message-signature", "Authentication-Results",
		"X-Received", "X-Google-Smtp-Source", "X-MS-Exchange-AntiSpam-MessageData-0", "X-Microsoft-Antispam", "X-Spam-Report", "Autocrypt", "X-Face", "Face",
	} {
		if Keeps(name) {
			t.Errorf("%s is kept", name)
		}
	}
}

// TestPlainEncoding: what was stored before there were records is read.
func TestPlainEncoding(t *testing.T) {
	m := parse([]byte("Date: Thu, 1 Jan 2026 00:30:00 +0100\r\nSubject: s\r\n\r\nbody"), 0, nil)
	m.Fields = Fields{}
	b := append([]byte{plainVersion}, open(t, m).core...)
	r, err := Open(b)
	if err != nil || r.Envelope != nil || r.BodyStructure != nil || r.Fields.Known() {
		t.Errorf("%v, %+v", err, r)
	}
	if _, known := r.Sent(); known {
		t.Error("the date is known")
	}
	if back, err := Decode(b); err != nil || !reflect.DeepEqual(m, back) {
		t.Errorf("%v, %v", back, err)
	}
}

func TestSent(t *testing.T) {
	for date, want := range map[string]string{
		"Thu, 1 Jan 2026 00:30:00 +0100":  "2026-01-01",
		"Wed, 31 Dec 2025 23:30:00 -1100": "2025-12-31",
		"Wed, 31 Dec 1969 23:30:00 +0000": "1969-12-31",
		"Fri, 1 Jan 1960 00:00:00 +1400":  "1960-01-01",
	} {
		r := open(t, parse(fmt.Appendf(nil, "Date: %s\r\n\r\n", date), 0, nil))
		if day, known := r.Sent(); !known || day.Format(time.DateOnly) != want {
			t.Errorf("%s is %v, %v", date, day, known)
		}
	}
	if day, known := open(t, parse([]byte("Subject: s\r\n\r\n"), 0, nil)).Sent(); !known || !day.IsZero() {
		t.Errorf("no date is %v, %v", day, known)
	}
}
