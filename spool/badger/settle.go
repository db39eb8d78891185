package badger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

var errResults = errors.New("spool: a settlement needs one result for each recipient")

// Settle implements spool.Queue.
func (e *Engine) Settle(ctx context.Context, l spool.Lease, s spool.Settlement) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	c, err := e.newSettling(l, s)
	if err != nil {
		abortReports(s.Reports)
		return fmt.Errorf("settle %s: %w", l.Task.ID, err)
	}
	for end := time.Now().Add(e.settlePatience); ; {
		done := e.submit(c.run, c.after)
		select {
		case err = <-done:
		case <-ctx.Done():
			// It goes on; whatever comes of it, the lease must not stay as it is.
			go func() {
				if err := <-done; err != nil {
					c.undo(err)
				}
			}()
			return fmt.Errorf("settle %s: %w: %w", l.Task.ID, spool.ErrUncertain, context.Cause(ctx))
		}
		// What was delivered and is not settled is delivered twice: Badger
		// may give the space back that its own work takes.
		if !errors.Is(err, spool.ErrFull) || time.Now().After(end) || !pause(ctx, roomRetry) {
			break
		}
	}
	if err != nil {
		c.undo(err)
		return fmt.Errorf("settle %s: %w", l.Task.ID, err)
	}
	return nil
}

// pause waits, unless the context ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func abortReports(reports []spool.Report) {
	for _, r := range reports {
		r.Staged.Abort()
	}
}

// settling is one settlement on its way.
type settling struct {
	e       *Engine
	l       spool.Lease
	s       spool.Settlement
	reports []*commitment

	// What run found, for after.
	was   taskRecord
	tasks []taskRecord // the task if it goes on, and those it was moved to
	reach *destinationRecord
}

// newSettling checks the lease and protects it until after or undo.
func (e *Engine) newSettling(l spool.Lease, s spool.Settlement) (*settling, error) {
	if len(s.Results) != len(l.Task.Recipients) {
		return nil, errResults
	}
	for _, task := range s.Moved {
		if err := checkTask(task); err != nil {
			return nil, err
		}
	}
	q := &e.queue
	q.mu.Lock()
	n := q.leases[l.Task.ID]
	if n == nil || n.token != l.Token || n.settling || !n.until.After(e.opt.Now()) {
		q.mu.Unlock()
		return nil, spool.ErrStaleLease
	}
	n.settling = true
	q.mu.Unlock()

	c := &settling{e: e, l: l, s: s}
	for _, r := range s.Reports {
		st, ok := r.Staged.(*staged)
		if !ok {
			c.undo(nil)
			return nil, errors.New("spool: a report of another engine")
		}
		commitment, err := st.prepare(r.Message)
		if err != nil {
			c.undo(nil)
			return nil, err
		}
		c.reports = append(c.reports, commitment)
	}
	return c, nil
}

// undo gives the lease back as it was, after a failure.
func (c *settling) undo(err error) {
	q := &c.e.queue
	q.mu.Lock()
	if n := q.leases[c.l.Task.ID]; n != nil && n.token == c.l.Token {
		n.settling = false
		q.lower(n.dest, n.line, time.Time{}, time.Time{}) // for the scan that met it meanwhile
		q.lowerTimer(time.Time{}, time.Time{})
	}
	q.mu.Unlock()
	for _, r := range c.reports {
		r.undo(err)
	}
}

// run writes the settlement.
func (c *settling) run(t *tx) error {
	c.tasks, c.reach = c.tasks[:0], nil
	id, now := c.l.Task.ID, c.e.opt.Now()
	old, err := t.task(id)
	if errors.Is(err, spool.ErrNotFound) {
		return spool.ErrStaleLease
	}
	if err != nil {
		return err
	}
	if len(old.rcpts) != len(c.s.Results) {
		return errResults
	}
	moved, err := c.move(t, &old)
	if err != nil {
		return err
	}
	if err := c.tell(t, &old, moved, now); err != nil {
		return err
	}
	c.was = old
	r := old
	c.apply(&r, now)
	if len(r.rcpts) == 0 {
		if err := t.dropTask(id, &old); err != nil {
			return err
		}
		if err := t.unref(id.Message, 1); err != nil {
			return err
		}
	} else {
		if err := t.replaceTask(id, &old, &r); err != nil {
			return err
		}
		c.tasks = append(c.tasks, r)
	}
	for _, report := range c.reports {
		if err := report.run(t); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return c.reached(t, old.dest, now)
}

// apply makes the task what it is after the attempt.
func (c *settling) apply(r *taskRecord, now time.Time) {
	s := &c.s
	if s.Attempted {
		r.attempts++
	}
	rest := make([]spool.RecipientState, 0, len(r.rcpts))
	for i, result := range s.Results {
		if result.Ended {
			continue
		}
		rcpt := r.rcpts[i]
		if result.Status != (mail.Status{}) {
			rcpt.Last = result.Status
		}
		rest = append(rest, rcpt)
	}
	r.rcpts = rest
	r.warned = r.warned || s.Warned
	if s.Dead {
		r.state = spool.Dead
	}
	r.timer = r.firstTimer()
	if !s.KeepDue {
		r.due = now.Add(s.Delay)
		r.timer = r.timerAfter(now)
	}
}

// move makes the new tasks of recipients that were rerouted.
func (c *settling) move(t *tx, old *taskRecord) (made []spool.TaskID, err error) {
	if len(c.s.Moved) == 0 {
		return nil, nil
	}
	msg := c.l.Task.ID.Message
	refs, err := load(t, idKey(kRefs, msg), decodeRefs)
	if err != nil {
		return nil, err
	}
	now := c.e.opt.Now()
	for _, task := range c.s.Moved {
		if refs.nextTask > 1<<16-1 {
			return nil, fmt.Errorf("%w: message %s was moved too often", errTask, msg)
		}
		r := newTask(task, old.priority, old.share, now)
		r.queued, r.warns, r.expires = old.queued, old.warns, old.expires
		r.warned, r.from = old.warned || c.s.Warned, old.from
		r.timer = r.firstTimer()
		id := spool.TaskID{Message: msg, N: uint16(refs.nextTask)}
		if err := t.putTask(id, &r); err != nil {
			return nil, err
		}
		made = append(made, id)
		refs.nextTask++
		refs.refs++
		c.tasks = append(c.tasks, r)
	}
	return made, t.set(idKey(kRefs, msg), refs.encode())
}

// tell writes what the stories of the task, and of those it was moved to, say.
func (c *settling) tell(t *tx, old *taskRecord, moved []spool.TaskID, now time.Time) error {
	events, theirs := c.s.Story(c.l.Task.ID, old.rcpts, moved, now)
	if err := t.tell(c.l.Task.ID, events...); err != nil {
		return err
	}
	for i, id := range moved {
		if err := t.tell(id, theirs[i]); err != nil {
			return err
		}
	}
	return nil
}

// reached records what the attempt told of the destination.
func (c *settling) reached(t *tx, d spool.Destination, now time.Time) error {
	reach := c.s.Destination
	if reach.Outcome == spool.Unknown {
		return nil
	}
	key := destinationKey(kDestination, d)
	rec, err := load(t, key, decodeDestination)
	known := err == nil
	if err != nil && !errors.Is(err, spool.ErrNotFound) && !errors.Is(err, spool.ErrCorrupt) {
		return err
	}
	if reach.Outcome == spool.Reached {
		c.reach = new(destinationRecord)
		if known {
			return t.delete(key)
		}
		return nil
	}
	if rec.failures != c.l.Destination.Failures {
		return nil // another attempt of the same time has told it already
	}
	rec = destinationRecord{failures: rec.failures + 1, until: now.Add(reach.Backoff), last: reach.Status}
	c.reach = &rec
	return t.set(key, rec.encode())
}

// after gives the lease back and tells those who wait.
func (c *settling) after() {
	q := &c.e.queue
	if c.reach != nil {
		q.mu.Lock()
		n := q.node(c.l.Task.Destination)
		n.rec = *c.reach
		q.place(n)
		q.mu.Unlock()
	}
	q.release(c.l.Task.ID, &c.was, c.tasks...)
	for _, r := range c.reports {
		r.after()
	}
}
