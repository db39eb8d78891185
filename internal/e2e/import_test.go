package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// command runs restante with the daemon's configuration.
func (d *daemon) command(stdin string, args ...string) result {
	d.t.Helper()
	argv := append([]string{binary(d.t)}, args...)
	return run(d.t, d.dir, nil, stdin, append(argv, "--state", d.state, "--config", d.config)...)
}

// imported runs import and returns its last line.
func (d *daemon) imported(args ...string) string {
	d.t.Helper()
	r := d.command("", append([]string{"import"}, args...)...)
	if r.code != 0 {
		d.t.Fatalf("import %v: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	d.t.Logf("%s%s", r.stderr, r.stdout)
	return r.stdout
}

// kept is a message with what an import must not change.
type kept struct {
	flags, date, text string
}

// everything is all mailboxes of an account but empty ones, by name.
func everything(t testing.TB, c *imapclient.Client) map[string][]kept {
	t.Helper()
	boxes, err := c.List("", "*", nil).Collect()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]kept)
	for _, box := range boxes {
		data, err := c.Select(box.Mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			continue // a level that is no mailbox
		}
		if data.NumMessages == 0 {
			continue
		}
		section := &imap.FetchItemBodySection{Peek: true}
		list, err := c.Fetch(imap.UIDSet{{Start: 1}}, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			flags := slices.DeleteFunc(m.Flags, func(f imap.Flag) bool { return f == `\Recent` })
			slices.Sort(flags)
			all[box.Mailbox] = append(all[box.Mailbox], kept{fmt.Sprint(flags), m.InternalDate.UTC().String(), string(m.FindBodySection(section))})
		}
	}
	return all
}

// sameMail compares mailboxes; names has those that are called otherwise.
func sameMail(t testing.TB, got, want map[string][]kept, names map[string]string) {
	t.Helper()
	for box, list := range want {
		name := box
		if other := names[box]; other != "" {
			name = other
		}
		if len(got[name]) != len(list) {
			t.Errorf("%s: %d messages, want %d", name, len(got[name]), len(list))
			continue
		}
		for i, m := range list {
			if got[name][i] != m {
				t.Errorf("%s, message %d: got %.300q, want %.300q", name, i+1, got[name][i], m)
			}
		}
		delete(got, name)
	}
	for name, list := range got {
		t.Errorf("%s has %d messages", name, len(list))
	}
}

// append puts a message into a mailbox.
func appendMail(t testing.TB, c *imapclient.Client, box, text string, date time.Time, flags ...imap.Flag) {
	t.Helper()
	cmd := c.Append(box, int64(len(text)), &imap.AppendOptions{Time: date, Flags: flags})
	if _, err := cmd.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// fill makes a few hundred messages in several mailboxes. sep is the server's
// separator, prefix what its mailboxes begin with.
func fill(t testing.TB, c *imapclient.Client, prefix, sep string) {
	t.Helper()
	for _, box := range []string{"Listen" + sep + "grün", "Leer"} {
		if err := c.Create(prefix+box, nil).Wait(); err != nil {
			t.Fatal(err)
		}
		if err := c.Subscribe(prefix + box).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	date := time.Date(2009, 7, 6, 5, 4, 3, 0, time.FixedZone("", 2*3600))
	for i := range 230 {
		var flags []imap.Flag
		if i%2 == 0 {
			flags = append(flags, imap.FlagSeen)
		}
		if i%3 == 0 {
			flags = append(flags, imap.FlagAnswered, "$Forwarded")
		}
		appendMail(t, c, "INBOX", letter(fmt.Sprint("number ", i)), date.Add(time.Duration(i)*time.Hour), flags...)
	}
	large := "Subject: large\r\n\r\n" + strings.Repeat(strings.Repeat("x", 98)+"\r\n", 30_000)
	appendMail(t, c, prefix+"Gesendet", large, date, imap.FlagSeen)
	appendMail(t, c, prefix+"Listen"+sep+"grün", "no header\r\n\r\n\xff\xfe 8 bit\r\n", date, imap.FlagFlagged, imap.FlagDeleted)
}

// dovecotIMAP runs a Dovecot with one user, "me", whose mail is below "INBOX.",
// and returns its IMAP ports (STARTTLS and TLS) and its folder.
func dovecotIMAP(t *testing.T) (plain, secure int, dir string) {
	t.Helper()
	dir, _ = peerDir(t)
	plain, secure = freePort(t), freePort(t)
	startDovecot(t, dir, map[string]string{"me": password}, fmt.Sprintf(`
protocols = imap
namespace inbox {
  inbox = yes
  separator = .
  prefix = INBOX.
  mailbox Gesendet {
    special_use = \Sent
    auto = subscribe
  }
}
service imap-login {
  chroot =
  inet_listener imap {
    address = 127.0.0.1
    port = %d
  }
  inet_listener imaps {
    address = 127.0.0.1
    port = %d
    ssl = yes
  }
}
`, plain, secure))
	listening(t, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(secure)))
	return plain, secure, dir
}

// TestImportFromDovecot brings mail over from a server with another separator,
// everything below INBOX and other names, in runs that are killed.
func TestImportFromDovecot(t *testing.T) {
	t.Parallel()
	plain, secure, dir := dovecotIMAP(t)
	gate := newGate(t, secure)
	secure = gate.port
	d := newDaemon(t)
	ca := filepath.Join(dir, "tls.crt")
	source, err := imapclient.DialTLS(net.JoinHostPort("localhost", strconv.Itoa(secure)), &imapclient.Options{TLSConfig: trusting(t, ca)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	if err := source.Login("me", password).Wait(); err != nil {
		t.Fatal(err)
	}
	fill(t, source, "INBOX.", ".")
	url := func(scheme string, port int) string { return fmt.Sprintf("%s://me@localhost:%d", scheme, port) }
	args := []string{"--account", bob, "--password-file", "password", "--ca", ca}

	// A server that nobody vouches for gets no password.
	r := d.command("", "import", url("imaps", secure), "--account", bob, "--password-file", "password")
	if r.code == 0 || !strings.Contains(r.stderr, "certificate") {
		t.Errorf("without --ca: exit code %d, %s", r.code, r.stderr)
	}
	has(t, d.imported(append(args, url("imap", plain), "--dry-run")...), "232 messages would be brought over")
	if got := everything(t, d.imap(bob, password, nil)); len(got) > 0 {
		t.Errorf("a dry run has brought %v", got)
	}

	// Killed at three places, all of them long before the end.
	watch := d.imap(bob, password, nil)
	brought := func() int {
		s, err := watch.Status("INBOX", &imap.StatusOptions{NumMessages: true}).Wait()
		if err != nil {
			t.Fatal(err)
		}
		return int(*s.NumMessages)
	}
	gate.limit.Store(60_000)
	for range 3 {
		before := brought()
		argv := append([]string{"import", "--state", d.state, "--config", d.config, url("imaps", secure)}, args...)
		cmd := exec.Command(binary(t), argv...)
		cmd.Dir = d.dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		eventually(t, "the import goes on", func() bool { return brought() > before })
		_ = cmd.Process.Kill()
		<-ended
	}
	watch.Close()
	gate.limit.Store(math.MaxInt64)
	d.imported(append(args, url("imaps", secure))...)
	want := everything(t, source)
	names := map[string]string{"INBOX.Gesendet": "Sent", "INBOX.Listen.grün": "Listen/grün"}
	sameMail(t, everything(t, d.imap(bob, password, nil)), want, names)
	has(t, d.imported(append(args, url("imaps", secure))...), "0 messages brought over")

	// What comes later is brought alone; a message that the server cannot read
	// is told.
	appendMail(t, source, "INBOX", letter("later"), time.Now())
	has(t, d.imported(append(args, url("imaps", secure))...), "1 message ")
	appendMail(t, source, "INBOX", letter("unreadable"), time.Now())
	appendMail(t, source, "INBOX", letter("after it"), time.Now())
	breakMail(t, filepath.Join(dir, "boxes"), "Subject: unreadable")
	r = d.command("", append([]string{"import", url("imaps", secure)}, args...)...)
	t.Logf("exit code %d: %s%s", r.code, r.stderr, r.stdout)
	if r.code != 1 || !strings.Contains(r.stdout, "1 message ") || !strings.Contains(r.stdout, "1 passed over") {
		t.Errorf("with a damaged message: exit code %d, %s%s", r.code, r.stderr, r.stdout)
	}
}

// gate is a way to a port of this machine. Of each connection no more comes back
// through it than the limit, in octets; then it stands still.
type gate struct {
	port  int
	limit atomic.Int64
}

func newGate(t *testing.T, port int) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{port: l.Addr().(*net.TCPAddr).Port}
	g.limit.Store(math.MaxInt64)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer near.Close()
				far, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
				if err != nil {
					return
				}
				defer far.Close()
				work.Go(func() {
					if n, _ := io.CopyN(near, far, g.limit.Load()); n < g.limit.Load() {
						near.Close() // the server has ended it
					}
				})
				_, _ = io.Copy(far, near) // ends with the client
			})
		}
	})
	t.Cleanup(func() { l.Close(); work.Wait() })
	return g
}

// trusting is a client's TLS with the certificates of a file.
func trusting(t *testing.T, ca string) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{RootCAs: x509.NewCertPool()}
	cfg.RootCAs.AppendCertsFromPEM(pem)
	return cfg
}

// breakMail takes away the text of the file that has a line in it.
func breakMail(t *testing.T, dir, line string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(b), line+"\n") {
			return err
		}
		n++
		if err := os.Remove(path); err != nil {
			return err
		}
		return os.Mkdir(path, 0o700)
	})
	if err != nil || n != 1 {
		t.Fatalf("%d files were broken: %v", n, err)
	}
}

// TestImportFromRestante goes round: bob's mail by IMAP to alice, out as
// Maildir and as mbox, and back in to another daemon.
func TestImportFromRestante(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	c := d.imap(bob, password, nil)
	if err := c.Create("Gesendet", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	fill(t, c, "", "/")
	want := everything(t, c)
	ca := filepath.Join(d.dir, "tls.crt")
	url := "imap://bob@example.org@localhost:" + d.port("imap")
	has(t, d.imported(url, "--account", "alice", "--password-file", "password", "--ca", ca), "232 messages")
	sameMail(t, everything(t, d.imap(alice, password, nil)), want, nil)

	other := newDaemon(t)
	for kind, account := range map[string]string{"maildir": alice, "mbox": bob} {
		path := filepath.Join(d.dir, "out-"+kind)
		r := d.command("", "export", kind, path, "--account", alice)
		if r.code != 0 || !strings.Contains(r.stdout, "232 messages") {
			t.Fatalf("export: exit code %d, %s%s", r.code, r.stdout, r.stderr)
		}
		has(t, other.imported(kind, path, "--account", account), "232 messages")
		has(t, other.imported(kind, path, "--account", account), "0 messages")
		sameMail(t, everything(t, other.imap(account, password, nil)), want, nil)
	}
	// Only for root and the daemon's own user; and for accounts that there are.
	if r := d.command("", "import", "maildir", filepath.Join(d.dir, "out-maildir"), "--account", "nobody"); r.code != 1 {
		t.Errorf("for nobody: exit code %d, %s", r.code, r.stderr)
	}
}
