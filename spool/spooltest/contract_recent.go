package spooltest

import (
	"sync"

	"restante/spool"
)

func recentTests() []contractTest {
	return []contractTest{
		{"Recent", testRecent},
		{"RecentIsToldOnce", testRecentIsToldOnce},
	}
}

// testRecent shows which entries are recent after each change of a mailbox.
func testRecent(c *contract) {
	_, err := c.store.TakeRecent(1<<40, 1)
	c.wants(err, spool.ErrNoMailbox, "recent messages of no mailbox")
	take := func(id spool.MailboxID, upto, want spool.UID) {
		c.Helper()
		if got, err := c.store.TakeRecent(id, upto); got != want || err != nil {
			c.Errorf("recent from %d on, %v, want %d", got, err, want)
		}
	}
	id, u := c.fill("box", 4)
	take(id, 0, u[0]) // tells nobody of anything
	take(id, u[1], u[0])
	take(id, u[1], u[2])
	take(id, u[0], u[2])
	if row := c.mailbox("alice", "box"); row.Recent != u[2] {
		c.Errorf("the row says recent from %d on, want %d", row.Recent, u[2])
	}
	// No UID is taken that is not given yet.
	take(id, u[3]+100, u[2])
	next := c.mailbox("alice", "box").UIDNext
	take(id, 0, next)
	if uid := c.deposit("alice", "box", "body", flags(0)).UID; uid != next {
		c.Errorf("UID %d, want %d", uid, next)
	}
	take(id, next, next)

	// Changes of what is there leave it, and what comes in by whatever way is recent.
	_, err = c.store.Flag(id, u[:1], spool.FlagAdd, flags(spool.Deleted), spool.ModSeqUnbounded)
	c.must(err)
	_, err = c.store.Expunge(id, nil)
	c.must(err)
	take(id, 0, next+1)
	copied, err := c.store.Copy(id, u[1:2], id, spool.FlagMask{})
	c.must(err)
	take(id, copied.Target[0], copied.Target[0])
	other := c.create("alice", "other").ID
	moved, err := c.store.Move(id, u[2:3], other, spool.FlagMask{})
	c.must(err)
	take(other, moved.Target[0], moved.Target[0])
	c.must(c.store.RenameMailbox("alice", "other", "third"))
	take(other, 0, moved.Target[0]+1)

	// A change keeps what was noted before it.
	c.deposit("alice", "third", "body", flags(0))
	row := c.mailbox("alice", "third")
	if row.Recent != moved.Target[0]+1 {
		c.Errorf("the row says recent from %d on, want %d", row.Recent, moved.Target[0]+1)
	}
	c.lasting(func() {
		if got := c.mailbox("alice", "third"); got != row {
			c.Errorf("the row is %+v, want %+v", got, row)
		}
	})
	// A mailbox of the same name begins anew.
	c.must(c.store.DeleteMailbox("alice", "third"))
	_, err = c.store.TakeRecent(other, 1)
	c.wants(err, spool.ErrNoMailbox, "recent messages of a deleted mailbox")
	if again := c.create("alice", "third"); again.Recent != again.UIDNext {
		c.Errorf("a new mailbox has %+v", again)
	}
}

// testRecentIsToldOnce has sessions ask at the same time: each UID falls to one.
func testRecentIsToldOnce(c *contract) {
	id, u := c.fill("box", 40)
	var mu sync.Mutex
	told := make(map[spool.UID]int)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := i; n < len(u); n += 3 {
				from, err := c.store.TakeRecent(id, u[n])
				if err != nil {
					c.Error(err)
					return
				}
				mu.Lock()
				for uid := from; uid <= u[n]; uid++ {
					told[uid]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, uid := range u {
		if told[uid] != 1 {
			c.Errorf("UID %d was recent for %d sessions", uid, told[uid])
		}
	}
}
