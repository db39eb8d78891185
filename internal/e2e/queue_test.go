package e2e

import (
	"encoding/json"
	"testing"
	"time"

	"restante/internal/standin"
)

// task is one of queue list --json.
type task struct {
	ID         string
	Message    string
	State      string
	From       string
	Attempts   int
	Recipients []struct {
		To   string
		Last struct {
			Code           int
			Enhanced, Text string
		}
	}
}

// queue lists the queue through the command.
func (d *daemon) queue() []task {
	d.t.Helper()
	out := d.must("", "queue", "list", "--json")
	var tasks []task
	if err := json.Unmarshal([]byte(out), &tasks); err != nil {
		d.t.Fatalf("queue list --json: %v\n%s", err, out)
	}
	return tasks
}

// emptied waits until nothing is queued.
func (d *daemon) emptied() {
	d.t.Helper()
	d.queued("the queue is empty", func(tasks []task) bool { return len(tasks) == 0 })
}

// queued waits until the queue is as it should be, and returns it.
func (d *daemon) queued(what string, ok func([]task) bool) []task {
	d.t.Helper()
	var tasks []task
	eventually(d.t, what, func() bool {
		tasks = d.queue()
		return ok(tasks)
	})
	return tasks
}

// one waits until the queue is a single task in a state that was tried, and
// returns it.
func (d *daemon) one(state string) task {
	d.t.Helper()
	return d.queued("one task is "+state, func(tasks []task) bool {
		return len(tasks) == 1 && tasks[0].State == state && tasks[0].Attempts > 0
	})[0]
}

func TestHoldAndRelease(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	hop.Always(later)
	d := newDaemon(t, away(hop), quick(""))
	d.send(letter("hold"), alice, "carol@example.net")
	id := d.one("queued").ID

	eventually(t, "the task can be held", func() bool {
		// While it is being delivered it cannot.
		return d.run("", "queue", "hold", id).code == 0
	})
	hop.Always(nil)
	before := hop.Connections()
	d.restart()
	if got := d.one("held"); got.ID != id {
		t.Errorf("task %s is held, want %s", got.ID, id)
	}
	time.Sleep(1500 * time.Millisecond) // longer than the schedule
	if hop.Connections() != before {
		t.Error("a held task was tried")
	}
	d.must("", "queue", "release", id)
	reaches(t, hop, 1)
	d.emptied()
}

func TestRetryNow(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	hop.Next(later)
	d := newDaemon(t, away(hop), slow)
	d.send(letter("retry"), alice, "carol@example.net")
	got := d.one("queued")
	if last := got.Recipients[0].Last; last.Code != 451 || last.Enhanced != "4.7.1" {
		t.Errorf("the last status is %+v, want 451 4.7.1", last)
	}
	d.must("", "queue", "retry", got.Message)
	reaches(t, hop, 1)
	d.emptied()
}

func TestRemove(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	hop.Always(later)
	d := newDaemon(t, away(hop), slow)
	d.send(letter("remove"), alice, "carol@example.net")
	got := d.one("queued")
	d.must("", "queue", "show", got.Message)
	d.must("", "queue", "remove", got.ID)
	d.emptied()
	hop.Always(nil)
	d.restart()
	d.emptied()
	if r := d.run("", "queue", "show", got.Message); r.code == 0 {
		t.Errorf("a removed message is shown:\n%s", r.stdout)
	}
	// The sender is told nothing: an administrator removed it by name.
	d.inbox(alice, 0)
}
