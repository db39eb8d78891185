package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"restante/spool"
)

// commitsKey is where each transaction stores its number and time.
func commitsKey() []byte { return metaKey(metaCommits) }

func (m mark) record() []byte {
	e := newRecord()
	e.uint(m.number)
	e.time(m.at)
	return e.b
}

func decodeCommits(payload []byte) (m mark, err error) {
	d := openRecord(payload)
	m.number = d.uint()
	m.at = d.time()
	return m, d.end()
}

func lossKey(l spool.Loss) []byte {
	b := binary.BigEndian.AppendUint64([]byte{kLoss}, l.First)
	return binary.BigEndian.AppendUint64(b, l.Last)
}

const lossKeyLen = 1 + 8 + 8

func encodeLoss(l spool.Loss) []byte {
	e := newRecord()
	e.time(l.From)
	e.time(l.To)
	e.time(l.Found)
	return e.b
}

func decodeLoss(key, payload []byte) (l spool.Loss, err error) {
	if len(key) != lossKeyLen {
		return l, fmt.Errorf("%w: key %q", spool.ErrCorrupt, key)
	}
	l.First = binary.BigEndian.Uint64(key[1:])
	l.Last = binary.BigEndian.Uint64(key[9:])
	d := openRecord(payload)
	l.From = d.time()
	l.To = d.time()
	l.Found = d.time()
	return l, d.end()
}

// losses are the losses that nobody has acknowledged.
type losses struct {
	mu   sync.Mutex
	list []spool.Loss
	// fresh are those of this opening that are not stored yet; they go with
	// the first transaction. The committer's.
	fresh []spool.Loss
}

// compareMark finds the commits that the high mark, or the logs as they were
// before Badger read them, know of and the storage does not. It runs before
// the committer.
func (e *Engine) compareMark(high mark, gaps []spool.Loss) error {
	t := e.view()
	defer t.discard()
	last, err := load(t, commitsKey(), decodeCommits)
	if errors.Is(err, spool.ErrCorrupt) {
		e.opt.Logger.Error("the commit counter is damaged: commits may be missing unnoticed", "err", err)
		last = high
	} else if err != nil && !errors.Is(err, spool.ErrNotFound) {
		return fmt.Errorf("spool: commit counter: %w", err)
	}
	known := make(map[string]bool)
	collect(t, []byte{kLoss}, func(key []byte) {
		l, err2 := load(t, key, func(p []byte) (spool.Loss, error) { return decodeLoss(key, p) })
		if err2 != nil {
			e.opt.Logger.Error("the record of a loss is damaged", "err", err2)
			return
		}
		known[string(key)] = true
		e.losses.list = append(e.losses.list, l)
	})
	now := e.opt.Now()
	for _, gap := range gaps {
		gap.Found = now
		if !known[string(lossKey(gap))] {
			e.losses.fresh = append(e.losses.fresh, gap)
		}
	}
	if high.number > last.number {
		e.losses.fresh = append(e.losses.fresh, spool.Loss{
			First: last.number + 1, Last: high.number, From: last.at, To: high.at, Found: now,
		})
	}
	e.commits = max(last.number, high.number)
	for _, l := range e.losses.fresh {
		e.opt.Logger.Error("ACKNOWLEDGED COMMITS ARE MISSING from the spool: mail or changes of mailboxes were lost",
			"commits", l.Commits(), "first", l.First, "last", l.Last,
			"between", l.From.UTC().Format(time.RFC3339Nano), "and", l.To.UTC().Format(time.RFC3339Nano),
			"next", "restante spool check --repair")
	}
	e.losses.list = append(e.losses.list, e.losses.fresh...)
	return nil
}

// stamp numbers a transaction, and stores the losses that are not stored yet.
func (e *Engine) stamp(t *tx) error {
	t.mark = mark{e.commits + 1, e.opt.Now()}
	put := func(key, payload []byte) error { return t.txn.Set(key, seal(key, payload)) }
	for _, l := range e.losses.fresh {
		if err := put(lossKey(l), encodeLoss(l)); err != nil {
			return err
		}
	}
	return put(commitsKey(), t.mark.record())
}

// stamped notes that Badger has taken a transaction.
func (e *Engine) stamped(t *tx) { e.commits, e.losses.fresh = t.mark.number, nil }

// recordLosses makes sure that what compareMark found is durable.
func (e *Engine) recordLosses() error {
	list := e.Losses()
	if len(list) == 0 {
		return nil
	}
	return e.do(func(t *tx) error {
		for _, l := range list {
			if err := t.set(lossKey(l), encodeLoss(l)); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

// Losses implements spool.Checker.
func (e *Engine) Losses() []spool.Loss {
	e.losses.mu.Lock()
	defer e.losses.mu.Unlock()
	return slices.Clone(e.losses.list)
}

// acknowledge forgets losses that somebody has been told of. The caller is
// between enter and leave.
func (e *Engine) acknowledge(list []spool.Loss) error {
	if len(list) == 0 {
		return nil
	}
	return e.do(func(t *tx) error {
		for _, l := range list {
			if err := t.delete(lossKey(l)); err != nil {
				return err
			}
		}
		return nil
	}, func() {
		e.losses.mu.Lock()
		defer e.losses.mu.Unlock()
		e.losses.list = slices.DeleteFunc(e.losses.list, func(l spool.Loss) bool {
			return slices.ContainsFunc(list, func(o spool.Loss) bool { return o.First == l.First && o.Last == l.Last })
		})
	})
}
