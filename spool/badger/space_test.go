package badger

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"restante/spool"
)

func occupied(t testing.TB, dir string) int64 {
	t.Helper()
	octets, err := occupies(dir)
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// passThrough sends octets of mail through a queue that never holds more than
// 5 MB: bodies of 1 KiB to 256 KiB that cannot be compressed, each delivered
// when those after it fill the queue. It returns the most that the spool took
// on disk.
func passThrough(t testing.TB, e *Engine, total int64) (most int64) {
	t.Helper()
	const held = 5e6
	noise := make([]byte, 1<<20)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	var queued, passed, measured int64
	for passed < total {
		size := int(1<<10) << rnd.IntN(9)
		for queued+int64(size) > held {
			leases, _, err := e.Lease(spool.Claim{Max: 1, Lifetime: time.Minute})
			if err != nil || len(leases) != 1 {
				t.Fatalf("lease: %v, %v", leases, err)
			}
			l := leases[0]
			if err := e.Settle(context.Background(), l, spool.Settlement{
				Attempted: true, Results: []spool.Result{{Ended: true}},
			}); err != nil {
				t.Fatal(err)
			}
			queued -= l.Task.Size
		}
		at := rnd.IntN(len(noise) - size)
		commit(t, e, noise[at:at+size], forBob)
		queued += int64(size)
		if passed += int64(size); passed-measured > 4<<20 {
			measured = passed
			most = max(most, occupied(t, e.opt.Dir))
		}
	}
	return most
}

// envSpace is the number of octets that TestSpaceComesBack sends through,
// instead of what is enough to see that it does.
const envSpace = "RESTANTE_SPACE"

func TestSpaceComesBack(t *testing.T) {
	total := int64(120 << 20)
	if s := os.Getenv(envSpace); s != "" {
		var err error
		if total, err = strconv.ParseInt(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	e := open(t, Options{})
	start := time.Now()
	most := passThrough(t, e, total)
	now := occupied(t, e.opt.Dir)
	t.Logf("%d MB in %v: the spool took %d MB at most, %d MB at the end", total/1e6, time.Since(start), most/1e6, now/1e6)
	const bound = 100e6
	if most > bound {
		t.Errorf("the spool took up to %d octets on disk, want less than %d", most, int64(bound))
	}
}

// A large queue that drains, with nothing after it: Badger alone would keep
// the bodies.
func TestSpaceOfADrainedQueue(t *testing.T) {
	e := open(t, Options{})
	body := make([]byte, inlineSize)
	rnd := rand.NewChaCha8([32]byte{})
	const n = 3200 // 100 MB, with tombstones that stay in memory
	for range n {
		rnd.Read(body)
		commit(t, e, body, forBob)
	}
	for range n {
		if err := e.Settle(context.Background(), lease(t, e), delivered); err != nil {
			t.Fatal(err)
		}
	}
	before := occupied(t, e.opt.Dir)
	if e.stats.freed.Load() < e.worthwhile() {
		t.Errorf("%d octets freed are not worth a compaction of %d", e.stats.freed.Load(), e.worthwhile())
	}
	if err := e.compact(); err != nil {
		t.Fatal(err)
	}
	after := occupied(t, e.opt.Dir)
	t.Logf("%d MB before, %d MB after", before/1e6, after/1e6)
	if after > 2*logSize {
		t.Errorf("%d octets are left", after)
	}
	if ok, err := e.view().has(metaKey(metaFiller)); ok || err != nil {
		t.Errorf("the filler is left (%v)", err)
	}
}

func TestStats(t *testing.T) {
	e := open(t, Options{})
	commit(t, e, []byte("x"), forBob)
	e.maintenance("nothing", func() error { return nil })
	s := e.Stats()
	if s.Commits < 1 || s.Batches < 1 || s.Written == 0 || s.SyncMedian == 0 || s.SyncMax < s.SyncMedian ||
		s.OnDisk == 0 || s.Free == 0 || !s.Accepting || s.Fault != "" || s.MaintenanceRuns != 1 {
		t.Errorf("%+v", s)
	}
	e.setFault(spool.ErrReadOnly)
	if s := e.Stats(); s.Accepting || s.Fault == "" {
		t.Errorf("after a fault: %+v", s)
	}
}
