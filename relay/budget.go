package relay

import (
	"fmt"
	"sync"
	"time"

	"restante/internal/ratelimit"
)

// Limits bound what a route, or one of its hosts, is given. The zero Limits
// bound nothing.
type Limits struct {
	// Messages and Recipients bound deliveries by time, as token buckets.
	Messages, Recipients ratelimit.Rate
	// Daily bounds the recipients delivered to from midnight to midnight, in
	// the local time zone; 0 is no bound.
	Daily int
}

// IsZero tells whether nothing is bounded.
func (l Limits) IsZero() bool {
	return l.Messages.Unlimited() && l.Recipients.Unlimited() && l.Daily <= 0
}

// Shortage tells what keeps a route or host from being given more.
type Shortage struct {
	// Wait is how long it lasts; 0 is no shortage.
	Wait time.Duration
	// Quota tells that the daily quota is used up, not only the rate.
	Quota bool
	// Until is when the quota begins anew, zero if it is not used up.
	Until time.Time
}

// None tells that there is no shortage.
func (s Shortage) None() bool { return s.Wait <= 0 }

// String says it for a listing of the queue.
func (s Shortage) String() string {
	switch {
	case s.None():
		return "within its limits"
	case s.Quota:
		return "daily quota used up until " + s.Until.Format("2006-01-02 15:04 -0700")
	}
	return fmt.Sprintf("rate limit reached, next in %s", s.Wait.Round(time.Millisecond))
}

// Budgets counts what routes and hosts were given, by a name of each. It lives
// longer than a Runner, so that a reload forgets nothing, and is safe for
// concurrent use. Its memory grows with the names, which are the
// configuration's.
type Budgets struct {
	path string
	now  func() time.Time

	mu    sync.Mutex
	names map[string]*budget
	dirty chan struct{} // holds at most one signal: the file is behind
}

// budget is what one name was given.
type budget struct {
	// messages and recipients are when their buckets are full again (the
	// generic cell rate algorithm).
	messages, recipients time.Time
	// used are the recipients of a day, "2006-01-02".
	day  string
	used int
}

// NewBudgets returns Budgets that are remembered nowhere; see OpenBudgets.
func NewBudgets(now func() time.Time) *Budgets {
	if now == nil {
		now = time.Now
	}
	return &Budgets{now: now, names: make(map[string]*budget), dirty: make(chan struct{}, 1)}
}

// Short tells whether a name may be given nothing now, and for how long.
func (b *Budgets) Short(name string, l Limits) Shortage {
	if l.IsZero() {
		return Shortage{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.short(b.at(name), l, b.now())
}

// Left is how many messages a name may be given now at most, if each has one
// recipient; negative is no bound.
func (b *Budgets) Left(name string, l Limits) int {
	if l.IsZero() {
		return -1
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n, now := b.at(name), b.now()
	if !b.short(n, l, now).None() {
		return 0
	}
	left := -1
	least := func(n int) {
		if left < 0 || n < left {
			left = n
		}
	}
	if !l.Messages.Unlimited() {
		least(tokens(n.messages, l.Messages, now))
	}
	if !l.Recipients.Unlimited() {
		least(tokens(n.recipients, l.Recipients, now))
	}
	if l.Daily > 0 {
		least(l.Daily - n.used)
	}
	return left
}

// Take takes one message for up to so many recipients, and returns for how
// many it may be delivered now: fewer where the quota ends, 0 if there is a
// shortage. A message with more recipients than the rate allows goes when there
// is any room, and the bucket owes the rest.
func (b *Budgets) Take(name string, l Limits, recipients int) int {
	if l.IsZero() || recipients <= 0 {
		return recipients
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n, now := b.at(name), b.now()
	if !b.short(n, l, now).None() {
		return 0
	}
	if l.Daily > 0 {
		recipients = min(recipients, l.Daily-n.used)
		n.used += recipients
		b.changed()
	}
	spend(&n.messages, l.Messages, 1, now)
	spend(&n.recipients, l.Recipients, recipients, now)
	return recipients
}

// Return gives back what was taken for recipients who were not delivered to:
// the quota counts deliveries. The rates count attempts.
func (b *Budgets) Return(name string, recipients int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.names[name]
	if n == nil || recipients <= 0 || n.day != day(b.now()) {
		return
	}
	n.used = max(0, n.used-recipients)
	b.changed()
}

// Used is how many recipients of today were counted for a name.
func (b *Budgets) Used(name string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.names[name]; n != nil && n.day == day(b.now()) {
		return n.used
	}
	return 0
}

// at returns the budget of a name, of today. The caller holds mu.
func (b *Budgets) at(name string) *budget {
	n := b.names[name]
	if n == nil {
		n = new(budget)
		b.names[name] = n
	}
	if today := day(b.now()); n.day != today {
		n.day, n.used = today, 0
	}
	return n
}

func (b *Budgets) short(n *budget, l Limits, now time.Time) Shortage {
	if l.Daily > 0 && n.used >= l.Daily {
		until := midnight(now)
		return Shortage{Wait: max(until.Sub(now), time.Millisecond), Quota: true, Until: until}
	}
	wait := max(lacks(n.messages, l.Messages, now), lacks(n.recipients, l.Recipients, now))
	return Shortage{Wait: wait}
}

func (b *Budgets) changed() {
	select {
	case b.dirty <- struct{}{}:
	default:
	}
}

// each is the time in which one event of a rate comes back.
func each(r ratelimit.Rate) time.Duration { return max(r.Per/time.Duration(r.Count), 1) }

// lacks is how long it is until a bucket has room for one event.
func lacks(until time.Time, r ratelimit.Rate, now time.Time) time.Duration {
	if r.Unlimited() {
		return 0
	}
	return max(0, max(until.Sub(now), 0)+each(r)-r.Per)
}

// tokens is how many events a bucket has room for.
func tokens(until time.Time, r ratelimit.Rate, now time.Time) int {
	ahead := max(until.Sub(now), 0)
	return max(0, int((r.Per-ahead)/each(r)))
}

func spend(until *time.Time, r ratelimit.Rate, n int, now time.Time) {
	if r.Unlimited() {
		return
	}
	if until.Before(now) {
		*until = now
	}
	*until = until.Add(time.Duration(n) * each(r))
}

func day(t time.Time) string { return t.Format(time.DateOnly) }

// midnight is when the day of t ends; that is not 24 hours after it began when
// the clocks change.
func midnight(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, t.Location())
}
