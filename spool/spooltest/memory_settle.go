package spooltest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// Settle implements spool.Queue. It never waits, so the context matters only
// if it has ended before; then nothing is recorded.
func (m *Memory) Settle(ctx context.Context, l spool.Lease, s spool.Settlement) error {
	if err := m.settle(ctx, l, s); err != nil {
		return err
	}
	return m.faults.check(OpSettled)
}

func (m *Memory) settle(ctx context.Context, l spool.Lease, s spool.Settlement) error {
	if err := m.enter(OpSettle); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if err := uncertain(ctx); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	t, err := m.leaseTask(l)
	if err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	if err := m.checkSettlement(t, s); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	m.learn(t, s.Destination)
	m.tellSettlement(t, s, m.move(t, s))
	for _, r := range s.Reports {
		m.store(r.Staged.(*memoryStaged), r.Message)
	}
	m.conclude(t, s)
	return nil
}

// checkSettlement finds everything that could make a settlement fail, before
// anything is changed.
func (m *Memory) checkSettlement(t *memoryTask, s spool.Settlement) error {
	if len(s.Results) != len(t.info.Recipients) {
		return fmt.Errorf("%d results for %d recipients", len(s.Results), len(t.info.Recipients))
	}
	if err := checkTasks(m.messages[t.info.ID.Message].tasksMade, s.Moved); err != nil {
		return err
	}
	seen := make(map[*memoryStaged]bool)
	for _, r := range s.Reports {
		staged, ok := r.Staged.(*memoryStaged)
		if !ok || staged.m != m || seen[staged] {
			return errors.New("a report was not staged here, or is given twice")
		}
		seen[staged] = true
		if err := m.checkMessage(staged, r.Message); err != nil {
			return fmt.Errorf("report %s: %w", staged.id, err)
		}
	}
	return nil
}

// learn records what the attempt told about the destination.
func (m *Memory) learn(t *memoryTask, r spool.Reach) {
	d := m.destinations[t.info.Destination]
	switch r.Outcome {
	case spool.Reached:
		delete(m.destinations, t.info.Destination)
		if d != nil {
			signal(m.wake)
		}
	case spool.Unreached:
		if d == nil {
			d = &memoryDestination{}
		}
		if d.failures != t.failures {
			return
		}
		d.failures++
		d.until, d.last = m.now().Add(r.Backoff), r.Status
		m.destinations[t.info.Destination] = d
	}
}

// move makes the tasks of a reroute.
func (m *Memory) move(t *memoryTask, s spool.Settlement) (made []spool.TaskID) {
	for _, task := range s.Moved {
		task.From = &t.info.Envelope.From
		made = append(made, m.addTask(m.messages[t.info.ID.Message], task, taskTimes{
			made:    m.now(),
			queued:  t.info.Queued,
			warns:   t.info.Warns,
			expires: t.info.Expires,
			warned:  t.info.Warned || s.Warned,
		}))
	}
	return made
}

// conclude ends the lease and puts the task where the settlement wants it.
func (m *Memory) conclude(t *memoryTask, s spool.Settlement) {
	t.token = 0
	if s.Attempted {
		t.info.Attempts++
	}
	t.info.Warned = t.info.Warned || s.Warned
	var remain []spool.RecipientState
	for i, r := range t.info.Recipients {
		if s.Results[i].Ended {
			continue
		}
		// A zero status says nothing new; the last outcome stays the last.
		if st := s.Results[i].Status; st != (mail.Status{}) {
			r.Last = st
		}
		remain = append(remain, r)
	}
	t.info.Recipients = remain
	if len(remain) == 0 {
		m.removeTask(t)
		return
	}
	t.answered, t.quiet = time.Time{}, time.Time{}
	if !s.KeepDue {
		t.info.Due = m.now().Add(s.Delay)
		t.answered, t.quiet = m.now(), t.info.Due
	}
	if s.Dead {
		t.info.State = spool.Dead
	}
}

// task finds a task for an administrator's verb. Whatever that does to it, a
// timer that was put off is put off no more: somebody looks at the task now.
func (m *Memory) task(op Op, id spool.TaskID) (*memoryTask, error) {
	t, ok := m.tasks[id]
	if !ok {
		return nil, fmt.Errorf("%s %s: %w", op, id, spool.ErrNotFound)
	}
	if t.leased(m.now()) {
		return nil, fmt.Errorf("%s %s: %w", op, id, spool.ErrLeased)
	}
	t.token = 0
	return t, nil
}

// anew makes the warning and the expiry count as if they had never come.
func (t *memoryTask) anew() { t.answered, t.quiet = time.Time{}, time.Time{} }

// Hold implements spool.Queue. Holding a held task changes nothing.
func (m *Memory) Hold(id spool.TaskID, story ...spool.Event) error {
	if err := m.enter(OpHold); err != nil {
		return err
	}
	defer m.mu.Unlock()
	t, err := m.task(OpHold, id)
	if err != nil || t.info.State == spool.Held {
		return err
	}
	t.info.State, t.held = spool.Held, m.now()
	t.anew()
	m.tell(id, spool.AdminStory(t.info, false, story, m.now())...)
	return nil
}

// Release implements spool.Queue. A dead task is left alone, as a queued one.
func (m *Memory) Release(id spool.TaskID, story ...spool.Event) error {
	if err := m.enter(OpRelease); err != nil {
		return err
	}
	defer m.mu.Unlock()
	t, err := m.task(OpRelease, id)
	if err != nil || t.info.State != spool.Held {
		return err
	}
	now := m.now()
	t.info.State, t.info.Due = spool.Queued, now
	t.anew()
	for _, at := range []*time.Time{&t.info.Warns, &t.info.Expires} {
		if !at.IsZero() {
			*at = at.Add(now.Sub(t.held))
		}
	}
	m.tell(id, spool.AdminStory(t.info, false, story, now)...)
	signal(m.wake)
	return nil
}

// Retry implements spool.Queue. The destination's failures stay on record, so
// that a runner still sends a probe first. A held task must be released.
func (m *Memory) Retry(id spool.TaskID, story ...spool.Event) error {
	if err := m.enter(OpRetry); err != nil {
		return err
	}
	defer m.mu.Unlock()
	t, err := m.task(OpRetry, id)
	if err != nil {
		return err
	}
	if t.info.State == spool.Held {
		return fmt.Errorf("retry %s: the task is held", id)
	}
	now := m.now()
	t.revive(now)
	if d := m.destinations[t.info.Destination]; d != nil {
		d.until = now
	}
	m.tell(id, spool.AdminStory(t.info, false, story, now)...)
	signal(m.wake)
	return nil
}

// revive queues a task that is not held, due now.
func (t *memoryTask) revive(now time.Time) {
	if t.info.State == spool.Dead && reached(now, t.info.Expires) {
		t.info.Expires = time.Time{}
	}
	t.info.State, t.info.Due = spool.Queued, now
	t.anew()
}

// Reroute implements spool.Queue.
func (m *Memory) Reroute(id spool.TaskID, to spool.Destination, story ...spool.Event) error {
	if err := m.enter(OpReroute); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if err := to.Check(); err != nil {
		return fmt.Errorf("reroute %s: %w", id, err)
	}
	t, err := m.task(OpReroute, id)
	if err != nil {
		return err
	}
	t.info.Destination, t.info.Pinned = to, true
	if t.info.State != spool.Held {
		t.revive(m.now())
	}
	m.tell(id, spool.AdminStory(t.info, false, story, m.now())...)
	signal(m.wake)
	return nil
}

// Unpin implements spool.Queue.
func (m *Memory) Unpin(id spool.TaskID, story ...spool.Event) error {
	if err := m.enter(OpUnpin); err != nil {
		return err
	}
	defer m.mu.Unlock()
	t, err := m.task(OpUnpin, id)
	if err != nil || !t.info.Pinned {
		return err
	}
	t.info.Pinned = false
	if now := m.now(); t.info.State != spool.Held {
		t.revive(now)
		if d := m.destinations[t.info.Destination]; d != nil {
			d.until = now
		}
	}
	m.tell(id, spool.AdminStory(t.info, false, story, m.now())...)
	signal(m.wake)
	return nil
}

// EndBackoff implements spool.Queue.
func (m *Memory) EndBackoff(d spool.Destination) error {
	if err := m.enter(OpRetry); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if s := m.destinations[d]; s != nil && m.now().Before(s.until) {
		s.until = m.now()
		signal(m.wake)
	}
	return nil
}

// Remove implements spool.Queue.
func (m *Memory) Remove(id spool.TaskID, story ...spool.Event) (spool.TaskInfo, error) {
	if err := m.enter(OpRemove); err != nil {
		return spool.TaskInfo{}, err
	}
	defer m.mu.Unlock()
	t, err := m.task(OpRemove, id)
	if err != nil {
		return spool.TaskInfo{}, err
	}
	m.tell(id, spool.AdminStory(t.info, true, story, m.now())...)
	m.removeTask(t)
	return t.snapshot(m.now()), nil
}
