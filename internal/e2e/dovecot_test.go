package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"restante/internal/e2e/bench"
	"restante/internal/needs"
)

// startDovecot starts one for the length of the test, in a folder of peerDir.
func startDovecot(t *testing.T, dir string, passwords map[string]string, config string) *bench.Dovecot {
	t.Helper()
	needs.Program(t, "dovecot")
	needsRoot(t, "dovecot")
	server, err := bench.StartDovecot(dir, passwords, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Stop()
		if t.Failed() {
			b, _ := os.ReadFile(server.Log)
			t.Logf("Dovecot's log:\n%s", b)
		}
	})
	return server
}

// TestDovecot delivers into a real Dovecot by LMTP, over a Unix socket and over
// TCP with TLS, with a result for each recipient.
func TestDovecot(t *testing.T) {
	t.Parallel()
	dir, _ := peerDir(t)
	port := freePort(t)
	server := startDovecot(t, dir, map[string]string{"you@example.net": "x", "her@example.net": "x"}, fmt.Sprintf(`
protocols = lmtp
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = %d
  }
  unix_listener lmtp {
    path = %s/run/lmtp
    mode = 0666
  }
}
`, port, dir))
	tcp := net.JoinHostPort("localhost", strconv.Itoa(port))
	socket := filepath.Join(dir, "run", "lmtp")
	listening(t, "unix", socket)
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
		text := maildir(t, filepath.Join(server.Boxes, who), 1)[0]
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
