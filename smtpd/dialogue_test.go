package smtpd

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"restante/spool"
	"restante/spool/spooltest"
)

// TestDialogues plays testdata/*.txt. A file is a dialogue with one server, by
// lines:
//
//	# comment
//	role ROLE, unix, quiet, implicit-tls, no-tls, no-auth, trusted PREFIX, limit NAME N
//	              how the server is set up; before anything else
//	C: text       the client sends text and CR LF; lines that follow one
//	              another are sent in one go
//	R: "text"     the client sends a Go string as it is
//	xclient PREFIX, proxy PREFIX, repeater PREFIX, hold DURATION, once DURATION
//	              and what it offers (Extensions)
//	normalize PREFIX, greet-delay DURATION, refuse-early, rate WHOSE-WHAT N DURATION
//	              and what it asks of clients
//	S: text       the server must reply so; * stands for anything. In a reply of
//	              several lines those that are not asked for are passed over
//	SS: text      the last line of a whole reply must be so
//	many N TEXT   the client sends N lines, with their number for #, and each is
//	              answered with 250
//	offers TEXT   one of the lines of that reply was so; offers-not
//	tls           the client does a TLS handshake; tls-as NAME, with a certificate
//	eof           the server must close the connection
//	second        the client makes another connection, and leaves the first
//	reconnect     the client closes the connection and makes another
//	fail OP KIND  the spool fails from now on: full, read-only, uncertain,
//	              other, or nothing
//	messages N    the spool must have N messages in all
//	inbox NAME N  and N in the inbox of an account
//	queued ADDR   and a task for a recipient
//	has "text"    and text in the newest message, as stored or unfolded; has-not
//	envelope 8bit utf8   and what the newest task's envelope says; "7bit" is neither
//	newest WORD   and what the newest message and its tasks come to; see describe
//	log text      the log must have a line with text; no-log
//
// In C and R lines {plain USER PASSWORD} and {base64 TEXT} are encoded, and
// {N TEXT} is TEXT N times. What there is for SASL is told at saslPlayer.
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := &player{t: t}
			for i, line := range strings.Split(string(text), "\n") {
				p.line = i + 1
				if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
					p.play(line)
				}
			}
			p.flush()
		})
	}
}

// player plays one dialogue.
type player struct {
	t       *testing.T
	line    int
	changes []func(*Options)
	house   *house
	conn    net.Conn
	in      *bufio.Reader
	unsent  string
	lines   []string // of the last reply that SS has read
	sasl    saslPlayer
}

func (p *player) fatalf(format string, args ...any) {
	p.t.Helper()
	p.t.Fatalf("line %d: "+format, append([]any{p.line}, args...)...)
}

func (p *player) setUp(change func(*Options)) {
	if p.house != nil {
		p.fatalf("too late to change the server")
	}
	p.changes = append(p.changes, change)
}

// connect starts the server, if it is not running, and connects to it.
func (p *player) connect() {
	if p.house == nil {
		p.house = open(p.t, func(o *Options) {
			for _, change := range p.changes {
				change(o)
			}
		})
	}
	if p.conn == nil {
		p.conn = p.house.dial()
		p.in = bufio.NewReader(p.conn)
	}
}

func (p *player) flush() {
	if p.unsent == "" {
		return
	}
	if _, err := p.conn.Write([]byte(p.unsent)); err != nil {
		p.fatalf("sending: %v", err)
	}
	p.unsent = ""
}

func (p *player) handshake(certificates ...tls.Certificate) {
	c := tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true, Certificates: certificates})
	if err := c.Handshake(); err != nil {
		p.fatalf("handshake: %v", err)
	}
	p.conn, p.in = c, bufio.NewReader(c)
}

func (p *player) play(line string) {
	word, rest, _ := strings.Cut(line, " ")
	if p.setting(word, rest) || p.saslSetting(word, rest) {
		return
	}
	p.connect()
	switch word {
	case "C:":
		p.unsent += expand(p.saslExpand(rest)) + "\r\n"
		return
	case "R:":
		s, err := strconv.Unquote(rest)
		if err != nil {
			p.fatalf("%v", err)
		}
		p.unsent += expand(s)
		return
	}
	p.flush()
	switch word {
	case "S:":
		got := p.read(rest)
		for len(rest) > 3 && strings.HasPrefix(got, rest[:3]+"-") && !like(rest, strings.TrimSuffix(got, "\r\n")) {
			got = p.read(rest)
		}
		if !like(rest, strings.TrimSuffix(got, "\r\n")) || !strings.HasSuffix(got, "\r\n") {
			p.fatalf("got  %q\nwant %q", got, rest)
		}
	case "SS:":
		p.lines = nil
		got := p.read(rest)
		for ; len(got) > 3 && got[3] == '-'; got = p.read(rest) {
			p.lines = append(p.lines, strings.TrimSpace(got[4:]))
		}
		if !like(rest, strings.TrimSuffix(got, "\r\n")) {
			p.fatalf("got  %q\nwant %q", got, rest)
		}
		p.lines = append(p.lines, strings.TrimSpace(got[4:]))
	case "many":
		p.many(rest)
	case "offers", "offers-not":
		if slices.ContainsFunc(p.lines, func(l string) bool { return like(rest, l) }) != (word == "offers") {
			p.fatalf("%s %s: %q", word, rest, p.lines)
		}
	case "tls":
		p.handshake()
	case "tls-as":
		p.handshake(clientCertificate(p.t, rest))
	case "signed", "challenge":
		p.saslCheck(word, rest)
	case "eof":
		if got, err := p.in.ReadString('\n'); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			p.fatalf("the connection is still open: %q, %v", got, err)
		}
	case "reconnect", "second":
		if word == "reconnect" {
			p.conn.Close()
		}
		p.conn = nil
		p.connect()
	case "fail":
		p.fail(rest)
	default:
		p.check(word, rest)
	}
}

// many sends a number of commands without waiting, and reads their replies.
func (p *player) many(rest string) {
	number, text, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		p.fatalf("%v", err)
	}
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			if _, err := fmt.Fprintf(p.conn, "%s\r\n", strings.ReplaceAll(text, "#", strconv.Itoa(i+1))); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range n {
		if got := p.read("250"); !strings.HasPrefix(got, "250 ") {
			p.fatalf("number %d: %q", i+1, got)
		}
	}
	if err := <-sent; err != nil {
		p.fatalf("sending: %v", err)
	}
}

// read returns the next line of a reply, of which want is expected.
func (p *player) read(want string) string {
	got, err := p.in.ReadString('\n')
	if err != nil {
		p.fatalf("waiting for %q: got %q, %v", want, got, err)
	}
	p.sasl.last = got
	return got
}

// setting handles the words that set up the server.
func (p *player) setting(word, rest string) bool {
	switch word {
	case "role":
		p.setUp(func(o *Options) {
			o.Role = map[string]Role{"relay": Relay, "submission": Submission, "lmtp": LMTP}[rest]
		})
	case "implicit-tls":
		p.setUp(func(o *Options) { o.ImplicitTLS = true })
	case "no-tls":
		p.setUp(func(o *Options) { o.TLS = nil })
	case "no-auth":
		p.setUp(func(o *Options) { o.Auth = nil })
	case "trusted":
		p.setUp(func(o *Options) { o.Trusted = append(o.Trusted, netip.MustParsePrefix(rest)) })
	case "quiet":
		p.setUp(func(o *Options) { o.Extensions.QuietToStrangers = true })
	case "unix":
		p.setUp(func(o *Options) { o.Hostname = unixHouse })
	case "xclient":
		p.setUp(func(o *Options) { o.Extensions.XClient = append(o.Extensions.XClient, netip.MustParsePrefix(rest)) })
	case "proxy":
		p.setUp(func(o *Options) { o.Extensions.Proxy = append(o.Extensions.Proxy, netip.MustParsePrefix(rest)) })
	case "repeater":
		p.setUp(func(o *Options) {
			o.Extensions.Repeaters = append(o.Extensions.Repeaters, netip.MustParsePrefix(rest))
		})
	case "hold", "hold-accounts", "once":
		d, err := time.ParseDuration(rest)
		if err != nil {
			p.fatalf("%v", err)
		}
		p.setUp(func(o *Options) {
			switch word {
			case "hold":
				o.Extensions.MaxHold = d
			case "hold-accounts":
				o.Extensions.Hold = func(string) time.Duration { return d }
			default:
				o.Extensions.Once = d
			}
		})
	case "normalize":
		p.setUp(func(o *Options) { o.Normalize = append(o.Normalize, netip.MustParsePrefix(rest)) })
	case "refuse-early":
		p.setUp(func(o *Options) { o.RefuseEarly = true })
	case "greet-delay":
		d, err := time.ParseDuration(rest)
		if err != nil {
			p.fatalf("%v", err)
		}
		p.setUp(func(o *Options) { o.RefuseEarly, o.GreetDelay = true, d })
	case "rate":
		p.rate(rest)
	case "limit":
		name, number, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			p.fatalf("%v", err)
		}
		p.setUp(func(o *Options) {
			l := &o.Limits
			l.MaxSize += int64(map[string]int{"MaxSize": n}[name])
			if f := map[string]*int{
				"MaxHeader": &l.MaxHeader, "MaxHops": &l.MaxHops, "MaxRecipients": &l.MaxRecipients,
				"MaxConnections": &l.MaxConnections, "MaxPerAddress": &l.MaxPerAddress,
				"MaxErrors": &l.MaxErrors, "MaxRefused": &l.MaxRefused, "AuthFailures": &l.AuthFailures,
			}[name]; f != nil {
				*f = n
			}
		})
	default:
		return false
	}
	return true
}

// rate handles "stranger-messages 2 1h".
func (p *player) rate(rest string) {
	var what, per string
	var n int
	fmt.Sscan(rest, &what, &n, &per)
	d, err := time.ParseDuration(per)
	if err != nil {
		p.fatalf("%v", err)
	}
	p.setUp(func(o *Options) {
		l := &o.Limits
		*map[string]*Rate{
			"stranger-messages": &l.StrangerRates.Messages, "stranger-recipients": &l.StrangerRates.Recipients,
			"trusted-messages": &l.TrustedRates.Messages, "trusted-recipients": &l.TrustedRates.Recipients,
			"account-messages": &l.AccountRates.Messages, "account-recipients": &l.AccountRates.Recipients,
		}[what] = Rate{Count: n, Per: d}
	})
}

func (p *player) fail(rest string) {
	op, kind, _ := strings.Cut(rest, " ")
	kinds := map[string]error{
		"full": spool.ErrFull, "read-only": spool.ErrReadOnly, "uncertain": spool.ErrUncertain,
		"other": errors.New("/secret/path: input/output error"), "nothing": nil,
	}
	err, ok := kinds[kind]
	if !ok {
		p.fatalf("unknown fault %q", kind)
	}
	p.house.spool.Fail(err, spooltest.Op(op))
}

// check handles the words that look at what the server has done.
func (p *player) check(word, rest string) {
	h := p.house
	switch word {
	case "messages":
		if got := len(h.messages()); strconv.Itoa(got) != rest {
			p.fatalf("%d messages, want %s", got, rest)
		}
	case "inbox":
		name, n, _ := strings.Cut(rest, " ")
		if i := strings.LastIndexByte(rest, ' '); i > 0 {
			name, n = rest[:i], rest[i+1:]
		}
		if got := len(h.inbox(name)); strconv.Itoa(got) != n {
			p.fatalf("%d messages for %s, want %s", got, name, n)
		}
	case "queued":
		for _, task := range h.queue() {
			for _, r := range task.Recipients {
				if r.To.String() == rest {
					return
				}
			}
		}
		p.fatalf("nothing queued for %s", rest)
	case "has", "has-not":
		want, err := strconv.Unquote(rest)
		all := h.messages()
		if err != nil || len(all) == 0 {
			p.fatalf("no message, or not a Go string: %v", err)
		}
		text := all[len(all)-1]
		if (strings.Contains(text, want) || strings.Contains(unfold.Replace(text), want)) != (word == "has") {
			p.fatalf("%s %q:\n%s", word, want, text)
		}
	case "envelope":
		q := h.queue()
		env := q[len(q)-1].Envelope
		if env.EightBit != strings.Contains(rest, "8bit") || env.UTF8 != strings.Contains(rest, "utf8") {
			p.fatalf("envelope %+v, want %s", env, rest)
		}
	case "newest":
		if got := h.describe(); !strings.Contains(" "+strings.ReplaceAll(got, "\n", " ")+" ", " "+rest+" ") {
			p.fatalf("no %s in\n%s", rest, got)
		}
	case "log":
		// A line can come after the reply.
		for end := time.Now().Add(time.Minute); !strings.Contains(h.log.String(), rest); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				p.fatalf("not in the log: %q", rest)
			}
		}
	case "no-log":
		if strings.Contains(h.log.String(), rest) {
			p.fatalf("in the log: %q", rest)
		}
	default:
		p.fatalf("unknown word %q", word)
	}
}

// describe tells what the newest message and its tasks come to: a line for the
// envelope, with its times counted from the arrival by the server's clock, one
// for each task with its times counted from the commit, and one for each of
// its recipients.
func (h *house) describe() string {
	h.t.Helper()
	ids := h.ids()
	if len(ids) == 0 {
		return "nothing"
	}
	id := ids[len(ids)-1]
	info, err := h.spool.Stat(id)
	if err != nil {
		h.t.Fatal(err)
	}
	since := func(from, t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return t.Sub(from).Round(time.Millisecond).String()
	}
	env := info.Envelope
	text := fmt.Sprintf("from=<%s> ret=%d envid=%q priority=%d requiretls=%t by=%s back=%t trace=%t hold=%s helo=%s addr=%s account=%s with=%s\n",
		env.From, env.Ret, env.EnvID, env.Priority, env.RequireTLS, since(testTime, env.By.At), env.By.Return, env.By.Trace,
		since(testTime, env.HoldUntil), env.Client.Helo, env.Client.Addr, env.Client.Account, env.Client.Protocol)
	tasks, err := h.spool.MessageTasks(id)
	if err != nil && !errors.Is(err, spool.ErrNotFound) {
		h.t.Fatal(err)
	}
	for _, task := range tasks {
		text += fmt.Sprintf("task=%q due=%s warns=%s expires=%s\n", task.Destination,
			since(task.Queued, task.Due), since(task.Queued, task.Warns), since(task.Queued, task.Expires))
		for _, r := range task.Recipients {
			text += fmt.Sprintf("to=<%s> notify=%d orcpt=%q\n", r.To, r.Notify, r.Original)
		}
	}
	return text
}

// like matches a reply with a pattern.
func like(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(s)
}

var unfold = strings.NewReplacer("\r\n\t", " ")

var braces = regexp.MustCompile(`\{(plain|base64|\d+) ([^}]*)\}`)

func expand(s string) string {
	return braces.ReplaceAllStringFunc(s, func(m string) string {
		word, rest := braces.FindStringSubmatch(m)[1], braces.FindStringSubmatch(m)[2]
		switch word {
		case "plain":
			user, password, _ := strings.Cut(rest, " ")
			return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
		case "base64":
			return base64.StdEncoding.EncodeToString([]byte(rest))
		}
		n, _ := strconv.Atoi(word)
		return strings.Repeat(rest, n)
	})
}
