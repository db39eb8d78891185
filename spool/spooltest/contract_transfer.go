package spooltest

import (
	"slices"
	"time"

	"restante/spool"
)

func transferTests() []contractTest {
	return []contractTest{
		{"Copy", testCopy},
		{"CopyIntoSame", testCopyIntoSame},
		{"Move", testMove},
		{"MoveIntoSame", testMoveIntoSame},
		{"TransferNothing", testTransferNothing},
		{"TransferLosesFlags", testTransferLosesFlags},
	}
}

// mixed fills a mailbox with entries that differ in everything.
func (c *contract) mixed(name string) (spool.MailboxID, []spool.UID) {
	c.Helper()
	id := c.create("alice", name).ID
	for i, f := range []spool.Flags{flags(0), flags(spool.Seen, "Work", "home"), flags(spool.Deleted), flags(spool.Seen | spool.Deleted)} {
		c.commit("body"[:i+1], spool.Message{Deposits: []spool.Deposit{{
			Account: "alice", Mailbox: name, Flags: f,
			InternalDate: c.clock.Now().Add(-time.Duration(i+1) * time.Hour),
			Prefix:       []byte("Prefix: x\r\n"[:2*i]),
		}}})
	}
	return id, c.uids(id)
}

// transferred demands that a copy is like its source, but saved now.
func (c *contract) transferred(source, target spool.Entry, saved time.Time) {
	c.Helper()
	if target.Message != source.Message || showFlags(target.Flags) != showFlags(source.Flags) ||
		!target.InternalDate.Equal(source.InternalDate) || string(target.Prefix) != string(source.Prefix) || target.Size != source.Size {
		c.Errorf("source %+v became %+v", source, target)
	}
	if !target.Saved.Equal(saved) {
		c.Errorf("UID %d was saved here at %v, want %v", target.UID, target.Saved, saved)
	}
}

func testCopy(c *contract) {
	from, u := c.mixed("from")
	to, there := c.fill("to", 2)
	source, before := c.mailbox("alice", "from"), c.mailbox("alice", "to")
	c.clock.Advance(time.Hour)
	saved := c.clock.Now()
	out, err := c.store.Copy(from, []spool.UID{u[0], u[1], u[3], u[3] + 100}, to, spool.FlagMask{})
	c.must(err)
	c.sameUIDs("copied", out.Source, u[0], u[1], u[3])
	if out.UIDValidity != before.UIDValidity || len(out.Target) != 3 || !slices.IsSorted(out.Target) || out.Target[0] < before.UIDNext {
		c.Errorf("copied %+v into %+v", out, before)
	}
	c.lasting(func() {
		if got := c.mailbox("alice", "from"); got != source {
			c.Errorf("Copy changed its source from %+v to %+v", source, got)
		}
		row := c.mailbox("alice", "to")
		if row.Messages != 5 || row.Unseen != 3 || row.Deleted != 1 || row.ModSeq <= before.ModSeq {
			c.Errorf("the target was %+v, is %+v", before, row)
		}
		c.sameUIDs("target", c.uids(to), append(slices.Clone(there), out.Target...)...)
		for i, uid := range out.Target {
			e := c.entry(to, uid)
			c.transferred(c.entry(from, out.Source[i]), e, saved)
			if e.ModSeq <= before.ModSeq {
				c.Errorf("a copy has ModSeq %d, the mailbox had %d", e.ModSeq, before.ModSeq)
			}
			c.references(e.Message, 2)
		}
	})
}

func testCopyIntoSame(c *contract) {
	id, u := c.mixed("box")
	before := c.mailbox("alice", "box")
	out, err := c.store.Copy(id, u, id, spool.FlagMask{})
	c.must(err)
	c.sameUIDs("copied", out.Source, u...)
	c.lasting(func() {
		c.sameUIDs("mailbox", c.uids(id), append(slices.Clone(u), out.Target...)...)
		row := c.mailbox("alice", "box")
		if row.Messages != 8 || row.Size != 2*before.Size || row.Deleted != 4 {
			c.Errorf("mailbox was %+v, is %+v", before, row)
		}
		for i := range u {
			c.transferred(c.entry(id, u[i]), c.entry(id, out.Target[i]), c.clock.Now())
			c.references(c.entry(id, u[i]).Message, 2)
		}
	})
}

func testMove(c *contract) {
	from, u := c.mixed("from")
	to, there := c.fill("to", 1)
	entries := c.entries(from)
	source, before := c.mailbox("alice", "from"), c.mailbox("alice", "to")
	c.clock.Advance(time.Hour)
	saved := c.clock.Now()
	out, err := c.store.Move(from, []spool.UID{u[1], u[2], u[3] + 1}, to, spool.FlagMask{})
	c.must(err)
	c.sameUIDs("moved", out.Source, u[1], u[2])
	if out.UIDValidity != before.UIDValidity || len(out.Target) != 2 || !slices.IsSorted(out.Target) {
		c.Errorf("moved %+v into %+v", out, before)
	}
	c.lasting(func() {
		c.sameUIDs("source", c.uids(from), u[0], u[3])
		c.sameUIDs("target", c.uids(to), append(slices.Clone(there), out.Target...)...)
		for i, uid := range out.Target {
			c.transferred(entries[i+1], c.entry(to, uid), saved)
			c.references(entries[i+1].Message, 1)
		}
		if got := c.mailbox("alice", "from"); got.ModSeq <= source.ModSeq || got.Messages != 2 || got.Size != entries[0].Size+entries[3].Size {
			c.Errorf("the source was %+v, is %+v", source, got)
		}
		if got := c.mailbox("alice", "to"); got.ModSeq <= before.ModSeq || got.Messages != 3 || got.Unseen != 2 || got.Deleted != 1 {
			c.Errorf("the target was %+v, is %+v", before, got)
		}
		changes, _, err := c.store.Changes(from, source.ModSeq)
		c.must(err)
		if len(changes) != 2 || !changes[0].Expunged || !changes[1].Expunged {
			c.Errorf("changes of the source are %+v", changes)
		}
	})
}

func testMoveIntoSame(c *contract) {
	id, u := c.mixed("box")
	entries, before := c.entries(id), c.mailbox("alice", "box")
	out, err := c.store.Move(id, u[:2], id, spool.FlagMask{})
	c.must(err)
	c.sameUIDs("moved", out.Source, u[:2]...)
	c.lasting(func() {
		c.sameUIDs("mailbox", c.uids(id), append(slices.Clone(u[2:]), out.Target...)...)
		row := c.mailbox("alice", "box")
		if row.Messages != 4 || row.Size != before.Size || row.Unseen != before.Unseen || row.Deleted != before.Deleted {
			c.Errorf("mailbox was %+v, is %+v", before, row)
		}
		for i, uid := range out.Target {
			c.transferred(entries[i], c.entry(id, uid), c.clock.Now())
			c.references(entries[i].Message, 1)
		}
		changes, _, err := c.store.Changes(id, before.ModSeq)
		c.must(err)
		if len(changes) != 4 {
			c.Errorf("changes are %+v, want two new and two expunged", changes)
		}
	})
}

func testTransferNothing(c *contract) {
	from, u := c.fill("from", 2)
	to, _ := c.fill("to", 1)
	source, target := c.mailbox("alice", "from"), c.mailbox("alice", "to")
	for _, uids := range [][]spool.UID{nil, {}, {u[1] + 1}} {
		for name, verb := range map[string]func(spool.MailboxID, []spool.UID, spool.MailboxID, spool.FlagMask) (spool.Copied, error){
			"Copy": c.store.Copy, "Move": c.store.Move,
		} {
			out, err := verb(from, uids, to, spool.FlagMask{})
			if err != nil || len(out.Source) != 0 || len(out.Target) != 0 {
				c.Errorf("%s of %v: %+v, %v", name, uids, out, err)
			}
		}
	}
	if got := c.mailbox("alice", "from"); got != source {
		c.Errorf("the source went from %+v to %+v", source, got)
	}
	if got := c.mailbox("alice", "to"); got != target {
		c.Errorf("the target went from %+v to %+v", target, got)
	}
}

// testTransferLosesFlags puts entries where some of their flags are not kept: the
// counts are right, and those that are copied keep theirs.
func testTransferLosesFlags(c *contract) {
	from, u := c.mixed("from")
	to := c.create("alice", "to").ID
	before := c.entries(from)
	copied, err := c.store.Copy(from, u, to, spool.FlagMask{System: spool.Seen, Keywords: true})
	c.must(err)
	moved, err := c.store.Move(from, u[1:], to, spool.FlagMask{System: spool.Deleted})
	c.must(err)
	c.lasting(func() {
		for i, want := range []spool.Flags{flags(0), flags(0), flags(spool.Deleted), flags(spool.Deleted)} {
			if got := c.entry(to, copied.Target[i]).Flags; showFlags(got) != showFlags(want) {
				c.Errorf("%s was copied as %s, want %s", showFlags(before[i].Flags), showFlags(got), showFlags(want))
			}
		}
		for i, want := range []spool.Flags{flags(spool.Seen, "Work", "home"), flags(0), flags(spool.Seen)} {
			if got := c.entry(to, moved.Target[i]).Flags; showFlags(got) != showFlags(want) {
				c.Errorf("%s was moved as %s, want %s", showFlags(before[i+1].Flags), showFlags(got), showFlags(want))
			}
		}
		if got := c.entry(from, u[0]).Flags; showFlags(got) != showFlags(before[0].Flags) {
			c.Errorf("what was copied has now %s", showFlags(got))
		}
		if row := c.mailbox("alice", "to"); row.Messages != 7 || row.Unseen != 5 || row.Deleted != 2 {
			c.Errorf("the target is %+v", row)
		}
		if row := c.mailbox("alice", "from"); row.Messages != 1 || row.Unseen != 1 || row.Deleted != 0 {
			c.Errorf("the source is %+v", row)
		}
	})
}
