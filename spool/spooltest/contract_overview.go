package spooltest

import (
	"errors"
	"fmt"
	"slices"

	"restante/spool"
)

func overviewTests() []contractTest {
	return []contractTest{
		{"Overview", testOverview},
		{"OverviewLarge", testOverviewLarge},
		{"OverviewAtOneMoment", testOverviewAtOneMoment},
	}
}

// auditOverview tells what is wrong with an overview of a mailbox with these
// entries.
func auditOverview(o spool.Overview, row spool.Mailbox, entries []spool.Entry) (faults []string) {
	want := spool.Overview{Mailbox: row}
	for _, e := range entries {
		want.UIDs = append(want.UIDs, e.UID)
		if want.FirstUnseen == 0 && e.Flags.System&spool.Seen == 0 {
			want.FirstUnseen = e.UID
		}
		want.Keywords = append(want.Keywords, e.Flags.Keywords...)
	}
	slices.Sort(want.Keywords)
	want.Keywords = slices.Compact(want.Keywords)
	if o.Mailbox != row {
		faults = append(faults, fmt.Sprintf("the overview has the row %+v, it is %+v", o.Mailbox, row))
	}
	if !slices.Equal(o.UIDs, want.UIDs) {
		faults = append(faults, fmt.Sprintf("the overview lists UIDs %.300v, the entries are %.300v", fmt.Sprint(o.UIDs), fmt.Sprint(want.UIDs)))
	}
	if o.FirstUnseen != want.FirstUnseen {
		faults = append(faults, fmt.Sprintf("the overview has UID %d as first unseen, it is %d", o.FirstUnseen, want.FirstUnseen))
	}
	if !slices.Equal(o.Keywords, want.Keywords) {
		faults = append(faults, fmt.Sprintf("the overview has keywords %.300q, the entries %.300q", o.Keywords, want.Keywords))
	}
	return faults
}

func testOverview(c *contract) {
	_, err := c.store.Overview(1 << 40)
	c.wants(err, spool.ErrNoMailbox, "overview of no mailbox")
	id, u := c.fill("box", 6)
	flag := func(op spool.FlagOp, f spool.Flags, uids ...spool.UID) {
		c.Helper()
		_, err := c.store.Flag(id, uids, op, f, spool.ModSeqUnbounded)
		c.must(err)
		c.audit(id)
	}
	flag(spool.FlagAdd, flags(spool.Seen, "b", "a"), u[0], u[1])
	flag(spool.FlagAdd, flags(0, "A", "c"), u[2])
	flag(spool.FlagRemove, flags(0, "B"), u[0])
	flag(spool.FlagSet, flags(0, "d"), u[2])
	flag(spool.FlagRemove, flags(spool.Seen), u[0])
	flag(spool.FlagAdd, flags(spool.Deleted), u[1])
	c.lasting(func() {
		o, err := c.store.Overview(id)
		c.must(err)
		if !slices.Equal(o.Keywords, []string{"a", "b", "d"}) || o.FirstUnseen != u[0] {
			c.Errorf("overview %+v", o)
		}
	})
	// A keyword goes with the last entry that has it, by whatever way.
	_, err = c.store.Expunge(id, nil)
	c.must(err)
	c.audit(id)
	other := c.create("alice", "other").ID
	_, err = c.store.Copy(id, u, other, spool.FlagMask{})
	c.must(err)
	_, err = c.store.Move(id, u[:3], other, spool.FlagMask{})
	c.must(err)
	c.lasting(func() {
		c.audit(id)
		c.audit(other)
		o, err := c.store.Overview(id)
		c.must(err)
		if len(o.Keywords) != 0 || !slices.Equal(o.UIDs, u[3:]) {
			c.Errorf("overview %+v after all with keywords have moved", o)
		}
	})
	c.must(c.store.RenameMailbox("alice", "other", "renamed"))
	c.audit(other)
	_, err = c.store.Move(other, c.uids(other), other, spool.FlagMask{})
	c.must(err)
	c.audit(other)
	c.must(c.store.DeleteMailbox("alice", "renamed"))
	_, err = c.store.Overview(other)
	c.wants(err, spool.ErrNoMailbox, "overview of a deleted mailbox")
}

// testOverviewLarge has a mailbox with many entries and then with gaps.
func testOverviewLarge(c *contract) {
	id, u := c.fill("box", 30)
	for range 5 {
		_, err := c.store.Copy(id, c.uids(id), id, spool.FlagMask{})
		c.must(err)
	}
	c.audit(id)
	all := c.uids(id)
	if len(all) != 30<<5 {
		c.Fatalf("%d entries", len(all))
	}
	_, err := c.store.Flag(id, all[:700], spool.FlagAdd, flags(spool.Seen, "seen"), spool.ModSeqUnbounded)
	c.must(err)
	c.lasting(func() { c.audit(id) })
	var gone []spool.UID
	for i, uid := range all {
		if i%2 == 0 || i > 250 && i < 800 {
			gone = append(gone, uid)
		}
	}
	_, err = c.store.Flag(id, gone, spool.FlagAdd, flags(spool.Deleted), spool.ModSeqUnbounded)
	c.must(err)
	out, err := c.store.Expunge(id, nil)
	c.must(err)
	c.sameUIDs("expunged", out, gone...)
	c.lasting(func() { c.audit(id) })
	_, err = c.store.Flag(id, u, spool.FlagAdd, flags(spool.Deleted), spool.ModSeqUnbounded)
	c.must(err)
	_, err = c.store.Expunge(id, u[:10])
	c.must(err)
	c.lasting(func() { c.audit(id) })
}

// testOverviewAtOneMoment looks at a mailbox while others change it.
func testOverviewAtOneMoment(c *contract) {
	const rounds = 30
	id, u := c.fill("box", 20)
	done := make(chan error)
	go func() { done <- churn(c.store, id, u, rounds) }()
	for ended := false; !ended; {
		select {
		case err := <-done:
			c.must(err)
			ended = true
		default:
		}
		o, err := c.store.Overview(id)
		c.must(err)
		if len(o.UIDs) != int(o.Mailbox.Messages) || len(o.UIDs) > 0 && o.UIDs[len(o.UIDs)-1] >= o.Mailbox.UIDNext ||
			(o.FirstUnseen != 0) != (o.Mailbox.Unseen > 0) {
			c.Fatalf("overview %+v is not of one moment", o)
		}
	}
	c.audit(id)
}

// churn copies, flags and expunges.
func churn(store spool.Store, id spool.MailboxID, uids []spool.UID, rounds int) error {
	for range rounds {
		copied, err := store.Copy(id, uids, id, spool.FlagMask{})
		if err != nil {
			return err
		}
		_, err1 := store.Flag(id, uids, spool.FlagAdd, flags(spool.Seen|spool.Deleted), spool.ModSeqUnbounded)
		_, err2 := store.Flag(id, copied.Target, spool.FlagRemove, flags(spool.Seen|spool.Deleted), spool.ModSeqUnbounded)
		_, err3 := store.Expunge(id, nil)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		uids = copied.Target
	}
	return nil
}
