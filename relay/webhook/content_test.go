package webhook

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"restante/internal/corpus"
	"restante/relay"
)

// posted is what a program reads of a message in JSON.
type posted struct {
	Version  int      `json:"version"`
	Envelope envelope `json:"envelope"`
	Size     int      `json:"size"`
	Headers  []struct {
		Name, Value string
	} `json:"headers"`
	Text, HTML  *string
	Attachments []struct {
		Name, Type, Charset, Disposition string
		ContentID                        string `json:"content_id"`
		Content                          []byte
	} `json:"attachments"`
}

func parsed(t *testing.T, text string) posted {
	t.Helper()
	var m posted
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

const mixed = "From: =?iso-8859-1?q?J=FCrgen?= <j@example.org>\r\nSubject: =?utf-8?b?4oKs?= and\r\n more\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=m\r\n\r\n" +
	"--m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n" +
	"--a\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\"gr=FC=DF\" \\ tab\tend\x01\r\n" +
	"--a\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+4oKsPC9iPg==\r\n--a--\r\n" +
	"--m\r\nContent-Type: application/pdf; name=\"=?utf-8?q?=E2=82=AC.pdf?=\"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename*=utf-8''r%c3%a9sum%c3%a9.pdf\r\nContent-ID: <one@x>\r\n\r\nAAEC\r\n/w==\r\n" +
	"--m\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition: attachment; filename=notes.txt\r\n\r\nnotes\xff\r\n" +
	"--m\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n--m--\r\n"

func TestJSON(t *testing.T) {
	p := serve(t, nil)
	j := job(relay.Hook{URLs: []string{p.URL}, Format: relay.HookJSON, Secret: key1})
	j.Body = body(mixed)
	if out := deliver(t, courier(t, Options{}), j); out.Results[0].Code != 250 {
		t.Fatalf("%+v", out)
	}
	r := p.requests()[0]
	r.verifies(t, secret)
	if r.header.Get("Content-Type") != "application/json" || r.header.Get(envelopeField) != "" {
		t.Errorf("%+v", r.header)
	}
	m := parsed(t, r.body)
	if m.Version != 1 || m.Size != len(mixed) || m.Envelope.From != "sender@example.org" || m.Envelope.Recipients[0].To != "b@app.test" {
		t.Errorf("%+v", m)
	}
	if m.Headers[0].Name != "From" || m.Headers[0].Value != "Jürgen <j@example.org>" || m.Headers[1].Value != "€ and more" || len(m.Headers) != 4 {
		t.Errorf("%+v", m.Headers)
	}
	if m.Text == nil || strings.TrimRight(*m.Text, "\r\n") != "\"grüß\" \\ tab\tend\x01" || m.HTML == nil || *m.HTML != "<b>€</b>" {
		t.Errorf("%q %q", *m.Text, *m.HTML)
	}
	if len(m.Attachments) != 3 {
		t.Fatalf("%+v", m.Attachments)
	}
	pdf, notes, inner := m.Attachments[0], m.Attachments[1], m.Attachments[2]
	if pdf.Name != "résumé.pdf" || pdf.Type != "application/pdf" || pdf.Disposition != "attachment" || pdf.ContentID != "one@x" || !bytes.Equal(pdf.Content, []byte{0, 1, 2, 255}) {
		t.Errorf("%+v", pdf)
	}
	if notes.Name != "notes.txt" || notes.Charset != "utf-8" || strings.TrimSpace(string(notes.Content)) != "notes\xff" {
		t.Errorf("%+v", notes)
	}
	if inner.Type != "message/rfc822" || !strings.HasPrefix(string(inner.Content), "Subject: inner\r\n") {
		t.Errorf("%+v", inner)
	}
}

// Names that others give in other ways.
func TestFileNames(t *testing.T) {
	for fields, want := range map[string]string{
		"Content-Type: a/b; name=\"=?utf-8?q?=E2=82=AC.pdf?=\"":                                    "€.pdf",
		"Content-Type: a/b; name=x\r\nContent-Disposition: inline; filename*=iso-8859-1'de'%fc":    "ü",
		"Content-Type: a/b\r\nContent-Disposition: attachment; filename*=utf-8''%zz":               "utf-8''%zz",
		"Content-Type: a/b\r\nContent-Disposition: attachment; filename*0*=utf-8''a; filename*1=b": "ab",
		"Content-Type: a/b": "",
	} {
		c, err := partsOf(body(fields+"\r\n\r\nx"), envelope{})
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(c.reader())
		if err != nil {
			t.Fatal(err)
		}
		if m := parsed(t, string(text)); len(m.Attachments) != 1 || m.Attachments[0].Name != want {
			t.Errorf("%q: %+v, want %q", fields, m.Attachments, want)
		}
	}
}

// Whatever the message, what is posted is JSON, of the length that was
// announced, and in each reading the same.
func TestOddMessages(t *testing.T) {
	for _, odd := range corpus.Messages() {
		text := odd.Bytes()
		if len(text) > 256<<10 {
			continue // nothing new, and three readings of it take long
		}
		c, err := partsOf(body(string(text)), envelope{})
		if err != nil {
			t.Fatal(err)
		}
		checkContent(t, odd.Name, c)
	}
}

func checkContent(t *testing.T, name string, c *content) {
	t.Helper()
	var first bytes.Buffer
	if err := c.measure(&first); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	r := c.reader()
	again, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(first.Bytes(), again) || c.size != int64(len(again)) || !utf8.Valid(again) {
		t.Errorf("%s: %d octets, then %d of %d: %v", name, first.Len(), len(again), c.size, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	parsed(t, string(again))
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(mixed))
	f.Add([]byte(letter))
	f.Add([]byte("no header at all\r\n\r\n\xff\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := partsOf(body(string(text)), envelope{})
		if err != nil {
			t.Fatal(err)
		}
		checkContent(t, "fuzzed", c)
	})
}

// A long attachment costs little memory: it is not held.
func TestLongAttachmentStreams(t *testing.T) {
	line := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 54)) + "\r\n"
	text := "Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat(line, 1<<18)
	c, err := partsOf(body(text), envelope{})
	if err != nil {
		t.Fatal(err)
	}
	allocated := testing.AllocsPerRun(1, func() {
		if err := c.measure(nil); err != nil {
			t.Fatal(err)
		}
		c.size = -1
	})
	if allocated > 1000 {
		t.Errorf("%.0f allocations for %d octets", allocated, len(text))
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"", "fine\nso", "<html>", `{"id":"x","text":"t","results":[{"to":"a@b.test","code":550,"enhanced":"5.1.1","text":"no"}]}`,
		`{"results":[{"to":"nobody","code":"x"}]}`, `{"results":[{"to":"<a@b.test>","code":7}]}`, "{", "\xff\x00{",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		words, results, id, ok := parseAnswer(text)
		for _, s := range []string{words, id} {
			if len(s) > 2*maxText || !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00") {
				t.Fatalf("kept is %q", s)
			}
		}
		if !ok && len(results) > 0 {
			t.Fatal("results of an answer that is not understood")
		}
		for _, r := range results {
			if c := r.status.Code / 100; !slices.Contains([]int{2, 4, 5}, c) || r.status.Enhanced[0] != c || r.to.IsNull() {
				t.Fatalf("%+v", r)
			}
		}
	})
}
