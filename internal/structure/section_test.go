package structure

import (
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// The message that RFC 9051 section 6.4.5.1 counts the parts of.
const numbered = `Subject: numbered
Content-Type: multipart/mixed; boundary=a

--a
Content-Type: text/plain

one
--a
Content-Type: application/octet-stream

two
--a
Content-Type: message/rfc822

Subject: three
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

three one
--b
Content-Type: application/octet-stream

three two
--b--
--a
Content-Type: multipart/mixed; boundary=c

--c
Content-Type: image/gif

four one
--c
Content-Type: message/rfc822

Subject: four two
Content-Type: multipart/mixed; boundary=d

--d
Content-Type: text/plain

four two one
--d
Content-Type: multipart/alternative; boundary=e

--e
Content-Type: text/plain

four two two one
--e
Content-Type: text/richtext

four two two two
--e--
--d--
--c--
--a
Content-Type: message/rfc822

Subject: five

five one
--a--
`

func TestSection(t *testing.T) {
	m := parse([]byte(numbered), 0, nil)
	checkSound(t, []byte(numbered), m)
	header := func(s string) string { return "Content-Type: " + s + "\n\n" }
	for _, c := range []struct {
		part      []int
		specifier imap.PartSpecifier
		want      string // "no" if there is none; else its beginning and end
	}{
		{nil, "", numbered},
		{nil, "HEADER", "Subject: numbered\n" + header("multipart/mixed; boundary=a")},
		{nil, "TEXT", numbered[strings.Index(numbered, "--a"):]},
		{nil, "MIME", "no"},
		{[]int{1}, "", "one"},
		{[]int{1}, "MIME", header("text/plain")},
		{[]int{1}, "HEADER", "no"},
		{[]int{1}, "TEXT", "no"},
		{[]int{1, 1}, "", "no"},
		{[]int{2}, "", "two"},
		{[]int{3}, "MIME", header("message/rfc822")},
		{[]int{3}, "HEADER", "Subject: three\n" + header("multipart/mixed; boundary=b")},
		{[]int{3, 1}, "", "three one"},
		{[]int{3, 2}, "", "three two"},
		{[]int{3, 2}, "MIME", header("application/octet-stream")},
		{[]int{4}, "MIME", header("multipart/mixed; boundary=c")},
		{[]int{4}, "HEADER", "no"},
		{[]int{4, 1}, "", "four one"},
		{[]int{4, 2}, "HEADER", "Subject: four two\n" + header("multipart/mixed; boundary=d")},
		{[]int{4, 2, 1}, "", "four two one"},
		{[]int{4, 2, 2}, "MIME", header("multipart/alternative; boundary=e")},
		{[]int{4, 2, 2, 1}, "", "four two two one"},
		{[]int{4, 2, 2, 2}, "", "four two two two"},
		{[]int{5}, "", "Subject: five\n\nfive one"},
		{[]int{5}, "HEADER", "Subject: five\n\n"},
		{[]int{5}, "TEXT", "five one"},
		{[]int{5, 1}, "", "five one"},
		{[]int{5, 1}, "MIME", "Subject: five\n\n"},
		{[]int{5, 2}, "", "no"},
		{[]int{6}, "", "no"},
		{[]int{0}, "", "no"},
		{[]int{-1}, "", "no"},
		{[]int{1}, "ELSE", "no"},
	} {
		off, end, ok := m.Section(c.part, c.specifier)
		got := "no"
		if ok {
			got = numbered[off:end]
		}
		if got != c.want {
			t.Errorf("%v.%s: got %q, want %q", c.part, c.specifier, got, c.want)
		}
	}
}

func TestSectionOfSinglePart(t *testing.T) {
	for _, c := range []struct {
		in        string
		part      []int
		specifier imap.PartSpecifier
		want      string
	}{
		{"A: b\n\nbody", []int{1}, "", "body"},
		{"A: b\n\nbody", []int{1}, "MIME", "A: b\n\n"},
		{"A: b\n\nbody", []int{2}, "", "no"},
		{"A: b\n\nbody", []int{1, 1}, "", "no"},
		{msg + "A: b\n\nbody", []int{1}, "", "A: b\n\nbody"},
		{msg + "A: b\n\nbody", []int{1}, "HEADER", "A: b\n\n"},
		{msg + "A: b\n\nbody", []int{1, 1}, "", "body"},
		{msg + mixed + "--b\n\nx\n--b--", []int{1, 1}, "", "x"},
	} {
		off, end, ok := parse([]byte(c.in), 0, nil).Section(c.part, c.specifier)
		got := "no"
		if ok {
			got = c.in[off:end]
		}
		if got != c.want {
			t.Errorf("%q %v.%s: got %q, want %q", c.in, c.part, c.specifier, got, c.want)
		}
	}
}

func TestFilterHeader(t *testing.T) {
	const head = "From x\r\nA: 1\r\nB: 2\r\n\tfolded\r\n  twice\r\njunk\r\na : 3\r\nC: 4\r\n\r\n"
	for _, c := range []struct {
		head   string
		fields string
		not    bool
		want   string
	}{
		{head, "A", false, "A: 1\r\na : 3\r\n\r\n"},
		{head, "b", false, "B: 2\r\n\tfolded\r\n  twice\r\n\r\n"},
		{head, "C A", false, "A: 1\r\na : 3\r\nC: 4\r\n\r\n"},
		{head, "X", false, "\r\n"},
		{head, "", false, "\r\n"},
		{head, "A C", true, "B: 2\r\n\tfolded\r\n  twice\r\n\r\n"},
		{head, "X", true, "A: 1\r\nB: 2\r\n\tfolded\r\n  twice\r\na : 3\r\nC: 4\r\n\r\n"},
		{"A: 1\nB: 2\n\n", "b", false, "B: 2\n\n"},
		{"A: 1\r\nB: 2", "b", false, "B: 2"},
		{"A: 1\r\n", "b", false, ""},
		{"\r\n", "b", false, "\r\n"},
		{"\n", "b", true, "\n"},
		{"", "b", true, ""},
	} {
		if got := string(FilterHeader([]byte(c.head), strings.Fields(c.fields), c.not)); got != c.want {
			t.Errorf("%q of %q (not: %v): got %q, want %q", c.fields, c.head, c.not, got, c.want)
		}
	}
}

func TestEnvelope(t *testing.T) {
	in := "From: =?utf-8?q?J=C3=BCrgen?= <j@x.example>\r\n" +
		"To: G: a@b;\r\nTo: root, \"\":;\r\n" +
		"Subject: =?utf-8?b?w6Q=?=\r\n" +
		"Date: Mon, 1 Apr 2024 23:30:00 -0500\r\n" +
		"Message-ID: <id@x>\r\nIn-Reply-To: <a@x> <b@x>\r\n\r\n"
	m := parse([]byte(in), 0, nil)
	e := m.Envelope()
	if len(e.From) != 1 || e.From[0] != (imap.Address{Name: "Jürgen", Mailbox: "j", Host: "x.example"}) {
		t.Errorf("from %v", e.From)
	}
	to := []imap.Address{{Mailbox: "G"}, {Mailbox: "a", Host: "b"}, {}, {Mailbox: "root", Host: missingHost}, {Mailbox: missingMailbox}, {}}
	if !slices.Equal(e.To, to) {
		t.Errorf("to %v", e.To)
	}
	if e.Sender != nil || e.ReplyTo != nil || e.Cc != nil || e.Bcc != nil {
		t.Errorf("more addresses than there are: %v", e)
	}
	if e.Subject != "ä" || e.MessageID != "id@x" || !slices.Equal(e.InReplyTo, []string{"a@x", "b@x"}) {
		t.Errorf("%q %q %q", e.Subject, e.MessageID, e.InReplyTo)
	}
	if day := m.Sent().Format("2006-01-02 -0700"); day != "2024-04-01 -0500" || !e.Date.Equal(m.Sent()) {
		t.Errorf("sent %s, %v", day, e.Date)
	}
	if !parse(nil, 0, nil).Sent().IsZero() {
		t.Error("an empty message has a date")
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := parse([]byte(numbered), 0, nil).Encode()
	for i := range good {
		if _, err := Decode(good[:i]); err == nil {
			t.Fatalf("the first %d octets of %d are taken for all", i, len(good))
		}
	}
	if _, err := Decode(append(slices.Clone(good), 0)); err == nil {
		t.Error("an octet more is taken")
	}
	if _, err := Decode(append([]byte{version + 1}, good[1:]...)); err == nil {
		t.Error("another version is taken")
	}
}
