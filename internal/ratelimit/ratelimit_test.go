package ratelimit

import (
	"math/rand/v2"
	"testing"
	"time"
)

var begin = time.Date(2024, 2, 3, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return begin.Add(d) }

func TestTake(t *testing.T) {
	rate := Rate{6, time.Minute} // one in 10 seconds
	for _, test := range []struct {
		name  string
		takes []take
	}{
		{"all at once, then one by one", []take{
			{0, 6, 0}, {0, 1, 10}, {9, 1, 1}, {10, 1, 0}, {10, 1, 10}, {20, 1, 0},
		}},
		{"a refusal costs nothing", []take{{0, 5, 0}, {0, 2, 10}, {0, 1, 0}, {0, 1, 10}}},
		{"quiet fills it again", []take{{0, 6, 0}, {60, 6, 0}, {60, 1, 10}, {3600, 6, 0}, {3600, 1, 10}}},
		{"more than there can be: when full, and it owes", []take{{0, 1, 0}, {0, 12, 10}, {10, 12, 0}, {10, 1, 70}, {70, 1, 10}, {80, 1, 0}}},
		{"nothing", []take{{0, 0, 0}, {0, 6, 0}, {0, 0, 0}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := NewBuckets[string](10)
			b.Take("other", 6, rate, begin)
			for i, x := range test.takes {
				got := b.Take("key", x.n, rate, at(time.Duration(x.at)*time.Second))
				if got != time.Duration(x.wait)*time.Second {
					t.Fatalf("take %d: wait %v, want %ds", i, got, x.wait)
				}
			}
		})
	}
}

type take struct{ at, n, wait int }

func TestUnlimited(t *testing.T) {
	var b Buckets[int]
	for _, r := range []Rate{{}, {0, time.Hour}, {5, 0}, {-1, time.Hour}} {
		if w := b.Take(1, 1000000, r, begin); w != 0 || !r.Unlimited() {
			t.Errorf("%v: wait %v", r, w)
		}
	}
	if b.Len() != 0 {
		t.Error("what is not limited is remembered")
	}
}

// A rate that changes under the keys, and huge numbers, do no harm.
func TestExtremes(t *testing.T) {
	var b Buckets[int]
	huge := int(^uint(0) >> 1)
	for _, r := range []Rate{{1, 1<<63 - 1}, {huge, time.Nanosecond}, {1, time.Nanosecond}, {huge, 1<<63 - 1}} {
		for _, n := range []int{1, huge} {
			for range 3 {
				if w := b.Take(1, n, r, begin); w < 0 {
					t.Errorf("%v, %d: wait %v", r, n, w)
				}
			}
		}
	}
}

// Over any time no more passes than the rate and what it allows at once.
func TestNoMoreThanTheRate(t *testing.T) {
	b := NewBuckets[int](4)
	rate := Rate{20, time.Minute}
	rnd := rand.New(rand.NewPCG(1, 2))
	now, passed := time.Duration(0), 0
	for range 20000 {
		now += time.Duration(rnd.IntN(2000)) * time.Millisecond
		if b.Take(7, 1, rate, at(now)) == 0 {
			passed++
		}
	}
	want := int(now/(3*time.Second)) + 20
	if passed > want+1 || passed < want-50 {
		t.Errorf("%d passed in %v, want about %d", passed, now, want)
	}
}

func TestFailures(t *testing.T) {
	f := NewFailures[string](10, time.Minute)
	for i := range 3 {
		if n := f.Add("key", begin); n != i+1 {
			t.Errorf("failure %d counts as %d", i+1, n)
		}
	}
	for _, x := range []struct{ seconds, want int }{{0, 3}, {59, 3}, {60, 2}, {61, 2}, {121, 1}, {179, 1}, {180, 0}, {1000, 0}} {
		if n := f.Count("key", at(time.Duration(x.seconds)*time.Second)); n != x.want {
			t.Errorf("%d failures after %d s, want %d", n, x.seconds, x.want)
		}
	}
	if n := f.Count("other", begin); n != 0 {
		t.Errorf("another key has %d failures", n)
	}
	for range 1000 {
		f.Add("key", begin)
	}
	if n := f.Count("key", begin); n != MaxFailures {
		t.Errorf("%d failures, want %d", n, MaxFailures)
	}
	if f.Forget("key"); f.Count("key", begin) != 0 || f.Len() != 0 {
		t.Error("not forgotten")
	}
}

func TestSet(t *testing.T) {
	s := NewSet[string](10, time.Minute)
	s.Add("key", begin)
	if !s.Has("key", at(59*time.Second)) || s.Has("key", at(61*time.Second)) || s.Has("other", begin) {
		t.Error("wrong keys")
	}
	s.Add("key", at(50*time.Second))
	if !s.Has("key", at(100*time.Second)) {
		t.Error("not kept anew")
	}
	if s.Remove("key"); s.Has("key", begin) || s.Len() != 0 {
		t.Error("not removed")
	}
}

// However many keys there are, the places are not more; and who did much is
// not forgotten for many that did little.
func TestBoundedMemory(t *testing.T) {
	const places = 1000
	b := NewBuckets[int](places)
	rate := Rate{10, time.Hour}
	for range 10 {
		b.Take(-1, 1, rate, begin)
	}
	for i := range 100 * places {
		b.Take(i, 1, rate, begin)
		if b.Len() > places {
			t.Fatalf("%d keys are remembered, %d are allowed", b.Len(), places)
		}
	}
	if b.Take(-1, 1, rate, begin) == 0 {
		t.Error("a flood of others made the worst be forgotten")
	}
	// When they do not matter any more, new ones push them out.
	for i := range places {
		b.Take(i, 1, rate, at(100*time.Hour))
	}
	for i := range 3 * places {
		b.Take(-2-i, 1, Rate{10, time.Nanosecond}, at(200*time.Hour+time.Duration(i)*time.Minute))
	}
	if b.Len() > 100 {
		t.Errorf("%d keys are left long after they matter", b.Len())
	}
}

// Many use a table at once.
func TestConcurrent(t *testing.T) {
	b := NewBuckets[int](50)
	rate := Rate{100, time.Hour}
	passed := make(chan int)
	for range 8 {
		go func() {
			n := 0
			for i := range 1000 {
				b.Take(i+10, 1, rate, begin)
				if b.Take(0, 1, rate, begin) == 0 {
					n++
				}
			}
			passed <- n
		}()
	}
	sum := 0
	for range 8 {
		sum += <-passed
	}
	if sum != 100 {
		t.Errorf("%d passed, 100 may", sum)
	}
}

func BenchmarkTake(b *testing.B) {
	t := NewBuckets[int](DefaultPlaces)
	rate := Rate{10, time.Hour}
	for i := range 2 * DefaultPlaces {
		t.Take(i, 1, rate, begin)
	}
	i := 0
	for b.Loop() {
		i++
		t.Take(i, 1, rate, begin)
	}
}
