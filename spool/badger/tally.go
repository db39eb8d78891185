package badger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/spool"
)

// countDelay is how long after opening the tasks are counted, unless somebody
// asks before: what is due goes first.
const countDelay = 2 * time.Second

// tally is how many tasks are stored, by destination and state. They are
// counted once, in the background, on a snapshot; the committer adds what it
// changes from then on. Nothing of it is stored, so nothing of it can be wrong
// for longer than the process lives. Leases are not in it.
type tally struct {
	moment sync.Mutex                              // held while a transaction is committed and added
	mu     sync.Mutex                              // guards the four below
	counts map[spool.Destination]*spool.TaskCounts // nil before a count begins
	due    bool                                    // they are to be counted
	done   chan struct{}                           // closed when they are complete
	err    error                                   // why they are not

	wanted  chan struct{}
	stopped chan struct{} // closed when countLoop has ended
}

func (c *tally) init() {
	c.due, c.done = true, make(chan struct{})
	c.wanted = make(chan struct{}, 1)
	c.stopped = make(chan struct{})
}

// tally notes, in a transaction, tasks that it adds or takes away.
func (t *tx) tally(r *taskRecord, by int) {
	if t.tasks == nil {
		t.tasks = make(map[spool.Destination]*spool.TaskCounts)
	}
	n := t.tasks[r.dest]
	if n == nil {
		n = new(spool.TaskCounts)
		t.tasks[r.dest] = n
	}
	n[r.state] += by
}

// follow gives a transaction to Badger and takes over what it changes.
func (c *tally) follow(t *tx) error {
	c.moment.Lock()
	defer c.moment.Unlock()
	if err := t.commit(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts != nil {
		for d, by := range t.tasks {
			c.change(d, by)
		}
	}
	return nil
}

// begin starts a count: the snapshot that it returns has what was followed
// before, and nothing of what will be.
func (c *tally) begin(e *Engine) *tx {
	c.moment.Lock()
	defer c.moment.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts = make(map[spool.Destination]*spool.TaskCounts)
	return e.view()
}

// change adds to the counts of a destination. The caller holds mu.
func (c *tally) change(d spool.Destination, by *spool.TaskCounts) {
	n := c.counts[d]
	if n == nil {
		n = new(spool.TaskCounts)
		c.counts[d] = n
	}
	for i, v := range by {
		n[i] += v
	}
	if *n == (spool.TaskCounts{}) {
		delete(c.counts, d)
	}
}

// countLoop counts soon after opening, and whenever somebody wants it again.
func (e *Engine) countLoop() {
	c := &e.tally
	defer close(c.stopped)
	soon := time.NewTimer(countDelay)
	defer soon.Stop()
	for {
		select {
		case <-e.closing:
			return
		case <-soon.C:
		case <-c.wanted:
		}
		c.mu.Lock()
		due := c.due
		c.due = false
		c.mu.Unlock()
		if !due {
			continue // somebody asked while it was being done
		}
		err := e.countTasks()
		if err != nil && !errors.Is(err, spool.ErrClosed) {
			e.opt.Logger.Error("the tasks of the queue cannot be counted", "err", err)
		}
		c.counted(err)
	}
}

// counted tells those who wait, unless a recount is wanted already.
func (c *tally) counted(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.due {
		return
	}
	c.err = err
	close(c.done)
	if err != nil { // who asks next has it tried again
		c.counts, c.due, c.done = nil, true, make(chan struct{})
	}
}

// recount has the tasks counted again.
func (e *Engine) recount() {
	c := &e.tally
	c.mu.Lock()
	c.due = true
	select {
	case <-c.done:
		c.done = make(chan struct{})
	default:
	}
	c.mu.Unlock()
	signal(c.wanted)
}

// countTasks counts what is stored.
func (e *Engine) countTasks() error {
	if e.unreadable.Load() {
		return errUnreadable
	}
	c := &e.tally
	t := c.begin(e)
	defer t.discard()
	it := t.txn.NewIterator(badgerdb.IteratorOptions{Prefix: []byte{kTask}, PrefetchValues: true, PrefetchSize: 64})
	defer it.Close()
	found, size := make(map[spool.Destination]*spool.TaskCounts), 0
	for it.Rewind(); it.Valid(); it.Next() {
		if size++; size%256 == 0 && e.isClosing() {
			return spool.ErrClosed
		}
		key := it.Item().Key()
		err := it.Item().Value(func(v []byte) error {
			p, err := unseal(key, v)
			if err != nil {
				return err
			}
			d, state, err := decodeTaskHead(p)
			if err != nil {
				return err
			}
			n := found[d]
			if n == nil {
				n = new(spool.TaskCounts)
				found[d] = n
			}
			n[state]++
			return nil
		})
		if err != nil && !errors.Is(err, spool.ErrCorrupt) { // the check tells of those
			return fmt.Errorf("count tasks: %w", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for d, n := range found {
		c.change(d, n)
	}
	return nil
}

func (e *Engine) isClosing() bool {
	e.life.Lock()
	defer e.life.Unlock()
	return e.closed
}

// TaskCounts implements spool.Queue. Once the tasks have been counted, soon
// after opening, it reads no record.
func (e *Engine) TaskCounts(ctx context.Context) ([]spool.DestinationTasks, error) {
	c := &e.tally
	c.mu.Lock()
	done := c.done
	c.mu.Unlock()
	select {
	case <-done:
	default:
		signal(c.wanted)
		select {
		case <-done:
		case <-c.stopped:
		case <-ctx.Done():
			return nil, fmt.Errorf("count tasks: %w", context.Cause(ctx))
		}
	}
	if e.isClosing() {
		return nil, spool.ErrClosed
	}
	leased := e.queue.leased(e.opt.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		return nil, c.err
	}
	list := make([]spool.DestinationTasks, 0, len(c.counts))
	for d, n := range c.counts {
		t := spool.DestinationTasks{Destination: d, Tasks: *n}
		// A lease that is being settled may have been counted as what it becomes.
		out := min(leased[d], t.Tasks[spool.Queued])
		t.Tasks[spool.Queued] -= out
		t.Tasks[spool.Leased] += out
		list = append(list, t)
	}
	return list, nil
}

// leased counts the leases that are out.
func (q *queue) leased(now time.Time) map[spool.Destination]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := make(map[spool.Destination]int)
	for _, l := range q.leases {
		if l.token != 0 && (l.settling || l.until.After(now)) {
			n[l.dest]++
		}
	}
	return n
}
