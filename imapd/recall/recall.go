// Package recall remembers what clients read again and again: the entries of
// mailboxes, and what is stored beside bodies. It stands between the server and
// its spool and has the same verbs.
//
// What it tells is always what the spool would tell at that moment: entries are
// brought up to date from the mailbox's journal before they are given out, and
// records beside bodies never change. It only saves the time of finding and
// decoding them.
//
// What is remembered is bounded, in octets, and forgotten when nobody has asked for
// it for a while, so that a server whose clients are idle holds nothing.
package recall

import (
	"sync"
	"time"
)

const (
	// maxEntries and maxRecords bound what is remembered of entries and of
	// records, in octets, twice: what was used lately, and what was before.
	maxEntries = 8 << 20
	maxRecords = 16 << 20
	// lately is after how much time what was not used is forgotten, at the latest
	// after twice that.
	lately = time.Minute
)

// memory holds values of two generations: those that were used lately, and those
// that were used before. When the first is full, or after some time, it takes the
// place of the second, which is forgotten.
type memory[K comparable, V any] struct {
	limit int // of a generation, in octets
	mu    sync.Mutex
	young map[K]sized[V]
	old   map[K]sized[V]
	size  int // of the young
	timer *time.Timer
	// after is time.AfterFunc; tests put another in.
	after func(time.Duration, func()) *time.Timer
}

// sized is a value and what it counts for, in octets.
type sized[V any] struct {
	value V
	size  int
}

// get returns a value, which counts as used.
func (m *memory[K, V]) get(k K) (v V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(k)
}

// find is get for who has the lock.
func (m *memory[K, V]) find(k K) (v V, ok bool) {
	if s, ok := m.young[k]; ok {
		return s.value, true
	}
	s, ok := m.old[k]
	if ok {
		m.keep(k, s.value, s.size)
	}
	return s.value, ok
}

// put remembers a value.
func (m *memory[K, V]) put(k K, v V, size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(k, v, size)
}

// keep is put for who has the lock.
func (m *memory[K, V]) keep(k K, v V, size int) {
	m.size -= m.young[k].size
	delete(m.young, k)
	if m.size+size > m.limit && len(m.young) > 0 {
		m.turn()
	}
	if m.young == nil {
		m.young = make(map[K]sized[V])
	}
	m.young[k] = sized[V]{v, size}
	m.size += size
	if m.timer == nil {
		m.wind()
	}
}

// forget drops a value.
func (m *memory[K, V]) forget(k K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.size -= m.young[k].size
	delete(m.young, k)
	delete(m.old, k)
}

func (m *memory[K, V]) turn() { m.old, m.young, m.size = m.young, nil, 0 }

// wind sets the timer.
func (m *memory[K, V]) wind() {
	after := m.after
	if after == nil {
		after = time.AfterFunc
	}
	m.timer = after(lately, m.age)
}

// age is called when time has passed.
func (m *memory[K, V]) age() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn()
	if m.timer = nil; len(m.old) > 0 {
		m.wind()
	}
}
