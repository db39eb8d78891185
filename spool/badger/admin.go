package badger

import (
	"errors"
	"fmt"
	"iter"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/internal/mail"
	"restante/spool"
)

// errAsItIs is what a change returns that has nothing to change.
var errAsItIs = errors.New("as it is")

// change runs one administrator's change of a task, while no runner has it.
// It returns the task as it was. f says what it becomes; nil ends it. The
// message's story tells of it.
func (e *Engine) change(verb string, id spool.TaskID, story []spool.Event, f func(t *tx, r *taskRecord, now time.Time) error) (spool.TaskInfo, error) {
	if err := e.enter(); err != nil {
		return spool.TaskInfo{}, err
	}
	defer e.leave()
	if err := e.queue.acquire(id, e.opt.Now()); err != nil {
		return spool.TaskInfo{}, fmt.Errorf("%s: %w", verb, err)
	}
	var (
		info  spool.TaskInfo
		old   taskRecord
		tasks []taskRecord
	)
	err := e.do(func(t *tx) (err error) {
		tasks = tasks[:0]
		if old, err = t.task(id); err != nil {
			return err
		}
		if info, err = t.taskInfo(id, &old); err != nil {
			return err
		}
		told := spool.AdminStory(info, f == nil, story, e.opt.Now())
		if f == nil {
			if err := t.tell(id, told...); err != nil {
				return err
			}
			if err := t.dropTask(id, &old); err != nil {
				return err
			}
			return t.unref(id.Message, 1)
		}
		r := old
		if err := f(t, &r, e.opt.Now()); errors.Is(err, errAsItIs) {
			tasks = append(tasks, old)
			return nil
		} else if err != nil {
			return err
		}
		r.timer = r.firstTimer()
		tasks = append(tasks, r)
		if err := t.tell(id, told...); err != nil {
			return err
		}
		return t.replaceTask(id, &old, &r)
	}, nil)
	if err != nil {
		e.queue.release(id, &old) // as it was
		return spool.TaskInfo{}, fmt.Errorf("%s %s: %w", verb, id, err)
	}
	e.queue.release(id, &old, tasks...)
	return info, nil
}

// Hold implements spool.Queue.
func (e *Engine) Hold(id spool.TaskID, story ...spool.Event) error {
	_, err := e.change("hold", id, story, func(_ *tx, r *taskRecord, now time.Time) error {
		if r.state == spool.Held {
			return errAsItIs
		}
		r.state, r.held = spool.Held, now
		return nil
	})
	return err
}

// Release implements spool.Queue.
func (e *Engine) Release(id spool.TaskID, story ...spool.Event) error {
	_, err := e.change("release", id, story, func(_ *tx, r *taskRecord, now time.Time) error {
		if r.state != spool.Held {
			return errAsItIs
		}
		stood := now.Sub(r.held)
		if !r.warns.IsZero() {
			r.warns = r.warns.Add(stood)
		}
		if !r.expires.IsZero() {
			r.expires = r.expires.Add(stood)
		}
		r.state, r.held, r.due = spool.Queued, time.Time{}, now
		return nil
	})
	return err
}

// Retry implements spool.Queue.
func (e *Engine) Retry(id spool.TaskID, story ...spool.Event) error {
	var dest spool.Destination
	var cleared *destinationRecord
	_, err := e.change("retry", id, story, func(t *tx, r *taskRecord, now time.Time) (err error) {
		dest = r.dest
		if r.state == spool.Held {
			return errors.New("the task is held: release it")
		}
		r.revive(now)
		cleared, err = t.endBackoff(dest, now)
		return err
	})
	if err == nil {
		e.queue.cleared(dest, cleared)
	}
	return err
}

// EndBackoff implements spool.Queue.
func (e *Engine) EndBackoff(d spool.Destination) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	var cleared *destinationRecord
	err := e.do(func(t *tx) (err error) {
		cleared, err = t.endBackoff(d, e.opt.Now())
		return err
	}, nil)
	if err != nil {
		return fmt.Errorf("end the back-off of %s: %w", d, err)
	}
	e.queue.cleared(d, cleared)
	return nil
}

// endBackoff returns what it leaves of a destination's back-off, nil if it is in
// none. The failures stay: what goes first is a probe.
func (t *tx) endBackoff(d spool.Destination, now time.Time) (*destinationRecord, error) {
	key := destinationKey(kDestination, d)
	rec, err := load(t, key, decodeDestination)
	if errors.Is(err, spool.ErrNotFound) || err == nil && !rec.until.After(now) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rec.until = now
	return &rec, t.set(key, rec.encode())
}

// cleared takes over the end of a back-off, unless another has begun.
func (q *queue) cleared(d spool.Destination, rec *destinationRecord) {
	if rec == nil {
		return
	}
	q.mu.Lock()
	n := q.node(d)
	if n.rec.failures == rec.failures {
		n.rec.until = rec.until
	}
	q.place(n)
	q.mu.Unlock()
	signal(q.wake)
}

// Reroute implements spool.Queue.
func (e *Engine) Reroute(id spool.TaskID, to spool.Destination, story ...spool.Event) error {
	if err := to.Check(); err != nil {
		return fmt.Errorf("reroute %s: %w", id, err)
	}
	_, err := e.change("reroute", id, story, func(_ *tx, r *taskRecord, now time.Time) error {
		r.dest, r.pinned = to, true
		if r.state != spool.Held {
			r.revive(now)
		}
		return nil
	})
	return err
}

// Unpin implements spool.Queue.
func (e *Engine) Unpin(id spool.TaskID, story ...spool.Event) error {
	var dest spool.Destination
	var cleared *destinationRecord
	_, err := e.change("unpin", id, story, func(t *tx, r *taskRecord, now time.Time) (err error) {
		dest, cleared = r.dest, nil
		if !r.pinned {
			return errAsItIs
		}
		r.pinned = false
		if r.state == spool.Held {
			return nil
		}
		r.revive(now)
		cleared, err = t.endBackoff(dest, now)
		return err
	})
	if err == nil {
		e.queue.cleared(dest, cleared)
	}
	return err
}

// revive queues a task that is not held, due now.
func (t *taskRecord) revive(now time.Time) {
	if t.state == spool.Dead && !t.expires.IsZero() && !t.expires.After(now) {
		t.expires = time.Time{}
	}
	t.state, t.due = spool.Queued, now
}

// Remove implements spool.Queue.
func (e *Engine) Remove(id spool.TaskID, story ...spool.Event) (spool.TaskInfo, error) {
	return e.change("remove", id, story, nil)
}

// Tasks implements spool.Queue.
func (e *Engine) Tasks(after spool.TaskID) iter.Seq2[spool.TaskInfo, error] {
	return func(yield func(spool.TaskInfo, error) bool) {
		if err := e.enter(); err != nil {
			yield(spool.TaskInfo{}, err)
			return
		}
		defer e.leave()
		t := e.view()
		defer t.discard()
		e.tasks(t, []byte{kTask}, after, yield)
	}
}

// tasks yields the tasks under a prefix of t keys, after one.
func (e *Engine) tasks(t *tx, prefix []byte, after spool.TaskID, yield func(spool.TaskInfo, error) bool) {
	it := t.txn.NewIterator(badgerdb.IteratorOptions{Prefix: prefix})
	defer it.Close()
	start := prefix
	if after != (spool.TaskID{}) {
		start = append(taskKey(after), 0)
	}
	for it.Seek(start); it.Valid(); it.Next() {
		id := taskOf(it.Item().Key())
		r, err := t.task(id)
		var info spool.TaskInfo
		if err == nil {
			info, err = t.taskInfo(id, &r)
		}
		if err != nil {
			err = fmt.Errorf("task %s: %w", id, err)
			info.ID = id
		} else if info.State == spool.Queued && e.queue.isLeased(id, e.opt.Now()) {
			info.State = spool.Leased
		}
		if !yield(info, err) {
			return
		}
	}
}

func (q *queue) isLeased(id spool.TaskID, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.leases[id]
	return l != nil && l.token != 0 && (l.settling || l.until.After(now))
}

// MessageTasks implements spool.Queue.
func (e *Engine) MessageTasks(id mail.ID) (tasks []spool.TaskInfo, err error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	t := e.view()
	defer t.discard()
	e.tasks(t, idKey(kTask, id), spool.TaskID{}, func(info spool.TaskInfo, err2 error) bool {
		tasks, err = append(tasks, info), err2
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	if len(tasks) == 0 {
		return nil, fmt.Errorf("tasks of %s: %w", id, spool.ErrNotFound)
	}
	return tasks, nil
}

// Destinations implements spool.Queue.
func (e *Engine) Destinations() iter.Seq2[spool.DestinationInfo, error] {
	return func(yield func(spool.DestinationInfo, error) bool) {
		if err := e.enter(); err != nil {
			yield(spool.DestinationInfo{}, err)
			return
		}
		defer e.leave()
		var infos []spool.DestinationInfo
		q := &e.queue
		q.mu.Lock()
		now := e.opt.Now()
		for _, n := range q.dests {
			if n.rec.until.After(now) {
				infos = append(infos, n.info(now))
			}
		}
		q.mu.Unlock()
		for _, info := range infos {
			if !yield(info, nil) {
				return
			}
		}
	}
}
