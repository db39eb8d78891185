package spool

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// News says where something has changed, and not how: who hears of it compares what
// is there now with what was there when it looked last.
type News struct {
	// Accounts are those in which mailboxes were made, renamed or deleted, or
	// subscriptions have changed.
	Accounts []string
	// Entries are the mailboxes whose rows or entries have changed, Attributes those
	// whose attributes have.
	Entries, Attributes []MailboxID
	// All tells that more has changed than is kept apart (MaxNews): look at
	// everything. The lists are empty then.
	All bool
}

// MaxNews bounds the names and mailboxes that a Watcher keeps apart.
const MaxNews = 1000

// Watcher notes what happens in some accounts until somebody asks. It costs the same
// memory however much happens, and nothing while nothing does.
type Watcher interface {
	// Account watches an account from now on, which need not exist. It is false if it
	// was watched already.
	Account(name string) bool
	// Attribute watches from now on the attributes of that name, in the mailboxes of
	// all accounts.
	Attribute(name string)
	// Changed receives after something was noted, at most one signal held. What a verb
	// has changed is noted before the verb returns.
	Changed() <-chan struct{}
	// Take returns what was noted since it was called last.
	Take() News
	// Stop ends it; it can be called again.
	Stop()
}

// Touched is one thing that has changed.
type Touched struct {
	Account string
	// Mailbox is that of which the row, the entries or the Attributes changed; 0 if
	// mailboxes were made, renamed or deleted, or subscriptions changed.
	Mailbox    MailboxID
	Attributes []string
}

// Watchers are those of an engine that has no other process beside it. The zero
// value is ready.
type Watchers struct {
	count atomic.Int64

	mu         sync.Mutex
	accounts   map[string]map[*watcher]bool
	attributes map[string]map[*watcher]bool
}

type watcher struct {
	all     *Watchers
	changed chan struct{}
	// What follows is under the mutex of all.
	stopped              bool
	accounts, attributes []string
	arranged             map[string]bool
	entries, marked      map[MailboxID]bool
	lost                 bool
}

// New returns a Watcher that watches nothing yet.
func (w *Watchers) New() Watcher {
	return &watcher{all: w, changed: make(chan struct{}, 1)}
}

// Len is how many accounts and attributes are being watched, each by each.
func (w *Watchers) Len() int { return int(w.count.Load()) }

// Note tells those who watch. It does not wait for them.
func (w *Watchers) Note(list ...Touched) {
	if w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range list {
		for one := range w.accounts[t.Account] {
			one.note(t)
		}
		for _, name := range t.Attributes {
			for one := range w.attributes[name] {
				one.note(t)
			}
		}
	}
}

func (w *watcher) note(t Touched) {
	if !w.lost {
		switch {
		case t.Mailbox == 0:
			put(&w.arranged, t.Account)
		case len(t.Attributes) > 0:
			put(&w.marked, t.Mailbox)
		default:
			put(&w.entries, t.Mailbox)
		}
		if len(w.arranged)+len(w.entries)+len(w.marked) > MaxNews {
			w.lost, w.arranged, w.entries, w.marked = true, nil, nil, nil
		}
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func put[K comparable](set *map[K]bool, key K) {
	if *set == nil {
		*set = make(map[K]bool)
	}
	(*set)[key] = true
}

// Account implements Watcher.
func (w *watcher) Account(name string) bool {
	return w.add(&w.all.accounts, &w.accounts, name)
}

// Attribute implements Watcher.
func (w *watcher) Attribute(name string) { w.add(&w.all.attributes, &w.attributes, name) }

func (w *watcher) add(by *map[string]map[*watcher]bool, own *[]string, name string) bool {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	if w.stopped || slices.Contains(*own, name) {
		return false
	}
	*own = append(*own, name)
	if *by == nil {
		*by = make(map[string]map[*watcher]bool)
	}
	if (*by)[name] == nil {
		(*by)[name] = make(map[*watcher]bool)
	}
	(*by)[name][w] = true
	w.all.count.Add(1)
	return true
}

// Changed implements Watcher.
func (w *watcher) Changed() <-chan struct{} { return w.changed }

// Take implements Watcher.
func (w *watcher) Take() News {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	select {
	case <-w.changed:
	default:
	}
	n := News{
		Accounts:   slices.Sorted(maps.Keys(w.arranged)),
		Entries:    slices.Sorted(maps.Keys(w.entries)),
		Attributes: slices.Sorted(maps.Keys(w.marked)),
		All:        w.lost,
	}
	w.lost, w.arranged, w.entries, w.marked = false, nil, nil, nil
	return n
}

// Stop implements Watcher.
func (w *watcher) Stop() {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	remove := func(by map[string]map[*watcher]bool, names []string) {
		for _, name := range names {
			if delete(by[name], w); len(by[name]) == 0 {
				delete(by, name)
			}
			w.all.count.Add(-1)
		}
	}
	remove(w.all.accounts, w.accounts)
	remove(w.all.attributes, w.attributes)
	w.stopped, w.accounts, w.attributes = true, nil, nil
	w.lost, w.arranged, w.entries, w.marked = false, nil, nil, nil
}
