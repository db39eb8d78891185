package badger

import (
	"bytes"
	"errors"
	"fmt"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/internal/mail"
	"restante/spool"
)

// Gather implements spool.Bodies.
func (e *Engine) Gather(ids []mail.ID, bodies bool) (list []spool.Gathered, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	list = make([]spool.Gathered, len(ids))
	err = e.read(func(t *tx) error {
		var store arena
		list = list[:t.gatherStructures(ids, list, &store)]
		if bodies {
			list = list[:t.gatherBodies(ids, list, &store)]
		}
		return nil
	})
	return list, err
}

// gatherStructures fills in structures, and returns for how many messages.
func (t *tx) gatherStructures(ids []mail.ID, list []spool.Gathered, store *arena) int {
	w := walker{t: t, prefix: []byte{kStructure}}
	defer w.close()
	for i, id := range ids {
		if store.size > spool.MaxGather {
			return i
		}
		err := w.get(idKey(kStructure, id), func(p []byte) error {
			list[i].Structure = store.copy(p)
			return nil
		})
		if errors.Is(err, spool.ErrNotFound) {
			err = t.known(id)
		}
		list[i].Err = err
	}
	return len(ids)
}

// gatherBodies fills in bodies of messages that have their structures, and returns
// for how many.
func (t *tx) gatherBodies(ids []mail.ID, list []spool.Gathered, store *arena) int {
	w := walker{t: t, prefix: []byte{kChunk}}
	defer w.close()
	for i := range list {
		if store.size > spool.MaxGather && i > 0 {
			return i
		}
		if list[i].Err != nil {
			continue
		}
		// One that fails is found to be damaged when it is opened.
		_ = w.get(chunkKey(ids[i], 0), func(p []byte) error {
			list[i].Body = store.copy(p)
			return nil
		})
	}
	return len(list)
}

// known tells whether there is a message.
func (t *tx) known(id mail.ID) error {
	ok, err := t.has(idKey(kMessage, id))
	if err == nil && !ok {
		err = spool.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("gather %s: %w", id, err)
	}
	return nil
}

const (
	// walkReach is how many records a walker passes over to come to the next.
	walkReach = 3
	// walkTries is how many times in a row it may jump instead.
	walkTries = 3
)

// walker reads records of one kind. Those that lie close together, in the order of
// their keys, are read by an iterator, which takes a fraction of the time of looking
// each of them up; where they do not, it leaves off iterating.
type walker struct {
	t      *tx
	prefix []byte // of their keys
	it     *badgerdb.Iterator
	at     []byte // the last key that the iterator was asked for
	jump   int    // jumps in a row
}

// get is tx.get.
func (w *walker) get(key []byte, f func(payload []byte) error) error {
	if w.jump >= walkTries || bytes.Compare(key, w.at) < 0 {
		return w.t.get(key, f)
	}
	w.at = append(w.at[:0], key...)
	if !w.walk(key) {
		return spool.ErrNotFound
	}
	return w.it.Item().Value(func(v []byte) error {
		payload, err := unseal(key, v)
		if err != nil {
			return err
		}
		return f(payload)
	})
}

// walk brings the iterator to a key that is not below w.at, if it is there.
func (w *walker) walk(key []byte) bool {
	if w.it == nil {
		w.it = w.t.txn.NewIterator(badgerdb.IteratorOptions{Prefix: w.prefix})
		w.it.Seek(key)
		return w.it.Valid() && bytes.Equal(w.it.Item().Key(), key)
	}
	for range walkReach {
		if !w.it.Valid() {
			return false
		}
		if c := bytes.Compare(w.it.Item().Key(), key); c >= 0 {
			w.jump = 0
			return c == 0
		}
		w.it.Next()
	}
	w.jump++
	w.it.Seek(key)
	return w.it.Valid() && bytes.Equal(w.it.Item().Key(), key)
}

func (w *walker) close() {
	if w.it != nil {
		w.it.Close()
	}
}

// arena keeps copies of many octets in few allocations.
type arena struct {
	free []byte
	size int // of all copies
}

const arenaSize = 64 << 10

// copy is never nil.
func (a *arena) copy(p []byte) []byte {
	if a.size += len(p); len(p) > cap(a.free) || a.free == nil {
		a.free = make([]byte, 0, max(arenaSize, len(p)))
	}
	b := a.free[:len(p):len(p)]
	copy(b, p)
	a.free = a.free[len(p):cap(a.free)][:0]
	return b
}
