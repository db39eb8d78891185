package badger

import (
	"errors"
	"fmt"
	"runtime/debug"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/spool"
)

// op is one atomic change. run may be called several times, each time on a
// transaction that has none of its earlier writes; it changes nothing but its
// transaction and its own results. after runs once, when the change is durable,
// before the caller hears of it.
type op struct {
	run   func(*tx) error
	after func()
	done  chan error
}

const (
	// maxBatchOps bounds how many operations share one sync.
	maxBatchOps = 512
	// maxBatchEntries bounds the records of a batch, after LIBRARIES' measure.
	maxBatchEntries = 4096
	// entryOverhead is what Badger counts for a record beside key and value.
	entryOverhead = 12
)

// submit hands an operation to the committer and returns the channel that its
// outcome will come through. The caller is between enter and leave.
func (e *Engine) submit(run func(*tx) error, after func()) <-chan error {
	o := &op{run: run, after: after, done: make(chan error, 1)}
	e.ops <- o
	return o.done
}

// do runs one operation and waits for it. The caller is between enter and leave.
func (e *Engine) do(run func(*tx) error, after func()) error {
	return <-e.submit(run, after)
}

// commitLoop is the committer. Close ends it when no verb is in progress any
// more; what is still waiting then was given up by its caller.
func (e *Engine) commitLoop() {
	defer close(e.stopped)
	batch := make([]*op, 0, maxBatchOps)
	for {
		select {
		case o := <-e.ops:
			batch = append(batch[:0], o)
		case <-e.closing:
			for {
				select {
				case o := <-e.ops:
					o.done <- spool.ErrClosed
				default:
					return
				}
			}
		}
	gather:
		for len(batch) < maxBatchOps {
			select {
			case o := <-e.ops:
				batch = append(batch, o)
			default:
				break gather
			}
		}
		for rest := batch; len(rest) > 0; {
			rest = rest[e.runBatch(rest):]
		}
		clear(batch)
	}
}

// runBatch commits as many operations from the front as one transaction
// holds, answers them, and returns how many those were.
func (e *Engine) runBatch(ops []*op) int {
	if err := e.fault(); err != nil {
		for _, o := range ops {
			o.done <- err
		}
		return len(ops)
	}
	failed := make(map[*op]error)
again:
	for {
		t := e.begin()
		if err := e.stamp(t); err != nil {
			t.discard()
			for _, o := range ops {
				o.done <- err
			}
			return len(ops)
		}
		n := 0
		for _, o := range ops {
			if t.entries > maxBatchEntries || t.size > e.maxBatchSize {
				break
			}
			n++
			if failed[o] != nil {
				continue
			}
			before := t.entries
			err := safely(func() error { return o.run(t) })
			if err == nil {
				continue
			}
			if before > 0 && errors.Is(err, badgerdb.ErrTxnTooBig) {
				// It did not fit behind the others: it shall go first next time.
				ops = ops[:n-1]
				t.discard()
				continue again
			}
			failed[o] = err
			if t.entries != before {
				t.discard()
				continue again
			}
		}
		e.finish(t, ops[:n], failed)
		return n
	}
}

// finish commits the transaction and answers the operations in it.
func (e *Engine) finish(t *tx, ops []*op, failed map[*op]error) {
	var err error
	if t.entries > 0 {
		if err = t.commit(); err == nil {
			err = e.wal.sync()
		}
		if err == nil {
			e.stamped(t)
		}
	} else {
		t.discard()
	}
	if err != nil {
		// Badger does not tell whether any of the batch is stored.
		err = fmt.Errorf("%w: %w", spool.ErrUncertain, err)
		e.setFault(fmt.Errorf("%w: commit: %w", spool.ErrReadOnly, err))
	}
	for _, o := range ops {
		switch {
		case failed[o] != nil:
			o.done <- failed[o]
			continue
		case err == nil && o.after != nil:
			o.after()
		}
		o.done <- err
	}
}

// safely turns a panic of an operation into its error: a fault in one change
// must not take the daemon, and everybody's changes, with it.
func safely(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("spool: panic in a change: %v\n%s", r, debug.Stack())
		}
	}()
	return f()
}

// tx is a Badger transaction that seals and unseals values and counts what is
// written. A view (read-only) is a tx too.
type tx struct {
	txn     *badgerdb.Txn
	entries int
	size    int64
	mark    mark // its number, if it is the committer's
}

func (e *Engine) begin() *tx { return &tx{txn: e.db.NewTransaction(true)} }

func (t *tx) discard()      { t.txn.Discard() }
func (t *tx) commit() error { return t.txn.Commit() }

// set stores a payload, which it takes over.
func (t *tx) set(key, payload []byte) error {
	value := seal(key, payload)
	t.entries++
	t.size += int64(len(key) + len(value) + entryOverhead)
	return t.txn.Set(key, value)
}

func (t *tx) delete(key []byte) error {
	t.entries++
	t.size += int64(len(key) + entryOverhead)
	return t.txn.Delete(key)
}

// get calls f with a payload that is valid only meanwhile. It fails with
// spool.ErrNotFound or spool.ErrCorrupt.
func (t *tx) get(key []byte, f func(payload []byte) error) error {
	item, err := t.txn.Get(key)
	if errors.Is(err, badgerdb.ErrKeyNotFound) {
		return spool.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("spool: read: %w", err)
	}
	return item.Value(func(v []byte) error {
		payload, err := unseal(key, v)
		if err != nil {
			return err
		}
		return f(payload)
	})
}

func (t *tx) has(key []byte) (bool, error) {
	_, err := t.txn.Get(key)
	if errors.Is(err, badgerdb.ErrKeyNotFound) {
		return false, nil
	}
	return err == nil, err
}

// load reads and decodes one record.
func load[T any](t *tx, key []byte, decode func([]byte) (T, error)) (v T, err error) {
	err = t.get(key, func(p []byte) (err error) {
		v, err = decode(p)
		return err
	})
	return v, err
}

// keys returns an iterator over keys alone. It must be closed before the
// transaction ends.
func (t *tx) keys(prefix []byte) *badgerdb.Iterator {
	return t.txn.NewIterator(badgerdb.IteratorOptions{Prefix: prefix})
}
