package spooltest

import (
	"fmt"
	"slices"
	"sync"
)

// Op names a verb of Memory, or a group of verbs, for Fail and Hook.
type Op string

// The operations. All are checked before anything happens, but OpCommitted and
// OpSettled, which come after all was stored: an error there (it should wrap
// spool.ErrUncertain) is what a caller sees of a commit that was made and not
// acknowledged.
const (
	OpCreate    Op = "create"
	OpWrite     Op = "write"
	OpCommit    Op = "commit"
	OpCommitted Op = "committed"
	// OpOpen is OpenBody, OpRead is Body.ReadAt, OpStat is Stat, Structure
	// and Gather.
	OpOpen Op = "open"
	OpRead Op = "read"
	OpStat Op = "stat"

	OpLease   Op = "lease"
	OpExtend  Op = "extend"
	OpSettle  Op = "settle"
	OpSettled Op = "settled"
	// OpTasks is Tasks, TaskCounts, MessageTasks and Destinations.
	OpTasks   Op = "tasks"
	OpHold    Op = "hold"
	OpRelease Op = "release"
	OpRetry   Op = "retry"
	OpReroute Op = "reroute"
	OpUnpin   Op = "unpin"
	OpRemove  Op = "remove"

	// OpStories is Story and Search, OpNote is Note and ForgetStories.
	OpStories Op = "stories"
	OpNote    Op = "note"

	// OpMailboxes is all that reads mailboxes, entries and subscriptions.
	OpMailboxes Op = "mailboxes"
	// OpArrange is create, rename, delete of mailboxes, and subscribing.
	OpArrange Op = "arrange"
	OpFlag    Op = "flag"
	OpCopy    Op = "copy"
	OpMove    Op = "move"
	OpExpunge Op = "expunge"
)

// faults is what a test has asked to go wrong.
type faults struct {
	mu    sync.Mutex
	fixed map[Op]error
	hook  func(Op) error
}

// Fail makes every later call of the operations fail with err, which is
// wrapped, until Fail is called for them with nil.
func (m *Memory) Fail(err error, ops ...Op) {
	f := &m.faults
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fixed == nil {
		f.fixed = make(map[Op]error)
	}
	for _, op := range ops {
		f.fixed[op] = err
	}
}

// Hook has f called for every operation; its error is the operation's. It may
// block, to keep a verb from returning, and may call the Memory. Nil takes the
// hook away.
func (m *Memory) Hook(f func(op Op) error) {
	m.faults.mu.Lock()
	defer m.faults.mu.Unlock()
	m.faults.hook = f
}

// any tells whether something may happen to one of some operations.
func (f *faults) any(ops ...Op) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hook != nil || slices.ContainsFunc(ops, func(op Op) bool { return f.fixed[op] != nil })
}

func (f *faults) check(op Op) error {
	f.mu.Lock()
	err, hook := f.fixed[op], f.hook
	f.mu.Unlock()
	if err == nil && hook != nil {
		err = hook(op)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}
