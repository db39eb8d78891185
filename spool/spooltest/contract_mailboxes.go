package spooltest

import (
	"slices"
	"strings"

	"restante/spool"
)

func mailboxTests() []contractTest {
	return []contractTest{
		{"CreateMailbox", testCreateMailbox},
		{"CreateParents", testCreateParents},
		{"MailboxNames", testMailboxNames},
		{"Inbox", testInbox},
		{"ListMailboxes", testListMailboxes},
		{"DeleteMailbox", testDeleteMailbox},
		{"UIDValidity", testUIDValidity},
		{"Accounts", testAccounts},
		{"DeleteAccount", testDeleteAccount},
		{"Subscriptions", testSubscriptions},
	}
}

func testCreateMailbox(c *contract) {
	made, err := c.store.CreateMailbox("alice", "Sent", spool.UseSent)
	c.must(err)
	if made.Account != "alice" || made.Name != "Sent" || made.Use != spool.UseSent || made.Messages != 0 || made.Size != 0 {
		c.Errorf("created %+v", made)
	}
	_, err = c.store.CreateMailbox("alice", "Sent", spool.UseNone)
	c.wants(err, spool.ErrMailboxExists, "create a mailbox that is there")
	lower := c.create("alice", "sent")
	if lower.ID == made.ID || lower.UIDValidity == 0 {
		c.Errorf("names other than INBOX have a case: %+v, %+v", made, lower)
	}
	c.lasting(func() {
		if got := c.mailbox("alice", "Sent"); got != made {
			c.Errorf("created %+v, looked up %+v", made, got)
		}
		got, err := c.store.MailboxByID(made.ID)
		if err != nil || got != made {
			c.Errorf("created %+v, looked up by ID %+v, %v", made, got, err)
		}
		if len(c.entries(made.ID)) != 0 {
			c.Error("a new mailbox has entries")
		}
		_, err = c.store.MailboxByID(made.ID + lower.ID + 1000)
		c.wants(err, spool.ErrNoMailbox, "MailboxByID")
		c.missing("alice", "Sen")
		c.missing("bob", "Sent")
	})
}

func testCreateParents(c *contract) {
	c.create("alice", "INBOX")
	b := c.create("alice", "a")
	deep, err := c.store.CreateMailbox("alice", "a/b/c/d", spool.UseArchive)
	c.must(err)
	c.lasting(func() {
		if got, want := c.names("alice"), []string{"INBOX", "a", "a/b", "a/b/c", "a/b/c/d"}; !slices.Equal(got, want) {
			c.Errorf("mailboxes %v, want %v", got, want)
		}
		if got := c.mailbox("alice", "a"); got.ID != b.ID {
			c.Errorf("a parent that was there has ID %d, had %d", got.ID, b.ID)
		}
		if got := c.mailbox("alice", "a/b/c"); got.Use != spool.UseNone {
			c.Errorf("a parent got the use of its child: %+v", got)
		}
		if got := c.mailbox("alice", "a/b/c/d"); got.ID != deep.ID || got.Use != spool.UseArchive {
			c.Errorf("created %+v, looked up %+v", deep, got)
		}
	})
	_, err = c.store.CreateMailbox("alice", "a/b", spool.UseNone)
	c.wants(err, spool.ErrMailboxExists, "create a parent again")
}

func testMailboxNames(c *contract) {
	from := c.create("alice", "from")
	bad := []string{
		"", "/", "/a", "a/", "a//b", "//", "from/",
		"a\x00b", "a\nb", "a\rb", "a\tb", "\x1b[31m", "a\x7f", "a\u0085b",
		"a\xffb", "\xc3", "\xed\xa0\x80",
		strings.Repeat("a", 5000), strings.Repeat("a/", 2500) + "a",
	}
	for _, name := range bad {
		_, err := c.store.CreateMailbox("alice", name, spool.UseNone)
		c.wants(err, spool.ErrMailboxName, "create %.20q", name)
		c.wants(c.store.RenameMailbox("alice", "from", name), spool.ErrMailboxName, "rename to %.20q", name)
	}
	if got := c.names("alice"); !slices.Equal(got, []string{"from"}) {
		c.Errorf("refused names left mailboxes %.200q", got)
	}
	if got := c.mailbox("alice", "from"); got != from {
		c.Errorf("refused names changed the mailbox %+v to %+v", from, got)
	}
	good := []string{
		"a", ".", "..", "a.b", " ", "a b", "*", "%", "\\", "&", "~", "#news", "\"quoted\"",
		"Entwürfe", "受信箱", "e\u0301", "é", "👩‍💻", "a\u00a0b", "INBOXES", "XINBOX",
		strings.Repeat("n", 300), strings.Repeat("ü", 500), strings.Repeat("l/", 499) + "ll",
	}
	ids := make(map[spool.MailboxID]string)
	for _, name := range good {
		ids[c.create("alice", name).ID] = name
	}
	c.lasting(func() {
		for id, name := range ids {
			if got := c.mailbox("alice", name); got.ID != id || got.Name != name {
				c.Errorf("created %.20q as %d, looked up %d %.20q", name, id, got.ID, got.Name)
			}
		}
	})
}

func testInbox(c *contract) {
	d := c.deposit("alice", "", "one", spool.Flags{})
	inbox := c.mailbox("alice", "INBOX")
	if inbox.ID != d.Mailbox || inbox.Name != "INBOX" {
		c.Errorf("deposited into %d, INBOX is %+v", d.Mailbox, inbox)
	}
	for _, name := range []string{"inbox", "Inbox", "iNBOX", "INBOX"} {
		if got := c.mailbox("alice", name); got != inbox {
			c.Errorf("%q is %+v, want INBOX %+v", name, got, inbox)
		}
		_, err := c.store.CreateMailbox("alice", name, spool.UseNone)
		c.wants(err, spool.ErrMailboxExists, "create %q", name)
		c.wants(c.store.DeleteMailbox("alice", name), spool.ErrMailboxName, "delete %q", name)
		if d := c.deposit("alice", name, "again", spool.Flags{}); d.Mailbox != inbox.ID {
			c.Errorf("a deposit into %q went to mailbox %d, INBOX is %d", name, d.Mailbox, inbox.ID)
		}
		inbox = c.mailbox("alice", "INBOX")
	}
	// The level above is INBOX, in whatever case it is named.
	c.create("alice", "inbox/Receipts")
	_, err := c.store.CreateMailbox("alice", "INBOX/Receipts", spool.UseNone)
	c.wants(err, spool.ErrMailboxExists, "create below INBOX again")
	if got, want := c.names("alice"), []string{"INBOX", "INBOX/Receipts"}; !slices.Equal(got, want) {
		c.Errorf("mailboxes %v, want %v", got, want)
	}
	if other := c.create("bob", "iNbOx"); other.Name != "INBOX" || other.ID == inbox.ID {
		c.Errorf("INBOX of bob is %+v", other)
	}
	c.lasting(func() {
		if got := c.mailbox("alice", "inboX"); got.ID != inbox.ID || got.Messages != 5 {
			c.Errorf("INBOX is %+v", got)
		}
		c.mailbox("alice", "Inbox/Receipts")
		c.mailbox("bob", "INBOX")
	})
}

func testListMailboxes(c *contract) {
	if got := c.names("nobody"); len(got) != 0 {
		c.Errorf("an account that is not there has mailboxes %v", got)
	}
	for _, name := range []string{"b", "Z", "a", "INBOX/x", "ä", "a/b", "A"} {
		c.create("alice", name)
	}
	c.create("alice2", "other")
	c.deposit("alice", "Z", "four", flags(spool.Seen))
	c.deposit("alice", "Z", "four", flags(spool.Deleted))
	c.lasting(func() {
		list, err := c.store.ListMailboxes("alice")
		c.must(err)
		want := []string{"INBOX", "A", "INBOX/x", "Z", "a", "a/b", "b", "ä"}
		if got := c.names("alice"); !slices.Equal(got, want) {
			c.Errorf("mailboxes %v, want %v", got, want)
		}
		for _, b := range list {
			if got := c.mailbox("alice", b.Name); got != b || b.Account != "alice" {
				c.Errorf("listed %+v, looked up %+v", b, got)
			}
		}
	})
}

func testDeleteMailbox(c *contract) {
	parent, child := c.create("alice", "a"), c.create("alice", "a/b")
	gone := c.deposit("alice", "a", "gone", spool.Flags{})
	info := c.entry(parent.ID, gone.UID).Message
	kept := c.deposit("alice", "a/b", "kept", spool.Flags{})
	c.must(c.store.DeleteMailbox("alice", "a"))
	c.lasting(func() {
		c.missing("alice", "a")
		c.freed(info)
		if got := c.mailbox("alice", "a/b"); got.ID != child.ID || got.Messages != 1 {
			c.Errorf("the mailbox below is %+v", got)
		}
		c.entry(child.ID, kept.UID)
		c.wants(c.store.DeleteMailbox("alice", "a"), spool.ErrNoMailbox, "delete a deleted mailbox")
		c.wants(c.store.DeleteMailbox("bob", "a/b"), spool.ErrNoMailbox, "delete a mailbox of another account")
		c.noMailboxAnyMore(parent.ID, child.ID)
	})
	again := c.create("alice", "a")
	if again.ID == parent.ID || again.Messages != 0 || len(c.entries(again.ID)) != 0 {
		c.Errorf("made again as %+v, was %+v", again, parent)
	}
	c.noMailboxAnyMore(parent.ID, child.ID)
}

// noMailboxAnyMore tries all verbs on a mailbox that was deleted.
func (c *contract) noMailboxAnyMore(id, other spool.MailboxID) {
	c.Helper()
	wants := func(err error, verb string) {
		c.Helper()
		c.wants(err, spool.ErrNoMailbox, "%s of a deleted mailbox", verb)
	}
	uids := c.uids(other)
	_, err := c.store.MailboxByID(id)
	wants(err, "MailboxByID")
	_, err = c.store.Entry(id, 1)
	wants(err, "Entry")
	n := 0
	for _, err := range c.store.Entries(id, 0, 0) {
		wants(err, "Entries")
		n++
	}
	if n != 1 {
		c.Errorf("Entries of a deleted mailbox yields %d times", n)
	}
	_, _, err = c.store.Changes(id, 0)
	wants(err, "Changes")
	_, err = c.store.Flag(id, uids, spool.FlagAdd, flags(spool.Seen), spool.ModSeqUnbounded)
	wants(err, "Flag")
	_, err = c.store.Expunge(id, nil)
	wants(err, "Expunge")
	_, err = c.store.Copy(id, uids, other, spool.FlagMask{})
	wants(err, "Copy")
	_, err = c.store.Copy(other, uids, id, spool.FlagMask{})
	wants(err, "Copy into")
	_, err = c.store.Move(id, uids, other, spool.FlagMask{})
	wants(err, "Move")
	_, err = c.store.Move(other, uids, id, spool.FlagMask{})
	wants(err, "Move into")
	c.sameUIDs("after refused verbs", c.uids(other), uids...)
}

// testUIDValidity makes mailboxes again and again while the clock stands.
func testUIDValidity(c *contract) {
	last := c.create("alice", "a")
	seen := []spool.MailboxID{last.ID}
	again := func(how string) {
		c.Helper()
		b := c.create("alice", "a")
		if b.UIDValidity <= last.UIDValidity {
			c.Errorf("after %s UIDVALIDITY is %d, was %d", how, b.UIDValidity, last.UIDValidity)
		}
		if slices.Contains(seen, b.ID) {
			c.Errorf("after %s mailbox ID %d is used again", how, b.ID)
		}
		seen = append(seen, b.ID)
		last = b
	}
	for range 3 {
		c.must(c.store.DeleteMailbox("alice", "a"))
		again("deletion")
	}
	c.must(c.store.DeleteMailbox("alice", "a"))
	c.restart()
	again("deletion and reopening")
	c.must(c.store.RenameMailbox("alice", "a", "b"))
	again("renaming it away")
	c.must(c.store.DeleteMailbox("alice", "a"))
	c.must(c.store.DeleteMailbox("alice", "b"))
	again("deleting both")
	c.must(c.store.DeleteAccount("alice"))
	again("deletion of the account")
	c.must(c.store.DeleteAccount("alice"))
	c.restart()
	again("deletion of the account and reopening")
	c.clock.Advance(-24 * 365 * 3600e9)
	c.must(c.store.DeleteMailbox("alice", "a"))
	again("the clock was set back")
}

func testAccounts(c *contract) {
	accounts := []string{"alice", "alice@example.org", "alic", "a/b", "ünï", "alice/INBOX", "INBOX"}
	for _, a := range accounts {
		c.create(a, "own")
		c.deposit(a, "", a, spool.Flags{})
	}
	c.lasting(func() {
		for _, a := range accounts {
			if got, want := c.names(a), []string{"INBOX", "own"}; !slices.Equal(got, want) {
				c.Errorf("account %q has mailboxes %q, want %q", a, got, want)
			}
			inbox := c.mailbox(a, "INBOX")
			if e := c.entries(inbox.ID); len(e) != 1 || c.body(e[0].Message) != a {
				c.Errorf("INBOX of %q holds %+v", a, e)
			}
		}
	})
}

func testDeleteAccount(c *contract) {
	r := c.commit("shared", spool.Message{
		Deposits: []spool.Deposit{{Account: "alice"}, {Account: "bob"}},
	})
	c.create("alice", "a/b")
	own := c.deposit("alice", "a/b", "own", spool.Flags{})
	message := c.entry(own.Mailbox, own.UID).Message
	c.create("alicia", "x")
	c.must(c.store.Subscribe("alice", "a", true))
	c.must(c.store.Subscribe("alicia", "x", true))
	c.must(c.store.DeleteAccount("alice"))
	c.lasting(func() {
		if got := c.names("alice"); len(got) != 0 {
			c.Errorf("a deleted account has mailboxes %v", got)
		}
		if got, err := c.store.Subscriptions("alice"); len(got) != 0 || err != nil {
			c.Errorf("a deleted account has subscriptions %v, %v", got, err)
		}
		c.missing("alice", "INBOX")
		c.freed(message)
		c.references(r.ID, 1)
		_, err := c.store.MailboxByID(r.Deposited[0].Mailbox)
		c.wants(err, spool.ErrNoMailbox, "INBOX of a deleted account")
		c.mailbox("bob", "INBOX")
		c.mailbox("alicia", "x")
		if got, err := c.store.Subscriptions("alicia"); !slices.Equal(got, []string{"x"}) || err != nil {
			c.Errorf("another account has subscriptions %v, %v", got, err)
		}
	})
	if d := c.deposit("alice", "", "anew", spool.Flags{}); d.Mailbox == r.Deposited[0].Mailbox {
		c.Errorf("mailbox ID %d is used again", d.Mailbox)
	}
}

func testSubscriptions(c *contract) {
	subscriptions := func(account string, want ...string) {
		c.Helper()
		got, err := c.store.Subscriptions(account)
		c.must(err)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			c.Errorf("subscriptions of %s: %v, want %v", account, got, want)
		}
	}
	subscriptions("alice")
	c.create("alice", "a")
	for _, name := range []string{"a", "not/there", "inbox", "a", "Inbox"} {
		c.must(c.store.Subscribe("alice", name, true))
	}
	c.must(c.store.Subscribe("bob", "b", true))
	c.lasting(func() {
		subscriptions("alice", "INBOX", "a", "not/there")
		subscriptions("bob", "b")
	})
	c.must(c.store.Subscribe("alice", "not/there", false))
	c.must(c.store.Subscribe("alice", "never", false))
	c.must(c.store.Subscribe("alice", "INBOX", false))
	c.must(c.store.DeleteMailbox("alice", "a"))
	c.lasting(func() {
		subscriptions("alice", "a") // RFC 9051 section 6.3.7: stays without its mailbox
		subscriptions("bob", "b")
	})
}
