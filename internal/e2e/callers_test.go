package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/internal/needs"
)

// mta is a program that is called as /usr/sbin/sendmail would be, and finds
// this daemon.
func (d *daemon) mta() string {
	d.t.Helper()
	d.asSendmail("", "-bi") // makes the link
	path := d.write("mta", fmt.Sprintf("#!/bin/sh\nexec %s --config=%s --state=%s \"$@\"\n", filepath.Join(d.dir, "sendmail"), d.config, d.state))
	if err := os.Chmod(path, 0o700); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// TestCallers has the programs that call sendmail do so, while the daemon runs
// and while it does not: the mail must arrive in either case.
func TestCallers(t *testing.T) {
	const attachment = "line one\n.\nline three\n"
	for _, c := range []struct {
		name    string
		program string // "" is in every system
		call    func(d *daemon, mta string)
		// want must be in the message, without is what must not.
		want, without []string
	}{
		{
			name: "cron",
			call: func(d *daemon, mta string) {
				d.try("", "sh", "-c", `{ printf 'From: root (Cron Daemon)\nTo: bob@example.org\nSubject: Cron job\nX-Cron-Env: <SHELL=/bin/sh>\n\n'; echo; printf 'line one\n.\nline three\n'; } | exec `+mta+` -FCronDaemon -i -B8BITMIME -oem bob@example.org`)
			},
			want: []string{"\r\nSubject: Cron job\r\n", "\r\nline one\r\n.\r\nline three\r\n", "\r\nFrom: root (Cron Daemon)\r\n"},
		},
		{
			name: "bsd-mailx", program: "bsd-mailx",
			call: func(d *daemon, mta string) {
				rc := d.write("mailrc", "set sendmail="+mta+"\n")
				d.try(attachment, "env", "MAILRC="+rc, "bsd-mailx", "-s", "from bsd-mailx", "-r", alice, "-b", alice, bob)
			},
			want:    []string{"\r\nSubject: from bsd-mailx\r\n", "\r\nline one\r\n.\r\nline three\r\n", "Return-Path: <alice@example.org>\r\n"},
			without: []string{"\nBcc:"},
		},
		{
			name: "s-nail", program: "s-nail",
			call: func(d *daemon, mta string) {
				d.try(attachment, "s-nail", "-:/", "-S", "mta="+mta, "-S", "v15-compat=y", "-s", "from s-nail", "-r", "alice@example.org", "-b", alice, bob)
			},
			want:    []string{"\r\nSubject: from s-nail\r\n", "\r\nline one\r\n.\r\nline three\r\n", "Return-Path: <alice@example.org>\r\n"},
			without: []string{"\nBcc:"},
		},
		{
			name: "php", program: "php",
			call: func(d *daemon, mta string) {
				script := d.write("mail.php", `<?php exit(mail("bob@example.org", "from PHP", "line one\n.\nline three\n",
					["From" => "Alice <alice@example.org>", "Bcc" => "alice@example.org"], "-falice@example.org") ? 0 : 1);`)
				d.try("", "php", "-d", "sendmail_path="+mta+" -t -i", script)
			},
			want:    []string{"\r\nSubject: from PHP\r\n", "\r\nline one\r\n.\r\nline three\r\n", "Return-Path: <alice@example.org>\r\n"},
			without: []string{"\nBcc:"},
		},
		{
			name: "git send-email", program: "git",
			call: func(d *daemon, mta string) {
				if r := run(d.t, d.dir, nil, "", "git", "send-email", "-h"); strings.Contains(r.stderr, "not a git command") {
					needs.Lacking(d.t, "git send-email is not installed")
				}
				d.write("file", attachment)
				d.try("", "sh", "-ec", `git init -q . && git config user.name Alice && git config user.email alice@example.org
					git add file && git commit -qm 'from git' && git format-patch -q -1 -o patches
					git send-email --quiet --confirm=never --envelope-sender=auto --sendmail-cmd=`+mta+` --from=alice@example.org --to=bob@example.org --bcc=alice@example.org patches/*.patch`)
			},
			want:    []string{"\r\nSubject: [PATCH] from git\r\n", "\r\n+line one\r\n+.\r\n+line three\r\n", "Return-Path: <alice@example.org>\r\n"},
			without: []string{"\nBcc:"},
		},
		{
			name: "SMTP dialogue", program: "python3",
			call: func(d *daemon, mta string) {
				d.try("", "python3", "-c", `
import subprocess, sys
p = subprocess.Popen([sys.argv[1], "-bs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def say(line, code):
    if line is not None:
        p.stdin.write(line.encode() + b"\r\n"); p.stdin.flush()
    while True:
        reply = p.stdout.readline()
        assert reply[:3] == code, (line, reply)
        if reply[3:4] == b" ": break
say(None, b"220"); say("EHLO localhost", b"250")
say("MAIL FROM:<alice@example.org> BODY=8BITMIME", b"250")
say("RCPT TO:<bob@example.org>", b"250"); say("RCPT TO:<alice@example.org>", b"250")
say("DATA", b"354"); say("Subject: from a dialogue\r\n\r\nline one\r\n..\r\nline three\r\n.", b"250")
say("QUIT", b"221")
assert p.wait() == 0
`, mta)
			},
			want: []string{"\r\nSubject: from a dialogue\r\n", "\r\nline one\r\n.\r\nline three\r\n", "Return-Path: <alice@example.org>\r\n"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.program != "" {
				needs.Program(t, c.program)
			}
			t.Parallel()
			d := newDaemon(t)
			mta := d.mta()
			c.call(d, mta)
			d.stop()
			c.call(d, mta)
			d.start()
			for i, m := range d.inbox(bob, 2) {
				has(t, string(m.body), c.want...)
				has(t, strings.ToLower(string(m.body)), "\r\nmessage-id: <", "\r\ndate: ", "\r\nfrom: ")
				for _, w := range c.without {
					if strings.Contains(string(m.body), w) {
						t.Errorf("%q is in message %d:\n%s", w, i, m.body)
					}
				}
			}
			if c.name != "cron" {
				d.inbox(alice, 2)
			}
		})
	}
}
