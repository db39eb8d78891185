package sevenbit

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
)

func convert(t *testing.T, s string) (string, error) {
	t.Helper()
	m, err := New(strings.NewReader(s), int64(len(s)))
	if err != nil {
		return "", err
	}
	var first, second bytes.Buffer
	n, err := m.WriteTo(&first)
	if err != nil || n != int64(first.Len()) {
		t.Fatalf("%d octets, %v", n, err)
	}
	if _, err := m.WriteTo(&second); err != nil || second.String() != first.String() {
		t.Fatalf("written twice it differs: %v", err)
	}
	return first.String(), nil
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func TestConvert(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing to do", "Subject: x\nContent-Transfer-Encoding: 8bit\n\nhello\n", "Subject: x\nContent-Transfer-Encoding: 8bit\n\nhello\n"},
		{"8-bit header alone", "Subject: ü\n\nhello\n", "Subject: ü\n\nhello\n"},
		{"text", "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\nSubject: x\n\ngrün=1 \nab\n",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\nSubject: x\n\ngr=C3=BCn=3D1=20\nab\n"},
		{"no MIME", "Subject: x\n\nü", "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC"},
		{"folded encoding, twice", "MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding:\n 8bit\nX: y\nContent-Transfer-Encoding: 8bit\n\nü\n",
			"MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\nX: y\n\n=C3=BC\n"},
		{"octets", "MIME-Version: 1.0\nContent-Type: image/x\nContent-Transfer-Encoding: 8bit\n\nü\n", "MIME-Version: 1.0\nContent-Type: image/x\nContent-Transfer-Encoding: base64\n\nw7wNCg=="},
		{"multipart", `MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b
Content-Transfer-Encoding: 8bit

preamble
--b

plain
--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

grün
--b
Content-Type: message/rfc822
Content-Transfer-Encoding: 8bit

Subject: inner
Content-Type: text/plain; charset=utf-8
MIME-Version: 1.0

ä
--b--
epilogue
`, `MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b
Content-Transfer-Encoding: 7bit

preamble
--b

plain
--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

gr=C3=BCn
--b
Content-Type: message/rfc822
Content-Transfer-Encoding: 7bit

Subject: inner
Content-Type: text/plain; charset=utf-8
MIME-Version: 1.0
Content-Transfer-Encoding: quoted-printable

=C3=A4
--b--
epilogue
`},
		{"signed, in ASCII", "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/signed; boundary=b\n\n--b\n\nx\n--b--\n--a\nContent-Type: text/plain\n\nü\n--a--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\nContent-Transfer-Encoding: 7bit\n\n--a\nContent-Type: multipart/signed; boundary=b\n\n--b\n\nx\n--b--\n--a\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n--a--\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := convert(t, crlf(c.in))
			if err != nil || got != crlf(c.want) {
				t.Errorf("%v\ngot  %q\nwant %q", err, got, crlf(c.want))
			}
		})
	}
}

func TestCannot(t *testing.T) {
	for name, in := range map[string]string{
		"signed":        "MIME-Version: 1.0\nContent-Type: multipart/signed; boundary=b\n\n--b\nContent-Type: text/plain\n\nü\n--b--\n",
		"encoded":       "MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\nü\n",
		"international": "MIME-Version: 1.0\nContent-Type: message/global\n\nSubject: x\n\nü\n",
		"without parts": "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\nü\n",
		"in pieces":     "MIME-Version: 1.0\nContent-Type: message/partial; id=1; number=1\n\nü\n",
	} {
		if got, err := convert(t, crlf(in)); !errors.Is(err, ErrCannot) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	broken := errors.New("input/output error")
	if _, err := New(failing{broken}, 100); !errors.Is(err, broken) || errors.Is(err, ErrCannot) {
		t.Errorf("a body that cannot be read: %v", err)
	}
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

// TestReadsTheSame: who decodes the parts has what was in them.
func TestReadsTheSame(t *testing.T) {
	in := crlf("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n\n" +
		strings.Repeat("größer als zuvor, und länger als eine Zeile sein darf: ", 40) + "\n--b--\n")
	got, err := convert(t, in)
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string, decode bool) string {
		m, err := mail.ReadMessage(strings.NewReader(s))
		if err != nil {
			t.Fatal(err)
		}
		_, params, _ := mime.ParseMediaType(m.Header.Get("Content-Type"))
		part, err := multipart.NewReader(m.Body, params["boundary"]).NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		var r io.Reader = part
		if decode {
			r = quotedprintable.NewReader(part)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if text(got, true) != text(in, false) {
		t.Errorf("got %q", text(got, true))
	}
	for line := range strings.Lines(got) {
		if len(line) > 78 {
			t.Errorf("a line of %d octets", len(line))
		}
	}
}

// FuzzConvert: bodies have 7 bits, what had them already is untouched, and
// nothing is converted twice.
func FuzzConvert(f *testing.F) {
	f.Add([]byte("Subject: x\r\n\r\n\xfc"))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nContent-Type: image/x\r\n\r\n\xff\r\n--b--"))
	f.Add([]byte("Content-Transfer-Encoding: 8bit\n\xff\n\nContent-Transfer-Encoding: 8bit\r\n\r\n\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := convert(t, string(data))
		if err != nil {
			if !errors.Is(err, ErrCannot) {
				t.Fatal(err)
			}
			return
		}
		ascii := !bytes.ContainsFunc(data, func(r rune) bool { return r >= 0x80 })
		if ascii && got != string(data) {
			t.Fatalf("%q became %q", data, got)
		}
		m, err := New(strings.NewReader(got), int64(len(got)))
		if err != nil {
			t.Fatalf("%q became %q, which cannot be converted: %v", data, got, err)
		}
		if len(m.tasks) > 0 {
			t.Fatalf("%q became %q, which has 8 bits", data, got)
		}
	})
}

func TestWithoutNUL(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing to do", "Subject: ü\n\nü\n", "Subject: ü\n\nü\n"},
		{"octets", "Content-Type: image/x\nContent-Transfer-Encoding: binary\n\na\x00b", "Content-Type: image/x\nContent-Transfer-Encoding: base64\nMIME-Version: 1.0\n\nYQBi"},
		{"no MIME", "Subject: x\n\n\x00", "Subject: x\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\nAA=="},
		{"one part of several", `MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b
Content-Transfer-Encoding: binary

--b
Content-Transfer-Encoding: binary

grün
--b
Content-Type: message/rfc822
Content-Transfer-Encoding: binary

Subject: inner
Content-Transfer-Encoding: binary

` + "a\x00b" + `
--b--
`, `MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b
Content-Transfer-Encoding: binary

--b
Content-Transfer-Encoding: binary

grün
--b
Content-Type: message/rfc822
Content-Transfer-Encoding: binary

Subject: inner
Content-Transfer-Encoding: base64

YQBi
--b--
`},
	} {
		in := crlf(c.in)
		m, err := WithoutNUL(strings.NewReader(in), int64(len(in)))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var out strings.Builder
		if n, err := m.WriteTo(&out); out.String() != crlf(c.want) || n != int64(out.Len()) || err != nil {
			t.Errorf("%s: %d octets, %v\n%s\nwant\n%s", c.name, n, err, out.String(), c.want)
		}
	}
	for name, in := range map[string]string{
		"header":          "Subject: \x00\n\nx\n",
		"header and body": "Subject: \x00\n\n\x00\n",
		"preamble":        "Content-Type: multipart/mixed; boundary=b\n\n\x00\n--b\n\nx\n--b--\n",
		"epilogue":        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n\x00",
		"encoded part":    "Content-Transfer-Encoding: base64\n\nAA==\x00\n",
		"signed":          "Content-Type: multipart/signed; boundary=b\n\n--b\n\n\x00\n--b\n\nx\n--b--\n",
		"piece":           "Content-Type: message/partial; id=x; number=1\n\n\x00\n",
	} {
		in = crlf(in)
		if _, err := WithoutNUL(strings.NewReader(in), int64(len(in))); !errors.Is(err, ErrCannot) {
			t.Errorf("%s: %v, want ErrCannot", name, err)
		}
	}
	failed := errors.New("broken")
	if _, err := WithoutNUL(failing{failed}, 10); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}
