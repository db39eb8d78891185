package spool

import (
	"sync"
	"testing"
)

// TestWatcherIsBounded notes more than a Watcher keeps apart, which must then say so
// and go on.
func TestWatcherIsBounded(t *testing.T) {
	var all Watchers
	w := all.New()
	w.Account("alice")
	for id := range MailboxID(MaxNews) {
		all.Note(Touched{Account: "alice", Mailbox: id + 1})
		all.Note(Touched{Account: "alice", Mailbox: id + 1})
	}
	if n := w.Take(); n.All || len(n.Entries) != MaxNews {
		t.Fatalf("%d mailboxes, all %v", len(n.Entries), n.All)
	}
	for id := range MailboxID(2 * MaxNews) {
		all.Note(Touched{Account: "alice", Mailbox: id + 1, Attributes: []string{"x"}})
	}
	inside := w.(*watcher)
	if kept := len(inside.entries) + len(inside.marked) + len(inside.arranged); kept > MaxNews {
		t.Errorf("it keeps %d names", kept)
	}
	if n := w.Take(); !n.All || len(n.Entries)+len(n.Attributes)+len(n.Accounts) > 0 {
		t.Errorf("noted %+v", n)
	}
	all.Note(Touched{Account: "alice"})
	if n := w.Take(); n.All || len(n.Accounts) != 1 {
		t.Errorf("afterwards noted %+v", n)
	}
	w.Stop()
	w.Stop()
	if len(all.accounts)+len(all.attributes) > 0 || all.Len() != 0 {
		t.Errorf("after the end the engine knows %v, %v, %d", all.accounts, all.attributes, all.Len())
	}
}

// TestWatchersTogether has many watchers come, hear and go at once.
func TestWatchersTogether(t *testing.T) {
	var all Watchers
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				w := all.New()
				w.Account("alice")
				w.Attribute("x")
				all.Note(Touched{Account: "alice", Mailbox: 1})
				if n := w.Take(); len(n.Entries) != 1 {
					t.Errorf("noted %+v", n)
				}
				w.Stop()
			}
		})
	}
	group.Wait()
}
