package spooltest

import (
	"slices"

	"restante/spool"
)

// testChangesLost has tombstones forgotten: who asks for changes since before
// them must be told, and who asks for later ones must get all of them.
func testChangesLost(c *contract) {
	if c.forget == nil {
		c.Skip("the engine cannot be made to forget")
	}
	id, u := c.fill("box", 8)
	other, _ := c.fill("other", 2)
	untouched := c.mailbox("alice", "other").ModSeq
	expunge := func(uid spool.UID) spool.ModSeq {
		c.Helper()
		_, err := c.store.Flag(id, []spool.UID{uid}, spool.FlagAdd, flags(spool.Deleted), spool.ModSeqUnbounded)
		c.must(err)
		_, err = c.store.Expunge(id, []spool.UID{uid})
		c.must(err)
		return c.mailbox("alice", "box").ModSeq
	}
	lost := func(since ...spool.ModSeq) {
		c.Helper()
		for _, m := range since {
			_, _, err := c.store.Changes(id, m)
			c.wants(err, spool.ErrChangesLost, "changes since %d", m)
		}
	}
	told := func(since spool.ModSeq, changed, expunged []spool.UID) {
		c.Helper()
		changes, _ := c.changes(id, since)
		var got [2][]spool.UID
		for _, ch := range changes {
			i := 0
			if ch.Expunged {
				i = 1
			}
			got[i] = append(got[i], ch.UID)
		}
		for i := range got {
			slices.Sort(got[i])
		}
		c.sameUIDs("changed", got[0], changed...)
		c.sameUIDs("expunged", got[1], expunged...)
	}
	start := c.mailbox("alice", "box").ModSeq
	first := expunge(u[0])
	second := expunge(u[1])
	_, err := c.store.Flag(id, u[2:3], spool.FlagAdd, flags(spool.Seen), spool.ModSeqUnbounded)
	c.must(err)
	third := expunge(u[3])

	c.forget(c.T, 3) // there are no more
	told(start, u[2:3], []spool.UID{u[0], u[1], u[3]})
	c.forget(c.T, 1)
	c.lasting(func() {
		lost(0, start-1, start, first, second-1)
		told(second, u[2:3], u[3:4])
		told(third, nil, nil)
		c.audit(id)
	})
	// Life goes on from there.
	d := c.deposit("alice", "box", "new", spool.Flags{})
	fourth := expunge(u[4])
	c.lasting(func() {
		lost(first)
		told(second, []spool.UID{u[2], d.UID}, []spool.UID{u[3], u[4]})
	})
	c.forget(c.T, 0)
	c.lasting(func() {
		lost(0, start, second, third, fourth-1)
		told(fourth, nil, nil)
	})
	// A mailbox that nothing has left has lost nothing.
	changes, _, err := c.store.Changes(other, untouched)
	c.must(err)
	if len(changes) != 0 {
		c.Errorf("changes %+v", changes)
	}
	if changes, _ := c.changes(other, 0); len(changes) != 2 {
		c.Errorf("changes %+v, want two new entries", changes)
	}
	_, err = c.store.Move(id, c.uids(id), other, spool.FlagMask{})
	c.must(err)
	told(fourth, nil, []spool.UID{u[2], u[5], u[6], u[7], d.UID})
}
