package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"restante/internal/standin"
)

// away sends everything that is not local to a stand-in.
func away(s *standin.Server) string {
	return fmt.Sprintf(`
[[route]]
name = "away"
domains = ["*"]
next_hop = ["%s"]
tls = "none"
`, s.Addr())
}

// quick is a schedule for the impatient, with more keys of [queue].
func quick(more string) string {
	return `
[queue]
retry_min = "1s"
retry_max = "1s"
retry_jitter = 0
` + more
}

// slow is a schedule by which nothing is tried again during a test.
const slow = `
[queue]
retry_min = "1h"
`

// nextHop starts a stand-in for the length of the test.
func nextHop(t testing.TB, opt standin.Options) *standin.Server {
	t.Helper()
	s, err := standin.NewServer(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// reaches waits until the stand-in has n messages and returns them. More than
// n are an error.
func reaches(t testing.TB, s *standin.Server, n int) []standin.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, err := s.Wait(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != n {
		t.Fatalf("%d messages reached the next hop, want %d", len(got), n)
	}
	return got
}

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

// later is the answer of a next hop that is not ready for the message.
var later = standin.Script{{At: standin.Rcpt, Code: 451, Text: "4.7.1 come again later"}}

func TestHoldAndRelease(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	hop.Always(later)
	d := newDaemon(t, away(hop), quick(""))
	d.send(letter(t, "hold"), alice, "carol@example.net")
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
	d.send(letter(t, "retry"), alice, "carol@example.net")
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
	d.send(letter(t, "remove"), alice, "carol@example.net")
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
