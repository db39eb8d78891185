package badger

import (
	"encoding/binary"
	"slices"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/spool"
)

// lineKey names a line: the tasks of one destination that have one priority and
// one share, whose q keys are in the order of their due times. A destination
// has one for each sender and priority it has tasks of, as far as shares tell
// them apart, whatever its backlog.
type lineKey struct{ prio, share byte }

func (t *taskRecord) line() lineKey { return lineKey{prioByte(t.priority), t.share} }

// line is what is held in memory of one: a lower bound of when its first task
// is due, as destNode.next is.
type line struct {
	lineKey
	next time.Time
	// floor is a lower bound of the due times in its keys: a scan begins there,
	// and passes over the graves of what has been settled. since is the lowest
	// that was noted since a scan took its snapshot; scan is which one.
	floor, since time.Time
	scan         uint64
}

// lower notes that something of a line may be due at a time, and that it has, or
// had, a key with a due time: zero if that is not known. scan is the last one
// that has begun.
func (n *destNode) lower(k lineKey, at, key time.Time, scan uint64) {
	i := slices.IndexFunc(n.lines, func(l line) bool { return l.lineKey == k })
	if i < 0 {
		n.lines = append(n.lines, line{k, at, key, key, scan})
		return
	}
	l := &n.lines[i]
	if l.scan != scan {
		l.since, l.scan = never, scan
	}
	l.next, l.floor, l.since = earlier(l.next, at), earlier(l.floor, key), earlier(l.since, key)
}

// cursor is where a scan stands in a line.
type cursor struct {
	line
	// open tells that key is of the first task that was not looked at, id its
	// ID, and next exactly when it is due, never if there is none.
	open bool
	key  []byte
	id   spool.TaskID
	// again is when those that were looked at may be due again.
	again time.Time
	// low is the due time of the first key that there is, never if there is
	// none; looked tells that it is known.
	low    time.Time
	looked bool
}

// index returns the iterator over the q keys. It is made when it is needed,
// since it costs more than all else of a Lease that finds nothing.
func (s *scan) index() *badgerdb.Iterator {
	if s.it == nil {
		s.it = s.t.keys([]byte{kQueue})
	}
	return s.it
}

func (s *scan) closeIndex() {
	if s.it != nil {
		s.it.Close()
	}
}

// destination leases up to want due tasks of one destination, in the order of
// its rota. What becomes of its lines is left in s.cursors; it returns when the
// next task is due.
func (s *scan) destination(n *destNode, want int) time.Time {
	s.prefix = destinationKey(kQueue, n.dest)
	s.begin(n)
	for {
		i := s.pick(&n.rota, want > 0)
		if i < 0 {
			break
		}
		if want == 0 {
			return s.now
		}
		c := &s.cursors[i]
		had := len(s.leases)
		c.again = earlier(c.again, s.take(c.id))
		if len(s.leases) > had {
			want--
			n.rota.Took(c.head())
		}
		s.advance(i)
	}
	next := never
	for i := range s.cursors {
		next = earlier(next, s.cursors[i].next)
		next = earlier(next, s.cursors[i].again)
	}
	return next
}

// keep stores in the node what the scan found. The caller holds the queue's mu.
func (s *scan) keep(n *destNode) {
	n.known, n.lines = true, n.lines[:0]
	for i := range s.cursors {
		c := &s.cursors[i]
		if at := earlier(c.next, c.again); at.Before(never) {
			l := line{lineKey: c.lineKey, next: at, floor: c.floor}
			if c.looked {
				l.floor = c.low
			}
			n.lines = append(n.lines, l)
		}
	}
}

// raise stores in the node where the next scan of its lines is to begin. What was
// noted since this one took its snapshot is kept in mind. The caller holds the
// queue's mu.
func (s *scan) raise(n *destNode) {
	for i := range s.cursors {
		c := &s.cursors[i]
		at := slices.IndexFunc(n.lines, func(l line) bool { return l.lineKey == c.lineKey })
		if !c.looked || at < 0 {
			continue
		}
		l := &n.lines[at]
		l.floor = c.low
		if l.scan == s.number {
			l.floor = earlier(c.low, l.since)
		}
	}
}

// begin takes over the lines that are known, or finds them: with one seek for
// each.
func (s *scan) begin(n *destNode) {
	s.cursors, s.at = s.cursors[:0], -1
	s.q.mu.Lock()
	known := n.known
	for i := range n.lines {
		s.cursors = append(s.cursors, cursor{line: n.lines[i], again: never})
	}
	s.q.mu.Unlock()
	if known {
		return
	}
	s.cursors = s.cursors[:0]
	it := s.index()
	for it.Seek(s.prefix); it.ValidForPrefix(s.prefix); {
		key := it.Item().Key()
		if len(key) != len(s.prefix)+orderLen+taskLen || key[len(s.prefix)] > prioByte(-9) {
			it.Next() // malformed: Check tells
			continue
		}
		k := lineKey{key[len(s.prefix)], key[len(s.prefix)+1]}
		c := cursor{line: line{lineKey: k}, again: never}
		c.stand(key)
		c.low, c.looked = c.next, true
		s.cursors = append(s.cursors, c)
		past := binary.BigEndian.Uint16(key[len(s.prefix):]) + 1
		it.Seek(binary.BigEndian.AppendUint16(slices.Clip(s.prefix), past))
	}
}

// pick returns the cursor whose turn it is, open if so wanted; -1 if nothing is
// due.
func (s *scan) pick(r *spool.Rota, open bool) int {
	for {
		s.heads, s.ready = s.heads[:0], s.ready[:0]
		for i := range s.cursors {
			c := &s.cursors[i]
			if open && c.next.IsZero() && r.Aged() {
				s.open(i) // how urgent it is must be known
			}
			if !c.next.After(s.now) {
				s.heads, s.ready = append(s.heads, c.head()), append(s.ready, i)
			}
		}
		if len(s.ready) == 0 {
			return -1
		}
		if !open {
			return s.ready[0]
		}
		i := s.ready[r.Next(s.heads, s.now)]
		if s.cursors[i].open {
			return i
		}
		s.open(i)
	}
}

func (c *cursor) head() spool.Head {
	return spool.Head{Priority: 9 - int(c.prio), Share: c.share, Due: c.next}
}

// stand puts a cursor on a key.
func (c *cursor) stand(key []byte) {
	c.open, c.key, c.id, c.next = true, append(c.key[:0], key...), taskOf(key), queueDue(key)
}

// open stands a cursor on the first key of its line.
func (s *scan) open(i int) {
	c := &s.cursors[i]
	from := append(slices.Clip(s.prefix), c.prio, c.share)
	if !c.floor.IsZero() {
		from = appendTime(from, c.floor)
	}
	s.index().Seek(from)
	s.arrive(i)
	c.low, c.looked = c.next, true
}

// advance goes on to the next key of a line.
func (s *scan) advance(i int) {
	it := s.index()
	if s.at != i {
		it.Seek(s.cursors[i].key)
	}
	it.Next()
	s.arrive(i)
}

// arrive stands a cursor where the iterator is, or at the end of its line.
func (s *scan) arrive(i int) {
	c, it, n := &s.cursors[i], s.index(), len(s.prefix)
	s.at = i
	for ; it.ValidForPrefix(s.prefix); it.Next() {
		key := it.Item().Key()
		if len(key) < n+2 || key[n] != c.prio || key[n+1] != c.share {
			break
		}
		if len(key) == n+orderLen+taskLen {
			c.stand(key)
			return
		}
	}
	c.open, c.next = true, never
}
