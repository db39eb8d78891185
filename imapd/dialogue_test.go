package imapd

import (
	"bufio"
	"compress/flate"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"restante/internal/quota"
	"restante/spool"
)

// TestDialogues plays testdata/*.txt. A file is one test with a server of its
// own; its lines are:
//
//	# a comment
//	! directive: see (*play).direct
//	C: text        the client sends the line; C2: is the second connection's
//	C2+ text       the same without a line end; \r, \n and \x.. are escapes
//	S: text        the server must send exactly this line
//	S~ regexp      the server must send a line that matches
//	S* text        these lines, in any order among neighbours with S*
//	S. the server must have closed the connection
//
// A connection begins with its first line. Unless the directive "raw" comes
// first it is greeted and logged in as alice.
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d dialogues, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := &play{t: t, file: filepath.Base(file), conns: make(map[string]*actor)}
			for i, line := range strings.Split(strings.TrimRight(string(b), "\n"), "\n") {
				p.line = i + 1
				p.act(line)
			}
			p.flush()
		})
	}
}

type actor struct {
	conn net.Conn
	r    *bufio.Reader
	any  []string // S* lines not yet compared
}

type play struct {
	t     *testing.T
	h     *house
	file  string
	line  int
	raw   bool
	plain bool
	// recent tells that the dialogue speaks of \Recent.
	recent   bool
	limit    int64
	messages int
	notified int
	users    map[string]string
	shared   []Shared
	// progress: INPROGRESS is told for each message.
	progress bool
	conns    map[string]*actor
	last     string
}

var lineForm = regexp.MustCompile(`^([CS])([0-9]*)([:+~*.]) ?(.*)$`)

func (p *play) fatalf(format string, args ...any) {
	p.t.Helper()
	p.t.Fatalf("%s:%d: %s", p.file, p.line, fmt.Sprintf(format, args...))
}

func (p *play) house() *house {
	if p.h == nil {
		p.h = newHouse(p.t, func(o *Options) {
			o.ImplicitTLS = !p.plain
			o.MaxAppend, o.MaxMessages, o.MaxNotified = p.limit, p.messages, p.notified
			if !p.recent {
				o.Mailboxes = told{o.Mailboxes}
			}
			o.Shared = p.shared
			if p.progress {
				o.progress = -1
			}
		})
		for _, t := range p.shared {
			if err := ProvisionShared(p.h.store, t.Account); err != nil {
				p.fatalf("%v", err)
			}
		}
	}
	return p.h
}

func (p *play) act(line string) {
	p.t.Helper()
	switch {
	case line == "" || strings.HasPrefix(line, "#"):
		return
	case strings.HasPrefix(line, "! "):
		p.flush()
		p.direct(strings.Fields(line[2:]))
		return
	}
	m := lineForm.FindStringSubmatch(line)
	if m == nil {
		p.fatalf("not a line of a dialogue: %s", line)
	}
	who, name, kind, text := m[1], m[2], m[3], m[4]
	if name == "" {
		name = "1"
	}
	if kind != "*" || name != p.last {
		p.flush()
	}
	p.last = name
	a := p.actor(name)
	if who == "C" {
		text = p.unescape(text)
		if kind == ":" {
			text += "\r\n"
		}
		if _, err := io.WriteString(a.conn, text); err != nil {
			p.fatalf("send: %v", err)
		}
		return
	}
	p.expect(a, kind, text)
}

func (p *play) expect(a *actor, kind, text string) {
	p.t.Helper()
	switch kind {
	case "*":
		a.any = append(a.any, text)
		return
	case ".":
		if rest, err := io.ReadAll(a.r); len(rest) > 0 || err != nil && !errors.Is(err, net.ErrClosed) {
			p.fatalf("the connection is not closed: %q, %v", rest, err)
		}
		return
	}
	got := p.read(a)
	if kind == "~" {
		if ok, err := regexp.MatchString("^(?:"+text+")$", got); !ok || err != nil {
			p.fatalf("got  %s\nwant %s (%v)", got, text, err)
		}
	} else if got != text {
		p.fatalf("got  %s\nwant %s", got, text)
	}
}

func (p *play) read(a *actor) string {
	p.t.Helper()
	s, err := a.r.ReadString('\n')
	if err != nil {
		p.fatalf("receive: %q, %v", s, err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
}

// flush compares the lines that may come in any order.
func (p *play) flush() {
	p.t.Helper()
	for _, a := range p.conns {
		for range len(a.any) {
			got := p.read(a)
			i := -1
			for j, want := range a.any {
				if want == got {
					i = j
				}
			}
			if i < 0 {
				p.fatalf("got  %s\nwant one of %q", got, a.any)
			}
			a.any = append(a.any[:i], a.any[i+1:]...)
		}
	}
}

func (p *play) unescape(s string) string {
	if !strings.Contains(s, `\r`) && !strings.Contains(s, `\n`) && !strings.Contains(s, `\x`) {
		return s
	}
	s = strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(s)
	return regexp.MustCompile(`\\x[0-9a-f]{2}`).ReplaceAllStringFunc(s, func(e string) string {
		n, _ := strconv.ParseUint(e[2:], 16, 8)
		return string([]byte{byte(n)})
	})
}

func (p *play) actor(name string) *actor {
	p.t.Helper()
	if a, ok := p.conns[name]; ok {
		return a
	}
	conn := p.house().dial()
	a := &actor{conn: conn, r: bufio.NewReader(conn)}
	p.conns[name] = a
	if !p.raw {
		user := p.users[name]
		if user == "" {
			user = "alice"
		}
		io.WriteString(conn, "x NOOP\r\nlogin LOGIN "+user+" secret\r\n")
		p.until(a, "x OK NOOP completed")
		if line := p.read(a); !strings.HasPrefix(line, "login OK") {
			p.fatalf("login: %s", line)
		}
	}
	return a
}

// until reads on to a line.
func (p *play) until(a *actor, want string) {
	p.t.Helper()
	for {
		if p.read(a) == want {
			return
		}
	}
}

// direct carries out a directive:
//
//	raw                        connections are not greeted and logged in
//	plain                      the server begins without TLS
//	recent                     messages are \Recent to whom they are told first;
//	                           without it none ever is
//	limit N                    MaxAppend
//	messages N                 MaxMessages
//	notified N                 MaxNotified
//	progress                   progress is told for each message that is looked at
//	user N NAME                connection N logs in as NAME instead of alice
//	shared NAME RIGHTS...      there is a shared mailbox; rights are "alice=lr"
//	quota OCTETS MESSAGES [A]  what alice (or account A) may keep, 0 for no limit
//	mail MAILBOX N             N small messages arrive, with a prefix; MAILBOX may
//	                           be shared/NAME
//	header MAILBOX FIELDS      a message of these fields arrives, \n between them
//	message MAILBOX FILE       a message arrives from testdata/FILE
//	old MAILBOX FILE           the same, stored without its structure
//	fail OP...                 the spool's operations fail as if it were full
//	corrupt                    reading bodies fails
//	mend                       all works again
//	forget N                   of what was expunged the last N are known
//	starttls N                 connection N begins TLS
//	compress N                 connection N is compressed from here on
//	selected MAILBOX [N]       connections 1 to N (or 1) have it selected
//	fill C N                   connection C sends N octets
//	wait TEXT                  connection 1 must get this line, after any others
//	login                      from here on connections log in again
func (p *play) direct(f []string) {
	p.t.Helper()
	h := p.house
	arrive := func(mailbox, body string, withStructure bool) {
		account := "alice"
		if t, is := strings.CutPrefix(mailbox, "shared/"); is {
			account, mailbox = "shared/"+t, spool.Inbox
		}
		if _, err := h().store.CreateMailbox(account, mailbox, spool.UseNone); err != nil && !errors.Is(err, spool.ErrMailboxExists) {
			p.fatalf("%v", err)
		}
		h().deposit(account, mailbox, "Return-Path: <bob@example.org>\r\n", body, spool.Flags{}, withStructure)
	}
	switch f[0] {
	case "raw":
		p.raw = true
	case "login":
		p.raw = false
	case "progress":
		p.progress = true
	case "plain":
		p.plain, p.raw = true, true
	case "recent":
		p.recent = true
	case "messages":
		p.messages, _ = strconv.Atoi(f[1])
	case "limit":
		p.limit, _ = strconv.ParseInt(f[1], 10, 64)
	case "notified":
		p.notified, _ = strconv.Atoi(f[1])
	case "mail":
		n, _ := strconv.Atoi(f[2])
		for i := range n {
			arrive(f[1], fmt.Sprintf("From: bob@example.org\r\nSubject: m%d\r\n\r\nbody %d\r\n", i+1, i+1), true)
		}
	case "header":
		arrive(f[1], p.unescape(strings.ReplaceAll(strings.Join(f[2:], " "), `\n`, `\r\n`))+"\r\n\r\nbody\r\n", true)
	case "message", "old":
		b, err := os.ReadFile("testdata/" + f[2])
		if err != nil {
			p.fatalf("%v", err)
		}
		arrive(f[1], strings.ReplaceAll(string(b), "\n", "\r\n"), f[0] == "message")
	case "user":
		if p.users == nil {
			p.users = make(map[string]string)
		}
		p.users[f[1]] = f[2]
	case "quota":
		octets, _ := strconv.ParseInt(f[1], 10, 64)
		messages, _ := strconv.ParseInt(f[2], 10, 64)
		account := "alice"
		if len(f) > 3 {
			account = f[3]
		}
		h().quota.Replace(quota.Rules{Accounts: map[string]quota.Limit{account: {Octets: octets, Messages: messages}}})
	case "shared":
		t := Shared{Name: f[1], Account: "shared/" + f[1], Rights: make(map[string]string)}
		for _, grant := range f[2:] {
			who, letters, _ := strings.Cut(grant, "=")
			t.Rights[who] = letters
		}
		p.shared = append(p.shared, t)
	case "fail":
		h().fail(spool.ErrFull, f[1:]...)
	case "corrupt":
		h().fail(spool.ErrCorrupt, "read")
	case "forget":
		n, _ := strconv.Atoi(f[1])
		h().store.Forget(n)
	case "mend":
		h().mend()
	case "selected":
		n, name := 1, f[1:]
		if k, err := strconv.Atoi(f[len(f)-1]); err == nil {
			n, name = k, f[1:len(f)-1]
		}
		for i := 1; i <= n; i++ {
			a := p.actor(strconv.Itoa(i))
			fmt.Fprintf(a.conn, "selected SELECT %s\r\n", strings.Join(name, " "))
			p.until(a, "selected OK [READ-WRITE] SELECT completed")
		}
	case "fill":
		n, _ := strconv.Atoi(f[2])
		io.WriteString(p.actor(f[1]).conn, strings.Repeat("x", n))
	case "wait":
		p.until(p.actor("1"), strings.Join(f[1:], " "))
	case "starttls":
		a := p.actor(f[1])
		conn := tls.Client(a.conn, clientTLS())
		if err := conn.Handshake(); err != nil {
			p.fatalf("handshake: %v", err)
		}
		a.conn, a.r = conn, bufio.NewReader(conn)
	case "compress":
		a := p.actor(f[1])
		zip, err := flate.NewWriter(a.conn, flate.DefaultCompression)
		if err != nil {
			p.fatalf("%v", err)
		}
		a.conn, a.r = deflated{a.conn, zip}, bufio.NewReader(flate.NewReader(a.r))
	default:
		p.fatalf("no such directive: %s", f[0])
	}
}

// deflated compresses what is written to a connection.
type deflated struct {
	net.Conn
	zip *flate.Writer
}

func (d deflated) Write(p []byte) (int, error) {
	n, err := d.zip.Write(p)
	if err == nil {
		err = d.zip.Flush()
	}
	return n, err
}
