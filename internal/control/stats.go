package control

import (
	"time"

	"restante/spool"
)

// SpoolStatus is how the storage does, counted since the daemon started.
type SpoolStatus struct {
	// Accepting tells whether mail is taken in; Fault is why nothing is
	// changed any more, left out while all is well.
	Accepting bool   `json:"accepting"`
	Fault     string `json:"fault,omitempty"`
	// OnDisk is what the spool occupies, Free what its file system has left,
	// MinFree the floor for taking mail in; octets.
	OnDisk  int64 `json:"on_disk"`
	Free    int64 `json:"free"`
	MinFree int64 `json:"min_free"`
	// Commits are changes, Batches the transactions that they shared, Written
	// the octets of their records.
	Commits int64 `json:"commits"`
	Batches int64 `json:"batches"`
	Written int64 `json:"written"`
	// Sync is how long the device takes.
	Sync SyncStatus `json:"sync"`
	// Backlog counts bodies and deleted mailboxes that wait to be freed.
	Backlog     int               `json:"backlog"`
	Maintenance MaintenanceStatus `json:"maintenance"`
}

// SyncStatus are percentiles of the time of a sync, in microseconds.
type SyncStatus struct {
	Median int64 `json:"median"`
	P99    int64 `json:"p99"`
	Max    int64 `json:"max"`
}

// MaintenanceStatus tells of the storage's housekeeping.
type MaintenanceStatus struct {
	Runs int64 `json:"runs"`
	// Milliseconds is what they took in all.
	Milliseconds int64      `json:"milliseconds"`
	Last         *time.Time `json:"last,omitempty"`
	// Reclaimable are octets freed since all was last compacted, Tombstones
	// those taken out of mailboxes' journals, Failures what the storage did
	// not manage in the background.
	Reclaimable int64 `json:"reclaimable"`
	Tombstones  int64 `json:"tombstones"`
	Failures    int64 `json:"failures"`
}

// spoolStatus is nil if nothing tells.
func (s *Server) spoolStatus() *SpoolStatus {
	if s.opt.Stats == nil {
		return nil
	}
	return newSpoolStatus(s.opt.Stats())
}

func newSpoolStatus(s spool.Stats) *SpoolStatus {
	st := &SpoolStatus{
		Accepting: s.Accepting, Fault: s.Fault,
		OnDisk: s.OnDisk, Free: s.Free, MinFree: s.MinFree,
		Commits: s.Commits, Batches: s.Batches, Written: s.Written, Backlog: s.Backlog,
		Sync: SyncStatus{s.SyncMedian.Microseconds(), s.Sync99.Microseconds(), s.SyncMax.Microseconds()},
		Maintenance: MaintenanceStatus{
			Runs: s.MaintenanceRuns, Milliseconds: s.MaintenanceTime.Milliseconds(),
			Reclaimable: s.Reclaimable, Tombstones: s.TombstonesTrimmed, Failures: s.BackgroundFailures,
		},
	}
	if !s.LastMaintenance.IsZero() {
		st.Maintenance.Last = &s.LastMaintenance
	}
	return st
}
