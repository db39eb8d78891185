package badger

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"restante/internal/mail"
	"restante/spool"
	"restante/spool/segment"
)

// body is an open body: a short one in memory, a long one by the piece. It
// holds no snapshot: pieces never change where they are, and are pinned there.
type body struct {
	e    *Engine
	id   mail.ID
	size int64

	mu     sync.Mutex
	closed bool
	// piece holds the octets from first on: those read last, since readers
	// mostly go on where they were.
	piece []byte
	first int64

	// Of a long body: its pieces, where each ends in the body, and who reads.
	where  piecesRecord
	ends   []int64
	reader *segment.Reader
	buf    []byte
	// damaged is why nothing of a body can be read.
	damaged error
}

// OpenBody opens a stored body.
func (e *Engine) OpenBody(id mail.ID) (spool.Body, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	e.segments.Hold()
	defer e.segments.Unhold()
	t := e.view()
	defer t.discard()
	m, err := load(t, idKey(kMessage, id), decodeMessage)
	if err != nil {
		return nil, fmt.Errorf("open body %s: %w", id, err)
	}
	b := &body{e: e, id: id, size: m.size}
	if m.packed {
		b.where, err = t.pieces(id)
	} else if m.size > 0 {
		err = t.get(chunkKey(id, 0), func(p []byte) error {
			b.piece = append([]byte(nil), p...)
			return nil
		})
	}
	size := int64(len(b.piece))
	for _, r := range b.where.refs {
		size += int64(r.Length)
		b.ends = append(b.ends, size)
	}
	switch {
	case errors.Is(err, spool.ErrNotFound):
		b.damaged = fmt.Errorf("%w: it is not there", spool.ErrCorrupt)
	case errors.Is(err, spool.ErrCorrupt):
		b.damaged = err
	case err != nil:
		return nil, fmt.Errorf("open body %s: %w", id, err)
	case size != m.size:
		b.damaged = fmt.Errorf("%w: it has %d octets, not %d", spool.ErrCorrupt, size, m.size)
	case m.packed:
		b.reader = e.segments.Reader()
		e.segments.Pin(b.where.refs)
	}
	return b, nil
}

func (b *body) Size() int64 { return b.size }

// Close lets the pieces go.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed, b.piece, b.buf = true, nil, nil
	if b.reader != nil {
		b.reader.Close()
		b.e.segments.Unpin(b.where.refs)
	}
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
		if err := b.load(off); err != nil {
			return read, fmt.Errorf("read body %s: %w", b.id, err)
		}
		n := copy(p[read:], b.piece[off-b.first:])
		read += n
		off += int64(n)
	}
	if read < len(p) {
		return read, io.EOF
	}
	return read, nil
}

// load brings the piece that holds an offset into b.piece.
func (b *body) load(off int64) error {
	if b.damaged != nil {
		return b.damaged
	}
	if off >= b.first && off < b.first+int64(len(b.piece)) {
		return nil
	}
	i := sort.Search(len(b.ends), func(i int) bool { return b.ends[i] > off })
	ref := b.where.refs[i]
	b.piece = nil
	if b.buf == nil {
		b.buf = make([]byte, 0, segment.Room(b.largest()))
	}
	got, err := b.reader.Read(ref, b.id, b.where.number(i), b.buf)
	if err != nil {
		return fmt.Errorf("piece %d: %w", i, err)
	}
	b.piece, b.first = got, b.ends[i]-int64(ref.Length)
	return nil
}

// largest is the length of the longest piece.
func (b *body) largest() (n uint32) {
	for _, r := range b.where.refs {
		n = max(n, r.Length)
	}
	return n
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
