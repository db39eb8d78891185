package remote

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/relay"
)

// babbler is a next hop that says what it was told to say, whatever it hears.
type babbler struct {
	net.Conn
	says  *bytes.Reader
	heard bytes.Buffer
}

func (b *babbler) Read(p []byte) (int, error)       { return b.says.Read(p) }
func (b *babbler) Write(p []byte) (int, error)      { return b.heard.Write(p) }
func (b *babbler) Close() error                     { return nil }
func (b *babbler) SetDeadline(time.Time) error      { return nil }
func (b *babbler) SetReadDeadline(time.Time) error  { return nil }
func (b *babbler) SetWriteDeadline(time.Time) error { return nil }

// whole tells whether the whole message was sent, and how many replies there
// must have been for its verdict: to the greeting, to each command, and, with
// DATA, to the message itself.
func (b *babbler) whole() (sent bool, replies int) {
	heard := b.heard.String()
	for _, body := range []string{stuff(letter, len(letter), true), letter} {
		if before, _, ok := strings.Cut(heard, "\r\n"+body); ok {
			data := strings.HasSuffix(before, "DATA")
			if !data && !strings.HasSuffix(before, " LAST") {
				continue
			}
			n := 2 + strings.Count(before, "\r\n")
			if data {
				n++
			}
			return true, n
		}
	}
	return false, 0
}

// FuzzDelivery has a next hop answer anything. A delivery ends, each recipient
// has a result, and nobody is taken for delivered before the next hop has
// answered everything up to the end of the message, and that with 2yz.
func FuzzDelivery(f *testing.F) {
	hello := "220 x\r\n250-x\r\n250-PIPELINING\r\n250 DSN\r\n"
	chunks := "220 x\r\n250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE 1000\r\n"
	slow := "220 x\r\n250-x\r\n250 8BITMIME\r\n"
	ok := "250 2.0.0 ok\r\n"
	for _, s := range []string{
		"", "220 x\r\n", "421 x\r\n", "220 x\r\n502 x\r\n250 x\r\n" + ok + ok + ok + "354 x\r\n" + ok,
		hello + ok + ok + ok + "354 x\r\n" + ok + "221 x\r\n",
		hello + ok + ok + "550 5.1.1 x\r\n354 x\r\n" + ok,
		hello + ok + "550 x\r\n550 x\r\n354 x\r\n" + ok,
		hello + "555 5.5.4 RET\r\n503 x\r\n503 x\r\n503 x\r\n" + ok + ok + ok + ok + "354 x\r\n" + ok,
		hello + ok + "503 x\r\n", hello + ok + ok + ok + "354 x\r\n421 x\r\n",
		chunks + ok + ok + ok + ok, chunks + ok + ok + ok + "500 x\r\n", chunks + ok + "550 x\r\n450 x\r\n503 x\r\n" + ok,
		slow + ok + ok + ok + "354 x\r\n" + ok + ok, slow + ok + ok + "452 x\r\n354 x\r\n" + ok + ok + ok + ok + "354 x\r\n" + ok,
		"220 x\r\n250-x\r\n250 STARTTLS\r\n220 x\r\n\x16\x03\x01",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, says []byte, lmtp bool) {
		b := &babbler{says: bytes.NewReader(says)}
		calls := 0
		c := New(Options{Hostname: "relay.test", Dial: func(context.Context, netip.Addr, string, string) (net.Conn, error) {
			if calls++; calls > 1 {
				return nil, errors.New("once is enough")
			}
			return b, nil
		}})
		j := job(relay.Route{Kind: relay.Smarthost, LMTP: lmtp, Idle: -1, Hosts: []relay.Host{{Name: "127.0.0.1"}}}, "a@example.com", "b@example.com")
		j.Envelope.Ret = mail.ReturnFull
		out := c.Deliver(t.Context(), j)
		c.Close()
		sent, replies := b.whole()
		said := len(says) - b.says.Len()
		for i, s := range out.Results {
			if s.Code < 200 || s.Code > 599 {
				t.Fatalf("recipient %d has %+v", i, s)
			}
			if s.Class() != mail.Delivered {
				continue
			}
			if got := countReplies(says[:said]); !sent || s.Code/100 != 2 || got < replies {
				t.Fatalf("recipient %d has %v after %d replies, %d are needed, message sent %t:\n%s", i, s, got, replies, sent, b.heard.String())
			}
		}
	})
}

// countReplies counts the replies that are whole.
func countReplies(said []byte) (n int) {
	for line := range bytes.Lines(said) {
		if bytes.HasSuffix(line, []byte("\n")) && (len(line) < 4 || line[3] != '-') {
			n++
		}
	}
	return n
}
