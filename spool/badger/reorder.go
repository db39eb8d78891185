package badger

import (
	"errors"
	"slices"

	"restante/spool"
)

// reorderStep is how many tasks one transaction of reorderQueue changes.
const reorderStep = 500

// reorderQueue leads from 4 to 5: q keys have the share of the sender in them,
// so that senders take turns. Every task learns its share from its message, and
// gets a key of the new kind for its old one; then old keys go that no task had.
// The two kinds differ in length.
func reorderQueue(e *Engine) error {
	t := e.view()
	defer t.discard()
	if err := e.eachStep(t, kTask, func(key []byte) bool { return len(key) == keyLength(kTask) }, (*tx).reorder); err != nil {
		return err
	}
	stale := e.view()
	defer stale.discard()
	return e.eachStep(stale, kQueue, func(key []byte) bool { return queueOrderLen(key) == orderLen-1 }, (*tx).delete)
}

// eachStep changes the records of a kind in a snapshot, some in each transaction.
func (e *Engine) eachStep(t *tx, kind byte, want func(key []byte) bool, change func(t *tx, key []byte) error) error {
	it := t.keys([]byte{kind})
	defer it.Close()
	var keys [][]byte
	step := func() error {
		err := e.do(func(t *tx) error {
			for _, key := range keys {
				if err := change(t, key); err != nil {
					return err
				}
			}
			return nil
		}, nil)
		keys = keys[:0]
		return err
	}
	for it.Rewind(); it.Valid(); it.Next() {
		if !want(it.Item().Key()) {
			continue
		}
		if keys = append(keys, it.Item().KeyCopy(nil)); len(keys) == reorderStep {
			if err := step(); err != nil {
				return err
			}
		}
	}
	return step()
}

// reorder gives a task its share. One that cannot be read loses its place in
// the queue, as Check would have it; one whose message cannot be keeps share 0.
func (t *tx) reorder(key []byte) error {
	id := taskOf(key)
	r, err := t.task(id)
	if errors.Is(err, spool.ErrCorrupt) {
		return nil
	}
	if err != nil {
		return err
	}
	switch m, err := load(t, idKey(kMessage, id.Message), decodeMessage); {
	case err == nil:
		r.share = spool.Share(&m.env)
	case !errors.Is(err, spool.ErrNotFound) && !errors.Is(err, spool.ErrCorrupt):
		return err
	}
	if err := t.set(key, r.encode()); err != nil || r.state != spool.Queued {
		return err
	}
	if err := t.delete(r.queueKey4(id)); err != nil {
		return err
	}
	return t.set(r.queueKey(id), []byte{recordVersion})
}

// queueKey4 is what queueKey was up to format 4.
func (r *taskRecord) queueKey4(id spool.TaskID) []byte {
	at := len(destinationKey(kQueue, r.dest)) + 1
	return slices.Delete(r.queueKey(id), at, at+1)
}
