package badger

import (
	"errors"
	"sync"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// sweepStep bounds the records that one sweeping transaction deletes, so that
// sweeping never holds up a commit for long.
const sweepStep = 256

// sweepRetry is how long to wait for room on the disk.
const sweepRetry = 5 * time.Second

// sweeper frees in the background what no longer belongs to anything: entries
// of deleted mailboxes, segments without a live body.
type sweeper struct {
	mu        sync.Mutex
	mailboxes []spool.MailboxID
	wake      chan struct{}
	stopped   chan struct{}
	idle      *sync.Cond // signalled when nothing is left to do
	busy      bool
}

func (s *sweeper) init() {
	s.wake = make(chan struct{}, 1)
	s.stopped = make(chan struct{})
	s.idle = sync.NewCond(&s.mu)
}

// backlog is how much is left to do.
func (s *sweeper) backlog() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mailboxes)
}

func (s *sweeper) mailbox(id spool.MailboxID) {
	s.putMailbox(id)
	signal(s.wake)
}

func (s *sweeper) putMailbox(id spool.MailboxID) {
	s.mu.Lock()
	s.mailboxes = append(s.mailboxes, id)
	s.mu.Unlock()
}

// signal leaves one signal in a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (e *Engine) sweepLoop() {
	s := &e.sweeper
	defer close(s.stopped)
	retry := time.NewTicker(sweepRetry) // for what the disk had no room for
	defer retry.Stop()
	for {
		select {
		case <-s.wake:
		case <-retry.C:
		case <-e.closing:
			s.mu.Lock()
			s.idle.Broadcast()
			s.mu.Unlock()
			return
		}
		if err := e.segments.Collect(); err != nil {
			e.opt.Logger.Error("sweep", "err", err)
		}
		for e.sweepOne() {
		}
	}
}

// sweepOne takes one piece of work and does it; what fails is found again when
// the spool is opened next.
func (e *Engine) sweepOne() bool {
	s := &e.sweeper
	s.mu.Lock()
	s.busy = false
	var work func() error
	var again func() // work that the disk had no room for
	switch {
	case len(s.mailboxes) > 0:
		id := s.mailboxes[0]
		s.mailboxes = s.mailboxes[1:]
		work = func() error { return e.sweepMailbox(id) }
		again = func() { s.putMailbox(id) }
	default:
		s.idle.Broadcast()
	}
	s.busy = work != nil
	s.mu.Unlock()
	if work == nil {
		return false
	}
	if err := work(); errors.Is(err, spool.ErrClosed) {
		return false
	} else if errors.Is(err, spool.ErrFull) {
		again()
		return false
	} else if err != nil {
		e.opt.Logger.Error("sweep", "err", err)
	}
	return true
}

// settled waits until the sweeper has nothing to do; tests use it.
func (e *Engine) settled() {
	s := &e.sweeper
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.busy || len(s.mailboxes) > 0 {
		s.idle.Wait()
	}
}

// findGarbage gives the sweeper what an earlier run left.
func (e *Engine) findGarbage(t *tx) {
	collect(t, []byte{kZombie}, func(key []byte) { e.sweeper.mailbox(mailboxOf(key)) })
}

func collect(t *tx, prefix []byte, f func(key []byte)) {
	it := t.keys(prefix)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		f(it.Item().KeyCopy(nil))
	}
}

// firstKeys returns up to n keys with a prefix, in a snapshot of its own.
func (e *Engine) firstKeys(prefix []byte, n int) (keys [][]byte, err error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	t := e.view()
	defer t.discard()
	it := t.keys(prefix)
	defer it.Close()
	for it.Rewind(); it.Valid() && len(keys) < n; it.Next() {
		keys = append(keys, it.Item().KeyCopy(nil))
	}
	return keys, nil
}

// step is one change of the sweeper's; between two of them the engine may close.
func (e *Engine) step(run func(*tx) error, after func()) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	return e.do(run, after)
}

// sweepMailbox frees the entries of a deleted mailbox, its journal and index, and then
// the zombie record.
func (e *Engine) sweepMailbox(id spool.MailboxID) error {
	if _, err := e.MailboxByID(id); !errors.Is(err, spool.ErrNoMailbox) {
		if err == nil {
			e.opt.Logger.Error("a mailbox was marked as deleted; it is kept", "mailbox", id)
			err = e.step(func(t *tx) error { return t.delete(mailboxKey(kZombie, id)) }, nil)
		}
		return err
	}
	for _, kind := range []byte{kEntry, kJournal, kBlock, kKeyword} {
		for {
			keys, err := e.firstKeys(mailboxKey(kind, id), sweepStep)
			if err != nil {
				return err
			}
			if len(keys) == 0 {
				break
			}
			if err := e.step(func(t *tx) error {
				for _, k := range keys {
					if kind == kEntry {
						if err := t.dropEntry(k); err != nil {
							return err
						}
					}
					if err := t.delete(k); err != nil {
						return err
					}
				}
				return nil
			}, nil); err != nil {
				return err
			}
		}
	}
	return e.step(func(t *tx) error { return t.delete(mailboxKey(kZombie, id)) }, nil)
}

// dropEntry drops the reference that the entry under a key holds. An entry
// that cannot be read holds none that could be found.
func (t *tx) dropEntry(key []byte) error {
	n, err := load(t, key, func(p []byte) (spool.Entry, error) { return decodeEntry(0, p) })
	if errors.Is(err, spool.ErrNotFound) || errors.Is(err, spool.ErrCorrupt) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.unref(n.Message, 1)
}

// ref adds references to a message.
func (t *tx) ref(id mail.ID, n int) error {
	r, err := load(t, idKey(kRefs, id), decodeRefs)
	if err != nil {
		return err
	}
	r.refs += uint64(n)
	return t.set(idKey(kRefs, id), r.encode())
}

// unref drops references. With the last one the message goes, and its body.
func (t *tx) unref(id mail.ID, n int) error {
	r, err := load(t, idKey(kRefs, id), decodeRefs)
	if err != nil {
		return err
	}
	if r.refs > uint64(n) {
		r.refs -= uint64(n)
		return t.set(idKey(kRefs, id), r.encode())
	}
	m, err := load(t, idKey(kMessage, id), decodeMessage)
	if err != nil {
		return err
	}
	if !m.packed {
		t.freed += m.size
	}
	return t.free(id, &m)
}

// free deletes all that is stored of a message but its tasks. What is not
// known of a message whose record cannot be read (nil) is looked for.
func (t *tx) free(id mail.ID, m *messageRecord) error {
	for _, kind := range []byte{kMessage, kRefs, kStructure} {
		if err := t.delete(idKey(kind, id)); err != nil {
			return err
		}
	}
	if m == nil || !m.packed {
		if err := t.delete(chunkKey(id, 0)); err != nil {
			return err
		}
	}
	if m == nil || m.packed {
		return t.dropPieces(id)
	}
	return nil
}
