package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"

	"restante/internal/needs"
)

const support = `
[[shared]]
name = "Support"
addresses = ["support@example.org"]
members = ["bob@example.org", "nobody@example.org"]
managers = ["alice@example.org"]
quota_messages = 3
`

// TestSharedMailbox: mail for an address of nobody's comes into a mailbox in which
// two people work, and they answer as that address.
func TestSharedMailbox(t *testing.T) {
	needs.Program(t, "python3")
	t.Parallel()
	d := newDaemon(t, support)
	eventually(t, "the log tells of a member who is no account", func() bool { return strings.Contains(d.log.String(), "nobody@example.org") })
	d.must(password+"\n", "user", "add", dave, "--password-stdin")
	d.send(letter("help one"), alice, "support@example.org")
	d.send(letter("help two"), alice, "Support+urgent@example.org")
	python(d, `
name = '"Shared Folders/Support"'
assert b'Shared Folders/' in ok(c.namespace())[0]
assert any(b'Shared Folders/Support' in line for line in ok(c.list('""', '"Shared Folders/*"')))
assert ok(c.select(name)) == [b"2"]
ok(c.store("1", "+FLAGS", "(\\Answered \\Seen)"))
ok(c.create('"Shared Folders/Support/Done"'))
ok(c.uid("COPY", "1", '"Shared Folders/Support/Done"'))
assert c.append(name, "", None, b"Subject: over\r\n\r\nx\r\n")[0] == "NO"
assert b"MESSAGE 3 3" in ok(c.getquotaroot(name))[1][0]
`)
	c := d.imap(alice, password, nil)
	if _, err := c.Select("Shared Folders/Support", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	list := fetch(t, c)
	if len(list) != 2 || !strings.Contains(string(list[0].body), "Subject: help one\r\n") {
		t.Fatalf("alice sees %d messages: %+v", len(list), list)
	}
	if got := flagText(list[0].flags); got != `\Answered \Seen` {
		t.Errorf("alice sees the flags %s of what bob has answered", got)
	}
	if err := c.Store(imap.SeqSetNum(2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Expunge().Close(); err != nil {
		t.Fatal(err)
	}
	// Full again with the next one: its sender is told to try again.
	d.send(letter("help three"), alice, "support@example.org")
	s := d.smtp()
	if r, err := s.mail([]byte(letter("help four")), alice, "support@example.org"); err == nil || !strings.Contains(err.Error(), "452") {
		t.Errorf("more than the quota is taken: %q, %v", r, err)
	}
	s.close()
	if _, err := d.imap(dave, password, nil).Select("Shared Folders/Support", nil).Wait(); err == nil {
		t.Error("dave may read it, too")
	}
	for user, may := range map[string]bool{alice: true, bob: true, dave: false} {
		answer := strings.Replace(letter("an answer"), "<"+alice+">", "<support@example.org>", 1)
		c := d.submission(user)
		if _, err := c.mail([]byte(answer), "support@example.org", alice); (err == nil) != may {
			t.Errorf("%s sends as support: %v", user, err)
		}
		c.close()
	}
	if out := d.must("", "user", "list"); !strings.Contains(out, "shared/Support") || !strings.Contains(out, "3 of 3 messages") {
		t.Errorf("user list says:\n%s", out)
	}
	d.must(password+"\n", "user", "add", "tickets", "--application", "--password-stdin", "--collects", "shared/Support")
	d.inbox("tickets", 2)
	out := filepath.Join(d.dir, "support")
	has(t, d.must("", "export", "maildir", out, "--account", "shared/Support"), "3 messages")
	if r := d.run("", "user", "remove", "shared/Support", "--purge"); r.code == 0 {
		t.Error("a shared mailbox of the configuration was removed")
	}
	// Without it in the configuration its mail is still there, to be taken out or purged.
	d.configure()
	d.restart()
	d.must("", "user", "remove", "shared/Support", "--purge")
	if r := d.run("", "user", "remove", "shared/Support", "--purge"); r.code == 0 {
		t.Error("its mail was purged twice")
	}
}

// flagText is flags in the order in which they came.
func flagText(flags []imap.Flag) string {
	var text []string
	for _, f := range flags {
		text = append(text, string(f))
	}
	return strings.Join(text, " ")
}

// TestSharedMailboxMbsync: one of two people has the shared mailbox on their disk.
func TestSharedMailboxMbsync(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, strings.Replace(support, "quota_messages = 3", "", 1))
	d.send(letter("shared one"), alice, "support@example.org")
	d.send(letter("shared two"), alice, "support@example.org")
	sync := d.mbsync(`"Shared Folders/*"`, "")
	sync()
	files := func() []string {
		list, err := filepath.Glob(filepath.Join(d.dir, "mail", "Shared Folders", "Support", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	list := files()
	if len(list) != 2 {
		t.Fatalf("here are %q", list)
	}
	if err := os.Rename(list[0], filepath.Join(d.dir, "mail", "Shared Folders", "Support", "cur", strings.Split(filepath.Base(list[0]), ":")[0]+":2,RS")); err != nil {
		t.Fatal(err)
	}
	c := d.imap(alice, password, nil)
	text := letter("by alice")
	w := c.Append("Shared Folders/Support", int64(len(text)), nil)
	w.Write([]byte(text))
	w.Close()
	if _, err := w.Wait(); err != nil {
		t.Fatal(err)
	}
	sync()
	if list := files(); len(list) != 3 {
		t.Errorf("after the second run here are %q", list)
	}
	if _, err := c.Select("Shared Folders/Support", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	answered := 0
	for _, m := range fetch(t, c) {
		if flagText(m.flags) == `\Answered \Seen` {
			answered++
		}
	}
	if answered != 1 {
		t.Errorf("%d messages are answered on the server", answered)
	}
}

// TestSharedMailboxAtReload: a mailbox that a reload brings is there for the members of
// the group that it names, and gone for who leaves the group.
func TestSharedMailboxAtReload(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	const team = "\n[[shared]]\nname = \"Team\"\nmembers = [\"crew@example.org\"]\n[[group]]\nname = \"crew@example.org\"\nmembers = "
	// sees may meet the server that the reload has replaced, which says good-bye.
	sees := func(user string, want bool) bool {
		c, err := d.login(user, password, nil)
		if err != nil {
			return false
		}
		defer c.Close()
		_, err = c.Select("Shared Folders/Team", nil).Wait()
		return want && err == nil || !want && err != nil && strings.Contains(err.Error(), "No such mailbox")
	}
	for _, step := range []struct {
		members    string
		alice, bob bool
	}{{`["alice@example.org"]`, true, false}, {`["bob@example.org"]`, false, true}} {
		d.configure(team + step.members)
		d.signal(syscall.SIGHUP)
		eventually(t, "the reload has its effect", func() bool { return sees(alice, step.alice) && sees(bob, step.bob) })
	}
}
