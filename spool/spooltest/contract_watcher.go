package spooltest

import (
	"slices"

	"restante/spool"
)

// heard expects a watcher to have noted something, and returns it.
func (c *contract) heard(w spool.Watcher, what string) spool.News {
	c.Helper()
	c.arrives(w.Changed(), what)
	n := w.Take()
	if n.All {
		c.Errorf("%s: all is said to have changed", what)
	}
	return n
}

// quiet expects a watcher to have noted nothing.
func (c *contract) quiet(w spool.Watcher, what string) {
	c.Helper()
	select {
	case <-w.Changed():
		c.Errorf("%s: a signal came", what)
	default:
	}
	if n := w.Take(); len(n.Accounts)+len(n.Entries)+len(n.Attributes) > 0 || n.All {
		c.Errorf("%s: noted %+v", what, n)
	}
}

func testWatcher(c *contract) {
	w, other, none := c.store.Watcher(), c.store.Watcher(), c.store.Watcher()
	defer w.Stop()
	defer other.Stop()
	defer none.Stop()
	if !w.Account("alice") || w.Account("alice") {
		c.Error("an account is not watched once")
	}
	other.Account("bob")
	other.Attribute("shared")
	c.create("bob", "box")
	c.heard(other, "another account")
	c.quiet(w, "another account's mailbox")

	arrange := []struct {
		what string
		act  func() error
	}{
		{"CreateMailbox", func() error { _, err := c.store.CreateMailbox("alice", "a/b", spool.UseNone); return err }},
		{"RenameMailbox", func() error { return c.store.RenameMailbox("alice", "a", "c") }},
		{"Subscribe", func() error { return c.store.Subscribe("alice", "c", true) }},
		{"Unsubscribe", func() error { return c.store.Subscribe("alice", "c", false) }},
		{"DeleteMailbox", func() error { return c.store.DeleteMailbox("alice", "c") }},
		{"DeleteAccount", func() error { return c.store.DeleteAccount("alice") }},
	}
	for _, s := range arrange {
		c.must(s.act())
		if n := c.heard(w, s.what); !slices.Equal(n.Accounts, []string{"alice"}) {
			c.Errorf("%s: noted %+v", s.what, n)
		}
		c.quiet(other, s.what)
	}

	id := c.create("alice", "box").ID
	w.Take()
	value := "x"
	c.must(c.store.SetAttributes(id, map[string]*string{"shared": &value}))
	for _, one := range []spool.Watcher{w, other} {
		if n := c.heard(one, "SetAttributes"); !slices.Equal(n.Attributes, []spool.MailboxID{id}) || len(n.Accounts) > 0 {
			c.Errorf("SetAttributes: noted %+v", n)
		}
	}
	c.must(c.store.SetAttributes(id, map[string]*string{"own": &value}))
	c.heard(w, "SetAttributes of another name")
	c.quiet(other, "SetAttributes of another name")
	c.quiet(none, "a watcher of nothing")

	w.Stop()
	c.create("alice", "more")
	c.quiet(w, "stopped")
	if w.Account("bob") {
		c.Error("a watcher that was stopped watches another account")
	}
}

func testWatcherEntries(c *contract) {
	id, u := c.fill("box", 3)
	target := c.create("alice", "target").ID
	w := c.store.Watcher()
	defer w.Stop()
	w.Account("alice")
	steps := []struct {
		what  string
		act   func() error
		boxes []spool.MailboxID
	}{
		{"a deposit", func() error { c.deposit("alice", "box", "x", spool.Flags{}); return nil }, []spool.MailboxID{id}},
		{"Flag", func() error {
			_, err := c.store.Flag(id, u[:1], spool.FlagAdd, flags(spool.Deleted), spool.ModSeqUnbounded)
			return err
		}, []spool.MailboxID{id}},
		{"Expunge", func() error { _, err := c.store.Expunge(id, nil); return err }, []spool.MailboxID{id}},
		{"Copy", func() error { _, err := c.store.Copy(id, u[1:], target, spool.FlagMask{}); return err }, []spool.MailboxID{target}},
		{"Move", func() error { _, err := c.store.Move(id, u[1:2], target, spool.FlagMask{}); return err }, []spool.MailboxID{id, target}},
		{"two deposits", func() error {
			c.deposit("alice", "target", "x", spool.Flags{})
			c.deposit("alice", "target", "x", spool.Flags{})
			return nil
		}, []spool.MailboxID{target}},
	}
	for _, s := range steps {
		c.must(s.act())
		if n := c.heard(w, s.what); !slices.Equal(n.Entries, s.boxes) || len(n.Attributes) > 0 {
			c.Errorf("%s: noted %+v, want %v", s.what, n, s.boxes)
		}
	}
	c.deposit("bob", "", "x", spool.Flags{})
	c.quiet(w, "another account's deposit")
	first := c.deposit("alice", "", "x", spool.Flags{}).Mailbox
	if n := c.heard(w, "a deposit that makes INBOX"); !slices.Contains(n.Entries, first) || !slices.Contains(n.Accounts, "alice") {
		c.Errorf("a deposit that makes INBOX: noted %+v", n)
	}
}
