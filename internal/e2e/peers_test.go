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

	"restante/internal/e2e/bench"
	"restante/internal/needs"
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

// freePort is bench.FreePort.
func freePort(t testing.TB) int {
	t.Helper()
	port, err := bench.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// freeAddr is a loopback address with a free port.
func freeAddr(t testing.TB) (addr, port string) {
	t.Helper()
	port = strconv.Itoa(freePort(t))
	return net.JoinHostPort("127.0.0.1", port), port
}

// needsRoot skips a test of a server that changes its user.
func needsRoot(t *testing.T, account string) *user.User {
	t.Helper()
	if os.Getuid() != 0 {
		needs.Lacking(t, "this server starts as root only")
	}
	u, err := user.Lookup(account)
	if err != nil {
		needs.Lacking(t, "there is no user %s", account)
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
