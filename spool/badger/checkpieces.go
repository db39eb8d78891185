package badger

import (
	"cmp"
	"errors"
	"slices"

	"restante/internal/mail"
	"restante/spool"
	"restante/spool/segment"
)

// dropStrayPieces takes the record of a body aside that has no message, and
// with it its body.
func (c *checker) dropStrayPieces(id mail.ID) *fix {
	hurt := casualty{id: id, what: "a body without its message"}
	version := c.version(idKey(kPieces, id))
	return &fix{
		action:  spool.ActionMovedAside,
		prepare: func() (string, error) { return c.save(&hurt) },
		run: func(t *tx) error {
			if there, err := t.has(idKey(kMessage, id)); err != nil || there || t.version(idKey(kPieces, id)) != version {
				return errors.Join(err, errMoved)
			}
			return t.dropPieces(id)
		},
	}
}

// findPieces looks through the segments for the body of a message whose pieces
// record cannot be read; nil if what is there is not the whole body.
func (c *checker) findPieces(m *message) *piecesRecord {
	if !m.there || m.err != nil {
		return nil
	}
	if c.blobs == nil {
		c.scanSegments()
	}
	// A body that was moved may have a piece twice, each as good as the other.
	found := slices.CompactFunc(c.blobs[m.id], func(a, b segment.Found) bool { return a.Number == b.Number })
	if len(found) == 0 {
		return nil
	}
	rec := piecesRecord{head: found[0].Number == 0}
	check := bodyCheck{head: min(m.rec.head, spool.MaxHead)}
	for i, f := range found {
		rec.refs = append(rec.refs, f.Ref)
		if f.Number != rec.number(i) {
			return nil
		}
	}
	check.pieces(c, m.id, &rec, true)
	if check.err != nil || check.size != m.rec.size || check.hash() != m.rec.hash {
		return nil
	}
	return &rec
}

// scanSegments finds the blobs of all bodies whose pieces record cannot be
// read, in the order of their numbers.
func (c *checker) scanSegments() {
	c.blobs = make(map[mail.ID][]segment.Found)
	collect(c.t, []byte{kPieces}, func(key []byte) {
		if _, err := c.t.pieces(idOf(key)); errors.Is(err, spool.ErrCorrupt) {
			c.blobs[idOf(key)] = nil
		}
	})
	for _, n := range c.e.segments.Numbers() {
		if c.ctx.Err() != nil {
			return
		}
		if err := c.e.segments.Scan(n, func(f segment.Found) error {
			if list, wanted := c.blobs[f.Owner]; wanted {
				c.blobs[f.Owner] = append(list, f)
			}
			return nil
		}); err != nil {
			c.e.opt.Logger.Error("spool check", "segment", n, "err", err)
		}
	}
	for _, list := range c.blobs {
		slices.SortStableFunc(list, func(a, b segment.Found) int { return cmp.Compare(a.Number, b.Number) })
	}
}
