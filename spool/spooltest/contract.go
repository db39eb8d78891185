package spooltest

import (
	"slices"
	"testing"
	"time"

	"restante/spool"
)

// Opener opens an empty spool for one test, on the clock it is given. What the
// spool needs beside Close (a directory, say) it hands to t.Cleanup.
type Opener func(t *testing.T, now func() time.Time) Harness

// Harness is a spool under test.
type Harness struct {
	// Store is the spool. The suite closes it.
	Store spool.Store
	// Reopen returns the same spool as it is after its process ended and
	// another opened it. It is called with the store still open, and may
	// close it or leave it as a crash does. Nil if the engine keeps nothing;
	// the tests then go on with the store they have.
	Reopen func(t *testing.T) spool.Store
	// Forget makes the store forget the tombstones of all mailboxes but the
	// last keep of each, as it does by itself in the course of time. Nil skips
	// the tests that need it.
	Forget func(t *testing.T, keep int)
	// Idle waits until what the engine frees in the background has been
	// freed. Nil if it frees at once.
	Idle func()
}

// Run tests an engine against every promise in the comments of package spool.
// It assumes no more than they say: no numbering of UIDs, modseqs or tasks, no
// order where none is named, no wording of errors.
func Run(t *testing.T, open Opener) {
	tests := slices.Concat(
		intakeTests(), togetherTests(), bodyTests(),
		leaseTests(), destinationTests(), settleTests(), orderTests(), timerTests(), adminTests(), countTests(),
		mailboxTests(), renameTests(), entryTests(), overviewTests(), recentTests(), flagTests(), transferTests(), changeTests(), storyTests(), searchTests(), attributeTests(),
	)
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) { c.run(newContract(t, open)) })
	}
}

// background returns Idle, or what does nothing.
func (h Harness) background() func() {
	if h.Idle == nil {
		return func() {}
	}
	return h.Idle
}

// contractTest is one test of the suite.
type contractTest struct {
	name string
	run  func(c *contract)
}

// contract is what one test works with; its methods fail the test.
type contract struct {
	*testing.T
	store  spool.Store
	clock  *Clock
	reopen func(t *testing.T) spool.Store
	idle   func()
	forget func(t *testing.T, keep int)
}

func newContract(t *testing.T, open Opener) *contract {
	clock := NewClock()
	h := open(t, clock.Now)
	c := &contract{T: t, store: h.Store, clock: clock, reopen: h.Reopen, idle: h.background(), forget: h.Forget}
	t.Cleanup(func() { c.store.Close() })
	return c
}

// restart goes on with the spool reopened.
func (c *contract) restart() {
	c.Helper()
	if c.reopen != nil {
		c.store = c.reopen(c.T)
	}
}

// lasting makes checks twice, before and after a restart.
func (c *contract) lasting(check func()) {
	c.Helper()
	check()
	if c.reopen == nil || c.Failed() {
		return
	}
	c.restart()
	check()
	if c.Failed() {
		c.Log("the failure is seen after reopening")
	}
}
