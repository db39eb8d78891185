package badger

import (
	"errors"

	"restante/internal/mail"
	"restante/spool"
	"restante/spool/segment"
)

// segmentsName is the folder of the segments in the spool's.
const segmentsName = "bodies"

// piecesRecord is what is stored under p: where a long body is.
type piecesRecord struct {
	// head tells that the first piece is Message.Head, which was written last.
	head bool
	refs []segment.Ref
}

// number is the number under which piece i was appended. Those that streamed
// in count from 1, since it is not known before the end whether a head comes.
func (p *piecesRecord) number(i int) uint32 {
	if p.head {
		return uint32(i)
	}
	return uint32(i) + 1
}

func (p *piecesRecord) encode() []byte {
	e := newRecord()
	e.bool(p.head)
	e.uint(uint64(len(p.refs)))
	for _, r := range p.refs {
		e.uint(uint64(r.Segment))
		e.uint(uint64(r.Offset))
		e.uint(uint64(r.Length))
	}
	return e.b
}

func decodePieces(payload []byte) (p piecesRecord, err error) {
	d := openRecord(payload)
	p.head = d.bool()
	p.refs = make([]segment.Ref, d.count())
	for i := range p.refs {
		p.refs[i] = segment.Ref{Segment: d.uint32(), Offset: d.uint32(), Length: d.uint32()}
	}
	return p, d.end()
}

// pieces loads the record of a long body.
func (t *tx) pieces(id mail.ID) (piecesRecord, error) {
	return load(t, idKey(kPieces, id), decodePieces)
}

// dropPieces deletes the record of a long body, if it has one; what it leads
// to is free when the transaction is durable.
func (t *tx) dropPieces(id mail.ID) error {
	p, err := t.pieces(id)
	switch {
	case errors.Is(err, spool.ErrNotFound):
		return nil
	case errors.Is(err, spool.ErrCorrupt):
		// Nobody can tell where it was; the next count after a start will.
	case err != nil:
		return err
	}
	if err := t.delete(idKey(kPieces, id)); err != nil {
		return err
	}
	t.dead = append(t.dead, p.refs...)
	return nil
}

// appendPiece writes a piece of a body to the segments.
func (e *Engine) appendPiece(id mail.ID, number uint32, parts ...[]byte) (segment.Ref, error) {
	if err := e.mayWrite(freeCheck); err != nil {
		return segment.Ref{}, err
	}
	ref, err := e.segments.Append(id, number, parts...)
	return ref, e.segmentFault(err)
}

// syncPieces makes all pieces durable that were appended before.
func (e *Engine) syncPieces() error { return e.segmentFault(e.segments.Sync()) }

// segmentFault makes the engine read-only after a fault of the segments.
func (e *Engine) segmentFault(err error) error {
	if errors.Is(err, spool.ErrReadOnly) {
		e.setFault(err)
	}
	return err
}

// countPieces counts what the records of before the start refer to, so that
// segments without any of it can go. It runs beside everything else; t is a
// snapshot from before the first change.
func (e *Engine) countPieces(t *tx) {
	defer e.counting.Done()
	defer t.discard()
	it := t.keys([]byte{kPieces})
	defer it.Close()
	missing := 0
	for it.Rewind(); it.Valid(); it.Next() {
		if e.ending() {
			return
		}
		id := idOf(it.Item().Key())
		p, err := t.pieces(id)
		if errors.Is(err, spool.ErrCorrupt) {
			e.opt.Logger.Error("the record of a body is damaged; no segment is removed until restante spool check --repair and a restart", "id", id)
			return
		}
		if err != nil {
			e.opt.Logger.Error("count the bodies; no segment is removed until the next start", "err", err)
			return
		}
		there := true
		for _, r := range p.refs {
			there = e.segments.Count(r) && there
		}
		if !there {
			if missing++; missing <= 10 {
				e.opt.Logger.Error("a body is missing, in whole or in part; run restante spool check", "id", id)
			}
		}
	}
	if missing > 0 {
		e.opt.Logger.Error("BODIES ARE MISSING", "messages", missing)
	}
	e.segments.Counted()
}

// ending tells that Close has begun.
func (e *Engine) ending() bool {
	select {
	case <-e.closing:
		return true
	default:
		return false
	}
}
