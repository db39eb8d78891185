package badger

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"restante/internal/mail"
	"restante/spool"
)

// body reads chunks from the snapshot in which it was opened.
type body struct {
	e    *Engine
	t    *tx
	id   mail.ID
	size int64

	mu     sync.Mutex
	closed bool
	// last is the chunk read last, and its number: readers mostly go on
	// where they were.
	last  []byte
	lastN int64
}

// OpenBody opens a stored body.
func (e *Engine) OpenBody(id mail.ID) (spool.Body, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	t := e.view()
	m, err := load(t, idKey(kMessage, id), decodeMessage)
	if err != nil {
		t.discard()
		return nil, fmt.Errorf("open body %s: %w", id, err)
	}
	b := &body{e: e, t: t, id: id, size: m.size, lastN: -1}
	e.life.Lock()
	e.bodies[b] = struct{}{}
	e.life.Unlock()
	return b, nil
}

func (b *body) Size() int64 { return b.size }

// Close gives the snapshot back.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed, b.last = true, nil
	if b.e.enter() != nil {
		return nil // the engine has discarded it
	}
	defer b.e.leave()
	b.e.life.Lock()
	delete(b.e.bodies, b)
	b.e.life.Unlock()
	b.t.discard()
	return nil
}

// ReadAt implements io.ReaderAt.
func (b *body) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("spool: negative offset")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, spool.ErrClosed
	}
	if err := b.e.enter(); err != nil {
		return 0, err
	}
	defer b.e.leave()
	read := 0
	for read < len(p) && off < b.size {
		if err := b.load(off / chunkSize); err != nil {
			return read, fmt.Errorf("read body %s: %w", b.id, err)
		}
		n := copy(p[read:], b.last[off%chunkSize:])
		read += n
		off += int64(n)
	}
	if read < len(p) {
		return read, io.EOF
	}
	return read, nil
}

// load brings chunk n into b.last.
func (b *body) load(n int64) error {
	if n == b.lastN {
		return nil
	}
	b.lastN = -1
	err := b.t.get(chunkKey(b.id, uint32(n)), func(p []byte) error {
		if int64(len(p)) != min(chunkSize, b.size-n*chunkSize) {
			return fmt.Errorf("%w: chunk %d has %d octets", spool.ErrCorrupt, n, len(p))
		}
		b.last = append(b.last[:0], p...)
		return nil
	})
	if errors.Is(err, spool.ErrNotFound) {
		return fmt.Errorf("%w: chunk %d is missing", spool.ErrCorrupt, n)
	}
	if err == nil {
		b.lastN = n
	}
	return err
}

// Structure returns what was stored beside the body.
func (e *Engine) Structure(id mail.ID) ([]byte, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	t := e.view()
	defer t.discard()
	s, err := load(t, idKey(kStructure, id), func(p []byte) ([]byte, error) {
		return append([]byte{}, p...), nil
	})
	if errors.Is(err, spool.ErrNotFound) {
		if ok, err := t.has(idKey(kMessage, id)); err != nil || ok {
			return nil, err
		}
	}
	return s, err
}

// Stat returns what is known of a message.
func (e *Engine) Stat(id mail.ID) (spool.Info, error) {
	if err := e.enter(); err != nil {
		return spool.Info{}, err
	}
	defer e.leave()
	t := e.view()
	defer t.discard()
	m, err := load(t, idKey(kMessage, id), decodeMessage)
	if err != nil {
		return spool.Info{}, fmt.Errorf("stat %s: %w", id, err)
	}
	r, err := load(t, idKey(kRefs, id), decodeRefs)
	if err != nil {
		return spool.Info{}, fmt.Errorf("stat %s: references: %w", id, err)
	}
	return spool.Info{ID: id, Envelope: m.env, Size: m.size, Hash: m.hash, References: int(r.refs)}, nil
}
