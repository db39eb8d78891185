package badger

import (
	"container/heap"
	"fmt"
	"log/slog"
	"sync"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/spool"
)

// queue is what is held in memory of the queue: one node for each destination
// that has tasks or a back-off, and the leases.
//
// next of a node is a lower bound of when its first task is due; it is exact
// after a scan, and lowered by every commit that adds something earlier. So a
// scan may find nothing, but nothing due is ever overlooked.
type queue struct {
	// scan serialises Lease: a snapshot is compared with the leases of one
	// moment.
	scan sync.Mutex

	mu     sync.Mutex // guards all below; held for moments only
	dests  map[spool.Destination]*destNode
	order  destHeap // those with something due at a known time
	leases map[spool.TaskID]*leaseNode
	token  uint64
	// scanning tells that a Lease works on a snapshot; ended are the leases
	// that were given back meanwhile, whose tasks the snapshot shows as they
	// no longer are.
	scanning bool
	ended    map[spool.TaskID]bool
	// timer is a lower bound of the first timer, like next of a node.
	timer        time.Time
	timerVersion uint64
	wake         chan struct{}
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
	index int // in the heap, -1 if not in it
	// version counts the changes of next from outside a scan.
	version uint64
}

// when is the earliest time at which the node may have something to lease.
func (n *destNode) when() time.Time {
	if n.rec.until.After(n.next) {
		return n.rec.until
	}
	return n.next
}

type leaseNode struct {
	token uint64
	until time.Time
	dest  spool.Destination
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
		q.lower(d, time.Time{})
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
		n = &destNode{dest: d, next: never, index: -1}
		q.dests[d] = n
	}
	return n
}

// place puts a node where its time says, or forgets one without a meaning.
func (q *queue) place(n *destNode) {
	switch {
	case n.next.Before(never) && n.index < 0:
		heap.Push(&q.order, n)
	case n.next.Before(never):
		heap.Fix(&q.order, n.index)
	default:
		if n.index >= 0 {
			heap.Remove(&q.order, n.index)
		}
		if n.rec.failures == 0 {
			delete(q.dests, n.dest)
		}
	}
}

// lower notes that something of d may be due at a time.
func (q *queue) lower(d spool.Destination, at time.Time) {
	n := q.node(d)
	n.version++
	if at.Before(n.next) {
		n.next = at
	}
	q.place(n)
}

func (q *queue) lowerTimer(at time.Time) {
	q.timerVersion++
	if at.Before(q.timer) {
		q.timer = at
	}
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
		q.lower(t.dest, t.due)
		if !t.timer.IsZero() {
			q.lowerTimer(t.timer)
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
		q.lower(was.dest, time.Time{})
		if !was.timer.IsZero() && !was.timer.After(q.timer) {
			q.lowerTimer(time.Time{})
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

// Lease implements spool.Queue.
func (e *Engine) Lease(c spool.Claim) ([]spool.Lease, time.Duration, error) {
	if err := e.enter(); err != nil {
		return nil, 0, err
	}
	defer e.leave()
	// What could not be settled would be delivered again and again.
	if err := e.mayWrite(freeCheck); err != nil {
		return nil, 0, err
	}
	q := &e.queue
	q.scan.Lock()
	defer q.scan.Unlock()

	q.mu.Lock()
	q.scanning = true
	now := e.opt.Now()
	t := e.view() // under mu: it shows all that release has told of
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		q.scanning = false
		clear(q.ended)
		q.mu.Unlock()
		t.discard()
	}()

	s := &scan{e: e, q: q, t: t, now: now, claim: c}
	s.timers()
	err := s.destinations()
	return s.leases, s.next(), err
}

// scan is one Lease at work.
type scan struct {
	e      *Engine
	q      *queue
	t      *tx
	now    time.Time
	claim  spool.Claim
	leases []spool.Lease
	// left tells that something due was passed over for the claim's bounds.
	left bool
}

func (s *scan) full() bool { return len(s.leases) >= s.claim.Max }

// next is how long it is until something else falls due.
func (s *scan) next() time.Duration {
	if s.left {
		return 0
	}
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	first := s.q.timer
	if len(s.q.order) > 0 && s.q.order[0].when().Before(first) {
		first = s.q.order[0].when()
	}
	if !first.Before(never) {
		return -1
	}
	return max(first.Sub(s.now), 0)
}

// timers leases the tasks whose warning or expiry has come.
func (s *scan) timers() {
	s.q.mu.Lock()
	first, version := s.q.timer, s.q.timerVersion
	s.q.mu.Unlock()
	if first.After(s.now) {
		return
	}
	next := never
	it := s.t.keys([]byte{kTimer})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		key := it.Item().Key()
		if len(key) != keyLength(kTimer) {
			continue // malformed: Check tells
		}
		if at := timerOf(key); at.After(s.now) {
			next = earlier(next, at)
			break
		}
		if s.full() {
			s.left, next = true, s.now
			break
		}
		next = earlier(next, s.take(taskOf(key)))
	}
	s.q.mu.Lock()
	if s.q.timerVersion == version {
		s.q.timer = next
	}
	s.q.mu.Unlock()
}

// destinations leases due tasks, the destination first that has waited longest.
func (s *scan) destinations() error {
	it := s.t.keys([]byte{kQueue})
	defer it.Close()
	seen := make(map[*destNode]bool)
	defer func() {
		s.q.mu.Lock()
		for n := range seen {
			s.q.place(n)
		}
		s.q.mu.Unlock()
	}()
	for {
		s.q.mu.Lock()
		if len(s.q.order) == 0 || s.q.order[0].when().After(s.now) {
			s.q.mu.Unlock()
			return nil
		}
		if s.full() {
			s.left = true
			s.q.mu.Unlock()
			return nil
		}
		n := heap.Pop(&s.q.order).(*destNode)
		info, version := n.info(s.now), n.version
		s.q.mu.Unlock()
		if seen[n] {
			// A commit put it back meanwhile. Its turn comes with the next
			// Lease: Allow has given its answer for this one.
			s.left = true
			continue
		}
		seen[n] = true

		want := s.claim.Max - len(s.leases)
		if s.claim.Allow != nil {
			want = min(want, s.claim.Allow(info))
		}
		if want <= 0 {
			s.left = true
			continue
		}
		next, err := s.destination(it, n.dest, want)
		if err != nil {
			return err
		}
		s.q.mu.Lock()
		idle := false
		if n.version == version {
			if n.next = next; next.Equal(never) && info.Failures > 0 {
				n.next = n.rec.until.Add(forgetAfter)
				idle = !n.next.After(s.now)
			}
		}
		s.q.mu.Unlock()
		if idle {
			s.e.forget(n, info.Failures)
		}
	}
}

// forget drops the back-off of a destination that has nothing left to send,
// unless something happened to it meanwhile. Nobody waits for it.
func (e *Engine) forget(n *destNode, failures int) {
	gone := false
	e.submit(func(t *tx) error {
		gone = false
		key := destinationKey(kDestination, n.dest)
		rec, err := load(t, key, decodeDestination)
		if err != nil || rec.failures != failures {
			return nil
		}
		gone = true
		return t.delete(key)
	}, func() {
		e.queue.mu.Lock()
		defer e.queue.mu.Unlock()
		if gone && e.queue.dests[n.dest] == n && n.rec.failures == failures {
			n.rec = destinationRecord{}
			e.queue.lower(n.dest, time.Time{}) // the next scan drops it
		}
	})
}

// destination leases up to want due tasks of one destination, higher priority
// first, and returns when its next is due.
func (s *scan) destination(it *badgerdb.Iterator, d spool.Destination, want int) (time.Time, error) {
	prefix := destinationKey(kQueue, d)
	next := never
	it.Seek(prefix)
	for it.ValidForPrefix(prefix) {
		key := it.Item().Key()
		if len(key) != len(prefix)+1+8+taskLen {
			it.Next() // malformed: Check tells
			continue
		}
		prio, due := queueOrder(key)
		if due.After(s.now) {
			next = earlier(next, due)
			// The rest of this priority is due later still.
			it.Seek(append(prefix[:len(prefix):len(prefix)], prio+1))
			continue
		}
		if want == 0 {
			s.left = true
			return s.now, nil
		}
		had := len(s.leases)
		next = earlier(next, s.take(taskOf(key)))
		want -= len(s.leases) - had
		it.Next()
	}
	return next, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// take leases one task unless somebody has it, and returns when it may be due
// again if nobody settles it.
func (s *scan) take(id spool.TaskID) time.Time {
	q := s.q
	q.mu.Lock()
	l := q.leases[id]
	switch {
	case q.ended[id]:
		q.mu.Unlock()
		return never // whoever gave it back has noted its times
	case l != nil && l.settling:
		q.mu.Unlock()
		return never // likewise
	case l != nil && l.until.After(s.now):
		q.mu.Unlock()
		return l.until
	}
	q.mu.Unlock()

	rec, err := load(s.t, taskKey(id), decodeTask)
	var info spool.TaskInfo
	if err == nil {
		info, err = s.t.taskInfo(id, &rec)
	}
	if err != nil {
		s.e.opt.Logger.Error("task cannot be read and is passed over", "task", id, "err", err)
		return never
	}
	info.State = spool.Leased
	cause := spool.CauseDue
	switch {
	case !rec.expires.IsZero() && !rec.expires.After(s.now):
		cause = spool.CauseExpired
	case !rec.warned && !rec.warns.IsZero() && !rec.warns.After(s.now):
		cause = spool.CauseWarn
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	if q.leases[id] != l || q.ended[id] {
		return never // somebody took it meanwhile, and will note its times
	}
	q.token++
	until := s.now.Add(s.claim.Lifetime)
	q.leases[id] = &leaseNode{token: q.token, until: until, dest: rec.dest}
	lease := spool.Lease{Task: info, Token: q.token, Cause: cause}
	lease.Destination = spool.DestinationInfo{Destination: rec.dest}
	if n := q.dests[rec.dest]; n != nil {
		lease.Destination = n.info(s.now)
	}
	s.leases = append(s.leases, lease)
	return until
}

// info describes a destination. The caller holds the queue's mu.
func (n *destNode) info(now time.Time) spool.DestinationInfo {
	return spool.DestinationInfo{
		Destination: n.dest,
		Failures:    n.rec.failures,
		Backoff:     max(n.rec.until.Sub(now), 0),
		Last:        n.rec.last,
	}
}

// Extend implements spool.Queue.
func (e *Engine) Extend(l spool.Lease, d time.Duration) error {
	q := &e.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	now := e.opt.Now()
	n := q.leases[l.Task.ID]
	if n == nil || n.token != l.Token || n.settling || !n.until.After(now) {
		return fmt.Errorf("extend %s: %w", l.Task.ID, spool.ErrStaleLease)
	}
	n.until = now.Add(d)
	q.lower(n.dest, time.Time{}) // it may end sooner than a scan took it to
	q.lowerTimer(time.Time{})
	return nil
}

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
