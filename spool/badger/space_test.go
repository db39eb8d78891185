package badger

import (
	"context"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"restante/spool"
)

// occupied is what a folder takes on its disk: allocated blocks, since
// Badger's files are sparse.
func occupied(t testing.TB, dir string) (octets int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // removed meanwhile
		}
		if info, err := d.Info(); err == nil {
			octets += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
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
	total := int64(160 << 20)
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
