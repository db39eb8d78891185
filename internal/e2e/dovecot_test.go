package e2e

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"restante/internal/e2e/bench"
	"restante/internal/needs"
)

// TestDovecot delivers into a real Dovecot by LMTP, over a Unix socket and over
// TCP with TLS, with a result for each recipient.
func TestDovecot(t *testing.T) {
	t.Parallel()
	needs.Program(t, "dovecot")
	needsRoot(t, "dovecot")
	dir, _ := peerDir(t)
	port := freePort(t)
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
