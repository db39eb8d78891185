package spooltest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func (w *world) advance() error {
	d := pick(w, []time.Duration{time.Second, 20 * time.Second, time.Minute, 10 * time.Minute, time.Hour})
	w.note("  by %v", d)
	w.clock.Advance(d)
	return nil
}

func (w *world) someDestination() spool.Destination {
	return pick(w, []spool.Destination{
		{Route: "mx", Domain: "a.example"}, {Route: "mx", Domain: "b.example"}, {Route: "smarthost"},
	})
}

func (w *world) someStatus() mail.Status {
	return mail.Status{Code: pick(w, []int{250, 421, 451, 550}), Text: fmt.Sprintf("answer at step %d", w.step)}
}

func (w *world) someDuration() time.Duration {
	return pick(w, []time.Duration{0, 0, 30 * time.Second, 5 * time.Minute, time.Hour, 3 * time.Hour})
}

func (w *world) someTask() spool.Task {
	t := taskFor("example.org", 1+w.rng.IntN(3))
	t.Destination, t.Pinned = w.someDestination(), w.often(10)
	t.Delay, t.Warn, t.Expire = w.someDuration(), w.someDuration(), w.someDuration()
	return t
}

// lease claims all due tasks of some destinations: which tasks a smaller claim
// would give is not promised.
func (w *world) lease() error {
	blocked := make(map[spool.Destination]bool)
	for w.often(25) {
		blocked[w.someDestination()] = true
	}
	claim := spool.Claim{
		Max:      10_000,
		Lifetime: pick(w, []time.Duration{15 * time.Second, 2 * time.Minute, 30 * time.Minute}),
		Allow: func(d spool.DestinationInfo) int {
			if blocked[d.Destination] {
				return 0
			}
			return 10_000
		},
	}
	model, next, err := w.model.Lease(claim)
	if err != nil {
		return err
	}
	other, otherNext, err := w.other.Lease(claim)
	if err != nil {
		return err
	}
	w.note("  %d tasks, next %v", len(model), next)
	// Too early is allowed, too late is not. Whether the leases given just now
	// count as falling due again is open, and so is what a destination has, that
	// was passed over, but its timers.
	open := len(model) > 0 && next == claim.Lifetime || len(blocked) > 0
	if late := otherNext < 0 || otherNext > next; next >= 0 && late && !open {
		return fmt.Errorf("next is %v, the engine's %v", next, otherNext)
	}
	if err := inOrder(other); err != nil {
		return err
	}
	return w.pairLeases(model, other)
}

// inOrder holds what an engine leased against the order inside a destination,
// as far as it does not depend on what was leased before.
func inOrder(leases []spool.Lease) error {
	type line struct {
		spool.Destination
		spool.Head
	}
	last := make(map[line]spool.TaskInfo)
	for _, l := range leases {
		if l.Cause != spool.CauseDue {
			continue
		}
		env := &l.Task.Envelope
		of := line{l.Task.Destination, spool.Head{Priority: env.Priority, Share: spool.Share(env)}}
		if before, ok := last[of]; ok && before.Due.After(l.Task.Due) {
			return fmt.Errorf("the engine leased %+v before %+v", before, l.Task)
		}
		last[of] = l.Task
	}
	return nil
}

func (w *world) pairLeases(model, other []spool.Lease) error {
	byID := make(map[spool.TaskID]spool.Lease)
	for _, l := range other {
		byID[l.Task.ID] = l
	}
	if len(model) != len(other) {
		for _, l := range model {
			if _, ok := byID[w.tasks[l.Task.ID]]; !ok {
				return fmt.Errorf("%d tasks are leased, by the engine %d; not %+v", len(model), len(other), l)
			}
		}
		return fmt.Errorf("%d tasks are leased, by the engine %d", len(model), len(other))
	}
	for _, l := range model {
		o, ok := byID[w.tasks[l.Task.ID]]
		if !ok {
			return fmt.Errorf("the engine has not leased %+v", l.Task)
		}
		if l.Cause != o.Cause {
			return fmt.Errorf("task %+v is leased for cause %d, by the engine for %d", l.Task, l.Cause, o.Cause)
		}
		if err := sameDestination(l.Destination, o.Destination); err != nil {
			return err
		}
		o.Task.State = l.Task.State
		if err := w.sameTask(l.Task, o.Task); err != nil {
			return err
		}
		w.leases = append(w.leases, leasePair{l, o})
	}
	return nil
}

// someLease returns a lease, nine times out of ten one that is still good.
func (w *world) someLease() (leasePair, bool) {
	var good, stale []leasePair
	for _, l := range w.leases {
		if w.model.good(l.model) {
			good = append(good, l)
		} else {
			stale = append(stale, l)
		}
	}
	stale = stale[max(0, len(stale)-20):]
	w.leases = slices.Concat(stale, good)
	switch {
	case len(w.leases) == 0:
		return leasePair{}, false
	case len(good) > 0 && w.often(90):
		return pick(w, good), true
	}
	return pick(w, w.leases), true
}

// good tells whether a lease has not ended.
func (m *Memory) good(l spool.Lease) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.leaseTask(l)
	return err == nil
}

func (w *world) extend() error {
	l, ok := w.someLease()
	if !ok {
		return nil
	}
	d := pick(w, []time.Duration{10 * time.Second, time.Minute, time.Hour})
	return w.alike(w.model.Extend(l.model, d), w.other.Extend(l.other, d))
}

func (w *world) settle() error {
	l, ok := w.someLease()
	if !ok {
		return nil
	}
	s := w.someSettlement(l.model)
	sm, so := s, s
	var pair stagedPair
	if w.often(20) {
		var err error
		if pair, err = w.stage(); err != nil {
			return err
		}
		defer pair.abort()
		m := w.someMessage()
		sm.Reports = []spool.Report{{Staged: pair.model, Message: m}}
		so.Reports = []spool.Report{{Staged: pair.other, Message: m}}
	}
	em := w.model.Settle(context.Background(), l.model, sm)
	eo := w.other.Settle(context.Background(), l.other, so)
	w.note("  of %s: %+v", l.model.Task.ID, s)
	if err := w.alike(em, eo); err != nil || em != nil {
		return err
	}
	if pair.model != nil {
		w.pairMessage(pair.model.ID(), pair.other.ID())
		if err := w.pairTasks(pair.model.ID()); err != nil {
			return err
		}
	}
	if err := w.pairTasks(l.model.Task.ID.Message); err != nil {
		return err
	}
	return w.pairAll()
}

func (w *world) someSettlement(l spool.Lease) spool.Settlement {
	s := spool.Settlement{
		Attempted: w.often(80),
		Delay:     w.someDuration(),
		KeepDue:   w.often(20),
		Warned:    l.Cause == spool.CauseWarn && w.often(90),
		Dead:      w.often(8),
		Destination: spool.Reach{
			Outcome: pick(w, []spool.Outcome{spool.Unknown, spool.Reached, spool.Unreached}),
			Backoff: time.Duration(1+w.rng.IntN(30)) * time.Minute,
			Status:  w.someStatus(),
		},
	}
	ended := pick(w, []int{0, 50, 100, 100})
	for i := range l.Task.Recipients {
		r := spool.Result{Ended: w.often(ended)}
		if w.often(80) {
			r.Status = w.someStatus()
		}
		s.Results = append(s.Results, r)
		if r.Ended && len(s.Moved) == 0 && w.often(15) {
			moved := w.someTask()
			moved.Recipients = []mail.Recipient{l.Task.Recipients[i].Recipient}
			s.Moved = []spool.Task{moved}
		}
	}
	return s
}

// someTaskIn returns a task in one of the states.
func (w *world) someTaskIn(states ...spool.State) (spool.TaskID, bool) {
	var ids []spool.TaskID
	for t, err := range w.model.Tasks(spool.TaskID{}) {
		if err == nil && slices.Contains(states, t.State) {
			ids = append(ids, t.ID)
		}
	}
	if len(ids) == 0 {
		return spool.TaskID{}, false
	}
	id := pick(w, ids)
	w.note("  task %s", id)
	return id, true
}

func (w *world) hold() error {
	id, ok := w.someTaskIn(spool.Queued, spool.Dead, spool.Leased, spool.Held)
	if !ok {
		return nil
	}
	return w.alike(w.model.Hold(id), w.other.Hold(w.tasks[id]))
}

func (w *world) release() error {
	id, ok := w.someTaskIn(spool.Queued, spool.Held)
	if !ok {
		return nil
	}
	return w.alike(w.model.Release(id), w.other.Release(w.tasks[id]))
}

func (w *world) retry() error {
	id, ok := w.someTaskIn(spool.Queued, spool.Dead)
	if !ok {
		return nil
	}
	return w.alike(w.model.Retry(id), w.other.Retry(w.tasks[id]))
}

func (w *world) reroute() error {
	id, ok := w.someTaskIn(spool.Queued, spool.Dead, spool.Leased, spool.Held)
	if !ok {
		return nil
	}
	to := w.someDestination()
	if w.often(5) {
		to.Route = "a\x00"
	}
	return w.alike(w.model.Reroute(id, to), w.other.Reroute(w.tasks[id], to))
}

func (w *world) unpin() error {
	id, ok := w.someTaskIn(spool.Queued, spool.Dead, spool.Leased, spool.Held)
	if !ok {
		return nil
	}
	return w.alike(w.model.Unpin(id), w.other.Unpin(w.tasks[id]))
}

func (w *world) remove() error {
	id, ok := w.someTaskIn(spool.Queued, spool.Dead, spool.Leased, spool.Held)
	if !ok {
		return nil
	}
	tm, em := w.model.Remove(id)
	to, eo := w.other.Remove(w.tasks[id])
	if err := w.alike(em, eo); err != nil || em != nil {
		return err
	}
	return w.sameTask(tm, to)
}

// pairTasks pairs the tasks of a message that are new on both sides.
func (w *world) pairTasks(id mail.ID) error {
	tm, em := w.model.MessageTasks(id)
	to, eo := w.other.MessageTasks(w.messages[id])
	if err := w.alike(em, eo); err != nil || em != nil {
		return err
	}
	known := make(map[spool.TaskID]bool)
	var fresh []spool.TaskID
	for _, t := range tm {
		if o, ok := w.tasks[t.ID]; ok {
			known[o] = true
		} else {
			fresh = append(fresh, t.ID)
		}
	}
	for _, t := range to {
		if known[t.ID] {
			continue
		}
		if len(fresh) == 0 {
			return fmt.Errorf("the engine has one task too many: %+v", t)
		}
		w.tasks[fresh[0]] = t.ID
		fresh = fresh[1:]
	}
	if len(fresh) > 0 {
		return fmt.Errorf("the engine lacks task %s", fresh[0])
	}
	return nil
}

func sameDestination(m, o spool.DestinationInfo) error {
	if m.Failures == 0 {
		o.Last = m.Last // why it was not reached is only promised while it is not
	}
	if m != o {
		return fmt.Errorf("destination %+v is to the engine %+v", m, o)
	}
	return nil
}

func (w *world) sameTask(m, o spool.TaskInfo) error {
	same := w.tasks[m.ID] == o.ID && m.State == o.State && m.Destination == o.Destination && m.Pinned == o.Pinned &&
		sameEnvelope(o.Envelope, m.Envelope) && m.Size == o.Size && slices.Equal(m.Recipients, o.Recipients) &&
		m.Attempts == o.Attempts && m.Queued.Equal(o.Queued) && m.Warned == o.Warned
	// What a task that waits for an administrator shows as its times is open.
	if m.State == spool.Queued || m.State == spool.Leased {
		same = same && m.Due.Equal(o.Due) && m.Warns.Equal(o.Warns) && m.Expires.Equal(o.Expires)
	}
	if !same {
		return fmt.Errorf("task %+v\nis to the engine %+v", m, o)
	}
	return nil
}
