package e2e

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"restante/internal/needs"
)

// TestFirstStart is a new user's: no configuration, no arguments, a home with
// nothing in it. What the daemon prints to be tried is tried.
func TestFirstStart(t *testing.T) {
	for _, port := range []string{"2525", "2587", "2465", "2143", "2993"} {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			needs.Lacking(t, "the default port %s is taken", port)
		}
		l.Close()
	}
	if _, err := os.Stat("/etc/restante"); err == nil {
		needs.Lacking(t, "restante is configured on this machine")
	}
	d := prepare(t)
	d.state = filepath.Join(d.dir, "xdg", "restante")
	d.env = []string{
		"HOME=" + d.dir, "XDG_STATE_HOME=" + filepath.Dir(d.state), "XDG_CONFIG_HOME=" + filepath.Join(d.dir, "none"),
		"STATE_DIRECTORY=", "NOTIFY_SOCKET=",
	}
	d.spawn("serve")
	d.ready()
	eventually(t, "the daemon says how to try it", func() bool {
		return strings.Contains(d.log.String(), "queue list")
	})
	said := d.log.String()
	account := regexp.MustCompile(`account (\S+@localhost) with the password (\S+)`).FindStringSubmatch(said)
	if account == nil {
		t.Fatalf("no account and password in\n%s", said)
	}
	_, try, _ := strings.Cut(said, "Try it:\n")
	var lines []string
	for line := range strings.SplitSeq(try, "\n") {
		if strings.HasPrefix(line, "  ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if len(lines) != 3 {
		t.Fatalf("%d lines to try instead of three:\n%s", len(lines), said)
	}
	if info, err := os.Stat(d.state); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the state directory is open to others: %v %v", info.Mode(), err)
	}

	needs.Program(t, "curl")
	execute := func(line string) string {
		r := run(t, d.dir, d.env, "", "sh", "-c", line)
		if r.code != 0 {
			t.Errorf("%s\nexit code %d: %s", line, r.code, r.stderr)
		}
		return r.stdout
	}
	execute(lines[0])
	if got := execute(lines[1]); !strings.Contains(got, "\r\n\r\nIt works.\r\n") || !strings.Contains(got, "Delivered-To: "+account[1]) {
		t.Errorf("collected:\n%s", got)
	}
	execute(lines[2])

	// The second start makes no second account.
	d.stop()
	d.log = output{}
	d.spawn("serve")
	d.ready()
	eventually(t, "the daemon says that it runs", func() bool { return strings.Contains(d.log.String(), "2993") })
	if strings.Contains(d.log.String(), "first start") {
		t.Errorf("the second start is a first one:\n%s", d.log.String())
	}
	if got := execute(lines[1]); !strings.Contains(got, "It works.") {
		t.Errorf("after a restart collected:\n%s", got)
	}
	d.stop()
}
