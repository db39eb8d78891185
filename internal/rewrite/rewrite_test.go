package rewrite

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"restante/internal/corpus"
	"restante/internal/header"
	"restante/internal/mail"
)

func TestMasquerade(t *testing.T) {
	m, err := NewMasquerade(map[string]string{
		"*.internal.example": "example.org", "*.lab.internal.example": "lab.example.org", "gateway": "Example.ORG",
	})
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"host.internal.example": "example.org", "a.b.internal.example": "example.org", "internal.example": "internal.example",
		"pc.lab.internal.example": "lab.example.org", "lab.internal.example": "example.org", "gateway": "example.org",
		"x.gateway": "x.gateway", "[192.0.2.1]": "[192.0.2.1]",
	} {
		if got := m.Address(mail.Address{Local: "a", Domain: in}); got.Domain != want {
			t.Errorf("%s becomes %s, want %s", in, got.Domain, want)
		}
	}
	for _, a := range []mail.Address{{}, {Local: "postmaster"}} {
		if got := m.Address(a); got != a {
			t.Errorf("<%s> becomes <%s>", a, got)
		}
	}
	e := header.Parse([]byte("From: Root <root@pc.lab.internal.example>\r\nX-Host: root@host.internal.example\r\nCc: a@gateway,\r\n b@x.example\r\n\r\n")).Edit()
	m.Header(e)
	const want = "From: Root <root@lab.example.org>\r\nX-Host: root@host.internal.example\r\nCc: a@example.org,\r\n b@x.example\r\n\r\n"
	if got := string(e.Block().Raw()); got != want {
		t.Errorf("%q", got)
	}
	if none, err := NewMasquerade(nil); err != nil || none != nil || none.Domain("a.example") != "a.example" {
		t.Errorf("without rules: %v, %v", none, err)
	}
	for _, bad := range []map[string]string{{"*.": "a"}, {"a": ""}, {"a b": "c"}, {"A.example": "c", "a.example": "d"}} {
		if _, err := NewMasquerade(bad); err == nil {
			t.Errorf("%v: taken", bad)
		}
	}
}

var one = Outgoing{Sender: mail.MustParseAddress("relay@isp.example"), From: mail.MustParseAddress("no-reply@isp.example")}

func TestOutgoing(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "Received: x\r\nFrom: alice@a.example\r\nTo: b\r\n\r\n",
			"Reply-To: alice@a.example\r\nReceived: x\r\nFrom: no-reply@isp.example\r\nTo: b\r\n\r\n"},
		{"name stays", "From: \"Alice, A\" <alice@a.example>\r\n\r\n",
			"Reply-To: \"Alice, A\" <alice@a.example>\r\nFrom: \"Alice, A\" <no-reply@isp.example>\r\n\r\n"},
		{"has Reply-To", "From: A <alice@a.example>\r\nreply-to: x@y.example\r\n\r\n",
			"From: A <no-reply@isp.example>\r\nreply-to: x@y.example\r\n\r\n"},
		{"several authors", "From: A <a@a.example>,\r\n B <b@a.example>\r\nSender: A <a@a.example>\r\n\r\n",
			"Reply-To: A <a@a.example>, B <b@a.example>\r\nFrom: no-reply@isp.example\r\n\r\n"},
		{"signed", "DKIM-Signature: v=1;\r\n b=x\r\nFrom: a@a.example\r\nDKIM-Signature: v=1\r\n\r\n",
			"Reply-To: a@a.example\r\nFrom: no-reply@isp.example\r\n\r\n"},
		{"no From", "Subject: x\r\n\r\n", "From: no-reply@isp.example\r\nSubject: x\r\n\r\n"},
		{"two", "From: a@a.example\r\nFrom: b@a.example\r\n\r\n", "Reply-To: a@a.example\r\nFrom: no-reply@isp.example\r\n\r\n"},
		{"the same already", "From: <no-reply@isp.example>\r\n\r\n", "From: <no-reply@isp.example>\r\n\r\n"},
		{"the same with a name", "From: A <no-reply@isp.example>\r\n\r\n", "From: A <no-reply@isp.example>\r\n\r\n"},
		{"empty", "", "From: no-reply@isp.example\r\n"},
	} {
		if got := string(one.Header(header.Parse([]byte(c.in))).Raw()); got != c.want {
			t.Errorf("%s:\n%q\nwant\n%q", c.name, got, c.want)
		}
	}
	if got := one.Envelope(mail.MustParseAddress("a@b.example")); got != one.Sender {
		t.Errorf("sender %s", got)
	}
	if got := one.Envelope(mail.Address{}); !got.IsNull() {
		t.Errorf("null sender becomes %s", got)
	}
}

// What is sent is the rewritten header and the body as it is, from every
// offset; and nothing is changed by who changes nothing.
func TestMessage(t *testing.T) {
	for _, c := range corpus.Messages() {
		b := c.Bytes()
		if c.Has(corpus.Large) {
			continue
		}
		for _, o := range []Outgoing{one, {}} {
			r, err := o.Message(bytes.NewReader(b))
			if err != nil {
				t.Errorf("%s: %v", c.Name, err)
				continue
			}
			got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
			if err != nil {
				t.Fatal(err)
			}
			block, rest, _ := header.Read(bytes.NewReader(b), maxHead)
			text, _ := io.ReadAll(rest)
			if len(text) == 0 {
				text = []byte{}
			}
			if again, _ := io.ReadAll(r.Text()); !bytes.Equal(again, text) || !bytes.HasSuffix(got, text) {
				t.Errorf("%s: another body", c.Name)
			}
			want := append(o.Header(block).Raw(), text...)
			if !block.Separated() && len(text) > 0 {
				want = append(append(o.Header(block).Raw(), "\r\n"...), text...)
			}
			if !o.IsZero() && !bytes.Equal(got, want) || o.IsZero() && block.Separated() && !bytes.Equal(got, b) {
				t.Errorf("%s: another message", c.Name)
			}
			if len(got) > 0 {
				if err := iotest.TestReader(io.NewSectionReader(r, 0, r.Size()), got); err != nil && len(got) < 4<<10 {
					t.Errorf("%s: %v", c.Name, err)
				}
			}
		}
	}
	r, err := one.Message(strings.NewReader("From: a@b.example\r\n\r\ntext\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	r.Prepend([]byte("DKIM-Signature: x\r\n"))
	got, _ := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	const want = "DKIM-Signature: x\r\nReply-To: a@b.example\r\nFrom: no-reply@isp.example\r\n\r\ntext\r\n"
	if string(got) != want || string(r.Fields())+"\r\ntext\r\n" != want {
		t.Errorf("%q, fields %q", got, r.Fields())
	}
	if _, err := one.Message(strings.NewReader("From: " + strings.Repeat("x", maxHead))); err == nil {
		t.Error("a header without end was taken")
	}
}

// Whatever a header holds, one From and one Reply-To are what next hops see.
func FuzzOutgoing(f *testing.F) {
	f.Add([]byte("From: A <a@b.example>\r\nFrom: b\r\nSender: c\r\n\r\ntext"))
	f.Add([]byte("From: \r\n \"x\r\n\r\n"))
	f.Add([]byte("no header"))
	f.Fuzz(func(t *testing.T, message []byte) {
		r, err := one.Message(bytes.NewReader(message))
		if err != nil {
			return
		}
		got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := header.Read(bytes.NewReader(got), 0)
		if err != nil {
			return
		}
		from, _ := b.Get("From")
		if b.Count("From") != 1 || !strings.Contains(from, one.From.String()) || b.Has("DKIM-Signature") {
			t.Fatalf("%q becomes %q", message, got)
		}
		text, _ := io.ReadAll(r.Text())
		if !bytes.HasSuffix(message, text) || !bytes.HasSuffix(got, text) {
			t.Fatalf("the text of %q is %q", message, text)
		}
	})
}
