package smtpd

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/logbuffer"
	"restante/spool/spooltest"
)

// snippets are what FuzzWire makes streams of: commands in and out of order,
// bodies, and what is neither.
var snippets = []string{
	"EHLO c\r\n", "HELO c\r\n", "LHLO c\r\n", "MAIL FROM:<a@b.example>\r\n", "MAIL FROM:<> BODY=8BITMIME SIZE=10\r\n",
	"RCPT TO:<alice@local.example>\r\n", "RCPT TO:<bob@local.example>\r\n", "RCPT TO:<nobody@local.example>\r\n",
	"RCPT TO:<x@far.example>\r\n", "RCPT TO:<\"a b\"@local.example> NOTIFY=NEVER\r\n", "RCPT TO:<list@local.example>\r\n",
	"DATA\r\n", ".\r\n", "Subject: x\r\n", "\r\n", "..\r\n", "hello\r\n", "a\n", "b\r", "\n.\n", "\r\n.\n", "\r.\r", "\n.\r\n",
	"\r\r\n.\r\n", "\x00", "\r\x00\n.\r\x00\n", "\xff\xfe", "BDAT 0\r\n", "BDAT 0 LAST\r\n", "BDAT 3\r\na\r\n", "BDAT 4 LAST\r\n.\r\nb",
	"BDAT 2000\r\n", "BDAT 99999999999999999999\r\n", "BDAT x\r\n", "RSET\r\n", "NOOP\r\n", "NOOP x\r\n", "VRFY a\r\n", "HELP\r\n", "QUIT\r\n",
	"STARTTLS\r\n", "AUTH PLAIN AGFsaWNlAGVjaWxh\r\n", "AUTH PLAIN\r\n", "AUTH LOGIN\r\n", "*\r\n", "YWxpY2U=\r\n", "AUTH SCRAM-SHA-256 biws\r\n",
	"XCLIENT ADDR=192.0.2.1 NAME=x\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "MAIL FROM:<a@b.example>\n", "NOOP\rNOOP\r\n",
	strings.Repeat("x", 600), strings.Repeat("y", 20000), strings.Repeat("z", 140000),
}

var replyLine = regexp.MustCompile(`^[2345]\d\d[ -][ -~]{0,500}$`)

// fromHere is a pipe whose other end is on this machine.
type fromHere struct{ net.Conn }

func (fromHere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// FuzzWire: whatever is sent in whatever order, and however the server is set
// up, nothing panics, replies are lines with codes that tell nothing of the
// inside, and there are as many messages as acknowledgements.
func FuzzWire(f *testing.F) {
	index := make(map[string]byte)
	for i, s := range snippets {
		index[s] = byte(i)
	}
	stream := func(list ...string) (ops []byte) {
		for _, s := range list {
			ops = append(ops, index[s])
		}
		return ops
	}
	hello := []string{"EHLO c\r\n", "MAIL FROM:<a@b.example>\r\n", "RCPT TO:<alice@local.example>\r\n"}
	for how := range uint8(16) {
		f.Add(how, stream(append(hello, "DATA\r\n", "Subject: x\r\n", "\r\n", "hello\r\n", ".\r\n", "QUIT\r\n")...))
		f.Add(how, stream(append(hello, "DATA\r\n", "a\n", "\n.\n", "b\r", "\r\r\n.\r\n", "NOOP\r\n")...))
		f.Add(how, stream(append(hello, "BDAT 3\r\na\r\n", "NOOP\r\n", "BDAT 4 LAST\r\n.\r\nb", "RSET\r\n")...))
		f.Add(how, stream(append(hello, strings.Repeat("y", 20000), "\r\n", strings.Repeat("z", 140000))...))
	}
	f.Add(uint8(3), stream("LHLO c\r\n", "MAIL FROM:<a@b.example>\r\n", "RCPT TO:<alice@local.example>\r\n", "BDAT 4 LAST\r\n.\r\nb"))
	here := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	f.Fuzz(func(t *testing.T, how uint8, ops []byte) {
		memory := spooltest.NewMemory(spooltest.MemoryOptions{})
		log := &logbuffer.Buffer{}
		opt := testOptions(memory)
		opt.Logger = slog.New(slog.NewTextHandler(log, nil))
		opt.Limits = Limits{
			MaxSize: 30000, MaxHeader: 5000, MaxRecipients: 3, MaxErrors: 8,
			AuthDelay: time.Nanosecond, ErrorDelay: time.Nanosecond,
		}
		opt.Role = []Role{Relay, Submission, Relay, LMTP}[how&3]
		if how&4 != 0 {
			opt.Trusted, opt.Normalize, opt.Extensions.XClient = here, here, here
		}
		opt.RefuseEarly = how&8 != 0
		if how&16 != 0 {
			opt.Extensions.Proxy = here
		}
		var text []byte
		for _, op := range ops[:min(len(ops), 200)] {
			text = append(text, snippets[int(op)%len(snippets)]...)
		}
		var said []byte
		synctest.Test(t, func(*testing.T) { said = converseWire(opt, text) })
		if strings.Contains(log.String(), "level=ERROR") || memory.Staging() != 0 {
			t.Fatalf("a fault, or something left in the making:\n%s", log.String())
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(string(said), "\r\n"), "\r\n") {
			if line != "" && !replyLine.MatchString(line) {
				t.Fatalf("said %q", line)
			}
		}
		if bytes.Contains(said, []byte("restante/")) || bytes.Contains(said, []byte("goroutine")) {
			t.Fatalf("said too much: %q", said)
		}
		stored := len((&house{t: t, spool: memory}).ids())
		if acks := bytes.Count(said, []byte("250 2.0.0 Accepted as ")); acks != stored && opt.Role != LMTP || acks < stored {
			t.Fatalf("%d acknowledgements for %d messages:\n%s", acks, stored, said)
		}
	})
}

// converseWire sends text to a server, in a bubble, and returns what it says
// until nothing happens any more.
func converseWire(opt Options, text []byte) []byte {
	srv := New(opt)
	l := newPipeListener()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), l) }()
	client, server := net.Pipe()
	l.conns <- fromHere{server}
	var said []byte
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		said, _ = io.ReadAll(client)
	}()
	client.Write(text)
	synctest.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	srv.Shutdown(ctx)
	<-served
	<-heard
	client.Close()
	return said
}
