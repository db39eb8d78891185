package imapd

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"restante/spool"
)

// BenchmarkFetchFlags is what a client does that comes back to a large mailbox.
func BenchmarkFetchFlags(b *testing.B) {
	const messages = 10000
	h := newHouse(b, nil)
	for range messages {
		h.deposit("alice", "INBOX", "", "\r\n", spool.Flags{}, false)
	}
	conn := h.dial()
	conn.SetDeadline(time.Time{})
	r := bufio.NewReaderSize(conn, 64<<10)
	fmt.Fprint(conn, "a LOGIN alice secret\r\nb SELECT INBOX\r\n")
	readTo(b, r, "b ")
	for b.Loop() {
		fmt.Fprint(conn, "c FETCH 1:* (UID FLAGS)\r\n")
		if n := readTo(b, r, "c "); n != messages {
			b.Fatalf("%d lines", n)
		}
	}
	b.ReportMetric(messages*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// readTo reads to a line that begins so, and counts those before it.
func readTo(t testing.TB, r *bufio.Reader, prefix string) int {
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(line, []byte(prefix)) {
			return n
		}
	}
}

// TestFewWrites holds the number of packets against the number of responses.
func TestFewWrites(t *testing.T) {
	h := newHouse(t, nil)
	for range 1000 {
		h.deposit("alice", "INBOX", "", "\r\n", spool.Flags{}, false)
	}
	counter := &countingConn{Conn: h.dial()}
	r := bufio.NewReaderSize(counter, 1<<20)
	fmt.Fprint(counter, "a LOGIN alice secret\r\nb SELECT INBOX\r\n")
	readTo(t, r, "b ")
	counter.reads = 0
	fmt.Fprint(counter, "c FETCH 1:* (UID FLAGS)\r\n")
	if n := readTo(t, r, "c "); n != 1000 {
		t.Fatalf("%d lines", n)
	}
	// Each TLS record that holds 1 to 16 KiB is one read here.
	if counter.reads > 50 {
		t.Errorf("1000 responses came in %d records", counter.reads)
	}
}

type countingConn struct {
	net.Conn
	reads int
}

func (c *countingConn) Read(p []byte) (int, error) {
	c.reads++
	return c.Conn.Read(p)
}

// TestImaplib has Python's client collect a message.
func TestImaplib(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	h := newHouse(t, nil)
	_, port, _ := net.SplitHostPort(h.addr)
	cmd := exec.Command(python, "-", port)
	cmd.Stdin = strings.NewReader(imaplibScript)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil || out.String() != "well\n" {
		t.Errorf("%v: %s", err, out.String())
	}
}

const imaplibScript = `
import imaplib, ssl, sys, time
context = ssl._create_unverified_context()
m = imaplib.IMAP4_SSL("127.0.0.1", int(sys.argv[1]), ssl_context=context)
m.login("alice", "secret")
message = b"From: bob@example.org\r\nSubject: hello\r\n\r\n" + b"text\r\n" * 20000
def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]
ok(m.append("INBOX", "(\\Flagged)", imaplib.Time2Internaldate(time.time()), message))
assert ok(m.select("INBOX")) == [b"1"]
assert ok(m.search(None, "FLAGGED", "SUBJECT", "hello")) == [b"1"]
assert ok(m.fetch("1", "(BODY[])"))[0][1] == message
assert b"Seen" in ok(m.fetch("1", "(FLAGS)"))[0]
ok(m.create('"a folder"'))
ok(m.copy("1", '"a folder"'))
assert ok(m.status('"a folder"', "(MESSAGES)"))[0].endswith(b"(MESSAGES 1)")
ok(m.store("1", "+FLAGS", "\\Deleted"))
assert ok(m.expunge()) == [b"1"]
ok(m.close())
m.logout()
print("well")
`
