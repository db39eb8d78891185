package badger

import (
	"cmp"
	"fmt"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/spool"
)

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

	s := &scan{e: e, q: q, claim: c}
	s.start()
	defer func() {
		q.mu.Lock()
		q.scanning = false
		clear(q.ended)
		q.mu.Unlock()
		s.t.discard()
	}()
	s.timers()
	s.due = len(s.leases)
	s.destinations()
	return s.leases, s.next(), nil
}

// scan is one Lease at work.
type scan struct {
	e     *Engine
	q     *queue
	t     *tx
	now   time.Time
	claim spool.Claim
	// number is queue.scans and before queue.changes when t was opened: what
	// was noted later may not be in it.
	number, before uint64
	leases         []spool.Lease
	// due is where in leases those begin that were not leased for a timer.
	due int
	// timer and first are when the first timer and the first due time come that
	// were not left behind for the claim's bounds; never if there is none, or
	// the claim is full.
	timer, first time.Time
	// timerFloor is that of the queue.
	timerFloor time.Time

	// Of the destination that is looked at: the prefix of its q keys, and the
	// cursors in its lines. it is nil before it is needed; at is the cursor that
	// it stands on, -1 if on none.
	it      *badgerdb.Iterator
	prefix  []byte
	cursors []cursor
	at      int
	heads   []spool.Head // of the cursors in ready
	ready   []int
}

// start opens the snapshot: in one moment with everything that tells later what
// it cannot show. It shows all that release has told of.
func (s *scan) start() {
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	q.scanning = true
	q.scans++
	s.number, s.before = q.scans, q.changes
	s.timer, s.timerFloor, q.timerSince = q.timer, q.timerFloor, never
	s.now, s.t = s.e.opt.Now(), s.e.view()
}

// full tells whether the claim takes no more due tasks.
func (s *scan) full() bool { return len(s.leases)-s.due >= s.claim.Max }

// next is how long it is until something else falls due.
func (s *scan) next() time.Duration {
	first := earlier(s.timer, s.first)
	if !first.Before(never) {
		return -1
	}
	return max(first.Sub(s.now), 0)
}

// timers leases the tasks whose warning or expiry has come.
func (s *scan) timers() {
	if s.timer.After(s.now) {
		return
	}
	most := cmp.Or(s.claim.Timers, s.claim.Max)
	next, left, low := never, false, never
	it := s.t.keys([]byte{kTimer})
	defer it.Close()
	from := []byte{kTimer}
	if !s.timerFloor.IsZero() {
		from = appendTime(from, s.timerFloor)
	}
	for it.Seek(from); it.Valid(); it.Next() {
		key := it.Item().Key()
		if len(key) != keyLength(kTimer) {
			continue // malformed: Check tells
		}
		low = earlier(low, timerOf(key))
		if at := timerOf(key); at.After(s.now) {
			next = earlier(next, at)
			break
		}
		if len(s.leases) >= most {
			left = true
			break
		}
		next = earlier(next, s.take(taskOf(key)))
	}
	if s.timer = next; left {
		next = s.now
	}
	s.q.mu.Lock()
	if s.q.timerChanged <= s.before {
		s.q.timer = next
	}
	s.q.timerFloor = earlier(low, s.q.timerSince)
	s.q.mu.Unlock()
}

// destinations leases due tasks, by turns of the destinations.
func (s *scan) destinations() {
	defer s.closeIndex()
	var seen []*destNode
	visited := make(map[*destNode]bool)
	defer func() {
		s.q.mu.Lock()
		for _, n := range seen {
			s.q.back(n, s.now)
			if at := n.when(); at.After(s.now) && !s.full() {
				s.first = earlier(s.first, at)
			}
		}
		s.q.mu.Unlock()
	}()
	s.first = never
	for !s.full() {
		s.q.mu.Lock()
		n := s.q.turn(s.now)
		if n == nil {
			if len(s.q.order) > 0 {
				s.first = s.q.order[0].when()
			}
			s.q.mu.Unlock()
			return
		}
		info := n.info(s.now)
		s.q.mu.Unlock()
		if visited[n] {
			// A commit put it back meanwhile. Its turn comes with the next
			// Lease, which the commit has woken up for: Allow has given its
			// answer for this one.
			continue
		}
		visited[n] = true
		seen = append(seen, n)
		s.visit(n, info)
	}
}

// visit leases from one destination what the claim allows.
func (s *scan) visit(n *destNode, info spool.DestinationInfo) {
	want := s.claim.Max - (len(s.leases) - s.due)
	if s.claim.Allow != nil {
		want = min(want, s.claim.Allow(info))
	}
	if want <= 0 {
		if s.claim.Rest == nil {
			return
		}
		rest := s.claim.Rest(info)
		s.q.mu.Lock()
		n.rest = s.now.Add(rest)
		s.q.mu.Unlock()
		return
	}
	next := s.destination(n, want)
	s.q.mu.Lock()
	idle := false
	if n.changed <= s.before {
		s.keep(n)
		if n.next = next; next.Equal(never) && info.Failures > 0 {
			n.next = n.rec.until.Add(forgetAfter)
			idle = !n.next.After(s.now)
		}
	} else {
		s.raise(n)
	}
	s.q.mu.Unlock()
	if idle {
		s.e.forget(n, info.Failures)
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
			e.queue.look(n.dest) // the next scan drops it
		}
	})
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
	q.leases[id] = &leaseNode{token: q.token, until: until, dest: rec.dest, line: rec.line()}
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
	q.lower(n.dest, n.line, time.Time{}, time.Time{}) // it may end sooner than a scan took it to
	q.lowerTimer(time.Time{}, time.Time{})
	return nil
}
