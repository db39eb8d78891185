package badger

import (
	"errors"
	"maps"
	"slices"
	"sync"

	"restante/spool"
)

// recents are what sessions have been told of, by mailbox: the lowest UID that
// none was. That a message is not recent any more is not worth a commit of its
// own: it goes along with the next change of the mailbox's row (see row), and
// Close stores the others. The zero value is ready.
type recents struct {
	mu sync.Mutex
	by map[spool.MailboxID]spool.UID
}

// of returns what is known of a mailbox, 0 for nothing.
func (r *recents) of(id spool.MailboxID) spool.UID {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.by[id]
}

// take raises the mark of a mailbox, of which the row says recent, to what lies
// behind upto, and returns what it was.
func (r *recents) take(id spool.MailboxID, recent, upto spool.UID) spool.UID {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := max(r.by[id], recent)
	if upto < from {
		return from
	}
	if r.by == nil {
		r.by = make(map[spool.MailboxID]spool.UID)
	}
	r.by[id] = upto + 1
	return from
}

func (r *recents) forget(id spool.MailboxID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.by, id)
}

// TakeRecent implements spool.Mailboxes.
func (e *Engine) TakeRecent(id spool.MailboxID, upto spool.UID) (spool.UID, error) {
	m, err := e.MailboxByID(id)
	if err != nil {
		return 0, err
	}
	return e.recent.take(id, m.Recent, min(upto, m.UIDNext-1)), nil
}

// keepRecent stores what the rows do not say yet. Nothing is lost if it cannot:
// some messages are recent once more.
func (e *Engine) keepRecent() {
	e.recent.mu.Lock()
	ids := slices.Sorted(maps.Keys(e.recent.by))
	e.recent.mu.Unlock()
	for part := range slices.Chunk(ids, entryStep) {
		err := e.do(func(t *tx) error {
			for _, id := range part {
				m, err := t.storedRow(id)
				if errors.Is(err, spool.ErrNoMailbox) {
					continue
				}
				if now := t.recent.of(id); err == nil && m.Recent < now {
					m.Recent = now
					err = t.setRow(&m)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}, nil)
		if err != nil {
			e.opt.Logger.Warn("messages will be recent once more: what sessions were told of could not be stored", "err", err)
			return
		}
	}
}
