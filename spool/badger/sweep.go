package badger

import (
	"errors"
	"sync"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// inlineChunks is how many chunks a body may have to be freed in the very
// transaction that drops its last reference.
const inlineChunks = 4

// sweepStep bounds the records that one sweeping transaction deletes, so that
// sweeping never holds up a commit for long.
const sweepStep = 256

// sweepRetry is how long to wait for room on the disk.
const sweepRetry = 5 * time.Second

// sweeper frees in the background what no longer belongs to anything: chunks
// under a garbage mark, entries of deleted mailboxes.
type sweeper struct {
	mu        sync.Mutex
	bodies    []mail.ID
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

func (s *sweeper) body(id mail.ID) {
	s.putBody(id)
	signal(s.wake)
}

// backlog is how much is left to do.
func (s *sweeper) backlog() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.bodies) + len(s.mailboxes)
}

func (s *sweeper) putBody(id mail.ID) {
	s.mu.Lock()
	s.bodies = append(s.bodies, id)
	s.mu.Unlock()
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
	case len(s.bodies) > 0:
		id := s.bodies[0]
		s.bodies = s.bodies[1:]
		work = func() error { return e.sweepBody(id) }
		again = func() { s.putBody(id) }
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
	for s.busy || len(s.bodies)+len(s.mailboxes) > 0 {
		s.idle.Wait()
	}
}

// findGarbage gives the sweeper what an earlier run left.
func (e *Engine) findGarbage(t *tx) {
	collect(t, []byte{kGarbage}, func(key []byte) { e.sweeper.body(idOf(key)) })
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

// sweepBody deletes chunks, and then their garbage mark. Those of a message
// that is there have no business under a mark: only that goes.
func (e *Engine) sweepBody(id mail.ID) error {
	alive := false
	if err := e.read(func(t *tx) (err error) {
		alive, err = t.has(idKey(kMessage, id))
		return err
	}); err != nil {
		return err
	}
	if alive {
		e.opt.Logger.Error("a stored message was marked as garbage; it is kept", "id", id)
		return e.step(func(t *tx) error { return t.delete(idKey(kGarbage, id)) }, nil)
	}
	for {
		keys, err := e.firstKeys(idKey(kChunk, id), sweepStep)
		if err != nil {
			return err
		}
		last := len(keys) < sweepStep
		if err := e.step(func(t *tx) error {
			for _, k := range keys {
				if err := t.delete(k); err != nil {
					return err
				}
			}
			if last {
				return t.delete(idKey(kGarbage, id))
			}
			return nil
		}, nil); err != nil || last {
			return err
		}
	}
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
			var freed []mail.ID
			if err := e.step(func(t *tx) error {
				freed = freed[:0]
				for _, k := range keys {
					if kind == kEntry {
						if err := t.dropEntry(k, &freed); err != nil {
							return err
						}
					}
					if err := t.delete(k); err != nil {
						return err
					}
				}
				return nil
			}, func() { e.sweepAll(freed) }); err != nil {
				return err
			}
		}
	}
	return e.step(func(t *tx) error { return t.delete(mailboxKey(kZombie, id)) }, nil)
}

// dropEntry drops the reference that the entry under a key holds. An entry
// that cannot be read holds none that could be found.
func (t *tx) dropEntry(key []byte, freed *[]mail.ID) error {
	n, err := load(t, key, func(p []byte) (spool.Entry, error) { return decodeEntry(0, p) })
	if errors.Is(err, spool.ErrNotFound) || errors.Is(err, spool.ErrCorrupt) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.unref(n.Message, 1, freed)
}

func (e *Engine) sweepAll(ids []mail.ID) {
	for _, id := range ids {
		e.sweeper.body(id)
	}
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

// unref drops references. With the last one the message goes; a body too long
// to be deleted here is marked and its ID appended to freed, for the sweeper.
func (t *tx) unref(id mail.ID, n int, freed *[]mail.ID) error {
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
	for _, kind := range []byte{kMessage, kRefs, kStructure} {
		if err := t.delete(idKey(kind, id)); err != nil {
			return err
		}
	}
	t.freed += m.size
	if m.chunks > inlineChunks {
		*freed = append(*freed, id)
		return t.set(idKey(kGarbage, id), []byte{recordVersion})
	}
	for i := range m.chunks {
		if err := t.delete(chunkKey(id, i)); err != nil {
			return err
		}
	}
	return nil
}
