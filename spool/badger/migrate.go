package badger

import (
	"errors"
	"fmt"

	"restante/internal/mail"
	"restante/spool"
)

// formatVersion is what this engine writes. An older format is migrated at
// Open, a newer one is refused.
const formatVersion = 1 + 5 // one more than there are migrations

// migration leads from one format to the next. Its run may be ended by a crash
// at any point and is then called again from the beginning, on what its
// transactions have made until then. It must not rest on anything that the
// engine keeps in memory: nothing has been loaded yet.
type migration struct {
	what string
	run  func(e *Engine) error
}

// migrations are all there are; the first leads from format 1 to 2.
func migrations() []migration {
	return []migration{
		{"an identity, by which incremental backups know their spool", giveIdentity},
		{"the index of mailboxes, by which they open without reading their entries", indexMailboxes},
		{"long bodies move to segments", packBodies},
		{"the index of the queue, by which senders take turns", reorderQueue},
		{"which messages are recent, in the rows of the mailboxes", func(*Engine) error { return nil }},
	}
}

// checkFormat brings the spool to our format, or refuses it.
func (e *Engine) checkFormat(list []migration) error {
	t := e.view()
	v, err := load(t, metaKey(metaFormat), decodeCounter)
	t.discard()
	current := uint64(len(list)) + 1
	switch {
	case errors.Is(err, spool.ErrNotFound):
		return e.do(func(t *tx) error {
			if err := t.renewIdentity(); err != nil {
				return err
			}
			return t.set(metaKey(metaFormat), encodeCounter(current))
		}, nil)
	case err != nil:
		return fmt.Errorf("spool: format: %w", err)
	case v == 0 || v > current:
		return fmt.Errorf("spool: %s has format %d, this program knows those up to %d", e.opt.Dir, v, current)
	}
	for ; v < current; v++ {
		m := list[v-1]
		e.opt.Logger.Info("migrating the spool", "from", v, "to", v+1, "what", m.what)
		if err := m.run(e); err != nil {
			return fmt.Errorf("spool: migrate from format %d to %d: %w", v, v+1, err)
		}
		if err := e.do(func(t *tx) error { return t.set(metaKey(metaFormat), encodeCounter(v+1)) }, nil); err != nil {
			return fmt.Errorf("spool: migrate from format %d to %d: %w", v, v+1, err)
		}
		e.opt.Logger.Info("the spool is migrated", "to", v+1)
	}
	return nil
}

// giveIdentity leads from 1 to 2.
func giveIdentity(e *Engine) error {
	return e.do(func(t *tx) error {
		if there, err := t.has(metaKey(metaIdentity)); err != nil || there {
			return err
		}
		return t.renewIdentity()
	}, nil)
}

// packBodies leads from 3 to 4. Bodies were chunks of 128 KiB, and those on
// their way in or out had a garbage mark.
func packBodies(e *Engine) error {
	t := e.view()
	defer t.discard()
	var garbage []mail.ID
	collect(t, []byte{kGarbage}, func(key []byte) { garbage = append(garbage, idOf(key)) })
	for _, id := range garbage {
		if err := e.dropGarbage(id); err != nil {
			return err
		}
	}
	var long []mail.ID
	collect(t, []byte{kMessage}, func(key []byte) {
		if m, err := load(t, key, decodeMessage); err == nil && m.chunks > 1 && !m.packed {
			long = append(long, idOf(key))
		}
	})
	for _, id := range long {
		if err := e.packBody(t, id); errors.Is(err, spool.ErrCorrupt) {
			e.opt.Logger.Error("a body is damaged and stays where it is; run restante spool check", "id", id, "err", err)
		} else if err != nil {
			return fmt.Errorf("body %s: %w", id, err)
		}
	}
	return nil
}

// dropGarbage deletes the chunks of a body that no message has, then its mark.
func (e *Engine) dropGarbage(id mail.ID) error {
	for last := false; !last; {
		keys, err := e.firstKeys(idKey(kChunk, id), sweepStep)
		if err != nil {
			return err
		}
		last = len(keys) < sweepStep
		if err := e.do(func(t *tx) error {
			if there, err := t.has(idKey(kMessage, id)); err != nil {
				return err
			} else if there {
				last = true // it has no business under a mark
				return t.delete(idKey(kGarbage, id))
			}
			for _, k := range keys {
				if err := t.delete(k); err != nil {
					return err
				}
			}
			if !last {
				return nil
			}
			if err := t.dropPieces(id); err != nil { // a restored backup has them so
				return err
			}
			return t.delete(idKey(kGarbage, id))
		}, nil); err != nil {
			return err
		}
	}
	return nil
}

// packBody moves one body.
func (e *Engine) packBody(t *tx, id mail.ID) error {
	m, err := load(t, idKey(kMessage, id), decodeMessage)
	if err != nil {
		return err
	}
	var p piecesRecord
	for i := range m.chunks {
		if err := t.get(chunkKey(id, i), func(b []byte) error {
			ref, err := e.appendPiece(id, p.number(len(p.refs)), b)
			p.refs = append(p.refs, ref)
			return err
		}); errors.Is(err, spool.ErrNotFound) {
			return fmt.Errorf("%w: chunk %d is missing", spool.ErrCorrupt, i)
		} else if err != nil {
			return err
		}
	}
	if err := e.syncPieces(); err != nil {
		return err
	}
	chunks := m.chunks
	m.packed = true
	return e.do(func(t *tx) error {
		for i := range chunks {
			if err := t.delete(chunkKey(id, i)); err != nil {
				return err
			}
		}
		if err := t.set(idKey(kPieces, id), p.encode()); err != nil {
			return err
		}
		return t.set(idKey(kMessage, id), m.encode())
	}, nil)
}
