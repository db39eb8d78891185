package badger

import (
	"errors"
	"fmt"

	"restante/spool"
)

// formatVersion is what this engine writes. An older format is migrated at
// Open, a newer one is refused.
const formatVersion = 1 + 2 // one more than there are migrations

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
