// Package corpus holds messages of the kinds that really occur, written for the
// tests: each shall go in by SMTP and come out by IMAP unharmed, and no parser
// may stumble over one. Only tests import it.
//
// The messages are files, testdata/NAME.eml, with CRLF line ends, but for the
// large one, which is generated. Those tagged LocalOnly cannot be sent by SMTP
// (RFC 5321 section 2.3.8) and are for parsers alone.
package corpus

import (
	"bytes"
	"embed"
	"io"
	"slices"
	"strings"
)

//go:embed testdata/*.eml
var files embed.FS

// Tag says what is special about a message.
type Tag uint8

// The tags. All but Broken are found out from the message itself.
const (
	// LocalOnly: bare LF, bare CR or NUL; not to be sent by SMTP.
	LocalOnly Tag = 1 << iota
	// EightBit: octets above 127 somewhere; needs 8BITMIME.
	EightBit
	// EightBitHeader: such octets in the header; by the book SMTPUTF8.
	EightBitHeader
	// LongLine: a line of more than 998 octets (RFC 5322 section 2.1.1).
	LongLine
	// NoFinalNewline: the last line has no CRLF. DATA adds it; BDAT does not.
	NoFinalNewline
	// Large: more than a megabyte.
	Large
	// Broken: against RFC 5322 or MIME in a way that parsers read differently.
	Broken
)

// Message is one message of the corpus.
type Message struct {
	// Name is the file's name without its ending.
	Name string
	Tags Tag
	load func() []byte
}

// Has tells whether the message has any of the tags.
func (m Message) Has(t Tag) bool { return m.Tags&t != 0 }

// Bytes returns the message. The slice is the caller's.
func (m Message) Bytes() []byte { return m.load() }

// Open returns a reader of the message.
func (m Message) Open() io.ReadSeeker { return bytes.NewReader(m.load()) }

// Messages returns all messages, by name.
func Messages() []Message {
	entries, err := files.ReadDir("testdata")
	if err != nil {
		panic(err) // it is compiled in
	}
	all := []Message{{
		Name: "attachment-20-megabytes",
		Tags: Large,
		load: func() []byte { return Attachment(20 << 20) },
	}}
	for _, e := range entries {
		m := Message{Name: strings.TrimSuffix(e.Name(), ".eml"), load: func() []byte {
			b, err := files.ReadFile("testdata/" + e.Name())
			if err != nil {
				panic(err) // it is compiled in
			}
			return b
		}}
		m.Tags = tags(m.Bytes())
		if strings.HasPrefix(m.Name, "local-") || slices.Contains(broken(), m.Name) {
			m.Tags |= Broken
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Message) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Sendable returns the messages that can be sent by SMTP.
func Sendable() []Message {
	return slices.DeleteFunc(Messages(), func(m Message) bool { return m.Has(LocalOnly) })
}

// broken names the messages whose structure is a matter of opinion.
func broken() []string {
	return []string{
		"broken-mime", "broken-parameters", "colonless-lines", "duplicate-headers",
		"mbox-from-line", "multipart-empty", "multipart-no-body",
		"multipart-no-boundary-parameter", "multipart-unterminated", "multipart-wrong-boundary",
		"nested-identical-boundaries", "no-header-no-separator", "odd-addresses",
		"space-before-colon", "white-folding-line",
	}
}

func tags(b []byte) (t Tag) {
	eight := func(b []byte) bool {
		return slices.ContainsFunc(b, func(c byte) bool { return c >= 0x80 })
	}
	if eight(b) {
		t |= EightBit
	}
	if head, _, _ := bytes.Cut(b, []byte("\r\n\r\n")); eight(head) {
		t |= EightBitHeader
	}
	text := bytes.ReplaceAll(b, []byte("\r\n"), nil)
	if bytes.ContainsAny(text, "\r\n\x00") {
		t |= LocalOnly
	}
	if len(b) > 0 && !bytes.HasSuffix(b, []byte("\r\n")) {
		t |= NoFinalNewline
	}
	for line := range bytes.SplitSeq(b, []byte("\r\n")) {
		if len(line) > 998 {
			t |= LongLine
		}
	}
	return t
}
