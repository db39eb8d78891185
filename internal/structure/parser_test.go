package structure

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// sketch draws a part: its type, and the body of a leaf or what is inside.
func sketch(b []byte, p *Part) string {
	switch {
	case p.Embedded != nil:
		return fmt.Sprintf("%s/%s(%s)", p.Type, p.Subtype, sketch(b, p.Embedded))
	case p.isMultipart():
		var inside []string
		for _, c := range p.Children {
			inside = append(inside, sketch(b, c))
		}
		return p.Subtype + "[" + strings.Join(inside, " ") + "]"
	}
	return fmt.Sprintf("%s/%s{%s}", p.Type, p.Subtype, b[p.BodyStart:p.BodyEnd])
}

const (
	mixed = "Content-Type: multipart/mixed; boundary=b\n\n"
	alt   = "Content-Type: multipart/alternative; boundary=c\n\n"
	html  = "Content-Type: text/html\n\n"
	msg   = "Content-Type: message/rfc822\n\n"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", "text/plain{}"},
		{"only an empty line", "\n", "text/plain{}"},
		{"header only", "Subject: x\n", "text/plain{}"},
		{"header without line end", "Subject: x", "text/plain{}"},
		{"plain", "Subject: x\n\nbody\n", "text/plain{body\n}"},
		{"no header", "Just text.\nA: b\n\nmore", "text/plain{Just text.\nA: b\n\nmore}"},
		{"no header, continuation", " Just text.\n", "text/plain{ Just text.\n}"},
		{"mbox line", "From x Mon\n" + html + "b", "text/html{b}"},
		{"quoted mbox line", ">From x Mon\n" + html + "b", "text/html{b}"},
		{"line without colon", "Subject: x\nno colon\n" + html + "b", "text/html{b}"},
		{"type unreadable", "Content-Type: nonsense\n\nb", "text/plain{b}"},
		{"type without subtype", "Content-Type: text/; charset=x\n\nb", "text/plain{b}"},
		{"type with spaces", "Content-Type:  TEXT/HTML ; charset=x\n\nb", "text/html{b}"},
		{"type without semicolon", "Content-Type: text/html charset=x\n\nb", "text/html{b}"},
		{"first type counts", "Content-Type: text/html\nContent-Type: text/css\n\nb", "text/html{b}"},
		{"dashes without boundary", "Subject: x\n\n--b\n--b--\n", "text/plain{--b\n--b--\n}"},

		{"two parts", mixed + "pre\n--b\n\none\n--b\n" + html + "two\n\n--b--\npost\n", "mixed[text/plain{one} text/html{two\n}]"},
		{"empty parts", mixed + "--b\n--b\n\n--b\n\n\n--b--", "mixed[text/plain{} text/plain{} text/plain{}]"},
		{"part without header", mixed + "--b\ntext here\nx: y\n--b--", "mixed[text/plain{text here\nx: y}]"},
		{"part header cut off", mixed + "--b\nContent-Type: text/html\n--b--", "mixed[text/html{}]"},
		{"part header and empty line", mixed + "--b\n" + html + "--b--", "mixed[text/html{}]"},
		{"never closed", mixed + "--b\n\none\n--b\n\ntwo\n", "mixed[text/plain{one} text/plain{two\n}]"},
		{"delimiter at the end", mixed + "--b\n\none\n--b", "mixed[text/plain{one} text/plain{}]"},
		{"delimiter without line end", mixed + "--b\n\none\n--b--", "mixed[text/plain{one}]"},
		{"only closed", mixed + "--b--\n", "mixed[text/plain{}]"},
		{"no delimiter", mixed + "shown\n--x\n", "mixed[text/plain{shown\n--x\n}]"},
		{"no body", strings.TrimSuffix(mixed, "\n"), "mixed[text/plain{}]"},
		{"no boundary", "Content-Type: multipart/mixed\n\n--\ntext\n----\n", "mixed[text/plain{--\ntext\n----\n}]"},
		{"empty boundary", "Content-Type: multipart/mixed; boundary=\"\"\n\n--\ntext\n----\n", "mixed[text/plain{--\ntext\n----\n}]"},
		{"after the close", mixed + "--b\n\none\n--b--\n--b\n\ntwo\n", "mixed[text/plain{one}]"},
		{"prefix is no delimiter", mixed + "--b\n\none\n--bb\n--b-\n-b\n--b--x\n--b--", "mixed[text/plain{one\n--bb\n--b-\n-b\n--b--x}]"},
		{"white space behind", mixed + "--b \t\n\none\n--b--  \n", "mixed[text/plain{one}]"},
		{"not at a line's start", mixed + "--b\n\none --b\n --b\n--b--", "mixed[text/plain{one --b\n --b}]"},
		{"boundary that ends in dashes", "Content-Type: multipart/mixed; boundary=\"b--\"\n\n--b--\n\none\n--b----", "mixed[text/plain{one}]"},
		{"boundary with spaces", "Content-Type: multipart/mixed; boundary=\"a b  \"\n\n--a b\n\none\n--a b--", "mixed[text/plain{one}]"},
		{"boundary of another case", mixed + "--B\n\none\n--B--", "mixed[text/plain{--B\n\none\n--B--}]"},

		{"nested", mixed + "--b\n" + alt + "--c\n\none\n--c\n" + html + "two\n--c--\n\n--b\n\nthree\n--b--", "mixed[alternative[text/plain{one} text/html{two}] text/plain{three}]"},
		{"inner never closed", mixed + "--b\n" + alt + "--c\n\none\n--b\n\ntwo\n--b--", "mixed[alternative[text/plain{one}] text/plain{two}]"},
		{"outer closes all", mixed + "--b\n" + alt + "--c\n\none\n--b--\n--c\n\nno", "mixed[alternative[text/plain{one}]]"},
		{"inner after its close", mixed + "--b\n" + alt + "--c\n\none\n--c--\n--c\n\nno\n--b--", "mixed[alternative[text/plain{one}]]"},
		{"same boundary", mixed + "--b\n" + mixed + "--b\n\none\n--b--\n--b\n\ntwo\n--b--", "mixed[mixed[text/plain{one}] text/plain{two}]"},
		{"multipart cut off in its header", mixed + "--b\nContent-Type: multipart/alternative; boundary=c\n--b--", "mixed[alternative[text/plain{}]]"},

		{"message", msg + "Subject: in\n" + html + "b", "message/rfc822(text/html{b})"},
		{"message in multipart", mixed + "--b\n" + msg + html + "in\n--b--", "mixed[message/rfc822(text/html{in})]"},
		{"message with only a header", mixed + "--b\n" + msg + html + "--b--", "mixed[message/rfc822(text/html{})]"},
		{"message cut off in its header", mixed + "--b\n" + msg + "Subject: x\n--b--", "mixed[message/rfc822(text/plain{})]"},
		{"empty message", mixed + "--b\n" + msg + "--b--", "mixed[message/rfc822(text/plain{})]"},
		{"message without a header", msg + "only text\n", "message/rfc822(text/plain{only text\n})"},
		{"message in a message", msg + msg + msg + "x: y\n\nb", "message/rfc822(message/rfc822(message/rfc822(text/plain{b})))"},
		{"multipart in a message", msg + mixed + "--b\n\none\n--b--", "message/rfc822(mixed[text/plain{one}])"},
		{"global message", "Content-Type: message/global\n\nSubject: x\n\nb", "message/global(text/plain{b})"},
		{"digest", "Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: x\n\none\n--d\n" + html + "two\n--d\n\nno header\n--d--", "digest[message/rfc822(text/plain{one}) text/html{two} message/rfc822(text/plain{no header})]"},
		{"digest is not handed down", "Content-Type: multipart/digest; boundary=d\n\n--d\n" + mixed + "--b\n\none\n--b--\n--d--", "digest[mixed[text/plain{one}]]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, eol := range []string{"\n", "\r\n"} {
				in := []byte(strings.ReplaceAll(c.in, "\n", eol))
				m := parse(in, 0, nil)
				checkSound(t, in, m)
				if got, want := sketch(in, m.Root), strings.ReplaceAll(c.want, "\n", eol); got != want {
					t.Errorf("got  %q\nwant %q", got, want)
				}
			}
		})
	}
}

// A field is found however much header there is before it, as long as what is
// kept stays below the limit; and the offsets are right in any case.
func TestHugeHeaders(t *testing.T) {
	for _, c := range []struct{ name, junk, subject string }{
		{"many fields", strings.Repeat("X-Junk: "+strings.Repeat("j", 60)+"\r\n", 50_000), "found"},
		{"one line", "X-Junk: " + strings.Repeat("j", 3<<20) + "\r\n", "found"},
		{"one folded field", "X-Junk: j\r\n" + strings.Repeat("\t"+strings.Repeat("j", 60)+"\r\n", 50_000), "found"},
		{"kept fields", "To: a@b\r\n" + strings.Repeat("\t,c@d\r\n", 50_000), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := []byte("From: a@b\r\n" + c.junk + "Subject: found\r\n\r\nbody\r\n")
			m := parse(in, 0, nil)
			checkSound(t, in, m)
			if got := sketch(in, m.Root); got != "text/plain{body\r\n}" {
				t.Errorf("structure %q", got)
			}
			if got := m.Root.Envelope.Subject; got != c.subject {
				t.Errorf("subject %q", got)
			}
			if len(m.Encode()) > 2*MaxHeader {
				t.Errorf("encoded in %d octets", len(m.Encode()))
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Run("depth", func(t *testing.T) {
		in := nested(3*MaxDepth, 100)
		m := parse(in, 0, nil)
		checkSound(t, in, m)
		depth, p := 1, m.Root
		for ; p.isMultipart(); depth++ {
			p = p.Children[0]
		}
		if depth != MaxDepth || p.Type != "application" || p.BodyEnd != m.Size {
			t.Errorf("%s/%s at depth %d, to %d of %d", p.Type, p.Subtype, depth, p.BodyEnd, m.Size)
		}
	})
	t.Run("depth of messages", func(t *testing.T) {
		in := []byte(strings.Repeat(msg, 3*MaxDepth))
		m := parse(in, 0, nil)
		checkSound(t, in, m)
	})
	t.Run("parts", func(t *testing.T) {
		in := []byte(mixed + strings.Repeat("--b\n\nx\n", 5*MaxParts) + "--b--\nepilogue")
		m := parse(in, 0, nil)
		checkSound(t, in, m)
		parts := m.Root.Children
		last := parts[len(parts)-1]
		if len(parts) != MaxParts || last.Type != "application" || !bytes.HasSuffix(in[:last.BodyEnd], []byte("x")) ||
			int64(len(in))-last.BodyEnd != int64(len("\n--b--\nepilogue")) {
			t.Errorf("%d parts, the last %s/%s to %d of %d", len(parts), last.Type, last.Subtype, last.BodyEnd, m.Size)
		}
	})
	t.Run("parts in parts", func(t *testing.T) {
		in := []byte(mixed + "--b\n" + alt + strings.Repeat("--c\n\nx\n", 2*MaxParts) + "--c--\n--b\n\nafter\n--b\n\nmore\n--b--")
		m := parse(in, 0, nil)
		checkSound(t, in, m)
		if got := sketch(in, m.Root.Children[1]); got != "application/octet-stream{\nafter\n--b\n\nmore}" {
			t.Errorf("after the limit: %q", got)
		}
	})
	t.Run("kept", func(t *testing.T) {
		part := "--b\nContent-Type: text/plain; name=" + strings.Repeat("n", 20_000) + "\n\nx\n"
		in := []byte(mixed + strings.Repeat(part, 500) + "--b--")
		m := parse(in, 0, nil)
		checkSound(t, in, m)
		if n := len(m.Encode()); n > MaxKept+MaxParts*100 || len(m.Root.Children) != 500 {
			t.Errorf("%d parts encoded in %d octets", len(m.Root.Children), n)
		}
	})
	t.Run("kept of envelopes", func(t *testing.T) {
		part := "--b\n" + msg + "To: " + strings.Repeat("a,", 20_000) + "\n\nx\n"
		in := []byte(mixed + strings.Repeat(part, 100) + "--b--")
		m := parse(in, 0, nil)
		checkSound(t, in, m)
		if n := len(m.Encode()); n > MaxKept+MaxParts*100 {
			t.Errorf("encoded in %d octets", n)
		}
	})
	t.Run("boundary", func(t *testing.T) {
		for n, want := range map[int]int{70: 2, 71: 2, maxBoundary: 2, maxBoundary + 1: 1} {
			long := strings.Repeat("x", n)
			in := []byte("Content-Type: multipart/mixed; boundary=" + long + "\n\n--" + long + "\n\na\n--" + long + "\n\nb\n--" + long + "--\n")
			if m := parse(in, 0, nil); len(m.Root.Children) != want {
				t.Errorf("a boundary of %d: %d parts", n, len(m.Root.Children))
			}
		}
		// White space at its end is none of it (RFC 2046 section 5.1.1).
		if m := parse([]byte("Content-Type: multipart/mixed; boundary=\"x \"\n\n--x\n\na\n--x \n\nb\n--x--\n"), 0, nil); len(m.Root.Children) != 2 {
			t.Errorf("a boundary with a blank at its end: %d parts", len(m.Root.Children))
		}
	})
}

func TestPartAttributes(t *testing.T) {
	in := []byte(strings.ReplaceAll(`Content-Type: application/PDF; Name="a \"b\".pdf"
Content-Transfer-Encoding: BASE64 (mostly)
Content-ID: <id@x>
Content-Description: =?utf-8?Q?=C3=A4?=
 folded
Content-MD5: abc==
Content-Disposition: Attachment; FILENAME=x.pdf; size=3
Content-Language: en, DE
Content-Location: http://x/

`, "\n", "\r\n"))
	p := parse(in, 0, nil).Root
	got := fmt.Sprintf("%s %s %q %s %s %s %s %s %q %q %s", p.Type, p.Subtype, p.Params, p.Encoding, p.ID, p.Description, p.MD5, p.Disposition, p.DispositionParams, p.Language, p.Location)
	want := `application pdf [{"name" "a \"b\".pdf"}] base64 <id@x> =?utf-8?Q?=C3=A4?= folded abc== attachment [{"filename" "x.pdf"} {"size" "3"}] ["en" "de"] http://x/`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
