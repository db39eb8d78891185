package imapd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"restante/spool"
	"restante/spool/spooltest"
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

// TestLargeMessagesAreStreamed counts what is allocated on both sides while a
// message goes through.
func TestLargeMessagesAreStreamed(t *testing.T) {
	h := newHouse(t, nil)
	const size = 20 << 20
	h.deposit("alice", "INBOX", "", "\r\n"+strings.Repeat("x", size-2), spool.Flags{}, true)
	conn := h.dial()
	r := bufio.NewReaderSize(conn, 64<<10)
	fmt.Fprint(conn, "a LOGIN alice secret\r\nb SELECT INBOX\r\n")
	readTo(t, r, "b ")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fmt.Fprint(conn, "c FETCH 1 BODY.PEEK[]\r\n")
	readTo(t, r, "* 1 FETCH")
	if n, err := io.CopyN(io.Discard, r, size); err != nil {
		t.Fatalf("%d octets, %v", n, err)
	}
	readTo(t, r, "c OK")
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > size/4 {
		t.Errorf("%d octets were allocated for a message of %d", got, size)
	}
}

// TestDamageInTheMiddleCutsTheConnection: the client must not take what comes
// next for the rest of the message.
func TestDamageInTheMiddleCutsTheConnection(t *testing.T) {
	h := newHouse(t, nil)
	h.deposit("alice", "INBOX", "", "\r\n"+strings.Repeat("x", 1<<20), spool.Flags{}, true)
	conn := h.dial()
	r := bufio.NewReader(conn)
	fmt.Fprint(conn, "a LOGIN alice secret\r\nb SELECT INBOX\r\n")
	readTo(t, r, "b ")
	reads := 0
	h.store.Hook(func(op spooltest.Op) error {
		if op == spooltest.OpRead {
			if reads++; reads > 3 {
				return spool.ErrCorrupt
			}
		}
		return nil
	})
	fmt.Fprint(conn, "c FETCH 1 BODY.PEEK[]\r\nd NOOP\r\n")
	rest, _ := io.ReadAll(r)
	if len(rest) > 1<<20 || bytes.Contains(rest, []byte("c NO")) || bytes.Contains(rest, []byte("d OK")) {
		t.Errorf("the connection goes on after %d octets", len(rest))
	}
	// The connection is closed first, and the log written then.
	for end := time.Now().Add(time.Minute); !strings.Contains(h.log.String(), "cannot be read to its end"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the damage was not logged")
		}
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
