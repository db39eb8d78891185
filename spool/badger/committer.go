package badger

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/spool"
	"restante/spool/segment"
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
	// logOverhead is more than what Badger adds to a record on the average:
	// some 20 octets in the log, some 40 in memory.
	logOverhead = 64
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

// group is a transaction that Badger has taken, with the operations in it, on
// its way to the device. Groups are answered in their order.
type group struct {
	ops    []*op
	failed map[*op]error // those that left no trace
	log    *os.File      // where it is; nil if it wrote nothing
	mark   mark
	err    error // of Badger's commit
	size   int64 // octets of its records
	freed  int64 // octets of the bodies that it freed
	dead   []segment.Ref
	// touched is what those who watch accounts are told.
	touched []spool.Touched
}

// maxGroups bounds the groups that wait for the device.
const maxGroups = 4

// commitLoop is the committer: it makes transactions, and syncLoop makes them
// durable, so that the next are made while the device is busy. Close ends it
// when no verb is in progress any more; what is still waiting then was given
// up by its caller.
func (e *Engine) commitLoop() {
	defer close(e.groups)
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

// runBatch makes a transaction of as many operations from the front as one
// holds, gives it to syncLoop, and returns how many those were.
func (e *Engine) runBatch(ops []*op) int {
	err := e.mayWrite(0)
	if err == nil {
		err = e.logRoom()
	}
	if err != nil {
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
		g := &group{ops: slices.Clone(ops[:n]), failed: failed}
		e.commit(t, g)
		e.flight.Add(1)
		e.groups <- g
		return n
	}
}

// commit gives a transaction to Badger.
func (e *Engine) commit(t *tx, g *group) {
	if t.entries == 0 {
		t.discard()
		return
	}
	waited := e.wal.mayChange()
	if waited {
		// What goes into the next log must not reach the device before what
		// is in this one.
		e.flight.Wait()
	}
	if g.err = e.fault(); g.err == nil {
		g.err = e.nextLog(waited)
	}
	if g.err != nil {
		t.discard()
		return
	}
	g.err = e.tally.follow(t)
	if g.err == nil && t.values {
		g.err = e.wal.syncValues()
	}
	if g.err == nil {
		g.log, g.err = e.wal.follow(t.logged(), waited)
	}
	if g.err == nil {
		g.mark, g.size, g.freed, g.dead, g.touched = t.mark, t.size, t.freed, t.dead, t.touched
		e.stats.log.Store(int64(e.wal.num))
		e.stamped(t)
		return
	}
	g.err = e.uncertain(g.err)
}

// uncertain ends all writing: Badger, or the device, does not tell whether any
// of what was being written is stored.
func (e *Engine) uncertain(err error) error {
	if withoutMemtable(err) {
		e.unreadable.Store(true)
	}
	err = fmt.Errorf("%w: %w", spool.ErrUncertain, err)
	e.setFault(fmt.Errorf("%w: commit: %w", spool.ErrReadOnly, err))
	return err
}

// syncLoop makes the groups durable, those that are waiting together with one
// sync, and answers them. After an error nothing is acknowledged any more,
// since a later sync that succeeds says nothing of what failed.
func (e *Engine) syncLoop() {
	defer close(e.stopped)
	var broken error
	list := make([]*group, 0, maxGroups+1)
	for g := range e.groups {
		list = append(list[:0], g)
	more:
		for len(list) < cap(list) {
			select {
			case g, ok := <-e.groups:
				if !ok {
					break more
				}
				list = append(list, g)
			default:
				break more
			}
		}
		if broken == nil {
			start := time.Now()
			if err := e.wal.sync(list); err != nil {
				broken = e.uncertain(err)
			}
			e.stats.synced(time.Since(start))
		}
		for _, g := range list {
			if g.err == nil {
				g.err = broken
			}
		}
		e.recordMark(list)
		e.stats.committed(list)
		for _, g := range list {
			if g.err == nil {
				e.segments.Free(g.dead...)
				e.watch.accounts.Note(g.touched...)
			}
			g.answer()
			e.flight.Done()
		}
		clear(list)
	}
}

// recordMark notes how far the commits have become durable.
func (e *Engine) recordMark(list []*group) {
	for _, g := range slices.Backward(list) {
		if g.err == nil && g.log != nil {
			e.mark.write(g.mark)
			return
		}
	}
}

// answer tells those who wait.
func (g *group) answer() {
	for _, o := range g.ops {
		if err := g.failed[o]; err != nil {
			o.done <- err
			continue
		}
		if g.err == nil && o.after != nil {
			o.after()
		}
		o.done <- g.err
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
	freed   int64         // octets of the short bodies that it frees
	dead    []segment.Ref // pieces of the long ones
	entries int
	size    int64
	mark    mark     // its number, if it is the committer's
	recent  *recents // what row looks up; nil for nothing
	values  bool     // one of them goes to the value log
	// tasks are those that it adds and takes away.
	tasks map[spool.Destination]*spool.TaskCounts
	// touched is what those who watch accounts are told.
	touched []spool.Touched
}

func (e *Engine) begin() *tx { return &tx{txn: e.db.NewTransaction(true), recent: &e.recent} }

func (t *tx) discard()      { t.txn.Discard() }
func (t *tx) commit() error { return t.txn.Commit() }

// logged is how much of a log the transaction takes at most, with what Badger
// and stamp add.
func (t *tx) logged() int64 { return t.size + int64(t.entries+4)*logOverhead }

// set stores a payload, which it takes over.
func (t *tx) set(key, payload []byte) error { return t.setFor(key, payload, 0) }

// setFor stores a payload, which it takes over, for some time; 0 is for ever.
func (t *tx) setFor(key, payload []byte, d time.Duration) error {
	value := seal(key, payload)
	t.entries++
	t.size += int64(len(key) + len(value) + entryOverhead)
	t.values = t.values || len(value) >= valueThreshold
	entry := badgerdb.NewEntry(key, value)
	if d > 0 {
		entry = entry.WithTTL(d)
	}
	return t.txn.SetEntry(entry)
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
