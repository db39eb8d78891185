package badger

import (
	"container/heap"
	"container/list"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"restante/spool"
)

// queue is what is held in memory of the queue: one node for each destination
// that has tasks or a back-off, and the leases.
//
// next of a node is a lower bound of when its first task is due; it is exact
// after a scan, and lowered by every commit that adds something earlier. So a
// scan may find nothing, but nothing due is ever overlooked. What was noted
// since a scan took its snapshot is not in what it found: changes and scans tell
// it which that is.
type queue struct {
	// scan serialises Lease: a snapshot is compared with the leases of one
	// moment.
	scan sync.Mutex

	mu    sync.Mutex // guards all below; held for moments only
	dests map[spool.Destination]*destNode
	order destHeap // those with something due at a known time
	// waiting are those that had something due when they were looked at last,
	// and have had a turn or were passed over since; the one whose turn is
	// next is first. What is in it is not in order.
	waiting list.List
	turns   uint64
	leases  map[spool.TaskID]*leaseNode
	token   uint64
	// scanning tells that a Lease works on a snapshot; ended are the leases
	// that were given back meanwhile, whose tasks the snapshot shows as they
	// no longer are.
	scanning bool
	ended    map[spool.TaskID]bool
	// changes counts what was noted from outside scans, and scans the scans,
	// each from when it took its snapshot.
	changes, scans uint64
	// timer is a lower bound of the first timer, like next of a node.
	timer        time.Time
	timerChanged uint64
	// timerFloor and timerSince are to timers what floor and since are to lines.
	timerFloor, timerSince time.Time
	wake                   chan struct{}
}

// forgetAfter is how long the failures of a destination are remembered that
// has nothing left to send, counted from the end of its back-off.
const forgetAfter = 7 * 24 * time.Hour

// never is the time of what will not happen.
var never = time.Unix(1<<33, 0)

type destNode struct {
	dest  spool.Destination
	rec   destinationRecord
	next  time.Time
	index int           // in the heap, -1 if not in it
	turn  *list.Element // in waiting, nil if not in it
	// rest is until when a claim has put the destination aside.
	rest time.Time
	// lines are all that have tasks once known is set, which a scan does.
	lines []line
	known bool
	// rota is guarded by scan.
	rota spool.Rota
	// changed is queue.changes at the last change of next from outside a scan.
	changed uint64
}

// when is the earliest time at which the node may have something to lease.
func (n *destNode) when() time.Time {
	at := n.next
	if n.rec.until.After(at) {
		at = n.rec.until
	}
	if n.rest.After(at) {
		at = n.rest
	}
	return at
}

type leaseNode struct {
	token uint64
	until time.Time
	dest  spool.Destination
	line  lineKey
	// settling protects a lease from running out while it is being settled.
	settling bool
}

func (q *queue) init() {
	q.dests = make(map[spool.Destination]*destNode)
	q.leases = make(map[spool.TaskID]*leaseNode)
	q.ended = make(map[spool.TaskID]bool)
	q.token = uint64(time.Now().UnixNano())
	q.wake = make(chan struct{}, 1)
}

// load finds the destinations that have tasks, one seek for each, and those
// that are in back-off. When their first task is due is left to the first scan.
// What cannot be read is passed over, loudly: the rest of the mail shall go on.
func (q *queue) load(t *tx, log *slog.Logger) {
	it := t.keys([]byte{kQueue})
	for it.Rewind(); it.Valid(); {
		key := it.Item().KeyCopy(nil)
		d, ok := destinationOf(key)
		if !ok {
			log.Error("malformed queue key is passed over: run restante spool check", "key", fmt.Sprintf("%q", key))
			it.Next()
			continue
		}
		q.look(d)
		skip := destinationKey(kQueue, d)
		skip[len(skip)-1] = 1 // past every key of d, before any other's
		it.Seek(skip)
	}
	it.Close()
	collect(t, []byte{kDestination}, func(key []byte) {
		rec, err := load(t, key, decodeDestination)
		d, ok := destinationOf(key)
		if err != nil || !ok {
			log.Error("a back-off cannot be read and is over: run restante spool check", "key", fmt.Sprintf("%q", key), "err", err)
			return
		}
		n := q.node(d)
		n.rec = rec
		q.place(n)
	})
}

// node returns the node of a destination. The caller holds mu (or is load).
func (q *queue) node(d spool.Destination) *destNode {
	n := q.dests[d]
	if n == nil {
		n = &destNode{dest: d, next: never, index: -1, known: true}
		q.dests[d] = n
	}
	return n
}

// place puts a node where its time says, or forgets one without a meaning.
func (q *queue) place(n *destNode) {
	switch {
	case n.turn != nil && n.next.Before(never):
		// It is looked at when its turn comes.
	case n.next.Before(never) && n.index < 0:
		heap.Push(&q.order, n)
	case n.next.Before(never):
		heap.Fix(&q.order, n.index)
	default:
		if n.index >= 0 {
			heap.Remove(&q.order, n.index)
		}
		q.leave(n)
		if n.rec.failures == 0 && q.dests[n.dest] == n {
			delete(q.dests, n.dest)
		}
	}
}

// fresh is how many destinations that have not had a turn go before one of
// those that have.
const fresh = 3

// turn takes the destination out whose turn it is to be leased from, nil if
// there is none. Those that have just come to have something due go first, so
// that none waits for the backlog of others; but not always, so that many of
// them do not keep a backlog waiting for ever. The caller holds mu.
func (q *queue) turn(now time.Time) *destNode {
	for {
		newcomer := len(q.order) > 0 && !q.order[0].when().After(now)
		first := q.waiting.Front()
		if first == nil && !newcomer {
			return nil
		}
		q.turns++
		if newcomer && (first == nil || q.turns%(fresh+1) != 0) {
			return heap.Pop(&q.order).(*destNode)
		}
		n := first.Value.(*destNode)
		q.leave(n)
		if !n.when().After(now) {
			return n
		}
		q.place(n) // its time has changed
	}
}

// leave takes a node out of those that wait for their turn.
func (q *queue) leave(n *destNode) {
	if n.turn != nil {
		q.waiting.Remove(n.turn)
		n.turn = nil
	}
}

// back puts a node back that turn took: behind all others if it still has
// something due.
func (q *queue) back(n *destNode, now time.Time) {
	if n.index < 0 && n.turn == nil && n.next.Before(never) && !n.when().After(now) {
		n.turn = q.waiting.PushBack(n)
		return
	}
	q.place(n)
}

// look has the next scan look at all that a destination has.
func (q *queue) look(d spool.Destination) {
	n := q.node(d)
	q.changes++
	n.changed = q.changes
	n.known, n.next = false, time.Time{}
	q.place(n)
}

// lower notes that something of a line of d may be due at a time; see line.lower.
func (q *queue) lower(d spool.Destination, k lineKey, at, key time.Time) {
	n := q.node(d)
	q.changes++
	n.changed = q.changes
	n.lower(k, at, key, q.scans)
	if at.Before(n.next) {
		n.next = at
	}
	q.place(n)
}

// lowerTimer notes that a timer may have come at a time, and that there is, or
// was, one with a time: zero if that is not known.
func (q *queue) lowerTimer(at, key time.Time) {
	q.changes++
	q.timerChanged = q.changes
	q.timer = earlier(q.timer, at)
	q.timerFloor, q.timerSince = earlier(q.timerFloor, key), earlier(q.timerSince, key)
}

// added notes tasks that a commit has stored, and wakes the runner.
func (q *queue) added(tasks []taskRecord) {
	if len(tasks) == 0 {
		return
	}
	q.mu.Lock()
	for i := range tasks {
		q.note(&tasks[i])
	}
	q.mu.Unlock()
	signal(q.wake)
}

// note brings a stored task's times into the index. The caller holds mu.
func (q *queue) note(t *taskRecord) {
	if t.state == spool.Queued {
		q.lower(t.dest, t.line(), t.due, t.due)
		if !t.timer.IsZero() {
			q.lowerTimer(t.timer, t.timer)
		}
	}
}

// acquire takes a task for a change of its own, so that no runner gets it
// meanwhile; token 0 tells that it is nobody's lease.
func (q *queue) acquire(id spool.TaskID, now time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.leases[id]; l != nil && (l.settling || l.until.After(now)) {
		return fmt.Errorf("%w: %s", spool.ErrLeased, id)
	}
	q.leases[id] = &leaseNode{settling: true}
	return nil
}

// release gives a task of a destination back, with what it has become. Where
// the bounds may have rested on what it was, the next scan looks again.
func (q *queue) release(id spool.TaskID, was *taskRecord, tasks ...taskRecord) {
	q.mu.Lock()
	delete(q.leases, id)
	if q.scanning {
		q.ended[id] = true
	}
	if len(was.rcpts) > 0 { // it was read
		q.lower(was.dest, was.line(), time.Time{}, was.due)
		if !was.timer.IsZero() && !was.timer.After(q.timer) {
			q.lowerTimer(time.Time{}, was.timer)
		}
	}
	for i := range tasks {
		q.note(&tasks[i])
	}
	q.mu.Unlock()
	signal(q.wake)
}

// Wake implements spool.Queue.
func (e *Engine) Wake() <-chan struct{} { return e.queue.wake }

// destHeap orders destinations by when they may have something to lease.
type destHeap []*destNode

func (h destHeap) Len() int           { return len(h) }
func (h destHeap) Less(i, j int) bool { return h[i].when().Before(h[j].when()) }

func (h destHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *destHeap) Push(x any) {
	n := x.(*destNode)
	n.index = len(*h)
	*h = append(*h, n)
}

func (h *destHeap) Pop() any {
	old := *h
	n := old[len(old)-1]
	old[len(old)-1] = nil
	n.index = -1
	*h = old[:len(old)-1]
	return n
}
