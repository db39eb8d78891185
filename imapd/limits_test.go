package imapd

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"restante/imapd/wire"
	"restante/spool"
)

// TestCommandsAreBounded says commands as large as they can be. Each is answered,
// costs little memory, and the client can go on.
func TestCommandsAreBounded(t *testing.T) {
	h := newHouse(t, nil)
	h.deposit("alice", "INBOX", "", "Subject: x\r\n\r\nbody\r\n", spool.Flags{}, true)
	conn := h.dial()
	r := bufio.NewReader(conn)
	fmt.Fprint(conn, "a LOGIN alice secret\r\nb SELECT INBOX\r\n")
	readTo(t, r, "b OK")
	for _, c := range []struct{ name, command, want string }{
		{"ranges of a set", "FETCH " + strings.Repeat("1,", 20_000) + "1 UID", "BAD [CLIENTBUG] Set has too many ranges"},
		{"keys of a search", "SEARCH" + strings.Repeat(" ALL", 1001), "BAD [CLIENTBUG] Too many SEARCH keys"},
		{"keys inside each other", "SEARCH " + strings.Repeat("NOT ", 15_000) + "ALL", "BAD [CLIENTBUG] Too many SEARCH keys"},
		{"alternatives", "SEARCH " + strings.Repeat("OR ", 15_000), "BAD [CLIENTBUG] Too many SEARCH keys"},
		{"parentheses", "SEARCH " + strings.Repeat("(", 60_000), "BAD [CLIENTBUG] Too many parentheses"},
		{"keywords", "STORE 1 FLAGS.SILENT (" + flagsOf(12_000) + ")", "NO [LIMIT] Too many keywords"},
		{"sections", "FETCH 1 (" + strings.Repeat("BODY.PEEK[] ", 5000) + "UID)", "NO [LIMIT] Too many sections in one FETCH"},
		{"sort keys", "SORT (" + strings.Repeat("DATE ", 12_000) + ") UTF-8 ALL", "BAD [CLIENTBUG] Too many keys of SORT"},
		{"fields of ID", "ID (" + strings.Repeat(`"x" `, 15_000) + ")", "BAD [CLIENTBUG] Too many fields in ID"},
		{"sources", "ESEARCH IN (mailboxes (" + strings.Repeat("x ", 30_000) + ")) ALL", "BAD [CLIENTBUG] Too many mailboxes in one ESEARCH"},
		{"entries", "GETMETADATA INBOX (" + strings.Repeat("/private/x ", 5000) + ")", "BAD [CLIENTBUG] Too many entries"},
		{"a name", `STATUS "` + strings.Repeat("x", 60_000) + `" (MESSAGES)`, "NO "},
		{"a line", "NOOP " + strings.Repeat("x", 3*wire.MaxLine), "BAD "},
		{"a quoted string", `SEARCH TEXT "` + strings.Repeat("x", 2*wire.MaxLine) + `"`, "NO [TOOBIG] "},
		{"a literal", fmt.Sprintf("SEARCH TEXT {%d+}\r\n%s", wire.MaxLiterals+1, strings.Repeat("x", wire.MaxLiterals+1)), "NO [TOOBIG] "},
		{"literals together", "SEARCH" + strings.Repeat(" TEXT {1000+}\r\n"+strings.Repeat("x", 1000), 300), "NO [TOOBIG] "},
		{"a tag", strings.Repeat("x", 1000) + " NOOP", "BAD "},
		{"an AUTHENTICATE", "AUTHENTICATE PLAIN " + strings.Repeat("x", 100_000), "BAD "},
		{"the word of a command", strings.Repeat("x", 60_000), "BAD "},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			fmt.Fprintf(conn, "a %s\r\nb NOOP\r\n", c.command)
			reply := ""
			for !strings.HasPrefix(reply, "a ") {
				var err error
				if reply, err = r.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			readTo(t, r, "b OK")
			runtime.ReadMemStats(&after)
			if !strings.HasPrefix(reply, "a "+c.want) {
				t.Errorf("got %.200q, want %q", reply, c.want)
			}
			// That is of both sides, TLS included.
			if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
				t.Errorf("%d octets were allocated for a command of %d", got, len(c.command))
			}
		})
	}
}

func flagsOf(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%x ", i)
	}
	return b.String()
}

// TestEndlessCommands never ends a line, or announces what nobody wants: the
// connection is closed, with a reason.
func TestEndlessCommands(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.MaxAppend = 1 << 20 })
	for name, begin := range map[string]string{
		"a line":                         "a NOOP ",
		"a tag":                          "x",
		"a quoted string":                `a SELECT "`,
		"a literal over the limit":       "a SELECT {99999999999+}\r\n",
		"a message over the limit":       "a APPEND INBOX {99999999999+}\r\n",
		"a literal that is not wanted":   "a FROB {99999999999+}\r\n",
		"a number that is not one":       "a APPEND INBOX {9999999999999999999999999+}\r\n",
		"a line behind a broken literal": "a APPEND INBOX {3+\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			server, client := net.Pipe()
			defer client.Close()
			client.SetDeadline(time.Now().Add(time.Minute))
			ended := h.srv.serveLoggedIn(server, "alice")
			heard := make(chan string, 1)
			go func() {
				b, _ := io.ReadAll(client)
				heard <- string(b)
			}()
			taken, err := io.WriteString(client, begin)
			for err == nil && taken < 64<<20 {
				var n int
				n, err = io.WriteString(client, strings.Repeat("x", 64<<10))
				taken += n
			}
			if !errors.Is(err, io.ErrClosedPipe) {
				t.Fatalf("after %d octets: %v", taken, err)
			}
			if <-ended; taken > 8<<20 {
				t.Errorf("%d octets were taken in", taken)
			}
			if said := <-heard; !strings.Contains(said, "* BYE Command is too large\r\n") {
				t.Errorf("the client hears %q", said)
			}
		})
	}
}

// TestAutologout is silent, between commands and in IDLE.
func TestAutologout(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.IdleTimeout = 100 * time.Millisecond })
	for name, begin := range map[string]string{
		"between commands": "a LOGIN alice secret\r\n",
		"in IDLE":          "a LOGIN alice secret\r\nb IDLE\r\n",
		"in a mailbox":     "a LOGIN alice secret\r\nb SELECT INBOX\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn := h.dial()
			io.WriteString(conn, begin)
			said, err := io.ReadAll(conn)
			if err != nil || !strings.HasSuffix(string(said), "* BYE Autologout; idle for too long\r\n") {
				t.Errorf("heard %q, %v", said, err)
			}
		})
	}
}

// TestFailedLoginsOfOneAddress shows that it does not help to connect anew.
func TestFailedLoginsOfOneAddress(t *testing.T) {
	now := time.Now()
	h := newHouse(t, func(o *Options) {
		o.LoginDelay = time.Microsecond
		o.Now = func() time.Time { return now }
	})
	const connections = 3
	for range connections {
		conn := h.dial()
		for range maxLogins {
			io.WriteString(conn, "a LOGIN alice wrong\r\n")
		}
		said, err := io.ReadAll(conn)
		if err != nil || !strings.HasSuffix(string(said), "* BYE Too many failed logins\r\n") {
			t.Fatalf("heard %q, %v", said, err)
		}
	}
	h.srv.gate.mu.Lock()
	for origin, p := range h.srv.gate.penalties {
		if p.failures != connections*maxLogins {
			t.Errorf("%v has %d failures", origin, p.failures)
		}
	}
	h.srv.gate.mu.Unlock()
	if d := h.srv.gate.failed(addrOf(h.dial())); d != time.Microsecond<<penaltyDoublings {
		t.Errorf("the next one costs %v", d)
	}
}

// TestCompressedNonsense sends, compressed, what never ends, and what is not
// compressed at all.
func TestCompressedNonsense(t *testing.T) {
	var bomb bytes.Buffer
	zip, err := flate.NewWriter(&bomb, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(zip, "b NOOP ")
	for range 64 {
		zip.Write(make([]byte, 1<<20))
	}
	zip.Close()
	h, errs := newQuietHouse(t)
	for name, sent := range map[string][]byte{
		"64 megabytes in one line": bomb.Bytes(),
		"what is not compressed":   []byte("b NOOP\r\nc NOOP\r\n"),
		"nothing":                  {},
		"a block that is none":     {0xff, 0xff, 0xff, 0xff, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			conn := &script{in: io.MultiReader(strings.NewReader("a COMPRESS DEFLATE\r\n"), bytes.NewReader(sent))}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			<-h.srv.serveLoggedIn(conn, "alice")
			runtime.ReadMemStats(&after)
			if !strings.HasPrefix(conn.out.String(), "a OK DEFLATE active\r\n") {
				t.Errorf("heard %q", conn.out.String())
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
				t.Errorf("%d octets were allocated", got)
			}
		})
	}
	if log := errs.String(); log != "" {
		t.Errorf("errors:\n%s", log)
	}
}
