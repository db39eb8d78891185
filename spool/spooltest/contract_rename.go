package spooltest

import (
	"slices"
	"time"

	"restante/spool"
)

func renameTests() []contractTest {
	return []contractTest{
		{"Rename", testRename},
		{"RenameRefused", testRenameRefused},
		{"RenameChildClash", testRenameChildClash},
		{"RenameMakesParents", testRenameMakesParents},
		{"RenameInbox", testRenameInbox},
	}
}

func testRename(c *contract) {
	top, below, deep := c.create("alice", "a"), c.create("alice", "a/b"), c.create("alice", "a/b/c")
	c.create("alice", "ab") // not below a
	c.create("bob", "a")
	d := c.deposit("alice", "a/b", "kept", flags(spool.Seen))
	top, below = c.mailbox("alice", "a"), c.mailbox("alice", "a/b")
	c.must(c.store.RenameMailbox("alice", "a", "z"))
	c.lasting(func() {
		if got, want := c.names("alice"), []string{"ab", "z", "z/b", "z/b/c"}; !slices.Equal(got, want) {
			c.Errorf("mailboxes %v, want %v", got, want)
		}
		c.missing("alice", "a")
		c.missing("alice", "a/b")
		for name, was := range map[string]spool.Mailbox{"z": top, "z/b": below, "z/b/c": deep} {
			want := was
			want.Name = name
			if got := c.mailbox("alice", name); got != want {
				c.Errorf("%q renamed is %+v, want %+v", was.Name, got, want)
			}
		}
		if got := c.entry(below.ID, d.UID); showFlags(got.Flags) != "00001 " {
			c.Errorf("entry of a renamed mailbox is %+v", got)
		}
		c.mailbox("bob", "a")
	})
	c.must(c.store.RenameMailbox("alice", "z/b", "b"))
	if got, want := c.names("alice"), []string{"ab", "b", "b/c", "z"}; !slices.Equal(got, want) {
		c.Errorf("mailboxes %v, want %v", got, want)
	}
	c.create("alice", "a")
}

func testRenameRefused(c *contract) {
	c.create("alice", "INBOX")
	for _, name := range []string{"a", "a/x", "b"} {
		c.create("alice", name)
	}
	want := c.names("alice")
	tests := []struct {
		from, to string
		err      error
	}{
		{"nothing", "new", spool.ErrNoMailbox},
		{"A", "new", spool.ErrNoMailbox},
		{"a", "b", spool.ErrMailboxExists},
		{"a", "a", spool.ErrMailboxExists},
		{"a", "inbox", spool.ErrMailboxExists},
		{"INBOX", "b", spool.ErrMailboxExists},
		{"INBOX", "Inbox", spool.ErrMailboxExists},
		{"a", "b/", spool.ErrMailboxName},
		{"INBOX", "", spool.ErrMailboxName},
	}
	for _, r := range tests {
		c.wants(c.store.RenameMailbox("alice", r.from, r.to), r.err, "rename %q to %q", r.from, r.to)
	}
	if err := c.store.RenameMailbox("alice", "a", "a/below"); err == nil {
		c.Error("a mailbox was renamed to a level below itself")
	}
	if got := c.names("alice"); !slices.Equal(got, want) {
		c.Errorf("refused renames made of %v mailboxes %v", want, got)
	}
}

// testRenameChildClash has a mailbox below the new name in the way.
func testRenameChildClash(c *contract) {
	c.create("alice", "a/x")
	c.create("alice", "b/x")
	c.must(c.store.DeleteMailbox("alice", "b"))
	a, ax, bx := c.mailbox("alice", "a"), c.mailbox("alice", "a/x"), c.mailbox("alice", "b/x")
	c.wants(c.store.RenameMailbox("alice", "a", "b"), spool.ErrMailboxExists, "rename onto a name with a clash below")
	c.lasting(func() {
		for _, b := range []spool.Mailbox{a, ax, bx} {
			if got := c.mailbox("alice", b.Name); got != b {
				c.Errorf("a refused rename made of %+v %+v", b, got)
			}
		}
		c.missing("alice", "b")
	})
}

func testRenameMakesParents(c *contract) {
	b := c.create("alice", "a/b")
	c.must(c.store.RenameMailbox("alice", "a/b", "x/y/z"))
	c.lasting(func() {
		if got, want := c.names("alice"), []string{"a", "x", "x/y", "x/y/z"}; !slices.Equal(got, want) {
			c.Errorf("mailboxes %v, want %v", got, want)
		}
		if got := c.mailbox("alice", "x/y/z"); got.ID != b.ID {
			c.Errorf("renamed mailbox is %+v", got)
		}
	})
}

func testRenameInbox(c *contract) {
	child := c.create("alice", "INBOX/sub")
	date := c.clock.Now().Add(-time.Hour)
	r := c.commit("body", spool.Message{Deposits: []spool.Deposit{{
		Account: "alice", Flags: flags(spool.Flagged, "work"), InternalDate: date, Prefix: []byte("P: q\r\n"),
	}}})
	c.deposit("alice", "", "second", flags(spool.Seen))
	inbox := c.mailbox("alice", "INBOX")
	c.must(c.store.RenameMailbox("alice", "inbox", "Old/Mail"))
	c.lasting(func() {
		if got, want := c.names("alice"), []string{"INBOX", "INBOX/sub", "Old", "Old/Mail"}; !slices.Equal(got, want) {
			c.Errorf("mailboxes %v, want %v", got, want)
		}
		left := c.mailbox("alice", "INBOX")
		if left.ID != inbox.ID || left.UIDValidity != inbox.UIDValidity || left.Messages != 0 || left.UIDNext < inbox.UIDNext {
			c.Errorf("INBOX was %+v, is %+v", inbox, left)
		}
		changes, _, err := c.store.Changes(inbox.ID, inbox.ModSeq)
		c.must(err)
		if len(changes) != 2 || !changes[0].Expunged || !changes[1].Expunged {
			c.Errorf("changes of INBOX: %+v, want two expunged", changes)
		}
		moved := c.mailbox("alice", "Old/Mail")
		if moved.ID == inbox.ID || moved.Messages != 2 || moved.Unseen != 1 {
			c.Errorf("the new mailbox is %+v", moved)
		}
		e := c.entries(moved.ID)[0]
		if e.Message != r.ID || showFlags(e.Flags) != "00100 work" || !e.InternalDate.Equal(date) ||
			string(e.Prefix) != "P: q\r\n" || e.Size != 10 {
			c.Errorf("entry in the new mailbox is %+v", e)
		}
		if got := c.mailbox("alice", "INBOX/sub"); got.ID != child.ID {
			c.Errorf("the mailbox below INBOX is %+v", got)
		}
		c.references(r.ID, 1)
	})
	if d := c.deposit("alice", "", "new", spool.Flags{}); d.Mailbox != inbox.ID || d.UID < inbox.UIDNext {
		c.Errorf("the next deposit into INBOX is %+v, UIDNEXT was %d", d, inbox.UIDNext)
	}
}
