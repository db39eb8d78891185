package spooltest

import (
	"errors"
	"slices"

	"restante/spool"
)

func entryTests() []contractTest {
	return []contractTest{
		{"Entries", testEntries},
		{"EntriesSnapshot", testEntriesSnapshot},
		{"Expunge", testExpunge},
		{"UIDsNeverReused", testUIDsNeverReused},
		{"ConcurrentFlags", testConcurrentFlags},
	}
}

// fill deposits messages into a new mailbox and returns their UIDs.
func (c *contract) fill(name string, n int) (spool.MailboxID, []spool.UID) {
	c.Helper()
	id := c.create("alice", name).ID
	for range n {
		c.deposit("alice", name, "body", spool.Flags{})
	}
	uids := c.uids(id)
	if len(uids) != n {
		c.Fatalf("%d entries after %d deposits", len(uids), n)
	}
	return id, uids
}

func testEntries(c *contract) {
	id, uids := c.fill("box", 300)
	_, err := c.store.Flag(id, []spool.UID{uids[3], uids[150]}, spool.FlagSet, flags(spool.Deleted), spool.ModSeqUnbounded)
	c.must(err)
	_, err = c.store.Expunge(id, nil)
	c.must(err)
	left := slices.Delete(slices.Clone(uids), 150, 151)
	left = slices.Delete(left, 3, 4)
	tests := []struct {
		from, to spool.UID
		want     []spool.UID
	}{
		{0, 0, left},
		{left[0], 0, left},
		{left[1], 0, left[1:]},
		{0, left[99], left[:100]},
		{left[10], left[20], left[10:21]},
		{left[10], left[10], left[10:11]},
		{uids[3], uids[3], nil},
		{uids[2], uids[4], left[2:4]},
		{left[20], left[10], nil},
		{uids[299] + 1, 0, nil},
		{left[290], 1<<32 - 1, left[290:]},
	}
	c.lasting(func() {
		c.audit(id)
		for _, r := range tests {
			var got []spool.UID
			for _, e := range collect(c, c.store.Entries(id, r.from, r.to)) {
				got = append(got, e.UID)
			}
			if !slices.Equal(got, r.want) {
				c.Errorf("entries %d to %d: %v, want %v", r.from, r.to, got, r.want)
			}
		}
		if e := c.entry(id, left[7]); e.UID != left[7] {
			c.Errorf("Entry(%d) returns %+v", left[7], e)
		}
		_, err := c.store.Entry(id, uids[3])
		c.wants(err, spool.ErrNotFound, "Entry of an expunged UID")
		_, err = c.store.Entry(id, uids[299]+1)
		c.wants(err, spool.ErrNotFound, "Entry of a UID to come")
		for range c.store.Entries(id, 0, 0) {
			break
		}
	})
}

// testEntriesSnapshot changes a mailbox while it is listed.
func testEntriesSnapshot(c *contract) {
	id, uids := c.fill("box", 200)
	var seen []spool.UID
	for e, err := range c.store.Entries(id, 0, 0) {
		c.must(err)
		seen = append(seen, e.UID)
		if e.Flags.System != 0 {
			c.Errorf("UID %d is listed with flags that came later", e.UID)
		}
		if len(seen) == 1 {
			_, err := c.store.Flag(id, uids[100:], spool.FlagAdd, flags(spool.Deleted), spool.ModSeqUnbounded)
			c.must(err)
			_, err = c.store.Expunge(id, nil)
			c.must(err)
			c.deposit("alice", "box", "new", spool.Flags{})
		}
	}
	c.sameUIDs("listed while changing", seen, uids...)
	c.audit(id)
}

func testExpunge(c *contract) {
	id, u := c.fill("box", 8)
	_, err := c.store.Flag(id, []spool.UID{u[0], u[2], u[4], u[6]}, spool.FlagAdd, flags(spool.Deleted), spool.ModSeqUnbounded)
	c.must(err)
	before, err := c.store.MailboxByID(id)
	c.must(err)
	expunge := func(uids []spool.UID, want ...spool.UID) {
		c.Helper()
		got, err := c.store.Expunge(id, uids)
		c.must(err)
		c.sameUIDs("expunged", got, want...)
		c.audit(id)
	}
	expunge([]spool.UID{})
	expunge([]spool.UID{u[1], u[3], u[7] + 1})
	if got := c.mailbox("alice", "box"); got != before {
		c.Errorf("expunging nothing changed the mailbox from %+v to %+v", before, got)
	}
	expunge([]spool.UID{u[0], u[1], u[4]}, u[0], u[4])
	expunge([]spool.UID{u[0]})
	expunge(nil, u[2], u[6])
	expunge(nil)
	c.lasting(func() {
		c.audit(id)
		c.sameUIDs("left", c.uids(id), u[1], u[3], u[5], u[7])
		if got := c.mailbox("alice", "box"); got.ModSeq <= before.ModSeq || got.Deleted != 0 || got.UIDNext != before.UIDNext {
			c.Errorf("mailbox was %+v, is %+v", before, got)
		}
	})
}

func testUIDsNeverReused(c *contract) {
	id, u := c.fill("box", 3)
	last := u[2]
	for range 3 {
		_, err := c.store.Flag(id, c.uids(id), spool.FlagAdd, flags(spool.Deleted), spool.ModSeqUnbounded)
		c.must(err)
		_, err = c.store.Expunge(id, nil)
		c.must(err)
		row := c.mailbox("alice", "box")
		if row.UIDNext <= last {
			c.Errorf("UIDNEXT is %d after UID %d", row.UIDNext, last)
		}
		c.restart()
		if got := c.mailbox("alice", "box"); got != row {
			c.Errorf("an empty mailbox was %+v and is %+v after reopening", row, got)
		}
		d := c.deposit("alice", "box", "next", spool.Flags{})
		if d.UID < row.UIDNext {
			c.Errorf("UID %d is given after UIDNEXT was %d", d.UID, row.UIDNext)
		}
		last = d.UID
	}
}

// testConcurrentFlags has writers change one mailbox at the same time: every
// change is there, and the counts fit.
func testConcurrentFlags(c *contract) {
	const writers = 8
	id, u := c.fill("box", writers*4)
	errs := make(chan error, writers)
	for w := range writers {
		go func() { errs <- worry(c.store, id, u[w*4:w*4+4], u[0], string(rune('a'+w))) }()
	}
	for range writers {
		c.must(<-errs)
	}
	c.lasting(func() {
		c.audit(id)
		row := c.mailbox("alice", "box")
		if row.Messages != writers*3 || row.Unseen != writers*2 || row.Deleted != 0 {
			c.Errorf("mailbox is %+v", row)
		}
		if got := len(c.entry(id, u[0]).Flags.Keywords); got != writers {
			c.Errorf("%d keywords on the message that all have flagged, want %d", got, writers)
		}
	})
}

// worry expunges one of its four entries, marks one as seen and adds a keyword
// to an entry that others worry too.
func worry(store spool.Store, id spool.MailboxID, mine []spool.UID, common spool.UID, keyword string) error {
	_, err1 := store.Flag(id, mine[1:2], spool.FlagAdd, flags(spool.Deleted), spool.ModSeqUnbounded)
	_, err2 := store.Flag(id, []spool.UID{common}, spool.FlagAdd, flags(0, keyword), spool.ModSeqUnbounded)
	_, err3 := store.Flag(id, mine[2:3], spool.FlagAdd, flags(spool.Seen), spool.ModSeqUnbounded)
	_, err4 := store.Expunge(id, mine)
	return errors.Join(err1, err2, err3, err4)
}
