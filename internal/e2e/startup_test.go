package e2e

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// refusesToStart runs the daemon, which must end with an error in one line
// that has the given words in it.
func (d *daemon) refusesToStart(words ...string) {
	d.t.Helper()
	r := d.run("", "serve")
	if r.code == 0 {
		d.t.Errorf("exit code 0; output: %s%s", r.stdout, r.stderr)
	}
	said := strings.Split(strings.TrimSpace(r.stderr), "\n")
	if len(said) != 1 {
		d.t.Errorf("%d lines instead of one:\n%s", len(said), r.stderr)
	}
	for _, w := range words {
		if !strings.Contains(r.stderr, w) {
			d.t.Errorf("%q does not name %q", r.stderr, w)
		}
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := prepare(t, "[[listener]]\nrole = \"smtp\"\naddress = \""+l.Addr().String()+"\"")
	d.refusesToStart(l.Addr().String())
}

func TestStateDirectoryInTheWay(t *testing.T) {
	t.Parallel()
	d := prepare(t)
	d.state = filepath.Join(d.write("file", ""), "state")
	d.refusesToStart(d.state)
}

func TestStateDirectoryReadOnly(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	d := prepare(t)
	if err := os.Mkdir(d.state, 0o500); err != nil {
		t.Fatal(err)
	}
	d.refusesToStart(d.state)
}

func TestSecondDaemon(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	d.refusesToStart(d.state)
	d.send(letter("the first goes on"), alice, bob)
	d.inbox(bob, 1)
	// What a killed daemon leaves behind stops nobody.
	d.kill()
	d.start()
	d.inbox(bob, 1)
}

func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	d := prepare(t, "[smtp]\nno_such_key = 1")
	d.refusesToStart("no_such_key", d.config)
	r := d.run("", "check")
	if r.code == 0 || !strings.Contains(r.stdout+r.stderr, "no_such_key") {
		t.Errorf("check: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	d.configure()
	d.must("", "check")
}

// TestShutdownFinishesTransactions stops the daemon in the middle of a message.
func TestShutdownFinishesTransactions(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	message := []byte(letter("in progress"))
	c, idle := d.smtp(), d.smtp()
	if err := c.envelope(alice, bob); err != nil {
		t.Fatal(err)
	}
	if err := c.expect(354, "DATA"); err != nil {
		t.Fatal(err)
	}
	text := stuff(message)
	if err := c.send(text[:40]); err != nil {
		t.Fatal(err)
	}
	d.signal(syscall.SIGTERM)
	// The idle session ends, the busy one does not.
	if r, err := idle.reply(); err == nil && r.code != 421 || err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an idle session is told %v %v", r, err)
	}
	eventually(t, "the port is closed", func() bool {
		conn, err := net.Dial("tcp", d.addr("smtp"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if err := c.send(append(text[40:], ".\r\n"...)); err != nil {
		t.Fatal(err)
	}
	if r, err := c.reply(); err != nil || r.code != 250 {
		t.Errorf("the transaction in progress ended with %v %v", r, err)
	}
	if code := d.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	d.start()
	sameButTrace(t, d.inbox(bob, 1)[0].body, message, local...)
}
