package ratelimit

import (
	"math/rand/v2"
	"sync"
	"time"
)

// DefaultPlaces is how many keys a table remembers if it was not told: some
// megabytes, when all places are taken.
const DefaultPlaces = 1 << 16

// sample is how many keys are looked at when one must be forgotten.
const sample = 8

// table holds for each key until when it matters, in nanoseconds after start.
// The entries are in a slice so that some can be chosen by chance.
type table[K comparable] struct {
	mu      sync.Mutex
	places  int
	start   time.Time
	index   map[K]int32
	entries []entry[K]
}

type entry[K comparable] struct {
	key   K
	until int64
}

// clock is a time as entries have it: at least 1, so that the 0 of keys that
// are not there is in the past. It goes by the monotonic clock where now has
// one, so that setting the machine's clock lets nobody out or in.
func (t *table[K]) clock(now time.Time) int64 {
	if t.start.IsZero() {
		t.start = now
	}
	return max(int64(now.Sub(t.start)), 0) + 1
}

// get returns until when a key matters, 0 if it does not.
func (t *table[K]) get(key K) int64 {
	if i, ok := t.index[key]; ok {
		return t.entries[i].until
	}
	return 0
}

func (t *table[K]) set(key K, until, now int64) {
	if i, ok := t.index[key]; ok {
		t.entries[i].until = until
		return
	}
	t.makeRoom(now)
	if t.index == nil {
		t.index = make(map[K]int32)
	}
	t.index[key] = int32(len(t.entries))
	t.entries = append(t.entries, entry[K]{key, until})
}

// makeRoom forgets, of some keys, those that do not matter any more, and if all
// places are taken the one that soonest will not. Since two and more leave for
// one that comes, a table shrinks again after a rush.
func (t *table[K]) makeRoom(now int64) {
	places := t.places
	if places <= 0 {
		places = DefaultPlaces
	}
	soonest := -1
	for range min(sample, len(t.entries)) {
		if len(t.entries) == 0 {
			break
		}
		i := rand.IntN(len(t.entries))
		if t.entries[i].until <= now {
			t.removeAt(i)
			soonest = -1
			continue
		}
		if soonest < 0 || t.entries[i].until < t.entries[soonest].until {
			soonest = i
		}
	}
	for len(t.entries) >= places {
		if soonest < 0 {
			soonest = rand.IntN(len(t.entries))
		}
		t.removeAt(soonest)
		soonest = -1
	}
}

func (t *table[K]) remove(key K) {
	if i, ok := t.index[key]; ok {
		t.removeAt(int(i))
	}
}

// removeAt removes an entry and puts the last in its place.
func (t *table[K]) removeAt(i int) {
	last := len(t.entries) - 1
	delete(t.index, t.entries[i].key)
	if i != last {
		t.entries[i] = t.entries[last]
		t.index[t.entries[i].key] = int32(i)
	}
	t.entries[last] = entry[K]{}
	t.entries = t.entries[:last]
}

func (t *table[K]) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.entries)
}
