// Package badger is the spool engine on Badger, and the only importer of it.
//
// # Writing
//
// One goroutine, the committer, does every write. Verbs hand it operations;
// those that are waiting when it is free run one after another inside one
// Badger transaction and share its sync, so a lone commit is not delayed and
// many at once cost one sync. An operation that fails leaves no trace: the
// batch is run again without it. Since nobody else writes, an operation may
// read, decide and write without conflicts; what it changes in memory it
// changes in its after function, once the transaction is durable.
//
// A second goroutine syncs Badger's log (walSync says why not Badger) and
// answers, so that the next transactions are made while the device is busy.
// Each carries its number; the last durable one is recorded outside of Badger
// (highMark), so that a log which Badger cut off in silence is noticed.
//
// A transaction that Badger does not commit for sure makes the engine
// read-only (spool.ErrReadOnly): nothing is acknowledged that may be missing.
//
// # Reading
//
// Readers use Badger's snapshots and never wait for the committer. An open
// Body holds none: a short one is in memory, the segments of a long one are
// pinned, which is why it can be read after its message is gone.
//
// # Bodies
//
// A body of up to inlineSize is a record, in the very transaction that commits
// the message. A longer one goes to append-only files (package segment) as it
// streams in, in pieces of chunkSize, and a record tells where they are. They
// are durable before the transaction with that record begins, so none ever
// leads to what is not there. What was appended and got no record is room that
// is lost until its segment goes.
//
// A segment goes when nothing leads to it any more (sweepLoop); what is left in
// those that are mostly empty is moved (sparse.go). The live octets of each are
// counted in memory, from the records once after the start (countPieces).
//
// # Queue
//
// Leases live in memory alone: there is one process, and when it dies so do
// its leases. Destinations that have tasks are held in memory too (some
// hundred bytes each); tasks are not. keys.go documents every record.
//
// A Lease looks at a snapshot. What was noted of a destination since that was
// taken is for the next one (scan.before): a destination never counts as empty
// on the word of a snapshot that is older than what is known of it.
//
// # Stories
//
// Search reads the beginnings of all stories of the time that was asked for:
// some 4 µs each, two seconds for 500,000. An index of addresses and Message-IDs
// would have it read the few that are meant, and would cost each commit of a
// message with one recipient three keys more: 14 % of the engine's CPU time (12 µs;
// the median of three runs of 12,000 commits by 32 clients), and as many deletions
// later. There is none: mail is taken in all the time, and searched for now and
// then.
//
// # Waiting
//
// An engine with nothing to do uses 0.4 % of a core, seven eighths of it since
// Badger's two compactors look for work 20 times a second each: without them it
// is 0.05 % (/proc/PID/stat over 40 s). Badger has no option for that, none with
// less than two compactors, and with none its tables are never merged.
//
// # Backup
//
// Backup writes a snapshot as one stream that ends with a hash; Restore makes a
// spool of its own from a full one and the increments on it. An increment names
// every record that is there, so that deletions need no trace (backupfile.go).
// It rests on Badger's versions, which never go back since each transaction
// stores its number; a spool that is restored, or has lost commits, gets
// another identity, and no increment follows on what it was.
package badger
