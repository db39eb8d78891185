package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/smtp"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/logbuffer"
	"restante/spool"
	"restante/spool/spooltest"
)

// An ordinary client gets an ordinary message through, octet by octet.
func TestOrdinaryClient(t *testing.T) {
	h := open(t, func(o *Options) { o.Role = Submission })
	c, err := smtp.NewClient(h.dial(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	msg := "From: alice@local.example\r\nDate: x\r\nMessage-ID: <y>\r\nSubject: grüße\r\n\r\n.\r\n..\r\n\r\nend\r\n"
	steps := []func() error{
		func() error { return c.StartTLS(&tls.Config{InsecureSkipVerify: true}) },
		func() error { return c.Auth(smtp.PlainAuth("", "alice", "ecila", "127.0.0.1")) },
		func() error { return c.Mail("alice@local.example") },
		func() error { return c.Rcpt("bob@local.example") },
		func() error {
			w, err := c.Data()
			if err != nil {
				return err
			}
			io.WriteString(w, msg)
			return w.Close()
		},
		c.Quit,
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	got := h.inbox("bob")
	if len(got) != 1 || !strings.HasSuffix(got[0], "+0000\r\n"+msg) || !strings.HasPrefix(got[0], "Return-Path: <alice@local.example>\r\n") {
		t.Errorf("got %q", got)
	}
}

// Many clients at once, by DATA and by BDAT, with and without giving up: each
// gets the ID of its own message, and each message is there once.
func TestManyClients(t *testing.T) {
	h := open(t, nil)
	const clients, rounds = 12, 15
	var wg sync.WaitGroup
	accepted := make(chan string, clients*rounds)
	for n := range clients {
		conn := h.dial()
		wg.Go(func() {
			if err := converse(conn, n, rounds, accepted); err != nil {
				t.Errorf("client %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	close(accepted)
	stored := make(map[string]string)
	for _, m := range h.inbox("alice") {
		stored[idField.FindStringSubmatch(m)[1]] = m
	}
	count := 0
	for line := range accepted {
		count++
		id, marker, _ := strings.Cut(line, " ")
		if !strings.Contains(stored[id], "\r\nSubject: "+marker+"\r\n\r\nhello\r\n") {
			t.Errorf("message %s with ID %s is not there, or is another", marker, id)
		}
	}
	if n := len(stored); n != count || count != clients*rounds {
		t.Errorf("%d messages for %d acknowledgements", n, count)
	}
}

var idField = regexp.MustCompile(`\sid\s+([0-9A-V]{16})\s`)

// converse sends messages on one connection, and tells the ID of each.
func converse(conn net.Conn, n, rounds int, accepted chan<- string) error {
	tp := newTextClient(conn)
	tp.ask("220", "")
	tp.ask("250", "EHLO client.example")
	for i := range rounds {
		marker := fmt.Sprintf("%d-%d", n, i)
		text := "Subject: " + marker + "\r\n\r\nhello\r\n"
		if i%3 == 2 {
			// One that is given up: its result must be nobody's.
			tp.ask("250", "MAIL FROM:<carol@remote.example>")
			tp.ask("250", "RCPT TO:<alice@local.example>")
			tp.ask("250", "BDAT 13\r\nSubject: no")
			tp.ask("250", "RSET")
		}
		tp.ask("250", "MAIL FROM:<carol@remote.example>")
		tp.ask("250", "RCPT TO:<alice@local.example>")
		var reply string
		if i%2 == 0 {
			tp.ask("354", "DATA")
			reply = tp.ask("250", text+".")
		} else {
			tp.ask("250", "BDAT 4\r\n"+text[:2])
			reply = tp.ask("250", fmt.Sprintf("BDAT %d LAST\r\n%s", len(text), strings.TrimSuffix(text, "\r\n")))
		}
		if tp.err != nil {
			return tp.err
		}
		accepted <- strings.TrimPrefix(reply, "250 2.0.0 Accepted as ") + " " + marker
	}
	tp.ask("221", "QUIT")
	return tp.err
}

// textClient sends lines and takes replies until something is wrong.
type textClient struct {
	conn net.Conn
	buf  []byte
	err  error
}

func newTextClient(c net.Conn) *textClient { return &textClient{conn: c} }

// ask sends a line, unless it is empty, and returns the last line of a reply
// that must have the code.
func (c *textClient) ask(code, line string) string {
	if c.err == nil && line != "" {
		_, c.err = io.WriteString(c.conn, line+"\r\n")
	}
	for c.err == nil {
		end := bytes.Index(c.buf, []byte("\r\n"))
		if end < 0 {
			chunk := make([]byte, 1024)
			var n int
			n, c.err = c.conn.Read(chunk)
			c.buf = append(c.buf, chunk[:n]...)
			continue
		}
		reply := string(c.buf[:end])
		c.buf = c.buf[end+2:]
		if reply[3] == '-' {
			continue
		}
		if !strings.HasPrefix(reply, code) {
			c.err = fmt.Errorf("%q was answered with %q, not %s", line, reply, code)
		}
		return reply
	}
	return ""
}

// A large message goes through in bounded memory.
func TestLargeMessage(t *testing.T) {
	sink := &countingIntake{Intake: spooltest.NewMemory(spooltest.MemoryOptions{})}
	h := open(t, func(o *Options) {
		logger := o.Logger
		*o = testOptions(sink)
		o.Logger = logger
	})
	c := newTextClient(h.dial())
	c.ask("220", "")
	c.ask("250", "HELO client.example")
	c.ask("250", "MAIL FROM:<carol@remote.example>")
	c.ask("250", "RCPT TO:<alice@local.example>")
	c.ask("354", "DATA")
	c.conn.Write([]byte("Subject: large\r\n\r\n"))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	line := bytes.Repeat([]byte(strings.Repeat("x", 62)+"\r\n"), 1024)
	const pieces = 500
	for range pieces {
		if _, err := c.conn.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	c.ask("250", ".")
	if c.err != nil {
		t.Fatal(c.err)
	}
	if sink.size < pieces*int64(len(line)) {
		t.Errorf("%d octets arrived", sink.size)
	}
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 8<<20 {
		t.Errorf("%d octets allocated for a message of %d", grown, pieces*len(line))
	}
}

// countingIntake counts the octets of a body, and keeps none.
type countingIntake struct {
	spool.Intake
	size int64
}

func (i *countingIntake) Create() (spool.Staged, error) {
	s, err := i.Intake.Create()
	return countingStaged{s, i}, err
}

type countingStaged struct {
	spool.Staged
	intake *countingIntake
}

func (s countingStaged) Write(p []byte) (int, error) {
	s.intake.size += int64(len(p))
	return len(p), nil
}

// Replies to commands that came together go out in one write, whatever they
// are: one line or many, refused or not, of a message or of a command.
func TestRepliesAreGathered(t *testing.T) {
	srv := New(testOptions(spooltest.NewMemory(spooltest.MemoryOptions{})))
	l := newPipeListener()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), l) }()
	client, server := net.Pipe()
	counted := &countingConn{Conn: server}
	l.conns <- counted
	in := bufio.NewReader(client)
	reply := func(code string) {
		t.Helper()
		expect(t, in, code)
	}
	for _, group := range []struct {
		text    string
		replies string
	}{
		{"", "220"},
		{"EHLO client.example\r\n", "250"},
		{"MAIL FROM:<carol@remote.example>\r\nRCPT TO:<nobody@local.example>\r\nRCPT TO:<alice@local.example>\r\nDATA\r\n", "250 550 250 354"},
		{"Subject: x\r\n\r\nhello\r\n.\r\nMAIL FROM:<carol@remote.example>\r\nRCPT TO:<alice@local.example>\r\n" +
			"BDAT 5\r\nSubjeBDAT 9 LAST\r\nct: x\r\n\r\nRSET\r\n", "250 250 250 250 250 250"},
		{strings.Repeat("NOOP\r\n", 60), strings.TrimSpace(strings.Repeat("250 ", 60))},
		{"QUIT\r\nNOOP\r\n", "221"},
	} {
		go io.WriteString(client, group.text)
		for code := range strings.SplitSeq(group.replies, " ") {
			reply(code)
		}
		if n := counted.writes.Swap(0); n != 1 {
			t.Errorf("%q was answered in %d writes", group.text, n)
		}
	}
	client.Close()
	srv.Shutdown(context.Background())
	<-served
}

type countingConn struct {
	net.Conn
	writes atomic.Int32
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// Connections in excess are told so, and the places are given back.
func TestConnectionLimit(t *testing.T) {
	for name, limits := range map[string]Limits{
		"in all":      {MaxConnections: 2},
		"per address": {MaxPerAddress: 2},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, func(o *Options) { o.Limits = limits })
			first, second := newTextClient(h.dial()), newTextClient(h.dial())
			first.ask("220", "")
			second.ask("220", "")
			third := newTextClient(h.dial())
			third.ask("421", "")
			first.ask("221", "QUIT")
			if third.err != nil || first.err != nil {
				t.Fatal(third.err, first.err)
			}
			for end := time.Now().Add(time.Minute); ; {
				again := newTextClient(h.dial())
				if again.ask("220", ""); again.err == nil {
					break
				}
				if time.Now().After(end) {
					t.Fatal("the place of a closed connection is not given back")
				}
			}
		})
	}
}

// A connection that we end is read on for a moment, so that unread input does
// not make the kernel throw the last reply away; one the client ends is not.
func TestLastReplyArrives(t *testing.T) {
	for last, want := range map[string]string{
		"NONSENSE\r\nQUIT\r\nQUIT\r\n": "CloseWrite Read Close",
		"QUIT\r\n":                     "Close",
	} {
		synctest.Test(t, func(t *testing.T) {
			h := openPipe(t, func(o *Options) { o.Limits.MaxErrors = 1 })
			client, server := net.Pipe()
			recorded := &recordingConn{Conn: server}
			h.listen.conns <- recorded
			c := newTextClient(client)
			c.ask("220", "")
			c.ask("500", "NONSENSE")
			recorded.events = nil
			go io.WriteString(client, last)
			said, _ := io.ReadAll(client)
			h.close()
			got := strings.Join(recorded.events[1:], " ") // after the Read of last
			if !strings.HasPrefix(got, want) || c.err != nil {
				t.Errorf("after %q the server said %q and did %q, want %q", last, said, got, want)
			}
		})
	}
}

// recordingConn notes what is done with it, by the one goroutine it has.
type recordingConn struct {
	net.Conn
	events []string
}

func (c *recordingConn) note(event string) { c.events = append(c.events, event) }

func (c *recordingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 || err != nil {
		c.note("Read")
	}
	return n, err
}

func (c *recordingConn) CloseWrite() error {
	c.note("CloseWrite")
	return nil
}

func (c *recordingConn) Close() error {
	c.note("Close")
	return c.Conn.Close()
}

// A panic in what is ours under the library ends that connection only.
func TestPanicUnderTheLibrary(t *testing.T) {
	h := openPipe(t, nil)
	defer h.close()
	client, server := net.Pipe()
	h.listen.conns <- panicConn{server}
	c := newTextClient(client)
	if c.ask("220", ""); c.err != nil {
		t.Fatal(c.err)
	}
	if c.ask("250", "NOOP"); c.err == nil {
		t.Error("the connection goes on")
	}
	other := h.dial()
	other.want("220 *")
	other.ask("QUIT", "221 *")
	if !strings.Contains(h.log.String(), "no such thing") {
		t.Error("the panic is not in the log")
	}
}

type panicConn struct{ net.Conn }

func (panicConn) Read([]byte) (int, error) { panic("no such thing") }

// FuzzServer: whatever octets come, the session ends, nothing panics, and there
// are as many messages as acknowledgements.
func FuzzServer(f *testing.F) {
	hello := "EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@local.example>\r\n"
	for _, s := range []string{
		"", "\r\n", "QUIT\r\n", hello + "DATA\r\nSubject: x\r\n\r\nhi\r\n.\r\nQUIT\r\n",
		hello + "BDAT 3\r\nabcRSET\r\n" + hello[8:] + "BDAT 5 LAST\r\nabc\r\nNOOP\r\n",
		hello + "BDAT 3\r\nabcQUIT\r\n", hello + "BDAT 0 LAST\r\n", hello + "DATA\r\n.\r\n.\r\n",
		hello + "DATA\r\nhalf", "EHLO c\r\nSTARTTLS\r\n\x16\x03\x01\x00\x05hello", "EHLO c\r\nAUTH LOGIN\r\n*\r\n",
		hello + "RSET\r\nEHLO d\r\nHELO e\r\nVRFY x\r\nNOOP\r\n", strings.Repeat("x", 20000) + "\r\nNOOP\r\n",
		hello + "DATA\r\na\r\r\n.\r\nMAIL FROM:<>\r\n", hello + "BDAT 20\r\n\x00\xff\nBDAT 99999 LAST\r\n",
	} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, in string, insecure bool) {
		memory := spooltest.NewMemory(spooltest.MemoryOptions{})
		log := &logbuffer.Buffer{}
		opt := testOptions(memory)
		opt.Logger = slog.New(slog.NewTextHandler(log, nil))
		opt.Limits = Limits{MaxSize: 1000, AuthDelay: time.Nanosecond, ErrorDelay: time.Nanosecond}
		if insecure {
			opt.TLS = nil
		}
		var said []byte
		synctest.Test(t, func(*testing.T) { said = converseWire(opt, []byte(in)) })
		if strings.Contains(log.String(), "level=ERROR") || memory.Staging() != 0 {
			t.Fatalf("a fault, or something left in the making:\n%s", log.String())
		}
		stored := 0
		if box, err := memory.Mailbox("alice", "INBOX"); err == nil {
			stored = int(box.Messages)
		}
		if acks := bytes.Count(said, []byte("250 2.0.0 Accepted as ")); acks != stored {
			t.Fatalf("%d acknowledgements for %d messages:\n%s", acks, stored, said)
		}
	})
}
