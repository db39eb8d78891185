// Package ratelimit counts what clients do, by any key, and says when it is
// too much.
//
// It guarantees that its memory does not grow with the number of keys: each
// table has a fixed number of places. A key costs nothing once it is as if
// nothing had happened, and when all places are taken by others the one that
// is nearest to that, of some chosen by chance, is forgotten. So a client with
// very many addresses makes its own addresses be forgotten first, and not
// those that did much.
//
// Time is what the caller says it is. All types are safe for concurrent use.
package ratelimit

import (
	"fmt"
	"math"
	"time"
)

// Rate allows Count events in each Per. They may come all at once, after
// which they come back one by one. The zero Rate allows everything.
type Rate struct {
	Count int
	Per   time.Duration
}

// Unlimited tells whether the rate allows everything.
func (r Rate) Unlimited() bool { return r.Count <= 0 || r.Per <= 0 }

func (r Rate) String() string {
	if r.Unlimited() {
		return "unlimited"
	}
	return fmt.Sprintf("%d in %s", r.Count, r.Per)
}

// Buckets is a token bucket for each key. Its zero value has DefaultPlaces.
type Buckets[K comparable] struct{ t table[K] }

// NewBuckets returns Buckets that remember so many keys at most.
func NewBuckets[K comparable](places int) *Buckets[K] {
	return &Buckets[K]{table[K]{places: places}}
}

// Take takes n events of a key, or none, and returns how long to wait until
// they can be taken: 0 if they were. More than the rate allows at once can
// never be taken, but when the bucket is full; the bucket then owes.
func (b *Buckets[K]) Take(key K, n int, r Rate, now time.Time) (wait time.Duration) {
	if r.Unlimited() || n <= 0 {
		return 0
	}
	b.t.mu.Lock()
	defer b.t.mu.Unlock()
	at := b.t.clock(now)
	// until is when the bucket is full again (the generic cell rate
	// algorithm). It may lie one Per ahead.
	until := max(b.t.get(key), at)
	cost := cost(n, r)
	if ahead := add(until-at, cost); until > at && ahead > int64(r.Per) {
		return time.Duration(min(ahead-int64(r.Per), until-at))
	}
	b.t.set(key, add(until, cost), at)
	return 0
}

// Len is how many keys are remembered.
func (b *Buckets[K]) Len() int { return b.t.len() }

// cost is the time in which n events come back.
func cost(n int, r Rate) int64 {
	each := float64(r.Per) / float64(r.Count)
	if c := each * float64(n); c < math.MaxInt64/4 {
		return max(int64(c), 1)
	}
	return math.MaxInt64 / 4
}

func add(a, b int64) int64 {
	if a > math.MaxInt64/2-b {
		return math.MaxInt64 / 2
	}
	return a + b
}

// Failures counts failures of each key, and forgets them one by one.
type Failures[K comparable] struct {
	t      table[K]
	forget time.Duration
}

// NewFailures returns Failures that remember so many keys at most, and forget
// one failure of a key in each of the given times.
func NewFailures[K comparable](places int, forget time.Duration) *Failures[K] {
	return &Failures[K]{t: table[K]{places: places}, forget: max(forget, 1)}
}

// MaxFailures is what Failures counts up to: more than that takes no longer to
// be forgotten.
const MaxFailures = 100

// Add counts one more failure and returns how many there are.
func (f *Failures[K]) Add(key K, now time.Time) int {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	at := f.t.clock(now)
	until := min(max(f.t.get(key), at)+int64(f.forget), at+MaxFailures*int64(f.forget))
	f.t.set(key, until, at)
	return f.count(until, at)
}

// Count returns how many failures are not forgotten.
func (f *Failures[K]) Count(key K, now time.Time) int {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	return f.count(f.t.get(key), f.t.clock(now))
}

func (f *Failures[K]) count(until, at int64) int {
	if until <= at {
		return 0
	}
	return int((until - at + int64(f.forget) - 1) / int64(f.forget))
}

// Forget forgets all failures of a key.
func (f *Failures[K]) Forget(key K) {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	f.t.remove(key)
}

// Len is how many keys are remembered.
func (f *Failures[K]) Len() int { return f.t.len() }

// Set is a set of keys that are forgotten after a time.
type Set[K comparable] struct {
	t    table[K]
	keep time.Duration
}

// NewSet returns a Set of so many keys at most that keeps each for a time.
func NewSet[K comparable](places int, keep time.Duration) *Set[K] {
	return &Set[K]{t: table[K]{places: places}, keep: keep}
}

// Add puts a key into the set, anew if it is there.
func (s *Set[K]) Add(key K, now time.Time) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	at := s.t.clock(now)
	s.t.set(key, at+int64(s.keep), at)
}

// Has tells whether a key is in the set.
func (s *Set[K]) Has(key K, now time.Time) bool {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	return s.t.get(key) > s.t.clock(now)
}

// Remove takes a key out of the set.
func (s *Set[K]) Remove(key K) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.t.remove(key)
}

// Len is how many keys are remembered.
func (s *Set[K]) Len() int { return s.t.len() }
