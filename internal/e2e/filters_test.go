package e2e

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"restante/internal/needs"
)

// service runs a program in the foreground for the length of the test, in the
// daemon's folder; a signal ends it.
func (d *daemon) service(end syscall.Signal, argv ...string) {
	d.t.Helper()
	var log output
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.dir, &log, &log
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		_ = cmd.Process.Signal(end) // it may have ended
		_ = cmd.Wait()              // how it ends is its own affair
		if d.t.Failed() {
			d.t.Logf("%s said:\n%s", argv[0], log.tail(8<<10))
		}
	})
}

// listening waits until something listens at an address.
func listening(t testing.TB, network, addr string) {
	t.Helper()
	eventually(t, "something listens at "+addr, func() bool {
		conn, err := net.Dial(network, addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// rspamdConfig has rspamd look at messages itself, with no rules but its own
// test patterns and one that changes the header. It asks nobody anything.
const rspamdConfig = `
options {
  pidfile = "$DIR/rspamd.pid";
  tempdir = "$DIR/rspamd";
  hs_cache_dir = "$DIR/rspamd";
  url_tld = "$DIR/rspamd/tlds";
  control_socket = "$DIR/rspamd/control mode=0600";
  filters = "";
  dns { nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }
}
logging { type = "console"; level = "info"; }
actions { reject = 15; add_header = 6; }
worker "rspamd_proxy" {
  bind_socket = "127.0.0.1:$PORT";
  count = 1;
  milter = yes;
  timeout = 20s;
  upstream "local" { default = yes; self_scan = yes; }
}
lua = "$DIR/rspamd/rules.lua";
`

const rspamdRules = `
rspamd_config.SEEN = {
  callback = function(task)
    local from = task:get_from('smtp')[1].addr
    task:set_milter_reply({
      add_headers = {['X-Seen'] = string.format('ip=%s helo=%s user=%s from=%s rcpt=%s',
        tostring(task:get_from_ip()), task:get_helo(), tostring(task:get_user()), from, task:get_recipients('smtp')[1].addr)},
      remove_headers = {['X-Secret'] = 0},
    })
    return true
  end
}
`

// TestRspamd has rspamd judge: its test pattern is refused, other mail gets
// fields and loses one.
func TestRspamd(t *testing.T) {
	needs.Program(t, "rspamd")
	t.Parallel()
	addr, port := freeAddr(t)
	d := prepare(t, filtered("rspamd", addr, ""))
	if err := os.Mkdir(filepath.Join(d.dir, "rspamd"), 0o700); err != nil {
		t.Fatal(err)
	}
	// The list of all top domains takes it half a minute to read.
	d.write("rspamd/tlds", "org\nnet\n")
	d.write("rspamd/rules.lua", rspamdRules)
	config := d.write("rspamd.conf", strings.NewReplacer("$DIR", d.dir, "$PORT", port).Replace(rspamdConfig))
	d.service(syscall.SIGTERM, "rspamd", "--no-fork", "--insecure", "--config", config)
	d.start()
	listening(t, "tcp", addr)

	good := strings.Replace(letter("good"), "Subject:", "X-Secret: hidden\r\nSubject:", 1)
	d.send(good, alice, bob)
	got := string(d.inbox(bob, 1)[0].body)
	has(t, got, "\r\nX-Seen: ip=127.0.0.1 helo=client.example.net user=nil from=alice@example.org rcpt=bob@example.org\r\n",
		"\r\n\r\nHello.\r\n.dot\r\n")
	if strings.Contains(got, "X-Secret") {
		t.Errorf("the field is still there:\n%s", got)
	}

	c := d.submission(alice)
	if _, err := c.mail([]byte(good), alice, bob); err != nil {
		t.Fatal(err)
	}
	has(t, string(d.inbox(bob, 2)[1].body), "user=alice@example.org")

	pattern := "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
	if err := c.envelope(alice, bob); err != nil {
		t.Fatal(err)
	}
	r, err := c.data([]byte(strings.Replace(good, "Hello.", pattern, 1)))
	if err != nil || r.code != 554 || !strings.HasPrefix(r.text, "5.7.1") {
		t.Errorf("spam is answered %s %v", r, err)
	}
	d.inbox(bob, 2)
}

const clamdConfig = `
Foreground yes
LocalSocket $DIR/clamd.sock
DatabaseDirectory $DIR/signatures
TemporaryDirectory $DIR
`

const clamavMilterConfig = `
Foreground yes
MilterSocket unix:$DIR/clamav-milter.sock
ClamdSocket unix:$DIR/clamd.sock
TemporaryDirectory $DIR
OnInfected Reject
RejectMsg Infected with %v
AddHeader Replace
`

// TestClamAV has clamav-milter judge, with a clamd that knows one virus: the
// test file of the antivirus makers.
func TestClamAV(t *testing.T) {
	needs.Program(t, "clamd")
	needs.Program(t, "clamav-milter")
	t.Parallel()
	d := prepare(t)
	d.configure(filtered("clamav", filepath.Join(d.dir, "clamav-milter.sock"), ""))
	if err := os.Mkdir(filepath.Join(d.dir, "signatures"), 0o700); err != nil {
		t.Fatal(err)
	}
	// In one piece, this text would have virus scanners look at this file.
	virus := `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-` + `STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`
	d.write("signatures/test.ndb", fmt.Sprintf("Test-File:0:*:%x\n", virus))
	for _, c := range []struct{ program, config, text string }{
		{"clamd", "clamd.conf", clamdConfig},
		{"clamav-milter", "clamav-milter.conf", clamavMilterConfig},
	} {
		file := d.write(c.config, strings.ReplaceAll(c.text, "$DIR", d.dir))
		// There is nothing to save, and clamav-milter takes seconds to end.
		d.service(syscall.SIGKILL, c.program, "--config-file="+file)
		listening(t, "unix", filepath.Join(d.dir, map[string]string{"clamd": "clamd.sock", "clamav-milter": "clamav-milter.sock"}[c.program]))
	}
	d.start()

	attached := func(content string) []byte {
		return []byte("From: alice@example.org\r\nTo: bob@example.org\r\nSubject: attached\r\nMIME-Version: 1.0\r\n" +
			"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nsee there\r\n" +
			"--x\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=test.com\r\n" +
			"Content-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(content)) + "\r\n--x--\r\n")
	}
	c := d.smtp()
	if _, err := c.mail(attached("harmless"), alice, bob); err != nil {
		t.Fatal(err)
	}
	has(t, string(d.inbox(bob, 1)[0].body), "\r\nX-Virus-Status: Clean\r\n", "\r\n\r\naGFybWxlc3M=\r\n")

	if err := c.envelope(alice, bob); err != nil {
		t.Fatal(err)
	}
	r, err := c.data(attached(virus))
	if err != nil || r.code != 550 || !strings.Contains(r.text, "Infected with Test-File") {
		t.Errorf("a virus is answered %s %v", r, err)
	}
	d.inbox(bob, 1)
}
