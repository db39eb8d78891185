package spooltest

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// memoryTask is a task of the queue.
type memoryTask struct {
	// info.State is never Leased: a lease lies over the state, and the task is
	// in it again when the lease runs out.
	info  spool.TaskInfo
	held  time.Time // since when, if Held
	share uint8     // spool.Share of the message
	// A warning or expiry that had come at answered is left alone until
	// quiet: it was answered with a delay.
	answered, quiet time.Time

	// The lease; token is 0 if there is none.
	token    uint64
	until    time.Time
	failures int // of the destination when the lease was given
}

// memoryDestination is what is known of a destination.
type memoryDestination struct {
	failures int
	until    time.Time // end of the back-off
	last     mail.Status
}

// taskTimes are the times of a new task; one made by a reroute takes over all but
// the first.
type taskTimes struct {
	// made is from when its Delay counts.
	made, queued, warns, expires time.Time
	warned                       bool
}

func (m *Memory) addTask(msg *memoryMessage, t spool.Task, times taskTimes) spool.TaskID {
	msg.tasksMade++
	msg.info.References++
	info := spool.TaskInfo{
		ID:          spool.TaskID{Message: msg.info.ID, N: uint16(msg.tasksMade)},
		State:       spool.Queued,
		Destination: t.Destination,
		Pinned:      t.Pinned,
		Envelope:    msg.info.Envelope,
		Size:        msg.info.Size,
		Queued:      times.queued,
		Due:         times.made.Add(t.Delay),
		Expires:     times.expires,
		Warns:       times.warns,
		Warned:      times.warned,
	}
	if t.From != nil {
		info.Envelope.From = *t.From
	}
	for _, r := range t.Recipients {
		info.Recipients = append(info.Recipients, spool.RecipientState{Recipient: r})
	}
	made := &memoryTask{info: info, share: spool.Share(&msg.info.Envelope)}
	if t.Held {
		made.info.State, made.held = spool.Held, times.made
	}
	m.tasks[info.ID] = made
	signal(m.wake)
	return info.ID
}

func (m *Memory) removeTask(t *memoryTask) {
	delete(m.tasks, t.info.ID)
	m.unreference(t.info.ID.Message)
}

// leased tells whether a runner has the task.
func (t *memoryTask) leased(now time.Time) bool {
	return t.token != 0 && now.Before(t.until)
}

// snapshot returns the task as the outside sees it.
func (t *memoryTask) snapshot(now time.Time) spool.TaskInfo {
	info := t.info
	info.Recipients = slices.Clone(info.Recipients)
	if t.leased(now) {
		info.State = spool.Leased
	}
	return info
}

// cause returns why the task would be leased now, if it was queued.
func (t *memoryTask) cause(now time.Time) spool.Cause {
	switch i := t.info; {
	case reached(now, i.Expires):
		return spool.CauseExpired
	case !i.Warned && reached(now, i.Warns):
		return spool.CauseWarn
	}
	return spool.CauseDue
}

// reached tells whether an instant has come; zero never does.
func reached(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }

// falls returns when the task can be leased next; false if it waits for
// something else than time.
func (m *Memory) falls(t *memoryTask, now time.Time) (time.Time, bool) {
	if t.info.State != spool.Queued {
		return time.Time{}, false
	}
	at := t.info.Due
	if d := m.destinations[t.info.Destination]; d != nil && d.until.After(at) {
		at = d.until
	}
	if rest := m.rests[t.info.Destination]; rest.After(at) {
		at = rest
	}
	if timer := t.timer(); !timer.IsZero() && timer.Before(at) {
		at = timer
	}
	if t.leased(now) && t.until.After(at) {
		at = t.until
	}
	return at, true
}

// timer returns when the task can be leased for its warning or its expiry,
// whichever is first; zero if for neither.
func (t *memoryTask) timer() (first time.Time) {
	consider := func(at time.Time) {
		if at.IsZero() {
			return
		}
		if !at.After(t.answered) {
			at = t.quiet
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	consider(t.info.Expires)
	if !t.info.Warned {
		consider(t.info.Warns)
	}
	return first
}

func (m *Memory) destinationInfo(d spool.Destination, now time.Time) spool.DestinationInfo {
	info := spool.DestinationInfo{Destination: d}
	if s := m.destinations[d]; s != nil {
		info.Failures, info.Last = s.failures, s.last
		info.Backoff = max(0, s.until.Sub(now))
	}
	return info
}

// ready returns the tasks that could be leased, most urgent first.
func (m *Memory) ready(now time.Time) []*memoryTask {
	var ready []*memoryTask
	waiting := make(map[spool.Destination]bool)
	for _, t := range m.tasks {
		if at, ok := m.falls(t, now); ok && !at.After(now) {
			ready = append(ready, t)
			waiting[t.info.Destination] = true
		}
	}
	// Who has nothing to send has no turn to wait for.
	maps.DeleteFunc(m.turns, func(d spool.Destination, _ uint64) bool { return !waiting[d] })
	slices.SortFunc(ready, func(a, b *memoryTask) int {
		return cmp.Or(
			cmp.Compare(a.cause(now), b.cause(now)),
			cmp.Compare(m.turns[a.info.Destination], m.turns[b.info.Destination]),
			cmp.Compare(b.info.Envelope.Priority, a.info.Envelope.Priority),
			a.info.Due.Compare(b.info.Due),
			compareTaskIDs(a.info.ID, b.info.ID),
		)
	})
	return ready
}

func compareTaskIDs(a, b spool.TaskID) int {
	return cmp.Or(bytes.Compare(a.Message[:], b.Message[:]), cmp.Compare(a.N, b.N))
}

// Lease implements spool.Queue. The claim's Allow is asked between two
// sections under the mutex, since a runner may settle while it holds a lock
// that Allow takes.
func (m *Memory) Lease(c spool.Claim) ([]spool.Lease, time.Duration, error) {
	if err := m.enter(OpLease); err != nil {
		return nil, 0, err
	}
	now := m.now()
	var asked []spool.DestinationInfo
	allowed := make(map[spool.Destination]int)
	for _, t := range m.ready(now) {
		if reached(now, t.timer()) {
			continue
		}
		if _, ok := allowed[t.info.Destination]; !ok {
			allowed[t.info.Destination] = c.Max
			asked = append(asked, m.destinationInfo(t.info.Destination, now))
		}
	}
	m.mu.Unlock()

	rests := make(map[spool.Destination]time.Duration)
	if c.Allow != nil {
		for _, d := range asked {
			allowed[d.Destination] = c.Allow(d)
			if allowed[d.Destination] <= 0 && c.Rest != nil {
				rests[d.Destination] = c.Rest(d)
			}
		}
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, 0, fmt.Errorf("lease: %w", spool.ErrClosed)
	}
	for d, rest := range rests {
		m.rests[d] = now.Add(rest)
	}
	leases, full := m.grant(c, allowed, now)
	return leases, m.next(now, full), nil
}

// grant leases what is ready within the bounds and tells whether Max was reached.
func (m *Memory) grant(c spool.Claim, allowed map[spool.Destination]int, now time.Time) (leases []spool.Lease, full bool) {
	due, timers := c.Max, cmp.Or(c.Timers, c.Max)
	served := make(map[spool.Destination]bool)
	for _, t := range m.inTurn(m.ready(now), now) {
		d, timer := t.info.Destination, reached(now, t.timer())
		switch {
		case timer && timers > 0:
			timers--
		case !timer && due > 0 && allowed[d] > 0:
			due--
			allowed[d]--
			served[d] = true
			m.rota(d).Took(t.head())
		default:
			continue
		}
		cause, info := t.cause(now), m.destinationInfo(d, now)
		m.lastToken++
		t.token, t.until, t.failures = m.lastToken, now.Add(c.Lifetime), info.Failures
		leases = append(leases, spool.Lease{
			Task:        t.snapshot(now),
			Token:       t.token,
			Cause:       cause,
			Destination: info,
		})
	}
	m.turn++
	for d := range served {
		m.turns[d] = m.turn
	}
	return leases, due <= 0
}

func (t *memoryTask) head() spool.Head {
	return spool.Head{Priority: t.info.Envelope.Priority, Share: t.share, Due: t.info.Due}
}

// rota returns that of a destination.
func (m *Memory) rota(d spool.Destination) *spool.Rota {
	if m.rotas[d] == nil {
		m.rotas[d] = new(spool.Rota)
	}
	return m.rotas[d]
}

// inTurn puts the due tasks of each destination, among themselves, into the
// order in which they will be leased.
func (m *Memory) inTurn(ready []*memoryTask, now time.Time) []*memoryTask {
	places := make(map[spool.Destination][]int)
	for i, t := range ready {
		if d := t.info.Destination; !reached(now, t.timer()) {
			places[d] = append(places[d], i)
		}
	}
	ordered := slices.Clone(ready)
	for d, at := range places {
		rota := *m.rota(d)
		lines := make(map[spool.Head][]*memoryTask) // by heads without a due time
		for _, i := range at {
			h := ready[i].head()
			h.Due = time.Time{}
			lines[h] = append(lines[h], ready[i])
		}
		for _, i := range at {
			var heads []spool.Head
			for _, l := range lines {
				heads = append(heads, l[0].head())
			}
			h := heads[rota.Next(heads, now)]
			rota.Took(h)
			h.Due = time.Time{}
			ordered[i] = lines[h][0]
			if lines[h] = lines[h][1:]; len(lines[h]) == 0 {
				delete(lines, h)
			}
		}
	}
	return ordered
}

// next returns how long it is until a task falls due, the end of a lease
// included, or only its timer if the claim was full; negative if none will.
func (m *Memory) next(now time.Time, full bool) time.Duration {
	next := time.Duration(-1)
	for _, t := range m.tasks {
		at, ok := m.falls(t, now)
		// What has come was left behind for the claim's bounds, but not its timer.
		if timer := t.timer(); ok && (full || !at.After(now)) {
			at, ok = timer, !timer.IsZero()
			if t.leased(now) && t.until.After(at) {
				at = t.until
			}
		}
		if d := at.Sub(now); ok && d > 0 && (next < 0 || d < next) {
			next = d
		}
	}
	return next
}

// Extend implements spool.Queue.
func (m *Memory) Extend(l spool.Lease, d time.Duration) error {
	if err := m.enter(OpExtend); err != nil {
		return err
	}
	defer m.mu.Unlock()
	t, err := m.leaseTask(l)
	if err != nil {
		return fmt.Errorf("extend: %w", err)
	}
	t.until = m.now().Add(d)
	return nil
}

// leaseTask returns the task of a lease that is still good.
func (m *Memory) leaseTask(l spool.Lease) (*memoryTask, error) {
	t, ok := m.tasks[l.Task.ID]
	if !ok || !t.leased(m.now()) || t.token != l.Token {
		return nil, fmt.Errorf("task %s: %w", l.Task.ID, spool.ErrStaleLease)
	}
	return t, nil
}

// Wake implements spool.Queue.
func (m *Memory) Wake() <-chan struct{} { return m.wake }
