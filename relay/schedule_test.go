package relay

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestNextAttempt(t *testing.T) {
	plain := Schedule{Jitter: -1}
	tests := []struct {
		name     string
		schedule Schedule
		attempts int
		rnd      float64
		want     time.Duration
	}{
		{"first", plain, 1, 0.5, time.Minute},
		{"second", plain, 2, 0.5, 2 * time.Minute},
		{"third", plain, 3, 0.5, 4 * time.Minute},
		{"eighth", plain, 8, 0.5, 128 * time.Minute},
		{"ninth is the longest", plain, 9, 0.5, 4 * time.Hour},
		{"far beyond", plain, math.MaxInt, 0.5, 4 * time.Hour},
		{"none yet", plain, 0, 0.5, time.Minute},
		{"negative", plain, -5, 0.5, time.Minute},
		{"jitter down", Schedule{}, 1, 0, 54 * time.Second},
		{"jitter in the middle", Schedule{}, 1, 0.5, time.Minute},
		{"factor 1", Schedule{Min: time.Second, Factor: 1, Jitter: -1}, 100, 0.5, time.Second},
		{"max below min", Schedule{Min: time.Hour, Max: time.Second, Jitter: -1}, 5, 0.5, time.Hour},
		{"nonsense falls back", Schedule{Factor: math.NaN(), Jitter: math.NaN()}, 2, 0.5, 2 * time.Minute},
	}
	for _, tt := range tests {
		if got := tt.schedule.NextAttempt(tt.attempts, tt.rnd); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestNextAttemptProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Schedule{
			Min:    time.Duration(rapid.Int64Range(1, int64(24*time.Hour)).Draw(t, "min")),
			Max:    time.Duration(rapid.Int64Range(1, int64(240*time.Hour)).Draw(t, "max")),
			Factor: rapid.Float64Range(1, 10).Draw(t, "factor"),
			Jitter: rapid.Float64Range(0.01, 0.99).Draw(t, "jitter"),
		}
		attempts := rapid.Int().Draw(t, "attempts")
		rnd := rapid.Float64Range(0, math.Nextafter(1, 0)).Draw(t, "rnd")
		got := s.NextAttempt(attempts, rnd)
		low := float64(s.Min) * (1 - s.Jitter)
		high := float64(max(s.Min, s.Max)) * (1 + s.Jitter)
		if float64(got) < math.Floor(low) || float64(got) > math.Ceil(high) {
			t.Fatalf("%v is not within %v and %v", got, time.Duration(low), time.Duration(high))
		}
		if attempts < math.MaxInt && s.NextAttempt(attempts+1, rnd) < got {
			t.Fatalf("the wait shrinks after attempt %d", attempts)
		}
		if s.NextAttempt(attempts, rnd) != got {
			t.Fatal("not a function")
		}
	})
}

func TestNextAttemptOfList(t *testing.T) {
	s := Schedule{Waits: []time.Duration{time.Minute, 5 * time.Minute, 2 * time.Hour}, Jitter: -1}
	for attempts, want := range map[int]time.Duration{
		-1: time.Minute, 0: time.Minute, 1: time.Minute, 2: 5 * time.Minute, 3: 2 * time.Hour, 4: 2 * time.Hour, math.MaxInt: 2 * time.Hour,
	} {
		if got := s.NextAttempt(attempts, 0.5); got != want {
			t.Errorf("after attempt %d: %v, want %v", attempts, got, want)
		}
	}
	if s.Longest() != 2*time.Hour || (Schedule{}).Longest() != DefaultMax {
		t.Error("the longest wait")
	}
}

// Whatever the list, a wait is the one of its place, within the jitter.
func TestNextAttemptOfListProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		waits := rapid.SliceOfN(rapid.Int64Range(int64(time.Second), int64(30*24*time.Hour)), 1, 12).Draw(t, "waits")
		s := Schedule{Jitter: rapid.Float64Range(0.01, 0.99).Draw(t, "jitter")}
		for _, w := range waits {
			s.Waits = append(s.Waits, time.Duration(w))
		}
		attempts := rapid.Int().Draw(t, "attempts")
		rnd := rapid.Float64Range(0, math.Nextafter(1, 0)).Draw(t, "rnd")
		got := float64(s.NextAttempt(attempts, rnd))
		base := float64(s.Waits[min(max(attempts, 1), len(waits))-1])
		if got < math.Floor(base*(1-s.Jitter)) || got > math.Ceil(base*(1+s.Jitter)) {
			t.Fatalf("%v is not %v give or take %v", time.Duration(got), time.Duration(base), s.Jitter)
		}
	})
}
