package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"restante/internal/e2e/bench"
)

// exim starts a real Exim, if it is the mail server of this machine (Debian has
// it in the place of Postfix), and returns where it listens.
func exim(t *testing.T, program, dir, boxes string) string {
	t.Helper()
	port := freePort(t)
	u := needsRoot(t, "Debian-exim")
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	spool := filepath.Join(dir, "spool")
	for _, d := range []string{spool, boxes} {
		if err := os.Mkdir(d, 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(d, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Chown(filepath.Join(dir, name), uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "exim.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
primary_hostname = exim.example.net
spool_directory = %[1]s/spool
log_file_path = %[1]s/spool/%%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[2]d
domainlist local_domains = example.net
tls_advertise_hosts = *
tls_certificate = %[1]s/tls.crt
tls_privatekey = %[1]s/tls.key
chunking_advertise_hosts = *
dsn_advertise_hosts = *
pipelining_connect_advertise_hosts = *
acl_smtp_rcpt = rcpt
never_users = root
exim_path = %[4]s

begin acl
rcpt:
  deny    message = say it over TLS
         !encrypted = *
  require domains = +local_domains
  require verify = recipient
  accept

begin routers
boxes:
  driver = accept
  domains = +local_domains
  local_parts = you : her
  transport = box

begin transports
box:
  driver = appendfile
  maildir_format
  directory = %[3]s/$local_part_data
  create_directory
  user = Debian-exim
`, dir, port, boxes, program), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(spool, "mainlog"))
			t.Logf("Exim's log:\n%s", text)
		}
	})
	server, err := bench.StartProcess(filepath.Join(dir, "output"), program, "-bdf", "-q1m", "-C", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if err := bench.Answers(context.Background(), addr); err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("localhost", strconv.Itoa(port))
}

// TestExim forwards through a real Exim, which takes CHUNKING, with TLS required
// and verified. RESTANTE_EXIM=1 says that it has to be there: Debian installs
// either it or Postfix.
func TestExim(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("exim4")
	if err != nil {
		if os.Getenv("RESTANTE_EXIM") == "1" {
			t.Fatal("required here: exim4 is not installed")
		}
		t.Skip("exim4 is not installed")
	}
	dir, _ := peerDir(t)
	boxes := filepath.Join(dir, "boxes")
	hop := exim(t, program, dir, boxes)
	d := newDaemon(t, verifiedRoute("exim", "example.net", hop, filepath.Join(dir, "tls.crt"), ""), quick(""))
	c := d.smtp()
	if _, err := c.mail([]byte(peerLetter("to exim")), alice, "you@example.net", "nobody@example.net", "her@example.net"); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"you", "her"} {
		text := maildir(t, filepath.Join(boxes, who), 1)[0]
		wantPeerLetter(t, text, "to exim")
		has(t, text, "with esmtps")
	}
	has(t, string(d.inbox(alice, 1)[0].body), "Final-Recipient: rfc822; nobody@example.net", "Action: failed")
	// What Exim says of a message that came by BDAT, and what it calls it.
	told := d.traced("--recipient", "you@example.net")[0]
	has(t, told.plot(), "delivered")
	for _, e := range told.Events {
		if e.Kind != "delivered" {
			continue
		}
		has(t, e.Status.Text, "byte chunk, total")
		log, err := os.ReadFile(filepath.Join(dir, "spool", "mainlog"))
		if err != nil {
			t.Fatal(err)
		}
		if e.QueueID == "" || !strings.Contains(string(log), " "+e.QueueID+" <= ") || e.Verified != "PKIX" {
			t.Errorf("%+v is not what Exim tells:\n%s", e, log)
		}
	}
}
