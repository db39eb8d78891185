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
