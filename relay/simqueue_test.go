package relay

import (
	"bytes"
	"container/heap"
	"container/list"
	"context"
	"encoding/binary"
	"io"
	"sync"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// simQueue is a queue for the simulation: a million tasks in memory, each with
// one recipient, in a few octets. Destinations take turns as they do in
// spool/badger. What the runner does not use is not there.
type simQueue struct {
	spool.Queue // nil

	mu      sync.Mutex
	tasks   []simTask
	dests   []*simDest
	index   map[spool.Destination]*simDest
	order   simOrder  // by time
	waiting list.List // those that have had a turn
	turns   int
	timers  simTimes // of expiry
	wake    chan struct{}
	expire  time.Duration
	open    int
	ended   func(task int, s mail.Status, attempts int)
}

type simTask struct {
	dest           int32
	attempts       uint16
	leased, ended  bool
	queued, due    int64 // Unix nanoseconds
	token, expires int64
	last           *mail.Status
}

type simDest struct {
	at      int // in dests
	info    spool.DestinationInfo
	until   int64 // of the back-off
	rest    int64
	tasks   simTimes // that are queued, by due time
	inOrder int
	place   *list.Element
}

// simTime is a task and when it is due or expires.
type simTime struct {
	at   int64
	task int32
}

type simTimes []simTime

func (h simTimes) Len() int           { return len(h) }
func (h simTimes) Less(i, j int) bool { return h[i].at < h[j].at }
func (h simTimes) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *simTimes) Push(x any)        { *h = append(*h, x.(simTime)) }
func (h *simTimes) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

type simOrder []*simDest

func (h simOrder) Len() int           { return len(h) }
func (h simOrder) Less(i, j int) bool { return h[i].when() < h[j].when() }
func (h simOrder) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].inOrder, h[j].inOrder = i, j
}
func (h *simOrder) Push(x any) {
	x.(*simDest).inOrder = len(*h)
	*h = append(*h, x.(*simDest))
}
func (h *simOrder) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	x.inOrder = -1
	return x
}

func (d *simDest) when() int64 { return max(d.tasks[0].at, d.until, d.rest) }

func newSimQueue(dests []spool.Destination, expire time.Duration) *simQueue {
	q := &simQueue{index: make(map[spool.Destination]*simDest), wake: make(chan struct{}, 1), expire: expire}
	for i, d := range dests {
		n := &simDest{at: i, info: spool.DestinationInfo{Destination: d}, inOrder: -1}
		q.dests, q.index[d] = append(q.dests, n), n
	}
	return q
}

func (q *simQueue) Wake() <-chan struct{} { return q.wake }

func (q *simQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// add queues a task for a destination.
func (q *simQueue) add(dest int) {
	q.mu.Lock()
	now := time.Now().UnixNano()
	i := int32(len(q.tasks))
	q.tasks = append(q.tasks, simTask{dest: int32(dest), queued: now, due: now, expires: now + int64(q.expire)})
	q.open++
	heap.Push(&q.timers, simTime{now + int64(q.expire), i})
	q.give(i)
	q.mu.Unlock()
	q.signal()
}

// give queues a task that is nobody's.
func (q *simQueue) give(i int32) {
	d := q.dests[q.tasks[i].dest]
	heap.Push(&d.tasks, simTime{q.tasks[i].due, i})
	q.put(d)
}

// put brings a destination to where it belongs, but for those with a place
// among the waiting, which are looked at when their turn comes.
func (q *simQueue) put(d *simDest) {
	switch {
	case d.place != nil:
	case len(d.tasks) == 0 && d.inOrder >= 0:
		heap.Remove(&q.order, d.inOrder)
	case len(d.tasks) == 0:
	case d.inOrder >= 0:
		heap.Fix(&q.order, d.inOrder)
	default:
		heap.Push(&q.order, d)
	}
}

func (q *simQueue) turn(now int64) *simDest {
	for {
		newcomer, first := len(q.order) > 0 && q.order[0].when() <= now, q.waiting.Front()
		if first == nil && !newcomer {
			return nil
		}
		if q.turns++; newcomer && (first == nil || q.turns%4 != 0) {
			return heap.Pop(&q.order).(*simDest)
		}
		d := first.Value.(*simDest)
		q.waiting.Remove(first)
		d.place = nil
		if len(d.tasks) > 0 && d.when() <= now {
			return d
		}
		q.put(d)
	}
}

func (q *simQueue) Lease(c spool.Claim) (leases []spool.Lease, next time.Duration, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now().UnixNano()
	first := int64(-1)
	sooner := func(at int64) {
		if first < 0 || at < first {
			first = at
		}
	}
	for len(q.timers) > 0 {
		x := q.timers[0]
		t := &q.tasks[x.task]
		if t.ended {
			heap.Pop(&q.timers)
			continue
		}
		if x.at > now {
			sooner(x.at)
			break
		}
		if len(leases) >= c.Timers {
			break
		}
		heap.Pop(&q.timers)
		if t.leased {
			heap.Push(&q.timers, simTime{now + int64(time.Second), x.task})
			continue
		}
		leases = append(leases, q.take(x.task, spool.CauseExpired, now, c.Lifetime))
	}
	due := 0
	var seen []*simDest
	for due < c.Max {
		d := q.turn(now)
		if d == nil {
			break
		}
		seen = append(seen, d)
		info := q.info(d, now)
		q.mu.Unlock()
		n := c.Allow(info)
		var rest time.Duration
		if n <= 0 {
			rest = c.Rest(info)
		}
		q.mu.Lock()
		if n <= 0 {
			d.rest = now + int64(rest)
		}
		for ; n > 0 && due < c.Max && len(d.tasks) > 0 && d.tasks[0].at <= now; n-- {
			i := heap.Pop(&d.tasks).(simTime).task
			if q.tasks[i].leased || q.tasks[i].ended {
				continue // it has expired
			}
			leases = append(leases, q.take(i, spool.CauseDue, now, c.Lifetime))
			due++
		}
	}
	if due < c.Max && len(q.order) > 0 {
		sooner(q.order[0].when())
	}
	for _, d := range seen {
		switch {
		case len(d.tasks) == 0 || d.inOrder >= 0 || d.place != nil:
		case d.when() <= now:
			d.place = q.waiting.PushBack(d)
		default:
			if q.put(d); due < c.Max {
				sooner(d.when())
			}
		}
	}
	if first < 0 {
		return leases, -1, nil
	}
	return leases, max(0, time.Duration(first-now)), nil
}

func (q *simQueue) info(d *simDest, now int64) spool.DestinationInfo {
	info := d.info
	info.Backoff = max(0, time.Duration(d.until-now))
	return info
}

func (q *simQueue) take(i int32, cause spool.Cause, now int64, life time.Duration) spool.Lease {
	t := &q.tasks[i]
	t.leased = true
	t.token++
	d := q.dests[t.dest]
	r := spool.RecipientState{Recipient: mail.Recipient{
		To: mail.Address{Local: "b", Domain: d.info.Destination.Domain}, Notify: mail.NotifyNever,
	}}
	if t.last != nil {
		r.Last = *t.last
	}
	var id mail.ID
	binary.BigEndian.PutUint32(id[:], uint32(i)+1)
	return spool.Lease{
		Task: spool.TaskInfo{
			ID: spool.TaskID{Message: id}, State: spool.Leased, Destination: d.info.Destination, Size: 1,
			Envelope:   mail.Envelope{From: mail.Address{Local: "ann", Domain: "home.test"}},
			Recipients: []spool.RecipientState{r}, Attempts: int(t.attempts), Queued: time.Unix(0, t.queued),
		},
		Token: uint64(t.token), Cause: cause, Destination: q.info(d, now),
	}
}

// simTaskOf is the number of a task.
func simTaskOf(id mail.ID) int32 { return int32(binary.BigEndian.Uint32(id[:]) - 1) }

func (q *simQueue) Extend(spool.Lease, time.Duration) error { return nil }

func (q *simQueue) Settle(_ context.Context, l spool.Lease, s spool.Settlement) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	i, now := simTaskOf(l.Task.ID.Message), time.Now().UnixNano()
	t := &q.tasks[i]
	if !t.leased || uint64(t.token) != l.Token {
		return spool.ErrStaleLease
	}
	d := q.dests[t.dest]
	t.leased = false
	if s.Attempted {
		t.attempts++
	}
	switch s.Destination.Outcome {
	case spool.Reached:
		d.info.Failures, d.until = 0, 0
	case spool.Unreached:
		if d.info.Failures == l.Destination.Failures {
			d.info.Failures++
			d.until, d.info.Last = now+int64(s.Destination.Backoff), s.Destination.Status
		}
	}
	if r := s.Results[0]; r.Ended {
		t.ended = true
		q.open--
		q.ended(int(i), r.Status, int(t.attempts))
	} else {
		if r.Status != (mail.Status{}) {
			t.last = &r.Status
		}
		if !s.KeepDue {
			t.due = now + int64(s.Delay)
		}
		q.give(i)
	}
	q.put(d)
	q.signal()
	return nil
}

// simBodies has one body for all.
type simBodies struct{ spool.Bodies }

type simBody struct {
	io.ReaderAt
	io.Closer
}

func (simBody) Size() int64 { return int64(len(letter)) }

func (simBodies) OpenBody(mail.ID) (spool.Body, error) {
	return simBody{bytes.NewReader([]byte(letter)), io.NopCloser(nil)}, nil
}
