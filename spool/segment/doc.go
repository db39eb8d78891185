// Package segment keeps long bodies in append-only files, beside an engine's
// records. An engine that sorts its records writes each of them several times:
// to a log, to a table, and again with every compaction. A body is written
// here once, and what the engine sorts is where it is.
//
// # What is durable
//
// Append puts a blob into the newest segment, and Sync makes durable whatever
// was appended before it was called; those who call it at one time share one
// wait for the device. The engine must have called Sync before it stores a Ref,
// so that no record ever leads to a blob that is not there. What was appended
// and never referred to is room that is lost until its segment goes. A Store
// never appends to a segment of an earlier run, so it does not matter how such
// a file ends.
//
// After a write or a sync has failed, except for want of space, the Store
// takes nothing more: a later sync that succeeds says nothing of what failed.
//
// # What is given back
//
// The Store counts the live octets of each segment: Append adds, Free takes
// away. After a restart the engine counts what its records refer to with
// Count and calls Counted; until then no segment is removed. A sealed segment
// without live octets is removed by Collect, unless it is pinned by somebody
// who still reads in it, or a Hold is on. Sparse lists those that are worth
// being moved.
//
// # What is checked
//
// Each blob has a head with its owner, its number, its length and a CRC-32C of
// all that and its octets. Read fails with spool.ErrCorrupt rather than return
// anything else than what was appended. Scan finds the blobs of a segment
// without any Ref.
package segment
