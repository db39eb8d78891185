package spooltest

import (
	"slices"

	"restante/spool"
)

func togetherTests() []contractTest {
	return []contractTest{
		{"CommitAll", testCommitAll},
		{"CommitAllOrNone", testCommitAllOrNone},
		{"CommitAllReplaces", testCommitAllReplaces},
		{"CommitAllBounds", testCommitAllBounds},
	}
}

// together stages messages for one mailbox of alice's.
func (c *contract) together(mailbox string, bodies ...string) []spool.Staging {
	c.Helper()
	var list []spool.Staging
	for _, body := range bodies {
		list = append(list, spool.Staging{
			Staged:  c.staged(body),
			Message: spool.Message{Deposits: []spool.Deposit{{Account: "alice", Mailbox: mailbox, Flags: flags(spool.Seen)}}},
		})
	}
	return list
}

func testCommitAll(c *contract) {
	box := c.create("alice", "box")
	changed, stop := c.store.Watch(box.ID)
	defer stop()
	long := string(make([]byte, 300<<10))
	receipts, err := c.store.CommitAll(c.Context(), c.together("box", "one", long, "three"), spool.Place{})
	c.must(err)
	select {
	case <-changed:
	default:
		c.Error("who watches the mailbox was not told")
	}
	c.lasting(func() {
		var got []spool.UID
		for i, body := range []string{"one", long, "three"} {
			got = append(got, receipts[i].Deposited[0].UID)
			if text := c.body(receipts[i].ID); text != body {
				c.Errorf("message %d has %d octets, want %d", i, len(text), len(body))
			}
		}
		if uids := c.uids(box.ID); !slices.Equal(got, uids) || len(uids) != 3 {
			c.Errorf("the mailbox has %v, the receipts say %v", uids, got)
		}
	})
}

// The second message cannot be stored, so that none is.
func testCommitAllOrNone(c *contract) {
	box := c.create("alice", "box")
	before := c.mailbox("alice", "box")
	list := append(c.together("box", "one"), c.together("nowhere", string(make([]byte, 300<<10)))...)
	list = append(list, c.together("box", "three")...)
	_, err := c.store.CommitAll(c.Context(), list, spool.Place{})
	c.wants(err, spool.ErrNoMailbox, "a mailbox that is not there")
	for _, one := range list {
		one.Staged.Abort()
	}
	c.lasting(func() {
		if after := c.mailbox("alice", "box"); after != before || len(c.uids(box.ID)) != 0 {
			c.Errorf("the mailbox is now %+v", after)
		}
	})
}

func testCommitAllReplaces(c *contract) {
	box := c.create("alice", "box")
	old := c.deposit("alice", "box", "the old", flags(spool.Draft))
	kept := c.deposit("alice", "box", "another", flags(0))
	before := c.mailbox("alice", "box")
	receipts, err := c.store.CommitAll(c.Context(), c.together("box", "the new"), spool.Place{Mailbox: box.ID, UID: old.UID})
	c.must(err)
	c.lasting(func() {
		c.sameUIDs("after it was replaced", c.uids(box.ID), kept.UID, receipts[0].Deposited[0].UID)
		changes, _, err := c.store.Changes(box.ID, before.ModSeq)
		c.must(err)
		if !slices.ContainsFunc(changes, func(x spool.Change) bool { return x.UID == old.UID && x.Expunged }) {
			c.Errorf("the changes %+v do not have the removal", changes)
		}
	})
	// What is gone cannot be replaced, and nothing is stored then.
	list := c.together("box", "too late")
	_, err = c.store.CommitAll(c.Context(), list, spool.Place{Mailbox: box.ID, UID: old.UID})
	c.wants(err, spool.ErrNotFound, "an entry that is gone")
	list[0].Staged.Abort()
	c.lasting(func() {
		c.sameUIDs("after it could not be", c.uids(box.ID), kept.UID, receipts[0].Deposited[0].UID)
	})
}

func testCommitAllBounds(c *contract) {
	box := c.create("alice", "box")
	if _, err := c.store.CommitAll(c.Context(), nil, spool.Place{}); err == nil {
		c.Error("nothing was committed without an error")
	}
	most := make([]string, spool.MaxTogether)
	for i := range most {
		most[i] = string(make([]byte, 30<<10))
	}
	_, err := c.store.CommitAll(c.Context(), c.together("box", most...), spool.Place{})
	c.must(err)
	list := c.together("box", append(most, "one more")...)
	if _, err := c.store.CommitAll(c.Context(), list, spool.Place{}); err == nil {
		c.Error("more than MaxTogether were committed")
	}
	for _, one := range list {
		one.Staged.Abort()
	}
	if n := len(c.uids(box.ID)); n != spool.MaxTogether {
		c.Errorf("%d entries, want %d", n, spool.MaxTogether)
	}
}
