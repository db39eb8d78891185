package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/internal/needs"
)

// try runs a program in the daemon's folder with a home of its own; it must
// succeed. It returns what the program printed.
func (d *daemon) try(stdin string, argv ...string) string {
	d.t.Helper()
	r := run(d.t, d.dir, []string{"HOME=" + d.dir, "TERM=xterm", "LANG=C.UTF-8"}, stdin, argv...)
	if r.code != 0 {
		d.t.Fatalf("%s: exit code %d\n%s%s", strings.Join(argv, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// expand puts the daemon's ports and files into a text: $NAME of a listener,
// $CA, $DIR and $PASSWORD.
func (d *daemon) expand(text string) string {
	return os.Expand(text, func(name string) string {
		switch name {
		case "CA":
			return filepath.Join(d.dir, "tls.crt")
		case "DIR":
			return d.dir
		case "PASSWORD":
			return password
		}
		return d.port(name)
	})
}

// has fails the test unless the text has all the words in it.
func has(t testing.TB, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in\n%s", w, text)
		}
	}
}

func TestCurl(t *testing.T) {
	needs.Program(t, "curl")
	t.Parallel()
	d := newDaemon(t)
	curl := func(stdin string, args ...string) string {
		t.Helper()
		argv := []string{"curl", "--silent", "--show-error", "--max-time", "30", "--cacert", "$CA"}
		argv = append(argv, args...)
		for i := range argv {
			argv[i] = d.expand(argv[i])
		}
		return d.try(stdin, argv...)
	}
	for i, url := range []string{"smtp://127.0.0.1:$submission", "smtps://127.0.0.1:$submissions"} {
		curl(letter(fmt.Sprint("curl ", i)), "--ssl-reqd", "--user", alice+":"+password, "--mail-from", alice, "--mail-rcpt", bob, "--upload-file", "-", url)
	}
	d.inbox(bob, 2)
	for i, url := range []string{"imap://127.0.0.1:$imap/INBOX", "imaps://127.0.0.1:$imaps/INBOX"} {
		got := curl("", "--ssl-reqd", "--user", bob+":"+password, fmt.Sprintf("%s;UID=%d", url, i+1))
		sameButTrace(t, []byte(got), []byte(letter(fmt.Sprint("curl ", i))), local...)
	}
}

// mbsync sets mbsync up for those of bob's mailboxes that match patterns, here in
// mail/, and returns what runs it. more are further lines of the channel.
func (d *daemon) mbsync(patterns, more string) (run func()) {
	d.t.Helper()
	needs.Program(d.t, "mbsync")
	rc := d.write("mbsyncrc", d.expand(`IMAPStore server
Host localhost
Port $imaps
User bob@example.org
Pass "$PASSWORD"
SSLType IMAPS
CertificateFile $CA

MaildirStore here
Path $DIR/mail/
Inbox $DIR/mail/INBOX
SubFolders Verbatim

Channel all
Far :server:
Near :here:
Create Both
Expunge Both
SyncState *
Patterns `)+patterns+"\n"+more)
	if err := os.Mkdir(filepath.Join(d.dir, "mail"), 0o700); err != nil {
		d.t.Fatal(err)
	}
	return func() { d.t.Helper(); d.try("", "mbsync", "--config", rc, "all") }
}

// TestMbsync collects into a Maildir, and takes what was done there back.
func TestMbsync(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	for i := range 5 {
		d.send(letter(fmt.Sprint("mbsync ", i)), alice, bob)
	}
	sync := d.mbsync("*", "")
	sync()
	inbox := filepath.Join(d.dir, "mail", "INBOX")
	files, err := filepath.Glob(filepath.Join(inbox, "new", "*"))
	if err != nil || len(files) != 5 {
		t.Fatalf("%d messages were collected, want 5 (%v)", len(files), err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		has(t, string(text), "Subject: mbsync ", "\n\nHello.\n.dot\n")
	}
	// One is deleted here, and one is put into a new folder.
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(d.dir, "mail", "kept", dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	d.write("mail/kept/cur/1.1.here:2,S", "From: bob@example.org\nSubject: kept\n\nkept\n")
	sync()
	d.inbox(bob, 4)
	c := d.imap(bob, password, nil)
	if _, err := c.Select("kept", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	got := fetch(t, c)
	if len(got) != 1 || !strings.Contains(string(got[0].body), "Subject: kept\r\n") {
		t.Errorf("the new folder holds %d messages", len(got))
	}
}

// TestNeomutt sends, and then reads what it sent: it opens the mailbox in a
// terminal that script gives it and pipes the first message into a file,
// and flags it.
func TestNeomutt(t *testing.T) {
	needs.Program(t, "neomutt")
	needs.Program(t, "script")
	t.Parallel()
	d := newDaemon(t)
	rc := d.write("muttrc", d.expand(`
set from = "alice@example.org"
set realname = "Alice"
set use_envelope_from = yes
set ssl_starttls = yes
set ssl_force_tls = yes
set ssl_ca_certificates_file = "$CA"
set certificate_file = "$CA"
set ssl_use_system_certs = no
set smtp_url = "smtp://alice@example.org@localhost:$submission"
set smtp_pass = "$PASSWORD"
set imap_user = "bob@example.org"
set imap_pass = "$PASSWORD"
set folder = "imaps://localhost:$imaps/"
set copy = no
set wait_key = no
set sort = date
`))
	d.write("attached", "an attachment\n")
	d.try("Written with mutt.\n", "neomutt", "-n", "-F", rc, "-s", "from neomutt", "-a", "attached", "--", bob)
	has(t, string(d.inbox(bob, 1)[0].body), "\r\nSubject: from neomutt\r\n", "Written with mutt.", "filename=attached")

	keys := "<first-entry><pipe-message>cat > " + d.dir + "/piped<enter><flag-message><sync-mailbox><exit>"
	d.try("", "script", "--quiet", "--return", "--command",
		fmt.Sprintf("neomutt -n -F %s -f imaps://localhost:%s/INBOX -e 'push \"%s\"'", rc, d.port("imaps"), keys), "/dev/null")
	text, err := os.ReadFile(filepath.Join(d.dir, "piped"))
	if err != nil {
		t.Fatal(err)
	}
	has(t, string(text), "Subject: from neomutt\n", "Written with mutt.")
	if flags := fmt.Sprint(d.fetch(bob)[0].flags); !strings.Contains(flags, `\Flagged`) {
		t.Errorf("after neomutt the flags are %s", flags)
	}
}

const pythonScript = `
import imaplib, smtplib, ssl, sys, time
from email.message import EmailMessage
ca, submission, submissions, imap, imaps, password = sys.argv[1:]
tls = ssl.create_default_context(cafile=ca)

def letter(subject):
    m = EmailMessage()
    m["From"], m["To"], m["Subject"] = "alice@example.org", "bob@example.org", subject
    m.set_content("Grüße aus Python\n")
    m.add_attachment(bytes(range(256)), maintype="application", subtype="octet-stream", filename="all.bin")
    return m

with smtplib.SMTP("localhost", int(submission), timeout=30) as s:
    s.starttls(context=tls)
    s.login("alice@example.org", password)
    assert s.send_message(letter("python one")) == {}
    try:
        s.sendmail("alice@example.org", ["nobody@example.org"], "Subject: x\r\n\r\nx")
        raise SystemExit("mail for nobody was taken")
    except smtplib.SMTPRecipientsRefused as e:
        assert e.recipients["nobody@example.org"][0] == 550
with smtplib.SMTP_SSL("localhost", int(submissions), context=tls, timeout=30) as s:
    s.login("alice@example.org", password)
    s.send_message(letter("python two"))

def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]

plain = imaplib.IMAP4("localhost", int(imap), timeout=30)
plain.starttls(tls)
plain.login("bob@example.org", password)
plain.logout()

c = imaplib.IMAP4_SSL("localhost", int(imaps), ssl_context=tls, timeout=30)
c.login("bob@example.org", password)
assert ok(c.select("INBOX")) == [b"2"]
assert ok(c.uid("SEARCH", "SUBJECT", '"python two"'))[0] == b"2"
raw = ok(c.uid("FETCH", "1", "(BODY.PEEK[])"))[0][1]
import email, email.policy
m = email.message_from_bytes(raw, policy=email.policy.default)
assert m["Subject"] == "python one" and m["Date"] and m["Message-ID"]
assert m.get_body().get_content().splitlines() == ["Grüße aus Python"]
assert next(m.iter_attachments()).get_content() == bytes(range(256))
ok(c.create("Folder"))
ok(c.append("Folder", "\\Flagged", imaplib.Time2Internaldate(time.time()), bytes(letter("appended"))))
ok(c.uid("COPY", "1", "Folder"))
ok(c.uid("STORE", "1", "+FLAGS", "(\\Deleted)"))
assert ok(c.expunge()) == [b"1"]
assert ok(c.select("Folder", readonly=True)) == [b"2"]
assert ok(c.search(None, "FLAGGED")) == [b"1"]
c.close()
c.logout()
print("done")
`

func TestPython(t *testing.T) {
	needs.Program(t, "python3")
	t.Parallel()
	d := newDaemon(t)
	out := d.try("", "python3", "-c", pythonScript, d.expand("$CA"), d.port("submission"), d.port("submissions"), d.port("imap"), d.port("imaps"), password)
	has(t, out, "done")
}
