package spooltest

import (
	"slices"

	"restante/spool"
)

func changeTests() []contractTest {
	return []contractTest{
		{"Changes", testChanges},
		{"ChangesFollowed", testChangesFollowed},
		{"ChangesLost", testChangesLost},
		{"Watch", testWatch},
		{"WatchDeleted", testWatchDeleted},
		{"WatchStop", testWatchStop},
		{"Watcher", testWatcher},
		{"WatcherEntries", testWatcherEntries},
	}
}

// changes asks for what happened and checks its form.
func (c *contract) changes(id spool.MailboxID, since spool.ModSeq) ([]spool.Change, spool.ModSeq) {
	c.Helper()
	changes, upTo, err := c.store.Changes(id, since)
	c.must(err)
	row, err := c.store.MailboxByID(id)
	c.must(err)
	if upTo != row.ModSeq {
		c.Errorf("changes are told up to ModSeq %d, the mailbox is at %d", upTo, row.ModSeq)
	}
	for _, fault := range auditChanges(changes, since, upTo) {
		c.Error(fault)
	}
	return changes, upTo
}

// auditChanges tells what is wrong with the form of a list of changes.
func auditChanges(changes []spool.Change, since, upTo spool.ModSeq) (faults []string) {
	seen := make(map[spool.UID]bool)
	last := since
	for _, ch := range changes {
		if seen[ch.UID] {
			faults = append(faults, "a UID has two lines in the changes")
		}
		seen[ch.UID] = true
		if ch.ModSeq < last || ch.ModSeq <= since || ch.ModSeq > upTo {
			faults = append(faults, "the changes are out of order or out of bounds")
		}
		last = ch.ModSeq
	}
	return faults
}

func testChanges(c *contract) {
	id, u := c.fill("box", 4)
	since := c.mailbox("alice", "box").ModSeq
	expect := func(since spool.ModSeq, changed, expunged []spool.UID) {
		c.Helper()
		changes, _ := c.changes(id, since)
		var gotChanged, gotExpunged []spool.UID
		for _, ch := range changes {
			if ch.Expunged {
				gotExpunged = append(gotExpunged, ch.UID)
				continue
			}
			gotChanged = append(gotChanged, ch.UID)
			if e := c.entry(id, ch.UID); e.ModSeq != ch.ModSeq {
				c.Errorf("the change of UID %d has ModSeq %d, the entry %d", ch.UID, ch.ModSeq, e.ModSeq)
			}
		}
		slices.Sort(gotChanged)
		slices.Sort(gotExpunged)
		c.sameUIDs("changed", gotChanged, changed...)
		c.sameUIDs("expunged", gotExpunged, expunged...)
	}
	expect(0, u, nil)
	expect(since, nil, nil)
	flag := func(uid spool.UID, f spool.SystemFlags) {
		c.Helper()
		_, err := c.store.Flag(id, []spool.UID{uid}, spool.FlagAdd, flags(f), spool.ModSeqUnbounded)
		c.must(err)
	}
	// Changed twice is one line.
	flag(u[2], spool.Seen)
	flag(u[0], spool.Seen)
	flag(u[2], spool.Flagged)
	flag(u[2], spool.Flagged)
	expect(since, []spool.UID{u[0], u[2]}, nil)
	if changes, _ := c.changes(id, since); changes[0].UID != u[0] {
		c.Errorf("changes are %+v, want UID %d first, which changed before the other's last change", changes, u[0])
	}
	middle := c.mailbox("alice", "box").ModSeq
	// Changed and then gone is one line: gone. So is new and gone.
	flag(u[2], spool.Deleted)
	d := c.deposit("alice", "box", "new", flags(spool.Deleted))
	e := c.deposit("alice", "box", "newer", spool.Flags{})
	_, err := c.store.Expunge(id, nil)
	c.must(err)
	c.lasting(func() {
		expect(middle, []spool.UID{e.UID}, []spool.UID{u[2], d.UID})
		expect(since, []spool.UID{u[0], e.UID}, []spool.UID{u[2], d.UID})
		now := c.mailbox("alice", "box").ModSeq
		expect(now, nil, nil)
		expect(now+1000, nil, nil)
	})
}

// testChangesFollowed keeps a view up to date by the changes alone, as a
// session does, and compares it with the mailbox.
func testChangesFollowed(c *contract) {
	id, _ := c.fill("box", 5)
	other, _ := c.fill("other", 3)
	view := make(map[spool.UID]spool.ModSeq)
	var at spool.ModSeq
	follow := func(what string) {
		c.Helper()
		changes, upTo := c.changes(id, at)
		at = upTo
		for _, ch := range changes {
			if ch.Expunged {
				delete(view, ch.UID)
			} else {
				view[ch.UID] = ch.ModSeq
			}
		}
		entries := c.entries(id)
		for _, e := range entries {
			if view[e.UID] != e.ModSeq {
				c.Errorf("after %s: the view has UID %d at ModSeq %d, the mailbox at %d", what, e.UID, view[e.UID], e.ModSeq)
			}
		}
		if len(entries) != len(view) {
			c.Errorf("after %s: the view has %d entries, the mailbox %d", what, len(view), len(entries))
		}
	}
	follow("opening")
	steps := []struct {
		what string
		act  func() error
	}{
		{"a deposit", func() error { c.deposit("alice", "box", "x", spool.Flags{}); return nil }},
		{"flagging", func() error {
			_, err := c.store.Flag(id, c.uids(id)[:2], spool.FlagAdd, flags(spool.Deleted), spool.ModSeqUnbounded)
			return err
		}},
		{"copying in", func() error { _, err := c.store.Copy(other, c.uids(other), id, spool.FlagMask{}); return err }},
		{"expunging", func() error { _, err := c.store.Expunge(id, nil); return err }},
		{"moving out", func() error { _, err := c.store.Move(id, c.uids(id)[:2], other, spool.FlagMask{}); return err }},
		{"moving into the same", func() error { _, err := c.store.Move(id, c.uids(id)[1:3], id, spool.FlagMask{}); return err }},
		{"moving in", func() error { _, err := c.store.Move(other, c.uids(other), id, spool.FlagMask{}); return err }},
		{"renaming", func() error { return c.store.RenameMailbox("alice", "box", "box2") }},
		{"reopening", func() error { c.restart(); return nil }},
		{"another deposit", func() error { c.deposit("alice", "box2", "x", spool.Flags{}); return nil }},
	}
	for _, s := range steps {
		c.must(s.act())
		follow(s.what)
		c.audit(id)
	}
}

func testWatch(c *contract) {
	id, u := c.fill("box", 3)
	other, _ := c.fill("other", 1)
	first, stop := c.store.Watch(id)
	defer stop()
	second, stop2 := c.store.Watch(id)
	defer stop2()
	quiet, stop3 := c.store.Watch(other)
	defer stop3()
	steps := []struct {
		what string
		act  func() error
	}{
		{"a deposit", func() error { c.deposit("alice", "box", "x", spool.Flags{}); return nil }},
		{"Flag", func() error {
			_, err := c.store.Flag(id, u, spool.FlagSet, flags(spool.Deleted), spool.ModSeqUnbounded)
			return err
		}},
		{"Expunge", func() error { _, err := c.store.Expunge(id, u[:1]); return err }},
		{"Copy into the same", func() error { _, err := c.store.Copy(id, u, id, spool.FlagMask{}); return err }},
	}
	for _, s := range steps {
		drain(first)
		drain(second)
		c.must(s.act())
		c.arrives(first, s.what)
		c.arrives(second, s.what+", second watcher")
	}
	if len(quiet) != 0 {
		c.Error("a signal came for a mailbox that did not change")
	}
	drain(first)
	_, err := c.store.Move(id, u, other, spool.FlagMask{})
	c.must(err)
	c.arrives(first, "Move out")
	c.arrives(quiet, "Move in")
	drain(quiet)
	_, err = c.store.Copy(id, c.uids(id), other, spool.FlagMask{})
	c.must(err)
	c.arrives(quiet, "Copy in")
	for range 3 {
		c.deposit("alice", "other", "x", spool.Flags{})
		if len(quiet) > 1 {
			c.Errorf("the watch holds %d signals", len(quiet))
		}
	}
	// A signal that nobody took does not keep later ones from the others.
	c.arrives(quiet, "three deposits")

	l := c.lease(c.queue("example.org"))[0]
	drain(quiet)
	report := spool.Report{Staged: c.staged("bounce"), Message: spool.Message{
		Deposits: []spool.Deposit{{Account: "alice", Mailbox: "other"}},
	}}
	c.settle(l, spool.Settlement{Results: results(l, true, 550), Reports: []spool.Report{report}})
	c.arrives(quiet, "a report's deposit")
}

func testWatchDeleted(c *contract) {
	id, _ := c.fill("box", 1)
	signals, stop := c.store.Watch(id)
	defer stop()
	inbox := c.deposit("alice", "", "x", spool.Flags{}).Mailbox
	whole, stop2 := c.store.Watch(inbox)
	defer stop2()
	drain(signals)
	c.must(c.store.DeleteMailbox("alice", "box"))
	c.arrives(signals, "the mailbox was deleted")
	drain(whole)
	c.must(c.store.DeleteAccount("alice"))
	c.arrives(whole, "the account was deleted")

	late, stop3 := c.store.Watch(id)
	defer stop3()
	c.arrives(late, "watching a mailbox that was deleted before")
}

func testWatchStop(c *contract) {
	id, _ := c.fill("box", 1)
	stopped, stop := c.store.Watch(id)
	still, stop2 := c.store.Watch(id)
	defer stop2()
	stop()
	stop()
	drain(stopped)
	c.deposit("alice", "box", "x", spool.Flags{})
	c.arrives(still, "a deposit")
	select {
	case _, ok := <-stopped:
		if ok {
			c.Error("a signal came after stop")
		}
	default:
	}
}
