package spooltest

import (
	"fmt"
	"slices"

	"restante/spool"
)

func flagTests() []contractTest {
	return []contractTest{
		{"Flag", testFlag},
		{"FlagKeywords", testFlagKeywords},
		{"FlagUnchangedSince", testFlagUnchangedSince},
		{"FlagModSeq", testFlagModSeq},
		{"FlagManyUIDs", testFlagManyUIDs},
	}
}

func testFlag(c *contract) {
	tests := []struct {
		before spool.Flags
		op     spool.FlagOp
		with   spool.Flags
		after  string
	}{
		{flags(0), spool.FlagSet, flags(spool.Seen), "00001 "},
		{flags(spool.Seen, "a"), spool.FlagSet, flags(spool.Draft, "b"), "10000 b"},
		{flags(spool.Seen, "a"), spool.FlagSet, flags(0), "00000 "},
		{flags(spool.Seen, "b"), spool.FlagAdd, flags(spool.Answered|spool.Seen, "c", "a"), "00011 a b c"},
		{flags(spool.Seen, "a"), spool.FlagAdd, flags(0), "00001 a"},
		{flags(spool.Seen|spool.Flagged, "a", "b"), spool.FlagRemove, flags(spool.Seen|spool.Deleted, "a", "x"), "00100 b"},
		{flags(spool.Seen, "a"), spool.FlagRemove, flags(0), "00001 a"},
		{flags(spool.Deleted, "$Junk"), spool.FlagRemove, flags(spool.Deleted, "$JUNK"), "00000 "},
	}
	type kept struct {
		d    spool.Deposited
		want string
	}
	var all []kept
	for _, r := range tests {
		d := c.deposit("alice", "", "body", r.before)
		before := c.entry(d.Mailbox, d.UID).ModSeq
		out, err := c.store.Flag(d.Mailbox, []spool.UID{d.UID}, r.op, r.with, spool.ModSeqUnbounded)
		c.must(err)
		if len(out.Changed) != 1 || out.Changed[0].UID != d.UID || showFlags(out.Changed[0].Flags) != r.after || len(out.Modified) != 0 ||
			!slices.Equal(out.Before, []spool.ModSeq{before}) {
			c.Errorf("%s, op %d with %s: %+v, want %s", showFlags(r.before), r.op, showFlags(r.with), out, r.after)
		}
		c.audit(d.Mailbox)
		all = append(all, kept{d, r.after})
	}
	c.lasting(func() {
		c.mailbox("alice", "INBOX")
		for _, k := range all {
			if got := showFlags(c.entry(k.d.Mailbox, k.d.UID).Flags); got != k.want {
				c.Errorf("UID %d has flags %s, want %s", k.d.UID, got, k.want)
			}
		}
	})
}

// testFlagKeywords shows that keywords have no case, and keep their first one.
func testFlagKeywords(c *contract) {
	d := c.deposit("alice", "", "body", flags(0, "$Forwarded", "$forwarded", "Work"))
	tests := []struct {
		op   spool.FlagOp
		with []string
		want string
		same bool
	}{
		{spool.FlagAdd, []string{"$FORWARDED", "work"}, "$Forwarded Work", true},
		{spool.FlagSet, []string{"WORK", "$forwarded"}, "$Forwarded Work", true},
		{spool.FlagAdd, []string{"Zoo", "zoo", "ZOO"}, "$Forwarded Work Zoo", false},
		{spool.FlagSet, []string{"ZOO", "wORK"}, "Work Zoo", false},
		{spool.FlagRemove, []string{"WORK", "nothing"}, "Zoo", false},
		{spool.FlagAdd, []string{"WORK"}, "WORK Zoo", false},
		{spool.FlagRemove, []string{"nothing"}, "WORK Zoo", true},
	}
	for _, r := range tests {
		before := c.entry(d.Mailbox, d.UID).ModSeq
		out, err := c.store.Flag(d.Mailbox, []spool.UID{d.UID}, r.op, flags(0, r.with...), spool.ModSeqUnbounded)
		c.must(err)
		c.restart()
		e := c.entry(d.Mailbox, d.UID)
		if got := showFlags(e.Flags); got != "00000 "+r.want || (e.ModSeq == before) != r.same {
			c.Errorf("op %d with %q: flags %s, want %s; ModSeq from %d to %d", r.op, r.with, got, r.want, before, e.ModSeq)
		}
		if len(out.Changed) != 1 || showFlags(out.Changed[0].Flags) != showFlags(e.Flags) || out.Changed[0].ModSeq != e.ModSeq {
			c.Errorf("op %d with %q returns %+v, the entry is %+v", r.op, r.with, out, e)
		}
	}
}

func testFlagUnchangedSince(c *contract) {
	id, u := c.fill("box", 5)
	since := c.mailbox("alice", "box").ModSeq
	_, err := c.store.Flag(id, []spool.UID{u[1], u[3]}, spool.FlagAdd, flags(spool.Flagged), spool.ModSeqUnbounded)
	c.must(err)
	flag := func(bound spool.ModSeq, uids, changed, modified []spool.UID) {
		c.Helper()
		out, err := c.store.Flag(id, uids, spool.FlagAdd, flags(spool.Seen), bound)
		c.must(err)
		var got []spool.UID
		for _, e := range out.Changed {
			got = append(got, e.UID)
			if stored := c.entry(id, e.UID); e.Flags.System&spool.Seen == 0 || e.ModSeq != stored.ModSeq {
				c.Errorf("Changed has %+v, stored is %+v", e, stored)
			}
		}
		c.sameUIDs(fmt.Sprintf("changed with bound %d", bound), got, changed...)
		c.sameUIDs(fmt.Sprintf("left alone with bound %d", bound), out.Modified, modified...)
		c.audit(id)
	}
	flag(0, u, nil, u)
	flag(since, u[:4], []spool.UID{u[0], u[2]}, []spool.UID{u[1], u[3]})
	// What was changed just now is above the bound as well.
	flag(since, u, u[4:], u[:4])
	// The bound itself is not above the bound.
	flag(c.entry(id, u[1]).ModSeq, u[1:2], u[1:2], nil)
	flag(c.mailbox("alice", "box").ModSeq, u, u, nil)
	flag(spool.ModSeqUnbounded, u, u, nil)
	c.lasting(func() { c.audit(id) })
}

func testFlagModSeq(c *contract) {
	id, u := c.fill("box", 3)
	before := c.mailbox("alice", "box")
	old := c.entries(id)
	_, err := c.store.Flag(id, u[:2], spool.FlagAdd, flags(spool.Seen), spool.ModSeqUnbounded)
	c.must(err)
	after := c.mailbox("alice", "box")
	if after.ModSeq <= before.ModSeq {
		c.Errorf("ModSeq of the mailbox went from %d to %d", before.ModSeq, after.ModSeq)
	}
	for i, e := range c.entries(id) {
		if changed := i < 2; changed && e.ModSeq <= before.ModSeq || !changed && e.ModSeq != old[i].ModSeq {
			c.Errorf("ModSeq of UID %d went from %d to %d", e.UID, old[i].ModSeq, e.ModSeq)
		}
	}
	// Partly a no-op: what is so already keeps its ModSeq and is returned.
	out, err := c.store.Flag(id, u, spool.FlagAdd, flags(spool.Seen), spool.ModSeqUnbounded)
	c.must(err)
	if len(out.Changed) != 3 {
		c.Errorf("Changed is %+v, want three entries", out.Changed)
	}
	row := c.mailbox("alice", "box")
	for i, e := range c.entries(id) {
		if kept := e.ModSeq <= after.ModSeq; kept != (i < 2) {
			c.Errorf("ModSeq of UID %d is %d, the mailbox had %d", e.UID, e.ModSeq, after.ModSeq)
		}
	}
	// Wholly a no-op: nothing moves.
	_, err = c.store.Flag(id, u, spool.FlagSet, flags(spool.Seen), spool.ModSeqUnbounded)
	c.must(err)
	c.lasting(func() {
		if got := c.mailbox("alice", "box"); got != row {
			c.Errorf("a flagging that changes nothing made of %+v %+v", row, got)
		}
	})
}

func testFlagManyUIDs(c *contract) {
	id, u := c.fill("box", 6)
	_, err := c.store.Flag(id, u[1:2], spool.FlagAdd, flags(spool.Deleted), spool.ModSeqUnbounded)
	c.must(err)
	_, err = c.store.Expunge(id, nil)
	c.must(err)
	for _, uids := range [][]spool.UID{nil, {}, {u[1]}, {u[5] + 1, u[5] + 1000}} {
		out, err := c.store.Flag(id, uids, spool.FlagAdd, flags(spool.Seen), spool.ModSeqUnbounded)
		if err != nil || len(out.Changed) != 0 || len(out.Modified) != 0 {
			c.Errorf("flag %v: %+v, %v", uids, out, err)
		}
	}
	// Every UID there could be, as STORE 1:* may ask for.
	var all []spool.UID
	for uid := spool.UID(1); uid <= u[5]+10; uid++ {
		all = append(all, uid)
	}
	out, err := c.store.Flag(id, all, spool.FlagAdd, flags(spool.Seen), spool.ModSeqUnbounded)
	c.must(err)
	var got []spool.UID
	for _, e := range out.Changed {
		got = append(got, e.UID)
	}
	c.sameUIDs("flagged all", got, slices.Delete(slices.Clone(u), 1, 2)...)
	c.audit(id)
}
