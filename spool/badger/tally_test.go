package badger

import (
	"context"
	"errors"
	"testing"

	"restante/spool"
)

func taskCount(t *testing.T, e *Engine) (n int) {
	t.Helper()
	list, err := e.TaskCounts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		n += d.Tasks.Total()
	}
	return n
}

// What a repair takes away behind the committer's counting is counted again.
func TestTasksAreCountedAgainAfterARepair(t *testing.T) {
	p := newPatient(t)
	before := taskCount(t, p.Engine)
	force(t, p.Engine, scribble(taskKey(p.queued[0].Tasks[1])))
	if n := taskCount(t, p.Engine); n != before {
		t.Fatalf("%d tasks after a record was scribbled over, %d before", n, before)
	}
	check(t, p.Engine, true)
	if n := taskCount(t, p.Engine); n != before-1 {
		t.Errorf("%d tasks after the repair, want %d", n, before-1)
	}
}

// Counting goes on when nothing can be written any more.
func TestTasksAreCountedAfterAFault(t *testing.T) {
	e := open(t, Options{})
	commit(t, e, []byte("x"), forBob)
	e = reopen(t, e)
	e.setFault(spool.ErrReadOnly)
	if n := taskCount(t, e); n != 1 {
		t.Errorf("%d tasks, want 1", n)
	}
}

func TestTaskCountsEnd(t *testing.T) {
	e := open(t, Options{})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	e.tally.moment.Lock() // the count cannot begin
	_, err := e.TaskCounts(gone)
	e.tally.moment.Unlock()
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after its context ended: %v", err)
	}
	// Asked for many times at once, it is counted, and not twice at once.
	done := make(chan error)
	const askers = 20
	for range askers {
		go func() {
			_, err := e.TaskCounts(t.Context())
			e.recount()
			done <- err
		}()
	}
	for range askers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.TaskCounts(t.Context()); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
