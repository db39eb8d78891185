package structure

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"restante/internal/corpus"
)

// parse gives a message to a parser in pieces of random length, the longest
// of them piece octets; 0 is one piece.
func parse(message []byte, piece int, rnd *rand.Rand) *Message {
	p := NewParser()
	for len(message) > 0 {
		n := len(message)
		if piece > 0 {
			n = min(n, 1+rnd.IntN(piece))
		}
		chunk := bytes.Clone(message[:n]) // the parser must not keep it
		p.Write(chunk)
		clear(chunk)
		message = message[n:]
	}
	return p.Finish()
}

func TestCorpus(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, c := range corpus.Messages() {
		t.Run(c.Name, func(t *testing.T) {
			b := c.Bytes()
			m := parse(b, 0, nil)
			checkSound(t, b, m)
			pieces := []int{1, 2, 7, 100}
			if c.Has(corpus.Large) {
				pieces = []int{64 << 10}
			}
			for _, piece := range pieces {
				if got := parse(b, piece, rnd); !reflect.DeepEqual(got, m) {
					t.Fatalf("in pieces of up to %d octets the structure is another", piece)
				}
			}
		})
	}
}

// checkSound fails the test if m is not a possible structure of the message b,
// or is not the same after it was stored.
func checkSound(t *testing.T, b []byte, m *Message) {
	t.Helper()
	if m.Size != int64(len(b)) || m.Root.HeaderStart != 0 || m.Root.BodyEnd != m.Size {
		t.Fatalf("size %d, root [%d, %d), message of %d", m.Size, m.Root.HeaderStart, m.Root.BodyEnd, len(b))
	}
	checkPart(t, b, m.Root, 1)
	checkNumbers(t, m, m.Root, nil)

	stored := m.Encode()
	back, err := Decode(stored)
	if err != nil {
		t.Fatalf("decoding what was encoded: %v", err)
	}
	if !reflect.DeepEqual(back, m) {
		t.Fatalf("after encoding and decoding:\n%#v\nwant\n%#v", back.Root, m.Root)
	}
	back.Envelope()
	checkBodyStructure(t, back.BodyStructure())
}

func checkPart(t *testing.T, b []byte, p *Part, depth int) {
	t.Helper()
	if p.HeaderStart < 0 || p.BodyStart < p.HeaderStart || p.BodyEnd < p.BodyStart || p.BodyEnd > int64(len(b)) || depth > MaxDepth {
		t.Fatalf("part at depth %d: %d, %d, %d of %d", depth, p.HeaderStart, p.BodyStart, p.BodyEnd, len(b))
	}
	if p.isMultipart() != (len(p.Children) > 0) || p.isMessage() != (p.Embedded != nil) {
		t.Fatalf("%s/%s with %d children, embedded %v", p.Type, p.Subtype, len(p.Children), p.Embedded)
	}
	body := b[p.BodyStart:p.BodyEnd]
	lines := int64(bytes.Count(body, []byte("\n")))
	if len(body) > 0 && body[len(body)-1] != '\n' {
		lines++
	}
	if p.Lines != lines {
		t.Fatalf("%s/%s at %d has %d lines, not %d", p.Type, p.Subtype, p.BodyStart, lines, p.Lines)
	}
	at := p.BodyStart
	for _, c := range p.Children {
		if c.HeaderStart < at || c.BodyEnd > p.BodyEnd {
			t.Fatalf("a part [%d, %d) after %d in a body that ends at %d", c.HeaderStart, c.BodyEnd, at, p.BodyEnd)
		}
		at = c.BodyEnd
		checkPart(t, b, c, depth+1)
	}
	if e := p.Embedded; e != nil {
		if e.HeaderStart != p.BodyStart || e.BodyEnd != p.BodyEnd {
			t.Fatalf("embedded [%d, %d) in [%d, %d)", e.HeaderStart, e.BodyEnd, p.BodyStart, p.BodyEnd)
		}
		checkPart(t, b, e, depth+1)
	}
}

// checkNumbers reaches every part of a message by its number.
func checkNumbers(t *testing.T, m *Message, entity *Part, number []int) {
	t.Helper()
	parts := entity.Children
	if !entity.isMultipart() {
		parts = []*Part{entity}
	}
	for i, p := range parts {
		n := append(number[:len(number):len(number)], i+1)
		if got := m.Part(n); got != p {
			t.Fatalf("part %v is %p, want %p", n, got, p)
		}
		off, end, ok := m.Section(n, imap.PartSpecifierNone)
		if !ok || off != p.BodyStart || end != p.BodyEnd {
			t.Fatalf("section %v: %d, %d, %v", n, off, end, ok)
		}
		switch {
		case p.isMultipart():
			checkNumbers(t, m, p, n)
		case p.Embedded != nil:
			checkNumbers(t, m, p.Embedded, n)
		default:
			if _, _, ok := m.Section(append(n, 1), imap.PartSpecifierNone); ok {
				t.Fatalf("there is something in leaf %v", n)
			}
		}
	}
	beyond := append(number[:len(number):len(number)], len(parts)+1)
	if m.Part(beyond) != nil {
		t.Fatalf("there is a part %v", beyond)
	}
}

// checkBodyStructure holds bs against what go-imap's encoder takes.
func checkBodyStructure(t *testing.T, bs imap.BodyStructure) {
	t.Helper()
	switch bs := bs.(type) {
	case *imap.BodyStructureMultiPart:
		if len(bs.Children) == 0 || bs.Extended == nil || bs.Subtype == "" {
			t.Fatalf("multipart %#v", bs)
		}
		for _, c := range bs.Children {
			checkBodyStructure(t, c)
		}
	case *imap.BodyStructureSinglePart:
		if bs.Extended == nil || bs.Type == "" || bs.Subtype == "" || bs.Type == "multipart" {
			t.Fatalf("part %#v", bs)
		}
		if (bs.MediaType() == "message/rfc822" || bs.MediaType() == "message/global") != (bs.MessageRFC822 != nil) ||
			(bs.Type == "text") != (bs.Text != nil) {
			t.Fatalf("part %s without what belongs to it", bs.MediaType())
		}
		if bs.MessageRFC822 != nil {
			checkBodyStructure(t, bs.MessageRFC822.BodyStructure)
		}
	default:
		t.Fatalf("%T", bs)
	}
}

func FuzzParser(f *testing.F) {
	for _, c := range corpus.Messages() {
		if b := c.Bytes(); len(b) < 4<<10 {
			f.Add(b, uint64(len(b)))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		m := parse(b, 0, nil)
		checkSound(t, b, m)
		rnd := rand.New(rand.NewPCG(seed, 0))
		for _, piece := range []int{1, 3, 50} {
			if !reflect.DeepEqual(parse(b, piece, rnd), m) {
				t.Fatalf("pieces of up to %d octets make a difference", piece)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, c := range corpus.Messages() {
		if b := c.Bytes(); len(b) < 4<<10 {
			f.Add(parse(b, 0, nil).Encode())
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		back, err := Decode(m.Encode())
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("not stable: %v", err)
		}
		m.Envelope()
		checkBodyStructure(t, m.BodyStructure())
		checkNumbers(t, m, m.Root, nil)
	})
}

func BenchmarkParse(b *testing.B) {
	deep := nested(MaxDepth, 4<<10)
	for name, message := range map[string][]byte{
		"4KiB":          corpus.Attachment(2 << 10),
		"10MB":          corpus.Attachment(7_400_000),
		"100 deep":      deep,
		"100 deep, 4MB": nested(MaxDepth, 4<<20),
		"hostile fields": []byte("To: " + strings.Repeat("a", 10_000) + "@" + strings.Repeat(":", 20_000) +
			"\r\nSubject: " + strings.Repeat("=?utf-8?q?x", 3_000) + "\r\n\r\n"),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			for b.Loop() {
				p := NewParser()
				p.Write(message)
				p.Finish().Envelope()
			}
		})
	}
}

// nested returns multiparts one inside another, with text of so many octets,
// in lines that look like delimiters, in the innermost.
func nested(depth, size int) []byte {
	var b bytes.Buffer
	for i := range depth {
		name := strconv.Itoa(i)
		b.WriteString("Content-Type: multipart/mixed; boundary=level" + name + "\r\n\r\n--level" + name + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(bytes.Repeat([]byte("--level\r\n"), size/9))
	return b.Bytes()
}
