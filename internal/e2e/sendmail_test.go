package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/internal/standin"
)

// asSendmail runs the binary under its classic name.
func (d *daemon) asSendmail(stdin string, args ...string) result {
	d.t.Helper()
	name := filepath.Join(d.dir, "sendmail")
	if err := os.Symlink(binary(d.t), name); err != nil && !os.IsExist(err) {
		d.t.Fatal(err)
	}
	return run(d.t, d.dir, nil, stdin, append([]string{name, "--config=" + d.config, "--state=" + d.state}, args...)...)
}

// TestSendmailForCron calls it as cron does.
func TestSendmailForCron(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, "[aliases]\n\"root@example.org\" = [\"alice@example.org\"]")
	mail := "From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> /usr/bin/true\n" +
		"Content-Type: text/plain; charset=UTF-8\nX-Cron-Env: <SHELL=/bin/sh>\n\nOutput of the job\n.\nand more\n"
	if r := d.asSendmail(mail, "-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	got := string(d.inbox(alice, 1)[0].body)
	for _, want := range []string{"Subject: Cron <root@host> /usr/bin/true\r\n", "\r\n\r\nOutput of the job\r\n.\r\nand more\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

func TestSendmailTakesRecipientsFromHeader(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	d := newDaemon(t, away(hop), quick(""))
	mail := "From: alice@example.org\nTo: Bob <bob@example.org>\nCc: carol@example.net\nBcc: dora@example.net\nSubject: -t\n\nHello\n"
	d.must(mail, "sendmail", "-t", "-oi", "-f", alice)
	got := string(d.inbox(bob, 1)[0].body)
	m := reaches(t, hop, 1)[0]
	if strings.Join(m.To, " ") != "carol@example.net dora@example.net" || m.From != alice {
		t.Errorf("relayed from %s to %s", m.From, m.To)
	}
	for _, text := range []string{got, string(m.Data)} {
		if strings.Contains(text, "dora@example.net") || strings.Contains(text, "\nBcc:") {
			t.Errorf("the blind copy is there for all to see:\n%s", text)
		}
	}
	d.emptied()
}

func TestSendmailFails(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	for _, c := range []struct {
		what string
		code int
		args []string
	}{
		{"no recipients", 64, nil},
		{"nobody of that name", 67, []string{"nobody@example.org"}},
	} {
		if r := d.asSendmail("Subject: x\n\nx\n", c.args...); r.code != c.code || r.stderr == "" {
			t.Errorf("%s: exit code %d, want %d: %q", c.what, r.code, c.code, r.stderr)
		}
	}
	d.stop()
	if err := os.RemoveAll(filepath.Join(d.state, "maildrop")); err != nil {
		t.Fatal(err)
	}
	if r := d.asSendmail("Subject: x\n\nx\n", alice); r.code != 75 {
		t.Errorf("without a daemon and a maildrop: exit code %d, want 75 (try again): %q", r.code, r.stderr)
	}
}
