package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/internal/needs"
)

// TestMbsyncTwoWay changes flags and messages on both sides between two runs.
func TestMbsyncTwoWay(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	for i := range 4 {
		d.send(letter(fmt.Sprint("both ", i)), alice, bob)
	}
	sync := d.mbsync("*", "Remove Both\n")
	sync()
	local := func(subject string) string {
		t.Helper()
		list, err := filepath.Glob(filepath.Join(d.dir, "mail", "INBOX", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			if b, _ := os.ReadFile(f); strings.Contains(string(b), "\nSubject: "+subject+"\n") {
				return f
			}
		}
		return ""
	}
	// Here: 0 is flagged, 1 goes, a new one comes. There: 2 is read, 3 goes.
	zero := local("both 0")
	if err := os.Rename(zero, filepath.Join(d.dir, "mail", "INBOX", "cur", strings.Split(filepath.Base(zero), ":")[0]+":2,F")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(local("both 1")); err != nil {
		t.Fatal(err)
	}
	d.write("mail/INBOX/cur/9.9.here:2,S", strings.ReplaceAll(letter("made here"), "\r", ""))
	python(d, `
c.select("INBOX")
ok(c.uid("STORE", ok(c.uid("SEARCH", "SUBJECT", '"both 2"'))[0], "+FLAGS", "(\\Seen $label1)"))
ok(c.uid("STORE", ok(c.uid("SEARCH", "SUBJECT", '"both 3"'))[0], "+FLAGS", "(\\Deleted)"))
ok(c.expunge())
ok(c.create("There/deep"))
ok(c.append("There/deep", "", None, b"Subject: made there\r\n\r\nx\r\n"))
`)
	sync()
	sync() // and nothing is left to do
	flags := make(map[string]string)
	for _, m := range d.inbox(bob, 3) {
		for _, subject := range []string{"both 0", "both 2", "made here"} {
			if strings.Contains(string(m.body), "Subject: "+subject+"\r\n") {
				flags[subject] = fmt.Sprint(m.flags)
			}
		}
	}
	if len(flags) != 3 || !strings.Contains(flags["both 0"], `\Flagged`) || !strings.Contains(flags["both 2"], `\Seen`) || !strings.Contains(flags["made here"], `\Seen`) {
		t.Errorf("on the server: %v", flags)
	}
	if f := local("both 2"); !strings.HasSuffix(f, ":2,S") {
		t.Errorf("what was read there is %q here", f)
	}
	if f := local("both 3"); f != "" {
		t.Errorf("what was deleted there is %q here", f)
	}
	if list, _ := filepath.Glob(filepath.Join(d.dir, "mail", "There", "deep", "*", "*")); len(list) != 1 {
		t.Errorf("the folder made there has %q here", list)
	}
}

// python runs lines of Python with bob's connection as c.
func python(d *daemon, lines string) string {
	d.t.Helper()
	needs.Program(d.t, "python3")
	return d.try("", "python3", "-c", d.expand(`
import imaplib, ssl
c = imaplib.IMAP4_SSL("localhost", $imaps, ssl_context=ssl.create_default_context(cafile="$CA"), timeout=30)
c.login("bob@example.org", "$PASSWORD")
def ok(a):
    assert a[0] == "OK", a
    return a[1]
`)+lines+"c.logout()\n")
}

func TestOfflineIMAP(t *testing.T) {
	needs.Program(t, "offlineimap")
	t.Parallel()
	d := newDaemon(t)
	for i := range 3 {
		d.send(letter(fmt.Sprint("offline ", i)), alice, bob)
	}
	rc := d.write("offlineimaprc", d.expand(`[general]
accounts = bob
metadata = $DIR/offlineimap
[Account bob]
localrepository = here
remoterepository = there
[Repository here]
type = Maildir
localfolders = $DIR/mail
[Repository there]
type = IMAP
remotehost = localhost
remoteport = $imaps
remoteuser = bob@example.org
remotepass = $PASSWORD
ssl = yes
sslcacertfile = $CA
`))
	sync := func() { t.Helper(); d.try("", "offlineimap", "-c", rc, "-o", "-u", "basic") }
	sync()
	inbox := filepath.Join(d.dir, "mail", "INBOX")
	files, err := filepath.Glob(filepath.Join(inbox, "*", "*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%d messages were collected, want 3 (%v)", len(files), err)
	}
	if err := os.Rename(files[0], filepath.Join(inbox, "cur", strings.TrimSuffix(filepath.Base(files[0]), "S")+"S")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	d.write("mail/INBOX/cur/9_9.9.here:2,F", strings.ReplaceAll(letter("made here"), "\r", ""))
	sync()
	seen, flagged := 0, 0
	for _, m := range d.inbox(bob, 3) {
		flags := fmt.Sprint(m.flags)
		if strings.Contains(flags, `\Seen`) {
			seen++
		}
		if strings.Contains(flags, `\Flagged`) && strings.Contains(string(m.body), "Subject: made here\r\n") {
			flagged++
		}
	}
	if seen != 1 || flagged != 1 {
		t.Errorf("%d are read and %d are flagged, want 1 and 1", seen, flagged)
	}
}

func TestFetchmail(t *testing.T) {
	needs.Program(t, "fetchmail")
	t.Parallel()
	d := newDaemon(t)
	d.send(letter("fetched"), alice, bob)
	d.inbox(bob, 1)
	rc := d.write("fetchmailrc", d.expand(`poll localhost service $imaps protocol IMAP
  user "bob@example.org" password "$PASSWORD" ssl sslcertck sslcertfile "$CA"
  mda "cat >> $DIR/fetched" keep
`))
	d.try("", "fetchmail", "--fetchmailrc", rc, "--pidfile", filepath.Join(d.dir, "pid"), "--nosyslog", "--nodetach")
	text, err := os.ReadFile(filepath.Join(d.dir, "fetched"))
	if err != nil {
		t.Fatal(err)
	}
	has(t, string(text), "Subject: fetched", "Hello.\n")
	if flags := fmt.Sprint(d.inbox(bob, 1)[0].flags); !strings.Contains(flags, `\Seen`) {
		t.Errorf("after fetchmail the flags are %s", flags)
	}
	// Nothing is new now, which is fetchmail's code 1.
	if r := run(t, d.dir, []string{"HOME=" + d.dir}, "", "fetchmail", "--fetchmailrc", rc, "--pidfile", filepath.Join(d.dir, "pid"), "--nosyslog", "--nodetach"); r.code != 1 {
		t.Errorf("again: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
}

func TestGetmail(t *testing.T) {
	needs.Program(t, "getmail")
	t.Parallel()
	d := newDaemon(t)
	d.send(letter("got one"), alice, bob)
	d.send(letter("got two"), alice, bob)
	d.inbox(bob, 2)
	d.write("getmailrc", d.expand(`[retriever]
type = SimpleIMAPSSLRetriever
server = localhost
port = $imaps
username = bob@example.org
password = $PASSWORD
ca_certs = $CA
mailboxes = ("INBOX",)
[destination]
type = MDA_external
path = /usr/bin/tee
arguments = ("-a", "$DIR/got")
allow_root_commands = true
[options]
delete = true
read_all = false
`))
	d.try("", "getmail", "--getmaildir", d.dir, "--rcfile", "getmailrc")
	text, err := os.ReadFile(filepath.Join(d.dir, "got"))
	if err != nil {
		t.Fatal(err)
	}
	has(t, string(text), "Subject: got one\n", "Subject: got two\n")
	d.inbox(bob, 0)
}

// TestImapfilter moves what a rule finds into a new folder.
func TestImapfilter(t *testing.T) {
	needs.Program(t, "imapfilter")
	t.Parallel()
	d := newDaemon(t)
	for i := range 3 {
		d.send(letter(fmt.Sprint("filter ", i)), alice, bob)
	}
	d.inbox(bob, 3)
	rc := d.write("imapfilter.lua", d.expand(`
options.timeout = 30
options.create = true
bob = IMAP { server = "localhost", port = $imaps, username = "bob@example.org", password = "$PASSWORD", ssl = "auto" }
found = bob.INBOX:contain_subject("filter 1") + bob.INBOX:contain_field("Message-ID", "filter.2")
found:mark_flagged()
found:move_messages(bob["Sorted/by rule"])
exist, unread = bob["Sorted/by rule"]:check_status()
print("moved", exist)
`))
	has(t, d.try("", "imapfilter", "-c", rc, "-t", d.expand("$CA")), "moved\t2")
	d.inbox(bob, 1)
	has(t, python(d, `
ok(c.select('"Sorted/by rule"', readonly=True))
print(ok(c.search(None, "FLAGGED")))
`), "b'1 2'")
}

// TestImapflow uses the library of many web clients; RESTANTE_IMAPFLOW is a
// folder in which npm has installed it.
func TestImapflow(t *testing.T) {
	folder := os.Getenv("RESTANTE_IMAPFLOW")
	if folder == "" || folder == "none" {
		if folder == "" {
			needs.Lacking(t, "RESTANTE_IMAPFLOW is not set")
		}
		t.Skip("imapflow cannot be installed here")
	}
	needs.Program(t, "node")
	t.Parallel()
	d := newDaemon(t)
	for i := range 3 {
		d.send(letter(fmt.Sprint("flow ", i)), alice, bob)
	}
	d.inbox(bob, 3)
	js := d.write("flow.js", d.expand(imapflowScript))
	r := run(t, d.dir, []string{"NODE_PATH=" + filepath.Join(folder, "node_modules"), "HOME=" + d.dir, "PATH=" + os.Getenv("PATH")}, "", "node", js)
	if r.code != 0 || !strings.Contains(r.stdout, "all is well") {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

const imapflowScript = `
const { ImapFlow } = require("imapflow"), fs = require("fs"), assert = require("assert");
const options = { host: "localhost", port: $imaps, secure: true, logger: false,
  auth: { user: "bob@example.org", pass: "$PASSWORD" }, tls: { ca: fs.readFileSync("$CA") } };
async function main() {
  const c = new ImapFlow(options), other = new ImapFlow({ ...options });
  await c.connect();
  await other.connect();
  assert((await c.list()).some(b => b.specialUse === "\\Sent"));
  let lock = await c.getMailboxLock("INBOX");
  assert.strictEqual(c.mailbox.exists, 3);
  const subjects = [];
  for await (const m of c.fetch("1:*", { envelope: true, bodyStructure: true, flags: true, uid: true, internalDate: true, size: true }))
    subjects.push(m.envelope.subject);
  assert.deepStrictEqual(subjects, ["flow 0", "flow 1", "flow 2"]);
  assert.deepStrictEqual(await c.search({ subject: "flow 1" }, { uid: true }), [2]);
  const { content } = await c.download("2", undefined, { uid: true });
  let text = "";
  for await (const part of content) text += part;
  assert(text.includes("Subject: flow 1") && text.endsWith(".dot\r\n"), text);
  // What another session does is told while this one is idle.
  const told = new Promise(done => c.once("exists", done));
  const idle = c.idle();
  const put = await other.append("INBOX", "Subject: appended\r\n\r\nx\r\n", ["\\Flagged"], new Date());
  assert.strictEqual(put.uid, 4);
  assert.strictEqual((await told).count, 4);
  await c.noop();
  await idle;
  assert(await c.messageFlagsAdd("1", ["\\Seen", "custom"], { uid: true }));
  assert((await c.fetchOne("1", { flags: true }, { uid: true })).flags.has("custom"));
  await c.mailboxCreate(["Flow", "Überlauf"]);
  const moved = await c.messageMove("1:2", "Flow/Überlauf", { uid: true });
  assert.strictEqual(moved.uidMap.size, 2);
  await c.messageDelete("3", { uid: true });
  lock.release();
  assert.strictEqual((await c.status("Flow/Überlauf", { messages: true, unseen: true })).messages, 2);
  await c.mailboxDelete("Flow/Überlauf");
  await c.logout();
  await other.logout();
  console.log("all is well");
}
main().catch(e => { console.error(e); process.exit(1); });
`
