package main

import (
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"restante/spool"
)

func listenTCP(t *testing.T) (addr string, file *os.File) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return l.Addr().String(), f
}

// TestFirstStart passes sockets, since the default ports may be taken on the
// machine of the test.
func TestFirstStart(t *testing.T) {
	p := newProcess(t)
	smtpAddr, a := listenTCP(t)
	imapAddr, b := listenTCP(t)
	p.start("smtp:imaps", []*os.File{a, b})
	s := waitUp(p.state(), func(err error) { t.Fatalf("%v: %s", err, &p.err) })
	if len(s.Listeners) != 2 || s.Listeners[0].Addr != smtpAddr || s.Listeners[1].Addr != imapAddr || s.Listeners[1].Name != "imaps" {
		t.Fatalf("listeners %+v", s.Listeners)
	}
	p.waitFor(&p.out, "queue list")
	m := regexp.MustCompile(`made the account (\S+@localhost) with the password (\S+)\n`).FindStringSubmatch(p.out.String())
	if m == nil {
		t.Fatalf("no account is told of in:\n%s", &p.out)
	}
	for _, want := range []string{
		"smtp://" + smtpAddr + " --mail-from " + m[1],
		"-u '" + m[1] + ":" + m[2] + "' 'imaps://" + imapAddr + "/",
		"queue list --state " + p.state(),
	} {
		if !strings.Contains(p.out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, &p.out)
		}
	}
	info, err := os.Stat(p.state())
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("state directory: %v, %v", info.Mode(), err)
	}
	c, err := smtp.Dial(smtpAddr)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Mail(""), c.Rcpt(m[1]), c.Quit()); err != nil {
		t.Errorf("mail to the account: %v", err)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d: %s", code, &p.err)
	}

	// The second start has nothing to tell.
	again := newProcess(t)
	again.dir = p.dir
	again.environment = p.environment
	again.start("smtp:imaps", []*os.File{a, b})
	waitUp(again.state(), func(err error) { t.Fatalf("%v: %s", err, &again.err) })
	again.waitFor(&again.out, "certificate")
	if strings.Contains(again.out.String(), "password") {
		t.Errorf("a password at the second start:\n%s", &again.out)
	}
	again.signal(syscall.SIGTERM)
	again.exit()
}

func TestSocketOfAnotherName(t *testing.T) {
	p := newProcess(t)
	_, a := listenTCP(t)
	p.start("pop3", []*os.File{a})
	if code := p.exit(); code != 1 || strings.Count(p.err.String(), "\n") != 1 || !strings.Contains(p.err.String(), `"pop3"`) {
		t.Errorf("exit code %d: %s", code, &p.err)
	}
}

const oneListener = "[[listener]]\nrole = \"smtp\"\naddress = \"127.0.0.1:0\"\n"

func TestServiceManagerIsTold(t *testing.T) {
	p := newProcess(t)
	p.listenNotify()
	p.environment = append(p.environment, "WATCHDOG_USEC=20000")
	path := p.write("config.toml", oneListener)
	p.start("", nil, "--config", path)
	p.told("READY=1")
	p.told("WATCHDOG=1")

	p.write("config.toml", oneListener+"hostnaem = \"x\"\n")
	p.signal(syscall.SIGHUP)
	p.told("RELOADING=1")
	p.told("READY=1")
	p.waitFor(&p.err, "the former configuration holds")
	p.waitFor(&p.err, "hostnaem")
	p.write("config.toml", oneListener+"[smtp]\nmax_hops = 7\n[queue]\nconcurrency = 1\n")
	p.signal(syscall.SIGHUP)
	p.told("RELOADING=1")
	p.told("READY=1")
	for _, want := range []string{"msg=reloaded", "room=relay", "room=control", `room="smtp 127.0.0.1`} {
		p.waitFor(&p.err, want)
	}
	p.signal(syscall.SIGTERM)
	p.told("STOPPING=1")
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d: %s", code, &p.err)
	}
}

// TestReplacedRoomsServe has a connection open over a reload that replaces its
// server, and makes a new one.
func TestReplacedRoomsServe(t *testing.T) {
	p := newProcess(t)
	p.listenNotify()
	path := p.write("config.toml", "hostname = \"one.example\"\n"+oneListener)
	p.start("", nil, "--config", path)
	p.told("READY=1")
	s := waitUp(p.state(), func(err error) { t.Fatal(err) })
	greeting := func() string {
		t.Helper()
		c, err := net.Dial("tcp", s.Listeners[0].Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		b := make([]byte, 200)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	if g := greeting(); !strings.HasPrefix(g, "220 one.example ") {
		t.Errorf("greeting %q", g)
	}
	p.write("config.toml", "hostname = \"two.example\"\n"+oneListener)
	p.signal(syscall.SIGHUP)
	p.told("RELOADING=1")
	p.told("READY=1")
	if g := greeting(); !strings.HasPrefix(g, "220 two.example ") {
		t.Errorf("greeting %q", g)
	}
	if again := waitUp(p.state(), func(err error) { t.Fatal(err) }); again.PID != s.PID || !again.Started.Equal(s.Started) {
		t.Errorf("status %+v, before %+v", again, s)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d: %s", code, &p.err)
	}
}

// TestSecondSignal has a transaction in progress, for which the first waits.
func TestSecondSignal(t *testing.T) {
	p := newProcess(t)
	p.listenNotify()
	p.start("", nil, "--grace", "1h", "--config", p.write("config.toml", oneListener))
	p.told("READY=1")
	s := waitUp(p.state(), func(err error) { t.Fatal(err) })
	c, err := smtp.Dial(s.Listeners[0].Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := errors.Join(c.Mail("a@example.org"), c.Rcpt("b@far.example")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Data(); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	p.told("STOPPING=1")
	select {
	case <-p.ended:
		t.Fatalf("did not wait for the transaction: %s", &p.err)
	default:
	}
	p.signal(syscall.SIGINT)
	if code := p.exit(); code != 1 || !strings.Contains(p.err.String(), "second signal") {
		t.Errorf("exit code %d: %s", code, &p.err)
	}
}

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		err error
		ok  bool
	}{
		{nil, true},
		{fmt.Errorf("release: %w", spool.ErrNotFound), true},
		{spool.ErrReadOnly, false},
		{spool.ErrFull, true},
		{fmt.Errorf("%w: %w", spool.ErrReadOnly, syscall.EROFS), true},
		{spool.ErrClosed, false},
	} {
		if err := probe(releasing{c.err}); (err == nil) != c.ok {
			t.Errorf("a spool that says %v: %v", c.err, err)
		}
	}
}

type releasing struct{ err error }

func (r releasing) Release(spool.TaskID, ...spool.Event) error { return r.err }

func TestEntrance(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := newEntrance("smtp", l)
	var work sync.WaitGroup
	work.Go(e.run)
	dial := func() {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	accept := func(d net.Listener) {
		t.Helper()
		c, err := d.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	first := e.door()
	dial()
	accept(first)
	// A second takes over at once, also while the first is being asked.
	closed := make(chan error, 1)
	go func() {
		c, err := first.Accept()
		if err == nil {
			c.Close()
		}
		closed <- err
	}()
	second := e.door()
	for range 10 {
		dial()
		accept(second)
	}
	first.Close()
	if err := <-closed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a door whose successor is open: %v", err)
	}
	if _, err := first.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed door: %v", err)
	}
	dial()
	accept(second)
	// One is accepted that nobody wants, then the entrance closes.
	dial()
	e.close()
	work.Wait()
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("a closed entrance takes connections")
	}
	second.Close()
}
