package badger

import (
	"bytes"
	"fmt"
	"slices"

	"restante/internal/mail"
	"restante/spool/segment"
)

// longBody is the body whose parts the restorer is being given.
type longBody struct {
	id   mail.ID
	open bool
	// first is part 0 as it came, sealed, until it is known whether it is all;
	// pieces are those written.
	first  []byte
	pieces piecesRecord
}

// body takes the record of a body; any other ends the body before. A short
// body stays a record, a long one goes to the segments. The value is the
// chain's.
func (r *restorer) body(key, value []byte) (taken bool, err error) {
	part := key[0] == kChunk && len(key) == keyLength(kChunk)
	if r.long.open && !(part && idOf(key) == r.long.id) {
		if err := r.endBody(); err != nil {
			return false, err
		}
	}
	if !part {
		return false, nil
	}
	id, n := idOf(key), chunkOf(key)
	switch payload, err := unseal(key, value); {
	case n == 0 && (err != nil || len(payload) <= inlineSize):
		r.long = longBody{id: id, open: true, first: append(r.long.first[:0], value...)}
		return true, nil
	case n == 0:
		r.long = longBody{id: id, open: true, first: r.long.first[:0]}
		return true, r.piece(payload)
	case !r.long.open:
		return false, nil // without its beginning: a stray record
	default:
		if err2 := r.begin(); err2 != nil {
			return true, err2
		}
		if err != nil {
			return true, r.hole()
		}
		return true, r.piece(payload)
	}
}

// begin writes part 0 as a piece, now that another part has come.
func (r *restorer) begin() error {
	if len(r.long.pieces.refs) > 0 {
		return nil
	}
	payload, err := unseal(chunkKey(r.long.id, 0), r.long.first)
	if err != nil {
		return r.hole()
	}
	return r.piece(payload)
}

// hole keeps the place of a piece that the backup could not read, for the
// check to find.
func (r *restorer) hole() error {
	r.damaged++
	r.long.pieces.refs = append(r.long.pieces.refs, segment.Ref{})
	return nil
}

func (r *restorer) piece(payload []byte) error {
	if err := r.room(); err != nil {
		return err
	}
	p := &r.long.pieces
	ref, err := r.segments.Append(r.long.id, p.number(len(p.refs)), payload)
	if err != nil {
		return err
	}
	p.refs = append(p.refs, ref)
	return nil
}

// endBody writes the record of the body.
func (r *restorer) endBody() error {
	long := r.long
	r.long = longBody{first: long.first[:0]}
	if len(long.pieces.refs) > 0 {
		where := long.pieces.encode()
		if err := r.fit(len(where)); err != nil {
			return err
		}
		return r.t.set(idKey(kPieces, long.id), where)
	}
	key := chunkKey(long.id, 0)
	if err := r.fit(len(key) + len(long.first)); err != nil {
		return err
	}
	if _, err := unseal(key, long.first); err != nil {
		r.damaged++
	}
	r.t.entries++
	r.t.size += int64(len(key) + len(long.first))
	return r.t.txn.Set(key, slices.Clone(long.first))
}

// message makes a message's record tell where its body is here.
func (r *restorer) message(id mail.ID, payload []byte) ([]byte, error) {
	m, err := decodeMessage(bytes.Clone(payload))
	if err != nil {
		return payload, nil // the check tells
	}
	packed, err := r.t.has(idKey(kPieces, id))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	m.packed, m.chunks = packed, 0
	if packed {
		p, err := r.t.pieces(id)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		m.chunks = uint32(len(p.refs))
	} else if m.size > 0 {
		m.chunks = 1
	}
	return m.encode(), nil
}
