package relay

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"restante/spool"
)

// Defaults of Schedule.
const (
	DefaultMin    = time.Minute
	DefaultMax    = 4 * time.Hour
	DefaultFactor = 2
	DefaultJitter = 0.1
)

// Schedule says how long to wait between attempts. Fields that are zero have
// the defaults.
type Schedule struct {
	// Waits are the waits after the first attempts, one by one; the last is
	// repeated. If there are any, Min, Max and Factor are not used.
	Waits []time.Duration
	// Min is the wait after the first attempt, Max the longest, both before
	// the jitter is applied.
	Min, Max time.Duration
	// Factor is what the wait grows by from attempt to attempt; at least 1.
	Factor float64
	// Jitter is the part of a wait by which it is made longer or shorter at
	// random, below 1; negative means none.
	Jitter float64
}

// NextAttempt returns how long to wait after the given number of failed
// attempts, 1 or more. It is a pure function: rnd, in [0, 1), is the only
// randomness.
func (s Schedule) NextAttempt(attempts int, rnd float64) time.Duration {
	s = s.normal()
	attempts = max(attempts, 1)
	var wait float64
	if n := len(s.Waits); n > 0 {
		wait = float64(s.Waits[min(attempts, n)-1])
	} else {
		wait = float64(s.Min) * math.Pow(s.Factor, float64(attempts-1))
		// Not a plain min: Pow overflows to infinity, which the comparison catches.
		if !(wait < float64(s.Max)) {
			wait = float64(s.Max)
		}
	}
	return time.Duration(wait * (1 + s.Jitter*(2*rnd-1)))
}

// Longest is the longest wait, before the jitter.
func (s Schedule) Longest() time.Duration {
	if len(s.Waits) > 0 {
		return slices.Max(s.Waits)
	}
	return s.normal().Max
}

// check tells what is wrong with a schedule.
func (s Schedule) check() error {
	for _, w := range s.Waits {
		if w <= 0 || w > math.MaxInt64/4 {
			return fmt.Errorf("a wait of %s between attempts", w)
		}
	}
	if s.Max > math.MaxInt64/4 || s.Min > math.MaxInt64/4 {
		return errors.New("waits between attempts that never end")
	}
	return nil
}

func (s Schedule) normal() Schedule {
	if s.Min <= 0 {
		s.Min = DefaultMin
	}
	if s.Max <= 0 {
		s.Max = DefaultMax
	}
	s.Max = max(s.Min, s.Max)
	if !(s.Factor >= 1) {
		s.Factor = DefaultFactor
	}
	switch {
	case s.Jitter < 0:
		s.Jitter = 0
	case !(s.Jitter > 0 && s.Jitter < 1):
		s.Jitter = DefaultJitter
	}
	return s
}

// schedule is that of a lease's route, or the runner's.
func (r *Runner) schedule(l spool.Lease) Schedule {
	if route, ok := r.opt.Routes.Lookup(l.Task.Destination.Route); ok && route.Schedule != nil {
		return *route.Schedule
	}
	return r.opt.Schedule
}
