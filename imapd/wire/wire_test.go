package wire

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// library reads from a Conn as the protocol library does: through a buffer, a
// line at a time, refusing what a test tells it to.
type library struct {
	br     *bufio.Reader
	c      *Conn
	refuse func(line string) bool
	log    []string
}

func (l *library) serve(t *testing.T) {
	for {
		line, err := l.br.ReadString('\n')
		if err != nil {
			l.log = append(l.log, "end")
			return
		}
		line = strings.TrimRight(line, "\r\n")
		tag, _, _ := strings.Cut(line, " ")
		l.log = append(l.log, line)
		for strings.HasSuffix(line, "}") {
			if l.refuse != nil && l.refuse(line) {
				break
			}
			var n int
			fmt.Sscanf(line[strings.LastIndexByte(line, '{')+1:], "%d", &n)
			if !strings.HasSuffix(line, "+}") {
				io.WriteString(l.c, "+ go on\r\n")
			}
			b := make([]byte, n)
			if _, err := io.ReadFull(l.br, b); err != nil {
				l.log = append(l.log, "end")
				return
			}
			rest, _ := l.br.ReadString('\n')
			line = strings.TrimRight(rest, "\r\n")
			l.log = append(l.log, "="+string(b), line)
		}
		io.WriteString(l.c, tag+" OK\r\n")
	}
}

// talk sends octets to a Conn and returns what the library saw and what came
// back.
func talk(t *testing.T, opt Options, refuse func(string) bool, in string) (seen []string, out string) {
	t.Helper()
	client, server := net.Pipe()
	c := New(server, opt)
	c.SetAuthenticated(true)
	lib := &library{br: bufio.NewReader(c), c: c, refuse: refuse}
	done := make(chan struct{})
	go func() {
		defer close(done)
		lib.serve(t)
		c.Close()
	}()
	replies := make(chan string)
	go func() {
		b, _ := io.ReadAll(client)
		replies <- string(b)
	}()
	io.WriteString(client, in)
	// The last command answers a barrier, so everything before it was seen.
	io.WriteString(client, "zz LOGOUT\r\n")
	c.Stop("end of test")
	out = <-replies
	<-done
	return lib.log, out
}

func TestRefusedLiteralsDoNotRun(t *testing.T) {
	never := func(string) bool { return true }
	tests := []struct {
		name, in string
		want     []string
	}{
		{"a message", "a APPEND x {15+}\r\nb CREATE evil\r\n\r\nc NOOP\r\n", []string{"a APPEND x {15+}", "c NOOP"}},
		{"a bad command", "a FOO {15+}\r\nb CREATE evil\r\n\r\nc NOOP\r\n", []string{"a FOO {15+}", "c NOOP"}},
		{"two literals", "a FOO {15+}\r\nb CREATE evil\r\n (x) {12+}\r\nd CREATE f\r\n\r\nc NOOP\r\n", []string{"a FOO {15+}", "c NOOP"}},
		{"waiting to be asked", "a FOO {15}\r\nc NOOP\r\n", []string{"a FOO {15}", "c NOOP"}},
		{"a bare line end", "a FOO {15+}\nb CREATE evil\r\n\nc NOOP\r\n", []string{"a FOO {15+}", "c NOOP"}},
		{"a blank at the end", "a FOO {15+} \r\nb CREATE evil\r\n\r\nc NOOP\r\n", []string{"a FOO {15+} ", "c NOOP"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			seen, _ := talk(t, Options{MaxMessage: 1000}, never, test.in)
			if len(seen) < len(test.want) || strings.Join(seen[:len(test.want)], "\n") != strings.Join(test.want, "\n") {
				t.Errorf("the library saw %q, want %q", seen, test.want)
			}
		})
	}
}

func TestLiteralsPass(t *testing.T) {
	seen, out := talk(t, Options{MaxMessage: 1000}, nil,
		"a LOGIN {5}\r\nalice {3+}\r\na\r\n\r\nb APPEND {5+}\r\nINBOX {7+}\r\nx\r\ny\r\nz\r\nc NOOP\r\n")
	want := []string{"a LOGIN {5}", "=alice", " {3+}", "=a\r\n", "", "b APPEND {5+}", "=INBOX", " {7+}", "=x\r\ny\r\nz", "", "c NOOP"}
	if strings.Join(seen[:min(len(want), len(seen))], "|") != strings.Join(want, "|") {
		t.Errorf("the library saw %q, want %q", seen, want)
	}
	if !strings.HasPrefix(out, "+ go on\r\na OK\r\nb OK\r\nc OK\r\n") {
		t.Errorf("the client got %q", out)
	}
}

func TestMalformedLines(t *testing.T) {
	big := strings.Repeat("x", MaxLine)
	tests := []struct{ name, in, want string }{
		{"empty", "\r\n\r\na NOOP\r\n", "a OK"},
		{"no command", "a\r\n", "a BAD A command is missing"},
		{"no tag", " NOOP\r\n", "* BAD Malformed tag"},
		{"plus in the tag", "a+ NOOP\r\n", "* BAD Malformed tag"},
		{"open quote", "a SELECT \"foo\r\n", "a BAD Quoted string is not closed"},
		{"long", "a NOOP " + big + "\r\n", "a BAD Command line is too long"},
		{"long with a literal", "a NOOP " + big + " {4+}\r\nb C\n\r\nc NOOP\r\n", "a BAD Command line is too long\r\nc OK"},
		{"large literal", "a LOGIN {5000}\r\nb NOOP\r\n", "a NO [TOOBIG] Literals of this command are limited to 4096 octets\r\nb OK"},
		{"large literal unasked", "a LOGIN {5000+}\r\n" + big[:5000] + " x\r\nb NOOP\r\n", "a NO [TOOBIG] Literals of this command are limited to 4096 octets\r\nb OK"},
		{"unknown key", "a SEARCH OLDER 5\r\n", `a BAD Unknown SEARCH key "OLDER"`},
		{"ID", "a ID NIL\r\n", `* ID ("name" "restante")` + "\r\na OK ID completed"},
		{"endless faults", strings.Repeat("a\r\n", 20), strings.Repeat("a BAD A command is missing\r\n", 11) + "* BYE Too many malformed commands"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, out := talk(t, Options{MaxMessage: 1 << 20}, nil, test.in)
			if !strings.HasPrefix(out, test.want+"\r\n") {
				t.Errorf("got %q, want %q", out, test.want)
			}
		})
	}
}

func TestHugeLiteralEndsTheConnection(t *testing.T) {
	_, out := talk(t, Options{MaxMessage: 1000}, func(string) bool { return true }, "a APPEND x {99999999999999999999+}\r\nb CREATE evil\r\n")
	if out != "a OK\r\n* BYE Literal is too large\r\n" {
		t.Errorf("got %q", out)
	}
}

func TestSearchIsMended(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a SEARCH SMALLER 5 SINCE 1-Jan-2020", "a SEARCH NOT LARGER 4 SINCE 1-Jan-2020"},
		{"a UID search (smaller 10 LARGER 3)", "a UID search (NOT LARGER 9 LARGER 3)"},
		{"a SEARCH OR SMALLER 0 NOT SMALLER 7", "a SEARCH OR NOT ALL NOT NOT LARGER 6"},
		{"a SEARCH SUBJECT SMALLER 5", "a SEARCH SUBJECT SMALLER 5"},
		{`a SEARCH SUBJECT "SMALLER 5" SMALLER 5`, `a SEARCH SUBJECT "SMALLER 5" NOT LARGER 4`},
		{`a SEARCH HEADER X "a \" SMALLER 1" 3`, `a SEARCH HEADER X "a \" SMALLER 1" 3`},
		{"a SEARCH RETURN (MIN COUNT) SMALLER 2", "a SEARCH RETURN (MIN COUNT) NOT LARGER 1"},
		{"a FETCH 1 SMALLER", "a FETCH 1 SMALLER"},
		{"a SEARCH", "a SEARCH"},
	} {
		var m searchMender
		if got := string(m.begin([]byte(c.in + "\r\n"))); got != c.want+"\r\n" || m.unknown != "" {
			t.Errorf("%q became %q (unknown %q), want %q", c.in, got, m.unknown, c.want)
		}
	}
	var m searchMender
	m.begin([]byte("a SEARCH HEADER {3+}\r\n"))
	if got := m.mend(" SMALLER SMALLER 3\r\n"); got != " SMALLER NOT LARGER 2\r\n" {
		t.Errorf("after a literal: %q", got)
	}
}

func TestResponsesAreGathered(t *testing.T) {
	client, server := net.Pipe()
	c := New(server, Options{})
	go func() {
		for range 100 {
			io.WriteString(c, "* 1 EXISTS\r\n")
		}
		c.Read(make([]byte, 1))
		c.Close()
	}()
	b := make([]byte, 64<<10)
	n, err := client.Read(b)
	if err != nil || n != 100*len("* 1 EXISTS\r\n") {
		t.Errorf("the first read gave %d octets (%v)", n, err)
	}
	client.Close()
}

func TestWrittenWhileWaitingGoesOutAtOnce(t *testing.T) {
	client, server := net.Pipe()
	c := New(server, Options{})
	defer c.Abort()
	br := bufio.NewReader(c)
	lines := bufio.NewReader(client)
	read := make(chan error, 1)
	go func() {
		br.ReadString('\n')
		io.WriteString(c, "+ idling\r\n")
		_, err := br.ReadString('\n')
		read <- err
	}()
	io.WriteString(client, "a IDLE\r\n")
	lines.ReadString('\n')
	go io.WriteString(c, "* 1 EXISTS\r\n")
	if line, err := lines.ReadString('\n'); line != "* 1 EXISTS\r\n" {
		t.Errorf("got %q, %v", line, err)
	}
	io.WriteString(client, "done\r\n")
	if err := <-read; err != nil {
		t.Error(err)
	}
}

func TestTimeouts(t *testing.T) {
	opt := Options{Idle: time.Hour, Step: time.Minute, Login: 2 * time.Minute}
	for _, c := range []struct {
		name   string
		authed bool
		send   string
		after  time.Duration
	}{
		{"before login", false, "", 2 * time.Minute},
		{"after login", true, "", time.Hour},
		{"inside a command", true, "a NOO", time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				conn := New(server, opt)
				conn.SetAuthenticated(c.authed)
				start := time.Now()
				go func() {
					io.ReadAll(conn)
					conn.Close()
				}()
				go io.WriteString(client, c.send)
				out, _ := io.ReadAll(client)
				if got := time.Since(start); got != c.after {
					t.Errorf("ended after %v, want %v", got, c.after)
				}
				if string(out) != "* BYE Autologout; idle for too long\r\n" {
					t.Errorf("got %q", out)
				}
			})
		})
	}
}

func FuzzConn(f *testing.F) {
	f.Add("a NOOP\r\n")
	f.Add("a APPEND {5+}\r\nINBOX (\\Seen) \"x\" ~{3+}\r\nabc\r\n")
	f.Add("a SEARCH SMALLER 5 OR {3}\r\nabc (NOT x)\r\n")
	f.Add("a FOO \"{3+}\r\n\" {99999999999999999999+}\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		client, server := net.Pipe()
		c := New(server, Options{MaxMessage: 100})
		c.SetAuthenticated(true)
		go io.Copy(io.Discard, client)
		go func() {
			io.WriteString(client, in)
			client.Close()
		}()
		lib := &library{br: bufio.NewReader(c), c: c, refuse: func(l string) bool {
			n := 0
			fmt.Sscanf(l[strings.LastIndexByte(l, '{')+1:], "%d", &n)
			return len(l)%3 == 0 || n > 300
		}}
		lib.serve(t)
		c.Close()
	})
}
