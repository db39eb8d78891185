package badger

import (
	"errors"
	"fmt"
	"slices"

	"restante/internal/mail"
	"restante/spool"
	"restante/spool/segment"
)

// Moving what is live out of segments that are mostly empty.
const (
	// sparseAfter is the room in octets that may be lost in segments before it
	// is worth to move bodies; half of what is live may be lost in any case.
	sparseAfter = 32 << 20
	// sparseStep bounds the segments that are emptied at a time.
	sparseStep = 64
	// moveStep bounds what is moved between two syncs, in octets.
	moveStep = 4 << 20
)

// sparse returns the segments that are worth to be emptied, once that many
// octets of room are lost.
func (e *Engine) sparse(after int64) []uint32 {
	sp := e.segments.Space()
	if sp.Size-sp.Live < max(after, sp.Live/2) {
		return nil
	}
	return e.segments.Sparse(sparseStep)
}

// mover moves what is live in sparse segments to the newest one; they go when
// nobody reads in them any more.
type mover struct {
	e      *Engine
	from   []uint32
	reader *segment.Reader
	list   []move
	size   int64 // octets that list has copied
}

// move is one body on its way.
type move struct {
	id       mail.ID
	old, new piecesRecord
	gone     []segment.Ref // of old, if it succeeds
	fresh    []segment.Ref // of new, if it does not
}

// emptySparse empties the segments that are worth it.
func (e *Engine) emptySparse(after int64) error {
	from := e.sparse(after)
	if len(from) == 0 {
		return nil
	}
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	e.segments.Hold()
	defer e.segments.Unhold()
	m := &mover{e: e, from: from, reader: e.segments.Reader()}
	defer m.reader.Close()
	err := m.run()
	m.giveUp()
	if err != nil {
		return fmt.Errorf("move bodies: %w", err)
	}
	return nil
}

func (m *mover) run() error {
	t := m.e.view()
	defer t.discard()
	it := t.keys([]byte{kPieces})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if m.e.ending() {
			return spool.ErrClosed
		}
		id := idOf(it.Item().Key())
		p, err := t.pieces(id)
		if err != nil {
			continue // the check tells
		}
		if err := m.copy(id, p); err != nil {
			return err
		}
		if m.size >= moveStep {
			if err := m.commit(); err != nil {
				return err
			}
		}
	}
	return m.commit()
}

// copy copies the pieces of a body that are in the segments to be emptied. A
// body that cannot be read stays where it is, for the check.
func (m *mover) copy(id mail.ID, p piecesRecord) error {
	b := move{id: id, old: p, new: piecesRecord{head: p.head, refs: slices.Clone(p.refs)}}
	for i, ref := range p.refs {
		if !slices.Contains(m.from, ref.Segment) {
			continue
		}
		octets, err := m.reader.Read(ref, id, p.number(i), nil)
		var fresh segment.Ref
		if err == nil {
			fresh, err = m.e.appendPiece(id, p.number(i), octets)
		}
		if err != nil {
			m.e.segments.Free(b.fresh...)
			if errors.Is(err, spool.ErrCorrupt) {
				m.e.opt.Logger.Error("a body is damaged; run restante spool check", "id", id, "err", err)
				return nil
			}
			return err
		}
		b.new.refs[i] = fresh
		b.gone, b.fresh = append(b.gone, ref), append(b.fresh, fresh)
		m.size += int64(ref.Length)
	}
	if len(b.fresh) > 0 {
		m.list = append(m.list, b)
	}
	return nil
}

// giveUp frees what was copied for nothing.
func (m *mover) giveUp() {
	for _, b := range m.list {
		m.e.segments.Free(b.fresh...)
	}
	m.list, m.size = nil, 0
}

// commit makes the new places of bodies known, of those that are still there.
func (m *mover) commit() error {
	if len(m.list) == 0 {
		return nil
	}
	if err := m.e.syncPieces(); err != nil {
		return err
	}
	var late []segment.Ref
	err := m.e.do(func(t *tx) error {
		late = late[:0]
		for _, b := range m.list {
			now, err := t.pieces(b.id)
			if err != nil || !slices.Equal(now.refs, b.old.refs) {
				late = append(late, b.fresh...)
				continue
			}
			if err := t.set(idKey(kPieces, b.id), b.new.encode()); err != nil {
				return err
			}
			t.dead = append(t.dead, b.gone...)
		}
		return nil
	}, func() { m.e.segments.Free(late...) })
	if err == nil || errors.Is(err, spool.ErrUncertain) {
		m.list, m.size = nil, 0
	}
	return err
}
