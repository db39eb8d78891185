package badger

import (
	"sync"

	"restante/spool"
)

// watchers are those who wait for changes of a mailbox.
type watchers struct {
	mu sync.Mutex
	by map[spool.MailboxID]map[chan struct{}]struct{}
	// accounts are told of by the transactions (tx.touched).
	accounts spool.Watchers
}

func (w *watchers) init() { w.by = make(map[spool.MailboxID]map[chan struct{}]struct{}) }

// notify tells those who watch the mailboxes.
func (w *watchers) notify(ids []spool.MailboxID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		for c := range w.by[id] {
			signal(c)
		}
	}
}

// Watcher implements spool.Mailboxes.
func (e *Engine) Watcher() spool.Watcher { return e.watch.accounts.New() }

// arranged notes that the mailboxes or subscriptions of an account are others.
func (t *tx) arranged(account string) { t.touch(spool.Touched{Account: account}) }

func (t *tx) touch(what spool.Touched) { t.touched = append(t.touched, what) }

// Watch implements spool.Mailboxes.
func (e *Engine) Watch(id spool.MailboxID) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	w := &e.watch
	w.mu.Lock()
	if w.by[id] == nil {
		w.by[id] = make(map[chan struct{}]struct{})
	}
	w.by[id][c] = struct{}{}
	w.mu.Unlock()
	if _, err := e.MailboxByID(id); err != nil {
		signal(c) // gone: the watcher shall find out
	}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.by[id], c)
		if len(w.by[id]) == 0 {
			delete(w.by, id)
		}
	}
}
