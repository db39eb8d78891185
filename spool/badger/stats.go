package badger

import (
	"sync"
	"sync/atomic"
	"time"

	"restante/spool"
)

// counters are what the engine counts since it was opened.
type counters struct {
	commits, batches, octets atomic.Int64 // octets of records, without Badger's
	lastCommit               atomic.Int64 // Unix nanoseconds
	log                      atomic.Int64 // number of the current log
	freed                    atomic.Int64 // octets of bodies, since the last compaction
	trimmed                  atomic.Int64

	mu      sync.Mutex
	runs    int64
	took    time.Duration
	lastRun time.Time
	syncs   [syncBuckets]int64
}

// syncBuckets hold the times of syncs, by powers of two of 16 microseconds:
// the last begins at 17 seconds.
const syncBuckets = 21

func syncBucket(i int) time.Duration { return 16 * time.Microsecond << i }

func (c *counters) synced(took time.Duration) {
	i := 0
	for i < syncBuckets-1 && took > syncBucket(i) {
		i++
	}
	c.mu.Lock()
	c.syncs[i]++
	c.mu.Unlock()
}

// committed counts groups that syncLoop has dealt with.
func (c *counters) committed(list []*group) {
	for _, g := range list {
		if g.err != nil || g.log == nil {
			continue
		}
		c.batches.Add(1)
		c.commits.Add(int64(len(g.ops) - len(g.failed)))
		c.octets.Add(g.size)
		c.freed.Add(g.freed)
		c.lastCommit.Store(time.Now().UnixNano())
	}
}

func (c *counters) maintained(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs++
	c.took += took
	c.lastRun = time.Now()
}

// percentile returns the upper bound of the bucket below which the fraction p
// of all syncs lies; 0 if there were none. The caller holds mu.
func (c *counters) percentile(p float64) time.Duration {
	var all, sum int64
	for _, n := range c.syncs {
		all += n
	}
	for i, n := range c.syncs {
		sum += n
		if all > 0 && float64(sum) >= p*float64(all) {
			return syncBucket(i)
		}
	}
	return 0
}

// Stats returns figures of the engine since it was opened. It costs a walk
// over the file names of the spool.
func (e *Engine) Stats() spool.Stats {
	c := &e.stats
	s := spool.Stats{
		Commits: c.commits.Load(), Batches: c.batches.Load(), Written: c.octets.Load(),
		Backlog: e.sweeper.backlog(), Reclaimable: c.freed.Load(), TombstonesTrimmed: c.trimmed.Load(),
		BackgroundFailures: e.background.failures.Load(), MinFree: e.opt.MinFree,
	}
	level, err := e.look(freeCheck)
	e.free.mu.Lock()
	s.Free = e.free.octets
	e.free.mu.Unlock()
	s.Accepting = level == roomy && e.enoughFiles() == nil
	s.OnDisk, _ = occupies(e.opt.Dir)
	c.mu.Lock()
	s.SyncMedian, s.Sync99, s.SyncMax = c.percentile(0.5), c.percentile(0.99), c.percentile(1)
	s.MaintenanceRuns, s.MaintenanceTime, s.LastMaintenance = c.runs, c.took, c.lastRun
	c.mu.Unlock()
	if fault := e.fault(); fault != nil {
		err, s.Accepting = fault, false
	}
	if err != nil {
		s.Fault = err.Error()
	}
	return s
}
