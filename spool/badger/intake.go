package badger

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	"restante/internal/mail"
	"restante/spool"
)

// staged is a message on its way in.
type staged struct {
	e    *Engine
	id   mail.ID
	size int64
	hash hash.Hash
	// buf is the chunk being filled; it is full only on its way out.
	buf     []byte
	flushed uint32 // chunks written
	ended   bool
}

// Create opens a staging area.
func (e *Engine) Create() (spool.Staged, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	if err := e.fault(); err != nil {
		return nil, err
	}
	if err := e.room(); err != nil {
		return nil, err
	}
	return &staged{e: e, id: e.ids.Next(e.opt.Now()), hash: sha256.New()}, nil
}

func (s *staged) ID() mail.ID { return s.id }
func (s *staged) Size() int64 { return s.size }

// Write appends to the body; each full chunk is durable before it returns.
func (s *staged) Write(p []byte) (int, error) {
	if s.ended {
		return 0, spool.ErrClosed
	}
	written := 0
	for len(p) > 0 {
		if len(s.buf) == chunkSize {
			if err := s.flush(); err != nil {
				return written, err
			}
		}
		n := min(chunkSize-len(s.buf), len(p))
		if cap(s.buf) < len(s.buf)+n {
			s.grow(len(s.buf) + n)
		}
		s.buf = append(s.buf, p[:n]...)
		s.hash.Write(p[:n])
		s.size += int64(n)
		written += n
		p = p[n:]
	}
	return written, nil
}

// grow doubles the buffer, never past a chunk with its checksum.
func (s *staged) grow(need int) {
	c := min(max(2*cap(s.buf), need, 8<<10), chunkSize) + sumLen
	s.buf = append(make([]byte, 0, c), s.buf...)
}

// flush writes the full chunk out, under the garbage mark.
func (s *staged) flush() error {
	if err := s.e.enter(); err != nil {
		return err
	}
	defer s.e.leave()
	if err := s.e.room(); err != nil {
		return err
	}
	n := s.flushed
	err := s.e.do(func(t *tx) error {
		if n == 0 {
			if err := t.set(idKey(kGarbage, s.id), []byte{recordVersion}); err != nil {
				return err
			}
		}
		return t.set(chunkKey(s.id, n), s.buf)
	}, nil)
	if err != nil {
		return fmt.Errorf("spool: write body: %w", err)
	}
	s.flushed++
	s.buf = s.buf[:0]
	return nil
}

// Abort throws the body away.
func (s *staged) Abort() {
	if s.ended {
		return
	}
	s.ended, s.buf = true, nil
	if s.flushed > 0 {
		s.e.sweeper.body(s.id)
	}
}

// Commit makes the message durable.
func (s *staged) Commit(ctx context.Context, m spool.Message) (spool.Receipt, error) {
	if err := s.e.enter(); err != nil {
		return spool.Receipt{}, err
	}
	defer s.e.leave()
	if err := s.e.room(); err != nil {
		return spool.Receipt{}, err
	}
	c, err := s.prepare(m)
	if err != nil {
		return spool.Receipt{}, err
	}
	select {
	case err = <-s.e.submit(c.run, c.after):
	case <-ctx.Done():
		// The operation goes on; if it succeeds the message is there.
		return spool.Receipt{}, fmt.Errorf("%w: %w", spool.ErrUncertain, context.Cause(ctx))
	}
	if err != nil {
		c.undo(err)
		return spool.Receipt{}, fmt.Errorf("spool: commit: %w", err)
	}
	return c.receipt, nil
}

// commitment is the change that a Commit or a Report makes.
type commitment struct {
	s       *staged
	m       spool.Message
	hash    [32]byte
	receipt spool.Receipt
	tasks   []taskRecord
	touched []spool.MailboxID
}

var errNothing = errors.New("spool: a message without deposits and tasks")

// prepare ends the staging area and checks what does not need the storage.
func (s *staged) prepare(m spool.Message) (*commitment, error) {
	if s.ended {
		return nil, spool.ErrClosed
	}
	if len(m.Deposits)+len(m.Tasks) == 0 {
		return nil, errNothing
	}
	for _, task := range m.Tasks {
		if err := checkTask(task); err != nil {
			return nil, err
		}
	}
	if err := s.lead(m.Head); err != nil {
		return nil, err
	}
	s.ended = true
	c := &commitment{s: s, m: m}
	s.hash.Sum(c.hash[:0])
	return c, nil
}

// run writes everything that makes the message one.
func (c *commitment) run(t *tx) error {
	s, now := c.s, c.s.e.opt.Now()
	c.receipt = spool.Receipt{ID: s.id}
	c.tasks, c.touched = c.tasks[:0], c.touched[:0]
	chunks := s.flushed
	if len(s.buf) > 0 {
		if err := t.set(chunkKey(s.id, chunks), s.buf); err != nil {
			return err
		}
		chunks++
	}
	if s.flushed > 0 {
		if err := t.delete(idKey(kGarbage, s.id)); err != nil {
			return err
		}
	}
	rec := messageRecord{env: c.m.Envelope, size: s.size, hash: c.hash, chunks: chunks}
	rec.env.Arrived = now
	if err := t.set(idKey(kMessage, s.id), rec.encode()); err != nil {
		return err
	}
	if c.m.Structure != nil {
		if err := t.set(idKey(kStructure, s.id), append([]byte(nil), c.m.Structure...)); err != nil {
			return err
		}
	}
	for _, d := range c.m.Deposits {
		at, err := t.deposit(s.id, s.size, d, now)
		if err != nil {
			return err
		}
		c.receipt.Deposited = append(c.receipt.Deposited, at)
		c.touched = append(c.touched, at.Mailbox)
	}
	for i, task := range c.m.Tasks {
		id := spool.TaskID{Message: s.id, N: uint16(i)}
		tr := newTask(task, rec.env.Priority, now)
		if err := t.putTask(id, &tr); err != nil {
			return err
		}
		c.receipt.Tasks = append(c.receipt.Tasks, id)
		c.tasks = append(c.tasks, tr)
	}
	refs := refsRecord{refs: uint64(len(c.m.Deposits) + len(c.m.Tasks)), nextTask: uint64(len(c.m.Tasks))}
	return t.set(idKey(kRefs, s.id), refs.encode())
}

// after tells those who wait.
func (c *commitment) after() {
	c.s.e.queue.added(c.tasks)
	c.s.e.watch.notify(c.touched)
}

// undo frees the body after the change failed for certain.
func (c *commitment) undo(err error) {
	if c.s.flushed > 0 && !errors.Is(err, spool.ErrUncertain) {
		c.s.e.sweeper.body(c.s.id)
	}
}
