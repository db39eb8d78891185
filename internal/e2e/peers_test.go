package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"restante/internal/e2e/bench"
)

// Forwarding into servers that others wrote. Each is started by the test, in a
// folder and on ports of its own; those of the machine are not touched.

// peerDir is a folder that the users of other servers may go through, with a
// certificate for localhost in it.
func peerDir(t *testing.T) (string, *certificate) {
	t.Helper()
	dir, err := bench.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cert := newCertificate(t)
	cert.write(t, dir)
	return dir, cert
}

// needsRoot skips a test of a server that changes its user.
func needsRoot(t *testing.T, account string) *user.User {
	t.Helper()
	if os.Getuid() != 0 {
		lacking(t, "this server starts as root only")
	}
	u, err := user.Lookup(account)
	if err != nil {
		lacking(t, "there is no user %s", account)
	}
	return u
}

// maildir waits until there are n files in a maildir and returns what is in them.
func maildir(t *testing.T, box string, n int) []string {
	t.Helper()
	var texts []string
	eventually(t, fmt.Sprintf("%d messages in %s", n, filepath.Base(box)), func() bool {
		texts = nil
		for _, sub := range []string{"new", "cur"} {
			files, err := filepath.Glob(filepath.Join(box, sub, "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				texts = append(texts, string(b))
			}
		}
		return len(texts) >= n
	})
	if len(texts) > n {
		t.Fatalf("%d messages in %s, want %d", len(texts), filepath.Base(box), n)
	}
	return texts
}

// verifiedRoute sends all mail for a domain to a next hop whose certificate must
// be for localhost and vouched for by a file.
func verifiedRoute(name, domain, hop, ca, more string) string {
	return fmt.Sprintf(`
[[route]]
name = %q
domains = [%q]
next_hop = [%q]
tls = "verified"
tls_ca = %q
%s
`, name, domain, hop, ca, more)
}

// peerLetter has what servers like to change: dots, long lines, eight bits.
func peerLetter(subject string) string {
	return "From: alice@example.org\r\nTo: you@example.net\r\nSubject: " + subject + "\r\nDate: Mon, 30 Nov 2026 10:00:00 +0000\r\n" +
		"Message-ID: <" + strings.ReplaceAll(subject, " ", ".") + "@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
		".one dot\r\n..two\r\n" + strings.Repeat("long ", 150) + "\r\nüml\r\n.\r\nFrom here\r\n"
}

// wantPeerLetter checks that the end of a stored message is ours, octet by octet.
func wantPeerLetter(t *testing.T, stored, subject string) {
	t.Helper()
	_, want, _ := strings.Cut(peerLetter(subject), "\r\n\r\n")
	_, got, _ := strings.Cut(strings.ReplaceAll(stored, "\r\n", "\n"), "\n\n")
	if got != strings.ReplaceAll(want, "\r\n", "\n") {
		t.Errorf("stored is\n%q\nwant\n%q", got, want)
	}
}

// TestPostfix forwards through a real Postfix, with TLS required and verified.
func TestPostfix(t *testing.T) {
	t.Parallel()
	needs(t, "postfix")
	owner := needsRoot(t, "nobody")
	dir, _ := peerDir(t)
	boxes := filepath.Join(dir, "boxes")
	if err := os.Mkdir(boxes, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(boxes, 0o777); err != nil {
		t.Fatal(err)
	}
	var p bench.Postfix
	t.Cleanup(p.Stop)
	addr, _, err := p.Start(context.Background(), dir, fmt.Sprintf(`
virtual_mailbox_domains = example.net
virtual_mailbox_base = %[1]s
virtual_mailbox_maps = inline:{ { you@example.net = you/ } { her@example.net = her/ } }
virtual_minimum_uid = 1
virtual_uid_maps = static:%[2]s
virtual_gid_maps = static:%[3]s
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = %[4]s/tls.crt
smtpd_tls_key_file = %[4]s/tls.key
smtpd_tls_received_header = yes
`, boxes, owner.Uid, owner.Gid, dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := bench.Answers(context.Background(), addr); err != nil {
		t.Fatal(err)
	}
	hop := "localhost" + addr[strings.LastIndexByte(addr, ':'):]
	d := newDaemon(t, verifiedRoute("postfix", "example.net", hop, filepath.Join(dir, "tls.crt"), ""),
		// The certificate is for another authority.
		verifiedRoute("doubtful", "doubt.example.net", hop, "tls.crt", ""), quick(""))
	c := d.smtp()
	if _, err := c.mail([]byte(peerLetter("to postfix")), alice, "you@example.net", "nobody@example.net", "her@example.net"); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"you", "her"} {
		text := maildir(t, filepath.Join(boxes, who), 1)[0]
		wantPeerLetter(t, text, "to postfix")
		has(t, text, "with ESMTPS", "using TLSv1.3")
	}
	// Who does not exist there is told of, in Postfix's own words.
	report := string(d.inbox(alice, 1)[0].body)
	has(t, report, "Final-Recipient: rfc822; nobody@example.net", "Status: 5.1.1", "User unknown")
	if strings.Contains(report, "Final-Recipient: rfc822; you@example.net") {
		t.Errorf("the report is about who has the message:\n%s", report)
	}
	if _, err := c.mail([]byte(peerLetter("with doubts")), alice, "you@doubt.example.net"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the certificate is refused", func() bool {
		return strings.Contains(d.must("", "queue", "list", "--json"), "certificate")
	})
}

// TestDovecot delivers into a real Dovecot by LMTP, over a Unix socket and over
// TCP with TLS, with a result for each recipient.
func TestDovecot(t *testing.T) {
	t.Parallel()
	needs(t, "dovecot")
	needsRoot(t, "dovecot")
	dir, _ := peerDir(t)
	port, err := bench.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	owner, err := user.Lookup("mail")
	if err != nil {
		t.Fatal(err)
	}
	boxes := filepath.Join(dir, "boxes")
	if err := os.Mkdir(boxes, 0o700); err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	if err := os.Chown(boxes, uid, gid); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "dovecot.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
base_dir = %[1]s/run
state_dir = %[1]s/run
instance_name = restante-test
log_path = %[1]s/log
protocols = lmtp
ssl = required
ssl_cert = <%[1]s/tls.crt
ssl_key = <%[1]s/tls.key
mail_location = maildir:%[1]s/boxes/%%n
mail_uid = %[2]s
mail_gid = %[3]s
first_valid_uid = 1
first_valid_gid = 0
userdb {
  driver = passwd-file
  args = %[1]s/users
}
passdb {
  driver = passwd-file
  args = %[1]s/users
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = %[4]d
  }
  unix_listener lmtp {
    path = %[1]s/run/lmtp
    mode = 0666
  }
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
`, dir, owner.Uid, owner.Gid, port), 0o644); err != nil {
		t.Fatal(err)
	}
	users := ""
	for _, who := range []string{"you", "her"} {
		users += fmt.Sprintf("%s@example.net:{PLAIN}x:%s:%s::%s/%s::\n", who, owner.Uid, owner.Gid, boxes, who)
	}
	if err := os.WriteFile(filepath.Join(dir, "users"), []byte(users), 0o644); err != nil {
		t.Fatal(err)
	}
	server, err := bench.StartProcess(filepath.Join(dir, "output"), "dovecot", "-F", "-c", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	tcp := net.JoinHostPort("localhost", strconv.Itoa(port))
	socket := filepath.Join(dir, "run", "lmtp")
	eventually(t, "Dovecot listens", func() bool {
		conn, err := net.DialTimeout("unix", socket, time.Second)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	d := newDaemon(t, verifiedRoute("tcp", "*", tcp, filepath.Join(dir, "tls.crt"), `protocol = "lmtp"`), fmt.Sprintf(`
[[route]]
name = "socket"
domains = ["example.net"]
next_hop = ["unix:%s"]
protocol = "lmtp"
tls = "none"
`, socket), quick(""))
	c := d.smtp()
	if _, err := c.mail([]byte(peerLetter("to dovecot")), alice, "you@example.net", "nobody@example.net", "her@example.net"); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"you", "her"} {
		text := maildir(t, filepath.Join(boxes, who), 1)[0]
		wantPeerLetter(t, text, "to dovecot")
	}
	report := string(d.inbox(alice, 1)[0].body)
	has(t, report, "Final-Recipient: rfc822; nobody@example.net", "Action: failed")
	if strings.Contains(report, "Final-Recipient: rfc822; her@example.net") {
		t.Errorf("the report is about who has the message:\n%s", report)
	}
	// By TCP and TLS: Dovecot knows nobody there, and says so for each.
	if _, err := c.mail([]byte(peerLetter("by tcp")), alice, "you@other.example"); err != nil {
		t.Fatal(err)
	}
	has(t, string(d.inbox(alice, 2)[1].body), "Final-Recipient: rfc822; you@other.example", "Action: failed")
}

// exim starts a real Exim, if it is the mail server of this machine (Debian has
// it in the place of Postfix), and returns where it listens.
func exim(t *testing.T, dir, boxes string) string {
	t.Helper()
	port, err := bench.FreePort()
	if err != nil {
		t.Fatal(err)
	}
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
  directory = %[3]s/$local_part
  create_directory
  user = Debian-exim
`, dir, port, boxes), 0o644); err != nil {
		t.Fatal(err)
	}
	server, err := bench.StartProcess(filepath.Join(dir, "output"), "exim4", "-bdf", "-q1m", "-C", config)
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
	if _, err := exec.LookPath("exim4"); err != nil {
		if os.Getenv("RESTANTE_EXIM") == "1" {
			t.Fatal("required here: exim4 is not installed")
		}
		t.Skip("exim4 is not installed")
	}
	dir, _ := peerDir(t)
	boxes := filepath.Join(dir, "boxes")
	hop := exim(t, dir, boxes)
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
}
