package imapd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"restante/internal/corpus"
)

// TestOddMessages has each message of the corpus, stored by APPEND, delivered with
// its structure and delivered without, and looks at all that there is of it.
func TestOddMessages(t *testing.T) {
	for _, m := range corpus.Messages() {
		if m.Has(corpus.Large) {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			b := m.Bytes()
			reader := newMessageReader(t, h.dial())
			reader.say("login", "LOGIN alice secret")
			n := 2
			if len(b) > 0 {
				reader.stored(b)
				n++
			}
			reader.say("select", "SELECT INBOX")
			for _, withStructure := range []bool{true, false} {
				h.deposit("alice", "INBOX", "Return-Path: <bob@example.org>\r\n", string(b), spoolFlags(), withStructure)
				reader.say("told", "NOOP")
				reader.look(append([]byte("Return-Path: <bob@example.org>\r\n"), b...), 32)
			}
			clientReads(t, h, n)
		})
	}
}

// clientReads has go-imap's client read what it can.
func clientReads(t *testing.T, h *house, n int) {
	c := h.client(nil)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	got, err := c.Fetch(imap.UIDSet{{Start: 1}}, &imap.FetchOptions{
		UID: true, Envelope: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, RFC822Size: true,
		BodySection: []*imap.FetchItemBodySection{{}, {Part: []int{1}}, {Part: []int{1}, Specifier: imap.PartSpecifierMIME}},
	}).Collect()
	if err != nil || len(got) != n {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	for _, m := range got {
		if m.Envelope == nil || m.BodyStructure == nil || int64(len(m.FindBodySection(&imap.FetchItemBodySection{}))) != m.RFC822Size {
			t.Errorf("message %d lacks something", m.UID)
		}
	}
}

// FuzzMessages stores any message and looks at all that there is of it.
func FuzzMessages(f *testing.F) {
	for _, m := range corpus.Messages() {
		if b := m.Bytes(); len(b) < 4<<10 {
			f.Add(b)
		}
	}
	h, errs := newQuietHouse(f)
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) == 0 {
			t.Skip("a message of no octets cannot be stored")
		}
		server, client := net.Pipe()
		defer client.Close()
		client.SetDeadline(time.Now().Add(time.Minute))
		ended := h.srv.serveLoggedIn(server, "alice")
		reader := newMessageReader(t, client)
		reader.stored(message)
		reader.say("search", `SEARCH OR TEXT "a b" OR BODY xyz OR FROM a HEADER X-A b`)
		reader.say("sort", "SORT (SUBJECT DISPLAYFROM DISPLAYTO DATE CC) UTF-8 ALL")
		reader.say("thread", "THREAD REFERENCES UTF-8 ALL")
		reader.say("flag", `STORE 1:* +FLAGS.SILENT (\Deleted)`)
		reader.say("close", "CLOSE")
		client.Close()
		<-ended
		if log := errs.String(); log != "" {
			t.Fatalf("errors:\n%s", log)
		}
	})
}

// messageReader is a client that looks at messages, and believes nothing.
type messageReader struct {
	t    *testing.T
	conn net.Conn
	in   responseReader
}

func newMessageReader(t *testing.T, conn net.Conn) *messageReader {
	return &messageReader{t: t, conn: conn, in: responseReader{r: bufio.NewReader(conn)}}
}

// say sends a command, which must be answered with OK, and returns the responses.
func (c *messageReader) say(tag, format string, args ...any) []response {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.conn, tag+" "+format+"\r\n", args...); err != nil {
		c.t.Fatal(err)
	}
	var list []response
	for {
		r, err := c.in.next()
		if err != nil {
			c.t.Fatalf("%s: %v", format, err)
		}
		if strings.HasPrefix(r.line, tag+" ") {
			if !strings.HasPrefix(r.line, tag+" OK") {
				c.t.Fatalf("%s: %s", format, r.line)
			}
			return list
		}
		list = append(list, r)
	}
}

// fetch fetches items of the last message.
func (c *messageReader) fetch(items string) map[string]any {
	c.t.Helper()
	for _, r := range c.say("fetch", "FETCH * (%s)", items) {
		if got, ok := r.fetched(); ok {
			return got
		}
		c.t.Fatalf("FETCH %s: %s", items, r.line)
	}
	c.t.Fatalf("FETCH %s: nothing", items)
	return nil
}

// stored appends a message and looks at it.
func (c *messageReader) stored(message []byte) {
	c.t.Helper()
	fmt.Fprintf(c.conn, "append APPEND INBOX {%d+}\r\n", len(message))
	c.conn.Write(message)
	io.WriteString(c.conn, "\r\n")
	for {
		r, err := c.in.next()
		if err != nil {
			c.t.Fatal(err)
		}
		if strings.HasPrefix(r.line, "append OK") {
			break
		}
	}
	c.say("select", "SELECT INBOX")
	c.look(message, 0)
}

// look looks at the last message, whose octets are given, of which so many are in
// front of what was delivered.
func (c *messageReader) look(whole []byte, prefix int) {
	c.t.Helper()
	got := c.fetch("UID FLAGS INTERNALDATE SAVEDATE RFC822.SIZE PREVIEW ENVELOPE BODY BODYSTRUCTURE BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT]")
	if err := checkEnvelope(got["ENVELOPE"]); err != nil {
		c.t.Error(err)
	}
	if _, err := checkBody(got["BODY"], nil, false); err != nil {
		c.t.Error(err)
	}
	parts, err := checkBody(got["BODYSTRUCTURE"], nil, true)
	if err != nil {
		c.t.Fatal(err)
	}
	if !bytes.Equal(whole, octetsOf(got["BODY[]"])) || got["RFC822.SIZE"] != any(atom(number(int64(len(whole))))) {
		c.t.Fatalf("BODY[] is %q\nwant %q, and %v", got["BODY[]"], whole, got["RFC822.SIZE"])
	}
	head := octetsOf(got["BODY[HEADER]"])
	if both := append(bytes.Clone(head), octetsOf(got["BODY[TEXT]"])...); !bytes.Equal(both, whole) {
		c.t.Errorf("HEADER and TEXT are %q\nwant %q", both, whole)
	}
	c.partial("", whole)
	c.partial("TEXT", octetsOf(got["BODY[TEXT]"]))
	// More would be slow when it is fuzzed.
	for _, p := range parts[:min(len(parts), 20)] {
		c.part(p, whole)
	}
}

func octetsOf(v any) []byte {
	s, _ := v.(text)
	return []byte(s)
}

// part looks at the sections of a part.
func (c *messageReader) part(p bodyPart, whole []byte) {
	c.t.Helper()
	n := strings.Trim(strings.ReplaceAll(fmt.Sprint(p.number), " ", "."), "[]")
	items := fmt.Sprintf("BODY.PEEK[%s] BODY.PEEK[%s.MIME] BODY.PEEK[%s.HEADER] BODY.PEEK[%s.TEXT] BODY.PEEK[%s.HEADER.FIELDS (Subject)]", n, n, n, n, n)
	switch p.encoding {
	case "", "7bit", "8bit", "binary", "base64", "quoted-printable":
		items += fmt.Sprintf(" BINARY.SIZE[%s] BINARY.PEEK[%s]", n, n)
	}
	got := c.fetch(items)
	body := octetsOf(got["BODY["+n+"]"])
	mime := octetsOf(got["BODY["+n+".MIME]"])
	switch {
	case p.size >= 0 && p.size != len(body):
		c.t.Errorf("part %s has %d octets, and %d by its structure", n, len(body), p.size)
	case !bytes.Contains(whole, append(bytes.Clone(mime), body...)):
		c.t.Errorf("part %s is not in the message: %q %q", n, mime, body)
	case p.message && !bytes.Equal(body, append(octetsOf(got["BODY["+n+".HEADER]"]), octetsOf(got["BODY["+n+".TEXT]"])...)):
		c.t.Errorf("HEADER and TEXT of the message in part %s are not all of it", n)
	}
	if size, has := got["BINARY.SIZE["+n+"]"]; has && size != any(atom(number(int64(len(octetsOf(got["BINARY["+n+"]"])))))) {
		c.t.Errorf("BINARY.SIZE of part %s is %v, and BINARY has %d octets", n, size, len(octetsOf(got["BINARY["+n+"]"])))
	}
	c.partial(n, body)
}

// partial fetches pieces of a section.
func (c *messageReader) partial(section string, want []byte) {
	c.t.Helper()
	n := len(want)
	for _, at := range [][2]int{{0, 1}, {0, n + 1}, {n / 2, 3}, {max(0, n-1), 5}, {n, 1}, {31, 4}} {
		low, high := min(at[0], n), min(at[0]+at[1], n)
		got := c.fetch(fmt.Sprintf("BODY.PEEK[%s]<%d.%d>", section, at[0], at[1]))
		if piece := octetsOf(got[fmt.Sprintf("BODY[%s]<%d>", section, at[0])]); !bytes.Equal(piece, want[low:high]) {
			c.t.Errorf("BODY[%s]<%d.%d> is %q, want %q", section, at[0], at[1], piece, want[low:high])
		}
	}
}
