// Package spool says what restante stores, as verbs of its domain: messages
// are taken in, queued tasks are leased and settled, mailboxes are read and
// changed. It holds interfaces, nouns and errors and no engine; an engine
// (spool/badger) implements Store, and spool/spooltest holds the contract that
// every engine must pass.
//
// The two durable points of the whole daemon are here: Staged.Commit and
// Queue.Settle. When either returns nil, all it was asked to do is on stable
// storage, atomically; when it returns an error, none of it will ever be seen
// (ErrUncertain is the one exception, and says so). Everything between the two
// may be lost and repeated.
//
// Durations cross this seam, not the caller's clock: an engine has a clock of
// its own, and "in 5 minutes" is counted on that.
//
// No type, error or iterator of a storage library crosses the seam. Every
// method is safe for concurrent use unless it says otherwise.
package spool

import "errors"

// Errors of the verbs. Engines wrap them; callers use errors.Is.
var (
	// ErrNotFound: no such message, body, task.
	ErrNotFound = errors.New("spool: not found")
	// ErrNoMailbox: no mailbox of that name or ID.
	ErrNoMailbox = errors.New("spool: no such mailbox")
	// ErrMailboxExists: CREATE or RENAME onto an existing name.
	ErrMailboxExists = errors.New("spool: mailbox exists")
	// ErrMailboxName: a name that is empty, too long, not UTF-8, or that has
	// empty levels or control characters; or an act that INBOX does not allow.
	ErrMailboxName = errors.New("spool: invalid mailbox name")
	// ErrStaleLease: the lease ran out, was settled, or was never given.
	ErrStaleLease = errors.New("spool: stale lease")
	// ErrLeased: the task is being delivered at this moment.
	ErrLeased = errors.New("spool: task is leased")
	// ErrDestination: a task cannot have this destination; see
	// Destination.Check.
	ErrDestination = errors.New("spool: invalid destination")
	// ErrFull: too little free space; nothing was stored, try again later.
	ErrFull = errors.New("spool: storage is full")
	// ErrReadOnly: the spool met a fault and takes no changes any more.
	ErrReadOnly = errors.New("spool: read-only after a fault")
	// ErrUncertain: the commit failed in a way that does not tell whether it
	// will be seen. Give no acknowledgement; the client repeats.
	ErrUncertain = errors.New("spool: outcome of commit unknown")
	// ErrCorrupt: a stored record or body does not match its checksum.
	ErrCorrupt = errors.New("spool: stored data is damaged")
	// ErrInUse: another process has this spool open.
	ErrInUse = errors.New("spool: in use by another process")
	// ErrClosed: the spool, or this staging area, is closed.
	ErrClosed = errors.New("spool: closed")
	// ErrChecking: another Check is running.
	ErrChecking = errors.New("spool: a check is running already")
	// ErrChangesLost: Changes was asked for a time before the journal begins.
	ErrChangesLost = errors.New("spool: journal does not reach back that far")
	// ErrAttributes: a mailbox would have too many attributes, or too large ones.
	ErrAttributes = errors.New("spool: too many attributes, or too large")
)

// Store is everything an engine provides.
type Store interface {
	Intake
	Bodies
	Queue
	Mailboxes
	Stories

	// Close ends background work and closes the storage cleanly. Staging
	// areas and leases still out become stale.
	Close() error
}
