package e2e

import (
	"strings"
	"testing"

	"restante/internal/needs"
	"restante/internal/standin"
)

// entry is a way in, as clients have to be told about it.
type entry struct {
	name     string
	listener string
	// tls is "", "starttls" or "implicit".
	tls   string
	login bool
	// with is the protocol in the Received field (RFC 3848).
	with string
}

func (e entry) lmtp() bool { return e.listener == "lmtp" }

// entries are the roles that take mail, each in the ways its clients use it.
func entries() []entry {
	return []entry{
		{"relay", "smtp", "", false, "ESMTP"},
		{"relay with TLS", "smtp", "starttls", false, "ESMTPS"},
		{"relay with login", "smtp", "starttls", true, "ESMTPSA"},
		{"submission", "submission", "starttls", true, "ESMTPSA"},
		{"submissions", "submissions", "implicit", true, "ESMTPSA"},
		{"lmtp", "lmtp", "", false, "LMTP"},
	}
}

// either is one of two words.
func either(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// mailer is a program that people and applications send with.
type mailer struct {
	program string
	// send hands a message from alice over to all the recipients at an entry.
	send func(d *daemon, e entry, subject string, to []string)
	// lmtp tells that it speaks LMTP.
	lmtp bool
}

func mailers() []mailer {
	return []mailer{
		{"swaks", sendSwaks, true},
		{"msmtp", sendMsmtp, true},
		{"curl", sendCurl, false},
		{"python3", sendPython, true},
		{"node", sendNodemailer, true},
		{"git", sendGit, false},
	}
}

// TestMailersAndRoles has every program send through every role: to a mailbox,
// and to the outside where the role goes there.
func TestMailersAndRoles(t *testing.T) {
	for _, m := range mailers() {
		t.Run(m.program, func(t *testing.T) {
			needs.Program(t, m.program)
			t.Parallel()
			hop := nextHop(t, standin.Options{})
			d := newDaemon(t, "[[listener]]\nrole = \"lmtp\"\naddress = \"127.0.0.1:0\"", away(hop), quick(""))
			taken, gone := 0, 0
			for _, e := range entries() {
				if e.lmtp() && !m.lmtp {
					continue
				}
				subject, to := m.program+" by "+e.name, []string{bob}
				if !e.lmtp() {
					to = append(to, "carol@example.net")
					gone++
				}
				taken++
				m.send(d, e, subject, to)
				got := string(d.inbox(bob, taken)[taken-1].body)
				has(t, got, "\r\nSubject: "+subject+"\r\n", "Hello from ", "Return-Path: <alice@example.org>\r\n")
				has(t, strings.Join(strings.Fields(got), " "), " with "+e.with+" id ")
				if e.lmtp() {
					continue
				}
				relayed := reaches(t, hop, gone)[gone-1]
				has(t, string(relayed.Data), "\r\nSubject: "+subject+"\r\n", "Hello from ")
				if relayed.From != alice || strings.Join(relayed.To, " ") != "carol@example.net" {
					t.Errorf("%s: relayed from %s to %s", subject, relayed.From, relayed.To)
				}
			}
			d.emptied()
		})
	}
}

func sendSwaks(d *daemon, e entry, subject string, to []string) {
	argv := []string{"swaks", "--server", "127.0.0.1", "--port", d.port(e.listener), "--protocol", either(e.lmtp(), "LMTP", "ESMTP"),
		"--timeout", "30", "--helo", "swaks.example.net", "--from", alice, "--to", strings.Join(to, ","),
		"--h-From", alice, "--h-Subject", subject, "--body", "Hello from swaks"}
	if e.tls != "" {
		argv = append(argv, either(e.tls == "starttls", "--tls", "--tls-on-connect"), "--tls-verify", "--tls-ca-path", d.expand("$CA"))
	}
	if e.login {
		argv = append(argv, "--auth", "PLAIN", "--auth-user", alice, "--auth-password", password)
	}
	d.try("", argv...)
}

// TestSwaks does what only swaks does: pipelining, and the old way to log in.
func TestSwaks(t *testing.T) {
	needs.Program(t, "swaks")
	t.Parallel()
	d := newDaemon(t)
	for _, more := range [][]string{
		{"--port", d.port("smtp"), "--pipeline"},
		{"--port", d.port("submission"), "--tls", "--auth", "LOGIN", "--auth-user", alice, "--auth-password", password},
	} {
		d.try("", append([]string{"swaks", "--server", "127.0.0.1", "--timeout", "30", "--from", alice, "--to", bob, "--h-From", alice}, more...)...)
	}
	d.inbox(bob, 2)
}

func sendMsmtp(d *daemon, e entry, subject string, to []string) {
	rc := d.write("msmtprc", d.expand("account default\nhost 127.0.0.1\nport "+d.port(e.listener)+
		"\nprotocol "+either(e.lmtp(), "lmtp", "smtp")+
		"\nfrom alice@example.org\ntls_trust_file $CA\ntls "+either(e.tls != "", "on", "off")+
		"\ntls_starttls "+either(e.tls == "implicit", "off", "on")+
		"\nauth "+either(e.login, "on", "off")+
		either(e.login, "\nuser alice@example.org\npasswordeval \"echo $PASSWORD\"", "")+"\n"))
	d.try("From: alice@example.org\nSubject: "+subject+"\n\nHello from msmtp\n", append([]string{"msmtp", "--file=" + rc, "--"}, to...)...)
}

func sendCurl(d *daemon, e entry, subject string, to []string) {
	argv := []string{"curl", "--silent", "--show-error", "--max-time", "30", "--cacert", d.expand("$CA"),
		"--mail-from", alice, "--upload-file", "-"}
	for _, a := range to {
		argv = append(argv, "--mail-rcpt", a)
	}
	if e.login {
		argv = append(argv, "--user", alice+":"+password)
	}
	if e.tls != "" {
		argv = append(argv, "--ssl-reqd")
	}
	argv = append(argv, either(e.tls == "implicit", "smtps", "smtp")+"://127.0.0.1:"+d.port(e.listener)+"/curl.example.net")
	d.try("From: alice@example.org\r\nSubject: "+subject+"\r\n\r\nHello from curl\r\n", argv...)
}

const pythonMailer = `
import smtplib, ssl, sys
from email.message import EmailMessage
port, protocol, tls, ca, password, subject = sys.argv[1:7]
m = EmailMessage()
m["From"], m["To"], m["Subject"] = "alice@example.org", ", ".join(sys.argv[7:]), subject
m.set_content("Hello from Python\n")
context = ssl.create_default_context(cafile=ca)
if protocol == "lmtp":
    s = smtplib.LMTP("127.0.0.1", int(port), timeout=30)
elif tls == "implicit":
    s = smtplib.SMTP_SSL("127.0.0.1", int(port), context=context, timeout=30)
else:
    s = smtplib.SMTP("127.0.0.1", int(port), timeout=30)
if tls == "starttls":
    s.starttls(context=context)
if password:
    s.login("alice@example.org", password)
assert s.send_message(m) == {}
s.quit()
`

func sendPython(d *daemon, e entry, subject string, to []string) {
	d.try("", append([]string{"python3", "-c", pythonMailer, d.port(e.listener), either(e.lmtp(), "lmtp", "smtp"), e.tls,
		d.expand("$CA"), either(e.login, password, ""), subject}, to...)...)
}

const nodeMailer = `
const [port, protocol, tls, ca, password, subject, ...to] = process.argv.slice(1);
require('nodemailer').createTransport({
  host: '127.0.0.1', port: Number(port), lmtp: protocol === 'lmtp',
  secure: tls === 'implicit', requireTLS: tls === 'starttls', ignoreTLS: tls === '',
  tls: {ca: require('fs').readFileSync(ca)},
  auth: password ? {user: 'alice@example.org', pass: password} : undefined,
}).sendMail({from: 'alice@example.org', to: to, subject: subject, text: 'Hello from nodemailer'})
  .then(info => { if (info.rejected.length) throw new Error(info.response); })
  .catch(error => { console.error(error); process.exit(1); });
`

func sendNodemailer(d *daemon, e entry, subject string, to []string) {
	// Where Debian puts libraries, which a node from elsewhere does not know.
	d.t.Helper()
	argv := []string{"env", "NODE_PATH=/usr/share/nodejs", "node"}
	if r := run(d.t, d.dir, nil, "", append(argv, "-e", "require('nodemailer')")...); r.code != 0 {
		needs.Lacking(d.t, "nodemailer is not installed: %s", r.stderr)
	}
	d.try("", append(append(argv, "-e", nodeMailer, d.port(e.listener), either(e.lmtp(), "lmtp", "smtp"), e.tls,
		d.expand("$CA"), either(e.login, password, ""), subject), to...)...)
}

func sendGit(d *daemon, e entry, subject string, to []string) {
	if r := run(d.t, d.dir, nil, "", "git", "send-email", "-h"); strings.Contains(r.stderr, "is not a git command") {
		needs.Lacking(d.t, "git send-email is not installed")
	}
	d.write(".gitconfig", "[user]\nname = Alice\nemail = alice@example.org\n")
	patch := d.write("0001.patch", "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n"+
		"From: Alice <alice@example.org>\nDate: Mon, 2 Mar 2026 10:00:00 +0000\nSubject: "+subject+"\n\nHello from git\n---\n")
	argv := []string{"git", "-c", "sendemail.validate=false", "send-email", "--confirm=never", "--suppress-cc=all", "--quiet",
		"--smtp-domain=git.example.net", "--from=Alice <alice@example.org>", "--envelope-sender=alice@example.org",
		"--smtp-server=127.0.0.1", "--smtp-server-port=" + d.port(e.listener)}
	for _, a := range to {
		argv = append(argv, "--to="+a)
	}
	if e.tls != "" {
		argv = append(argv, "--smtp-encryption="+either(e.tls == "starttls", "tls", "ssl"), "--smtp-ssl-cert-path="+d.expand("$CA"))
	}
	if e.login {
		argv = append(argv, "--smtp-user=alice@example.org", "--smtp-pass="+password)
	}
	d.try("", append(argv, patch)...)
}
