package spool

import "time"

// Stats are figures of an engine for people and monitoring, counted since it
// was opened.
type Stats struct {
	// Commits are operations that became durable, Batches the transactions
	// that held them, Written the octets of their records.
	Commits, Batches, Written int64
	// SyncMedian, Sync99 and SyncMax are percentiles of how long the device
	// took to make something durable, rounded up to a power of two of 16 µs.
	SyncMedian, Sync99, SyncMax time.Duration
	// OnDisk is what the spool occupies, Free what its file system has left,
	// MinFree the floor below which no mail is taken in; all in octets.
	OnDisk, Free, MinFree int64
	// Accepting tells whether mail is taken in.
	Accepting bool
	// Fault is why the spool takes no changes any more; "" if it does.
	Fault string
	// BackgroundFailures counts what failed in the storage's own work.
	BackgroundFailures int64
	// Backlog is how many bodies and mailboxes wait to be freed.
	Backlog int
	// Reclaimable are octets of bodies freed since the last full compaction;
	// most of their space is back already.
	Reclaimable int64
	// TombstonesTrimmed counts those taken out of mailboxes' journals.
	TombstonesTrimmed int64
	// MaintenanceRuns took MaintenanceTime in all.
	MaintenanceRuns int64
	MaintenanceTime time.Duration
	LastMaintenance time.Time
}
