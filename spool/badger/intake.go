package badger

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	"restante/internal/mail"
	"restante/spool"
	"restante/spool/segment"
)

// syncEvery is how much of a body may wait in memory of the kernel: a fast
// sender is held back to the pace of the device.
const syncEvery = 1 << 20

// staged is a message on its way in.
type staged struct {
	e    *Engine
	id   mail.ID
	size int64
	hash hash.Hash
	// buf is the piece being filled; it is full only on its way out.
	buf []byte
	// pieces are in the segments; of them, unsynced octets may not be durable.
	pieces   []segment.Ref
	unsynced int
	ended    bool
	// apart: the body goes to the segments even if it is short.
	apart bool
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

// Write appends to the body.
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

// flush writes the full piece out. Nothing refers to it before the commit.
func (s *staged) flush() error {
	if err := s.e.enter(); err != nil {
		return err
	}
	defer s.e.leave()
	if err := s.e.room(); err != nil {
		return err
	}
	if err := s.put(s.buf); err != nil {
		return fmt.Errorf("spool: write body: %w", err)
	}
	s.buf = s.buf[:0]
	if s.unsynced < syncEvery {
		return nil
	}
	s.unsynced = 0
	return s.e.syncPieces()
}

// put appends a piece, which streamed in, to the body.
func (s *staged) put(parts ...[]byte) error {
	ref, err := s.e.appendPiece(s.id, uint32(len(s.pieces))+1, parts...)
	if err != nil {
		return err
	}
	s.pieces = append(s.pieces, ref)
	s.unsynced += int(ref.Length)
	return nil
}

// Abort throws the body away.
func (s *staged) Abort() {
	if s.ended {
		return
	}
	s.ended, s.buf = true, nil
	s.free()
}

// free gives the pieces up.
func (s *staged) free() {
	s.e.segments.Free(s.pieces...)
	s.pieces = nil
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
	c.once = true
	done := s.e.submit(c.run, c.after)
	select {
	case err = <-done:
	case <-ctx.Done():
		// The operation goes on; if it succeeds the message is there.
		go func() {
			if err := <-done; err != nil {
				c.undo(err)
			}
		}()
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
	s    *staged
	m    spool.Message
	hash [32]byte
	// inline is a short body, with room for its checksum; where is a long one's.
	inline  []byte
	where   piecesRecord
	once    bool // Message.Once counts
	receipt spool.Receipt
	tasks   []taskRecord
	touched []spool.MailboxID
}

var (
	errNothing = errors.New("spool: a message without deposits and tasks")
	errHead    = errors.New("spool: the head of a message is too long")
	errOnce    = errors.New("spool: too long a time for a message not to be taken again")
)

// prepare ends the staging area, checks what does not need the storage, and
// makes durable what goes to the segments.
func (s *staged) prepare(m spool.Message) (*commitment, error) {
	switch {
	case s.ended:
		return nil, spool.ErrClosed
	case len(m.Deposits)+len(m.Tasks) == 0:
		return nil, errNothing
	case len(m.Head) > spool.MaxHead:
		return nil, errHead
	case m.OnceFor > spool.MaxOnce:
		return nil, errOnce
	}
	for _, task := range m.Tasks {
		if err := checkTask(task); err != nil {
			return nil, err
		}
	}
	s.ended = true
	c := &commitment{s: s, m: m}
	s.hash.Write(m.Head)
	s.hash.Sum(c.hash[:0])
	if err := c.place(); err != nil {
		s.free()
		return nil, fmt.Errorf("spool: write body: %w", err)
	}
	s.buf = nil
	return c, nil
}

// place decides where the body is, and puts the rest of it there.
func (c *commitment) place() error {
	s, head := c.s, c.m.Head
	if n := len(head) + len(s.buf); len(s.pieces) == 0 && n <= inlineSize && (!s.apart || n == 0) {
		if len(head) == 0 {
			c.inline = s.buf
			return nil
		}
		c.inline = append(append(make([]byte, 0, n+sumLen), head...), s.buf...)
		return nil
	}
	if len(s.pieces) == 0 {
		if err := s.put(head, s.buf); err != nil {
			return err
		}
		head = nil
	} else if len(s.buf) > 0 {
		if err := s.put(s.buf); err != nil {
			return err
		}
	}
	if len(head) > 0 {
		ref, err := s.e.appendPiece(s.id, 0, head)
		if err != nil {
			return err
		}
		s.pieces = append([]segment.Ref{ref}, s.pieces...)
		c.where.head = true
	}
	c.where.refs = s.pieces
	return s.e.syncPieces()
}

// run writes everything that makes the message one.
func (c *commitment) run(t *tx) error {
	s, now := c.s, c.s.e.opt.Now()
	c.receipt = spool.Receipt{ID: s.id}
	c.tasks, c.touched = c.tasks[:0], c.touched[:0]
	if c.once {
		if err := t.once(s.id, &c.m, now); err != nil {
			return err
		}
	}
	rec := messageRecord{env: c.m.Envelope, size: s.size + int64(len(c.m.Head)), hash: c.hash, head: int64(len(c.m.Head))}
	if len(c.where.refs) > 0 {
		rec.packed, rec.chunks = true, uint32(len(c.where.refs))
		if err := t.set(idKey(kPieces, s.id), c.where.encode()); err != nil {
			return err
		}
	} else if len(c.inline) > 0 {
		rec.chunks = 1
		if err := t.set(chunkKey(s.id, 0), c.inline); err != nil {
			return err
		}
	}
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
		at, err := t.deposit(s.id, rec.size, d, now)
		if err != nil {
			return err
		}
		c.receipt.Deposited = append(c.receipt.Deposited, at)
		c.touched = append(c.touched, at.Mailbox)
	}
	for i, task := range c.m.Tasks {
		id := spool.TaskID{Message: s.id, N: uint16(i)}
		tr := newTask(task, rec.env.Priority, spool.Share(&rec.env), now)
		if err := t.putTask(id, &tr); err != nil {
			return err
		}
		c.receipt.Tasks = append(c.receipt.Tasks, id)
		c.tasks = append(c.tasks, tr)
	}
	if err := c.beginStory(t, &rec); err != nil {
		return err
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
	if !errors.Is(err, spool.ErrUncertain) {
		c.s.free()
	}
}
