package preview

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"restante/internal/structure"
)

func previewOf(t *testing.T, message string) string {
	t.Helper()
	message = strings.ReplaceAll(message, "\n", "\r\n")
	p := structure.NewParser()
	io.WriteString(p, message)
	got, err := Make(p.Finish().Root, func(p *structure.Part) (io.Reader, error) {
		return strings.NewReader(message[p.BodyStart:p.BodyEnd]), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestMake(t *testing.T) {
	const mixed = "Content-Type: multipart/mixed; boundary=m\n\n"
	const alternative = "Content-Type: multipart/alternative; boundary=a\n\n"
	plain := func(s string) string { return "Content-Type: text/plain\n\n" + s + "\n" }
	htm := func(s string) string { return "Content-Type: text/html\n\n" + s + "\n" }
	long := strings.Repeat("word ", 100)
	for _, c := range []struct{ name, message, want string }{
		{"plain", "Subject: s\n\nHello,\n\n  this is\ta text.\n", "Hello, this is a text."},
		{"empty", "Subject: s\n\n", ""},
		{"white space alone", "Subject: s\n\n \n\t\n", ""},
		{"signature", plain("Yes.\n-- \nBob"), "Yes."},
		{"signature alone", plain("-- \nBob"), "-- Bob"},
		{"quotation", plain("> Will you?\n>> Please\nYes."), "Yes."},
		{"long", plain(long), strings.TrimSpace(long[:Length])},
		{"letters are not cut", plain(strings.Repeat("日", 300)), strings.Repeat("日", Length)},
		{"invisible", plain("a\u200b\u00adb\ufeff\xff"), "ab"},
		{"html", htm("<html><head><title>T</title><style>p {x}</style></head><body><p>Hello <b>w</b>orld</p>&amp;<br>more<script>bad()</script>"), "Hello world & more"},
		{"broken html", htm("<p>text <b unfinished"), "text"},
		{"comment", htm("<!-- no --><p>text"), "text"},
		{"alternative", alternative + "--a\n" + htm("<p>html</p>") + "--a\n" + plain("plain") + "--a--\n", "plain"},
		{"alternative without words", alternative + "--a\n" + plain(" ") + "--a\n" + htm("<p>html</p>") + "--a--\n", "html"},
		{"mixed", mixed + "--m\n" + htm("<p>first") + "--m\n" + plain("second") + "--m--\n", "first"},
		{"attachments", mixed + "--m\nContent-Disposition: attachment\n" + plain("no") + "--m\nContent-Type: image/png\n\nxyz\n--m\n" + plain("yes") + "--m--\n", "yes"},
		{"no text", "Content-Type: image/png\n\nxyz\n", ""},
		{"alternative in mixed", mixed + "--m\n" + alternative + "--a\n" + htm("<p>html</p>") + "--a\n" + plain("plain") + "--a--\n--m\n" + plain("last") + "--m--\n", "plain"},
	} {
		if got := previewOf(t, c.message); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestBounded: however long a text without words is, reading ends.
func TestBounded(t *testing.T) {
	for _, subtype := range []string{"plain", "html"} {
		read := 0
		endless := readFunc(func(p []byte) (int, error) {
			for i := range p {
				p[i] = ' '
			}
			read += len(p)
			return len(p), nil
		})
		root := &structure.Part{Type: "text", Subtype: subtype}
		got, err := Make(root, func(*structure.Part) (io.Reader, error) { return endless, nil })
		if got != "" || err != nil || read > maxHTML+maxToken {
			t.Errorf("%s: %q, %v, %d octets read", subtype, got, err, read)
		}
	}
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestErrors(t *testing.T) {
	bad := errors.New("bad")
	for _, subtype := range []string{"plain", "html"} {
		root := &structure.Part{Type: "text", Subtype: subtype}
		if _, err := Make(root, func(*structure.Part) (io.Reader, error) { return iotest.ErrReader(bad), nil }); !errors.Is(err, bad) {
			t.Errorf("%s: %v", subtype, err)
		}
		if _, err := Make(root, func(*structure.Part) (io.Reader, error) { return nil, bad }); !errors.Is(err, bad) {
			t.Errorf("%s: %v", subtype, err)
		}
	}
}

func FuzzMake(f *testing.F) {
	f.Add("plain", "text\n> quoted\n-- \nend")
	f.Add("html", "<p>x<style>y</style>&lt;<br/>")
	f.Fuzz(func(t *testing.T, subtype, text string) {
		got, err := Make(&structure.Part{Type: "text", Subtype: subtype}, func(*structure.Part) (io.Reader, error) { return strings.NewReader(text), nil })
		if err != nil || utf8.RuneCountInString(got) > Length || !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x00") {
			t.Errorf("%q, %v", got, err)
		}
	})
}
