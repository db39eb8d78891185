// Package history looks after the stories of messages (spool.Stories) while the
// daemon runs. It drops those whose time is over, in small steps that disturb
// nobody, and takes notes of what happens to a message outside of the spool's
// own verbs: that somebody has collected it.
//
// A note never delays or fails who brings it, and so is not certain: when more
// come than can be stored, or the daemon dies, some are lost, which the log
// tells. What the spool refuses for now, forgetting included, is tried again.
package history

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

const (
	// step is how many stories are looked at at a time, stepPause what lies
	// between two steps.
	step      = 500
	stepPause = 50 * time.Millisecond
	// leastPause and mostPause bound the time from one round to the next; in
	// between it is a hundredth of what is kept, so that a story outlives its
	// time by that much at most.
	leastPause = time.Minute
	mostPause  = time.Hour
	// waiting is how many notes may wait to be stored.
	waiting = 4096
	// remembered is how many collections are remembered in memory, so that
	// clients who fetch again and again cost nothing.
	remembered = 20_000
)

// Options is what a Keeper works with. Stories is required.
type Options struct {
	Stories spool.Stories
	// Keep is how long a story stays after the last thing that happened; 0 is
	// until its message has left the queue.
	Keep time.Duration
	// Logger may be nil.
	Logger *slog.Logger
}

// Keeper looks after the stories. It is safe for concurrent use.
type Keeper struct {
	opt     Options
	keep    atomic.Int64
	changed chan struct{} // holds at most one signal
	notes   chan note
	lost    atomic.Int64

	// The collections that are known to be noted; when recent is full it
	// becomes former. Only store uses them.
	recent, former map[collection]bool
}

type note struct {
	id    mail.ID
	event spool.Event
}

// collection is that somebody has collected a message.
type collection struct {
	id mail.ID
	by string
}

// New returns a Keeper. Notes are stored once Run runs.
func New(opt Options) *Keeper {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{opt: opt, changed: make(chan struct{}, 1), notes: make(chan note, waiting), recent: make(map[collection]bool)}
	k.keep.Store(int64(opt.Keep))
	return k
}

// SetKeep changes how long stories stay.
func (k *Keeper) SetKeep(keep time.Duration) {
	if k.keep.Swap(int64(keep)) == int64(keep) {
		return
	}
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// Note adds to a story, some time soon. It does not wait. Who has collected a
// message once is not noted again.
func (k *Keeper) Note(id mail.ID, e spool.Event) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	select {
	case k.notes <- note{id, e}:
	default:
		k.lost.Add(1)
	}
}

// Run works until ctx ends; notes that are waiting then are stored before it
// returns.
func (k *Keeper) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { k.write(ctx) })
	for {
		k.forget(ctx)
		pause := min(max(time.Duration(k.keep.Load())/100, leastPause), mostPause)
		if !k.wait(ctx, pause) {
			return nil
		}
	}
}

// wait returns whether to go on: after a time, or when Keep has changed.
func (k *Keeper) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-k.changed:
	case <-timer.C:
	}
	return ctx.Err() == nil
}

// forget is one round over all that is old enough.
func (k *Keeper) forget(ctx context.Context) {
	dropped := 0
	for {
		n, end, err := k.opt.Stories.ForgetStories(time.Duration(k.keep.Load()), step)
		dropped += n
		switch {
		case errors.Is(err, spool.ErrClosed), errors.Is(err, spool.ErrFull), errors.Is(err, spool.ErrReadOnly):
			return // it says so itself
		case err != nil:
			k.opt.Logger.Error("stories cannot be forgotten", "error", err)
			return
		case end:
			if dropped > 0 {
				k.opt.Logger.Debug("stories are forgotten", "messages", dropped)
			}
			return
		}
		if !k.wait(ctx, stepPause) {
			return
		}
	}
}

// write stores notes as they come.
func (k *Keeper) write(ctx context.Context) {
	for {
		select {
		case n := <-k.notes:
			k.store(n)
		case <-ctx.Done():
			for {
				select {
				case n := <-k.notes:
					k.store(n)
				default:
					return
				}
			}
		}
	}
}

func (k *Keeper) store(n note) {
	if lost := k.lost.Swap(0); lost > 0 {
		k.opt.Logger.Warn("too many notes at once, some are not in their messages' stories", "lost", lost)
	}
	key := collection{n.id, n.event.By}
	if n.event.Kind == spool.EventCollected {
		if k.recent[key] || k.former[key] {
			return
		}
		if k.noted(n) {
			k.remember(key)
			return
		}
	}
	err := k.opt.Stories.Note(n.id, n.event)
	switch {
	case err == nil && n.event.Kind == spool.EventCollected:
		k.remember(key)
	case errors.Is(err, spool.ErrClosed), errors.Is(err, spool.ErrFull), errors.Is(err, spool.ErrReadOnly), err == nil:
	default:
		k.opt.Logger.Error("note cannot be stored", "id", n.id, "what", n.event.Kind, "error", err)
	}
}

// noted tells whether a collection need not be noted: it is already, or there
// is no story.
func (k *Keeper) noted(n note) bool {
	s, err := k.opt.Stories.Story(n.id)
	if errors.Is(err, spool.ErrNotFound) {
		return true
	}
	for _, e := range s.Events {
		if e.Kind == spool.EventCollected && e.By == n.event.By {
			return true
		}
	}
	return false
}

func (k *Keeper) remember(c collection) {
	if len(k.recent) >= remembered/2 {
		k.recent, k.former = make(map[collection]bool), k.recent
	}
	k.recent[c] = true
}
