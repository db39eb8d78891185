package corpus

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"mime/quotedprintable"
	"strings"
)

// Limits of a generated message: how deep parts are nested, and how many there
// are at most.
const (
	generatedDepth = 5
	generatedParts = 25
)

// Generate returns a well-formed MIME message made of choices that rnd makes:
// multiparts and messages inside each other, all transfer encodings, parameters
// cut up as RFC 2231 has it, folded fields, text that looks like a delimiter,
// parts without a header, without a body or without both. Lines have at most 998
// octets and end in CRLF.
func Generate(rnd *rand.Rand) []byte {
	g := &generator{rnd: rnd}
	g.envelope()
	g.entity(1)
	if !bytes.HasSuffix(g.out.Bytes(), []byte("\r\n")) {
		g.out.WriteString("\r\n")
	}
	return g.out.Bytes()
}

type generator struct {
	rnd   *rand.Rand
	out   bytes.Buffer
	parts int
	// boundary is that of the innermost open multipart, for text that resembles it.
	boundary string
}

func (g *generator) chance(percent int) bool { return g.rnd.IntN(100) < percent }

func (g *generator) pick(list ...string) string { return list[g.rnd.IntN(len(list))] }

func (g *generator) field(name, value string) {
	fmt.Fprintf(&g.out, "%s: %s\r\n", name, value)
}

// envelope writes the fields of a message.
func (g *generator) envelope() {
	g.field("From", g.pick("Ann Weaver <ann@example.org>", "ann@example.org", `"Weaver, Ann" <ann@example.org>`))
	g.field("To", g.pick("ben@example.com", "Ben <ben@example.com>,\r\n\tcarl@example.net", "friends: ben@example.com, carl@example.net;"))
	g.field("Subject", g.pick("Plain", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "A long one\r\n that is folded", "=?utf-8?b?R3I=?=\r\n =?utf-8?b?w7zDn2U=?="))
	g.field("Date", fmt.Sprintf("Mon, %d Apr 2024 09:00:00 +0200", 1+g.rnd.IntN(28)))
	g.field("Message-ID", fmt.Sprintf("<%d@example.org>", g.rnd.Uint32()))
	if g.chance(20) {
		g.field("X-Long", strings.Repeat("a folded line of a long field\r\n ", 1+g.rnd.IntN(200))+"end")
	}
	g.field("MIME-Version", "1.0")
}

// entity writes the rest of a header and a body.
func (g *generator) entity(depth int) {
	g.parts++
	open := depth < generatedDepth && g.parts < generatedParts
	switch n := g.rnd.IntN(10); {
	case open && (n < 4 || depth == 1):
		g.multipart(depth)
	case open && n < 6:
		g.common("message/rfc822", "")
		g.out.WriteString("\r\n")
		g.envelope()
		g.entity(depth + 1)
	default:
		g.leaf()
	}
}

// common writes the fields that parts of all kinds can have.
func (g *generator) common(mediaType, params string) {
	g.field("Content-Type", mediaType+params)
	if g.chance(30) {
		g.field("Content-Disposition", g.pick("inline", "attachment", "attachment; filename=plain.txt", "attachment;\r\n filename=\"with blanks.txt\"; size=12",
			"attachment; filename*=utf-8''%e2%82%ac%20rates", "attachment;\r\n\tfilename*0=\"cut in \";\r\n\tfilename*1=\"two.txt\"",
			"attachment; filename*0*=iso-8859-1''gr%FC%DFe;\r\n filename*1=.txt"))
	}
	if g.chance(15) {
		g.field("Content-ID", fmt.Sprintf("<part%d@example.org>", g.parts))
	}
	if g.chance(15) {
		g.field("Content-Description", g.pick("a part", "a part\r\n with a folded description"))
	}
	if g.chance(10) {
		g.field("Content-Language", g.pick("en", "de, en"))
	}
	if g.chance(10) {
		g.field("Content-Location", "http://example.org/part")
	}
}

func (g *generator) multipart(depth int) {
	outer := g.boundary
	boundary := fmt.Sprintf("b%d", g.rnd.IntN(1e6))
	quoted := boundary
	switch g.rnd.IntN(4) {
	case 0:
		boundary += "=_?:/ x'()+"
		quoted = `"` + boundary + `"`
	case 1:
		// The outer one is the beginning of the inner.
		boundary = outer + "-" + boundary
		quoted = `"` + boundary + `"`
	}
	kind := g.pick("mixed", "alternative", "related", "parallel", "digest")
	g.common("multipart/"+kind, ";\r\n boundary="+quoted)
	g.out.WriteString("\r\n")
	if g.chance(30) {
		g.out.WriteString("This is a message in several parts.\r\n")
	}
	g.boundary = boundary
	for range 1 + g.rnd.IntN(4) {
		fmt.Fprintf(&g.out, "--%s\r\n", boundary)
		switch {
		case kind == "digest":
			g.parts++
			g.out.WriteString("\r\n")
			g.envelope()
			g.leaf()
		case g.chance(10):
			g.parts++
			g.out.WriteString("\r\nA part without a header.")
		default:
			g.entity(depth + 1)
		}
		g.out.WriteString("\r\n")
	}
	fmt.Fprintf(&g.out, "--%s--", boundary)
	g.boundary = outer
	if g.chance(30) {
		g.out.WriteString("\r\nAn epilogue.")
	}
}

// leaf writes the header and the body of a part with nothing inside.
func (g *generator) leaf() {
	mediaType := g.pick("text/plain", "text/html", "application/octet-stream", "image/png", "TEXT/Plain")
	params := g.pick("", "; charset=utf-8", "; charset=\"utf-8\";\r\n format=flowed", "; name=\"a \\\"quoted\\\" name\"", ";\r\n name*0*=utf-8''%C3%BCber;\r\n name*1=\" all\"")
	g.common(mediaType, params)
	body := g.text()
	switch g.rnd.IntN(5) {
	case 0:
		g.field("Content-Transfer-Encoding", g.pick("base64", "BASE64"))
		data := make([]byte, g.rnd.IntN(400))
		for i := range data {
			data[i] = byte(g.rnd.Uint32())
		}
		body = wrapped(base64.StdEncoding.EncodeToString(data))
	case 1:
		g.field("Content-Transfer-Encoding", "quoted-printable")
		var b bytes.Buffer
		w := quotedprintable.NewWriter(&b)
		w.Write([]byte(body + "Schöne Grüße, = and trailing \r\n" + strings.Repeat("long ", 50)))
		w.Close()
		body = b.String()
	case 2:
		g.field("Content-Transfer-Encoding", "8bit")
		body += "Schöne Grüße"
	case 3:
		g.field("Content-Transfer-Encoding", "7bit")
	}
	g.out.WriteString("\r\n")
	if g.chance(90) {
		g.out.WriteString(body)
	}
}

// text is some lines; some of them begin as the delimiter does.
func (g *generator) text() string {
	var b strings.Builder
	for range g.rnd.IntN(6) {
		b.WriteString(g.pick("Hello,", "", "a line with a few words", "--", "--"+g.boundary+"x", " --"+g.boundary, "-"+g.boundary,
			"From me to you", ".", strings.Repeat("x", 900), "Subject: not a field") + "\r\n")
	}
	return b.String()
}

func wrapped(s string) string {
	var b strings.Builder
	for len(s) > 76 {
		b.WriteString(s[:76] + "\r\n")
		s = s[76:]
	}
	return b.String() + s
}
