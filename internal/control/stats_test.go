package control

import (
	"encoding/json"
	"testing"
	"time"

	"restante/spool"
)

func TestSpoolStatus(t *testing.T) {
	b, err := json.Marshal(newSpoolStatus(spool.Stats{
		Fault: "EIO", OnDisk: 1, Free: 2, MinFree: 3, Commits: 4, Batches: 5, Written: 6, Backlog: 7,
		SyncMedian: 64 * time.Microsecond, Sync99: time.Millisecond, SyncMax: time.Second,
		MaintenanceRuns: 8, MaintenanceTime: 9 * time.Millisecond, Reclaimable: 10, TombstonesTrimmed: 11, BackgroundFailures: 12,
	}))
	const want = `{"accepting":false,"fault":"EIO","on_disk":1,"free":2,"min_free":3,"commits":4,"batches":5,"written":6,` +
		`"sync":{"median":64,"p99":1000,"max":1000000},"backlog":7,` +
		`"maintenance":{"runs":8,"milliseconds":9,"reclaimable":10,"tombstones":11,"failures":12}}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v\nwant %s", b, err, want)
	}
}
