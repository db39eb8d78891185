package badger

import (
	"errors"
	"fmt"
	"time"

	"restante/spool"
)

// maxRecipients bounds a task's record, so that it fits a transaction.
const maxRecipients = 10_000

var errTask = errors.New("spool: malformed task")

// checkTask refuses what has no place in a key.
func checkTask(t spool.Task) error {
	if len(t.Recipients) == 0 || len(t.Recipients) > maxRecipients {
		return fmt.Errorf("%w: %d recipients", errTask, len(t.Recipients))
	}
	return t.Destination.Check()
}

// newTask makes the record of a task that is committed now.
func newTask(t spool.Task, priority int, share uint8, now time.Time) taskRecord {
	r := taskRecord{dest: t.Destination, pinned: t.Pinned, priority: priority, share: share, queued: now, due: now.Add(t.Delay)}
	if t.Warn > 0 {
		r.warns = now.Add(t.Warn)
	}
	if t.Expire > 0 {
		r.expires = now.Add(t.Expire)
	}
	r.rcpts = make([]spool.RecipientState, len(t.Recipients))
	for i, rcpt := range t.Recipients {
		r.rcpts[i].Recipient = rcpt
	}
	if t.From != nil {
		r.from = new(*t.From)
	}
	if t.Held {
		r.state, r.held = spool.Held, now
	}
	r.timer = r.firstTimer()
	return r
}

// firstTimer is when the task's next timer fires; zero if it has none.
func (t *taskRecord) firstTimer() time.Time { return t.timerAfter(time.Time{}) }

// timerAfter is firstTimer when timers that had come at a time were answered
// with the task's delay.
func (t *taskRecord) timerAfter(answered time.Time) (first time.Time) {
	consider := func(at time.Time) {
		if at.IsZero() {
			return
		}
		if !at.After(answered) {
			at = t.due
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if t.state != spool.Queued {
		return time.Time{}
	}
	consider(t.expires)
	if !t.warned {
		consider(t.warns)
	}
	return first
}

// putTask writes a new task with its index records.
func (t *tx) putTask(id spool.TaskID, r *taskRecord) error {
	t.tally(r, 1)
	if err := t.set(taskKey(id), r.encode()); err != nil {
		return err
	}
	if r.state == spool.Queued {
		if err := t.set(r.queueKey(id), []byte{recordVersion}); err != nil {
			return err
		}
	}
	if !r.timer.IsZero() {
		return t.set(timerKey(r.timer, id), []byte{recordVersion})
	}
	return nil
}

// dropTask deletes a task with its index records.
func (t *tx) dropTask(id spool.TaskID, r *taskRecord) error {
	t.tally(r, -1)
	if err := t.delete(taskKey(id)); err != nil {
		return err
	}
	return t.dropIndex(id, r)
}

func (t *tx) dropIndex(id spool.TaskID, r *taskRecord) error {
	if r.state == spool.Queued {
		if err := t.delete(r.queueKey(id)); err != nil {
			return err
		}
	}
	if !r.timer.IsZero() {
		return t.delete(timerKey(r.timer, id))
	}
	return nil
}

// replaceTask moves a task from one record to another.
func (t *tx) replaceTask(id spool.TaskID, old, r *taskRecord) error {
	t.tally(old, -1)
	if err := t.dropIndex(id, old); err != nil {
		return err
	}
	return t.putTask(id, r)
}

func (t *tx) task(id spool.TaskID) (taskRecord, error) {
	return load(t, taskKey(id), decodeTask)
}

// taskInfo describes a stored task, without regard to leases.
func (t *tx) taskInfo(id spool.TaskID, r *taskRecord) (spool.TaskInfo, error) {
	m, err := load(t, idKey(kMessage, id.Message), decodeMessage)
	if err != nil {
		return spool.TaskInfo{}, fmt.Errorf("message of task %s: %w", id, err)
	}
	if r.from != nil {
		m.env.From = *r.from
	}
	return spool.TaskInfo{
		ID:          id,
		State:       r.state,
		Destination: r.dest,
		Pinned:      r.pinned,
		Envelope:    m.env,
		Size:        m.size,
		Recipients:  r.rcpts,
		Attempts:    r.attempts,
		Queued:      r.queued,
		Due:         r.due,
		Expires:     r.expires,
		Warns:       r.warns,
		Warned:      r.warned,
	}, nil
}
