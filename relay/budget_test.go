package relay

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"restante/internal/ratelimit"
)

// clock is a time that a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func TestBudgetRate(t *testing.T) {
	c := &clock{time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}
	b := NewBudgets(c.now)
	l := Limits{Messages: ratelimit.Rate{Count: 4, Per: time.Minute}}
	if n := b.Left("r", l); n != 4 {
		t.Errorf("%d left at first", n)
	}
	for i := range 4 {
		if n := b.Take("r", l, 3); n != 3 {
			t.Fatalf("message %d: %d recipients", i, n)
		}
	}
	if n := b.Take("r", l, 1); n != 0 || b.Left("r", l) != 0 {
		t.Errorf("a fifth went")
	}
	if s := b.Short("r", l); s.Wait != 15*time.Second || s.Quota {
		t.Errorf("shortage %+v", s)
	}
	if s := b.Short("other", l); !s.None() {
		t.Errorf("another name: %v", s)
	}
	c.t = c.t.Add(15 * time.Second)
	if n := b.Left("r", l); n != 1 || b.Take("r", l, 1) != 1 || b.Take("r", l, 1) != 0 {
		t.Errorf("%d left after a quarter of the time", n)
	}
}

// More recipients at once than the bucket holds go, and are owed.
func TestBudgetOwes(t *testing.T) {
	c := &clock{time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}
	b := NewBudgets(c.now)
	l := Limits{Recipients: ratelimit.Rate{Count: 10, Per: 10 * time.Second}}
	if n := b.Take("r", l, 25); n != 25 {
		t.Fatalf("%d of 25", n)
	}
	if s := b.Short("r", l); s.Wait != 16*time.Second {
		t.Errorf("shortage %+v", s)
	}
}

func TestBudgetQuota(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	// The day on which the clocks go back has 25 hours.
	c := &clock{time.Date(2026, 10, 25, 1, 0, 0, 0, zone)}
	b := NewBudgets(c.now)
	l := Limits{Daily: 5}
	if n := b.Take("r", l, 3); n != 3 || b.Left("r", l) != 2 {
		t.Errorf("%d taken", n)
	}
	b.Return("r", 1)
	if n := b.Take("r", l, 7); n != 3 {
		t.Errorf("%d taken where the quota ends", n)
	}
	s := b.Short("r", l)
	if !s.Quota || s.Wait != 24*time.Hour {
		t.Errorf("shortage %+v", s)
	}
	if want := "daily quota used up until 2026-10-26 00:00 +0100"; s.String() != want {
		t.Errorf("%q", s)
	}
	c.t = c.t.Add(24 * time.Hour)
	b.Return("r", 5) // of yesterday
	if s := b.Short("r", l); !s.None() || b.Used("r") != 0 {
		t.Errorf("the next day: %v", s)
	}
}

func TestBudgetFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "quotas.json")
	synctest.Test(t, func(t *testing.T) {
		b, err := OpenBudgets(path)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Keep(ctx, func(err error) { t.Error(err) }) }()
		l := Limits{Daily: 100}
		b.Take("smarthost", l, 7)
		synctest.Wait()
		b.Take("smarthost", l, 5)
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		again, err := OpenBudgets(path)
		if err != nil || again.Used("smarthost") != 12 {
			t.Errorf("%d after reading: %v", again.Used("smarthost"), err)
		}
		time.Sleep(25 * time.Hour)
		if again.Used("smarthost") != 0 {
			t.Error("yesterday's count is still there")
		}
	})
	if err := os.WriteFile(path, []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := OpenBudgets(path)
	if err == nil || b.Used("smarthost") != 0 {
		t.Errorf("a damaged file: %v", err)
	}
}

// No more goes in any time than the rate allows in it and the bucket held.
func TestBudgetProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &clock{time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)}
		begun := c.t
		b := NewBudgets(c.now)
		r := ratelimit.Rate{Count: rapid.IntRange(1, 50).Draw(t, "count"), Per: time.Duration(rapid.IntRange(1, 3600).Draw(t, "per")) * time.Second}
		l := Limits{Messages: r, Daily: rapid.IntRange(1, 200).Draw(t, "daily")}
		went := 0
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			c.t = c.t.Add(time.Duration(rapid.IntRange(0, 30_000).Draw(t, "pause")) * time.Millisecond)
			s, left := b.Short("r", l), b.Left("r", l)
			n := b.Take("r", l, 1)
			if (n == 1) != s.None() || (left > 0) != s.None() {
				t.Fatalf("taken %d, left %d, shortage %v", n, left, s)
			}
			went += n
			if most := r.Count + int(c.t.Sub(begun)/each(r)) + 1; went > most {
				t.Fatalf("%d went in %v at %v", went, c.t.Sub(begun), r)
			}
		}
		if went > l.Daily {
			t.Fatalf("%d went of a quota of %d", went, l.Daily)
		}
	})
}
