package spool

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"restante/internal/mail"
)

// TaskID names one task of one message. Its text is "ID.N".
type TaskID struct {
	Message mail.ID
	N       uint16
}

// String returns "ID.N".
func (t TaskID) String() string { return t.Message.String() + "." + strconv.Itoa(int(t.N)) }

// MarshalText returns String.
func (t TaskID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is ParseTaskID.
func (t *TaskID) UnmarshalText(b []byte) (err error) {
	*t, err = ParseTaskID(string(b))
	return err
}

// ParseTaskID reads the text form.
func ParseTaskID(s string) (TaskID, error) {
	head, tail, ok := strings.Cut(s, ".")
	id, err := mail.ParseID(head)
	n, err2 := strconv.ParseUint(tail, 10, 16)
	if !ok || err != nil || err2 != nil {
		return TaskID{}, fmt.Errorf("malformed task ID %q", s)
	}
	return TaskID{id, uint16(n)}, nil
}

// State is where a task stands. A task that has ended is no task any more.
type State uint8

// The states of a task, and what leads out of each:
//
//	Queued: waits for its due time or its destination's; Lease takes it.
//	Leased: a runner has it; Settle, or the end of the lease, gives it back.
//	Held:   an administrator stopped it; Release queues it. No timer runs.
//	Dead:   it can neither be delivered nor returned to anybody; kept until
//	        an administrator retries or removes it.
const (
	Queued State = iota
	Leased
	Held
	Dead
)

var stateNames = [...]string{"queued", "leased", "held", "dead"}

func (s State) String() string { return stateNames[s] }

// MarshalText returns the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a state's name.
func (s *State) UnmarshalText(b []byte) error {
	for i, n := range stateNames {
		if n == string(b) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("unknown state %q", b)
}

// TaskCounts counts tasks by their State.
type TaskCounts [Dead + 1]int

// Total is how many those are.
func (c TaskCounts) Total() (n int) {
	for _, v := range c {
		n += v
	}
	return n
}

// DestinationTasks is how many tasks a destination has.
type DestinationTasks struct {
	Destination Destination
	Tasks       TaskCounts
}

// Queue hands out tasks by destination and takes their outcome. Inside a
// destination they go by their priority, by turns of their senders, and by
// their due times, as a Rota has it.
type Queue interface {
	// Lease claims due tasks for c.Lifetime. A task is due when its own time
	// has come and its destination's back-off is over, or when its warning or
	// expiry has come, whatever the destination's back-off. It returns at
	// once, with what there is, and how long it is until something else may
	// fall due, negative if nothing waits for a time. That may be too early,
	// never too late; a Lease that finds nothing names the next time. Due tasks
	// that the claim's bounds have left behind are not counted in it: the caller
	// asks again when it would take more. When Max is reached, that is all
	// there is but warnings and expiries.
	//
	// Destinations take turns: one that nothing was leased of since it fell due
	// is not kept waiting by the backlog of others, whatever has been due for
	// longer.
	Lease(c Claim) (leases []Lease, next time.Duration, err error)
	// Extend prolongs a lease to d from now. ErrStaleLease if it ended.
	Extend(l Lease, d time.Duration) error
	// Settle records what became of a lease, in one transaction: results,
	// the task's next attempt or its end, reports, and the destination's
	// back-off. When the last task or entry of a message ends, its body is
	// freed. ErrStaleLease if the lease ended; then nothing was recorded.
	Settle(ctx context.Context, l Lease, s Settlement) error
	// Wake returns a channel that receives when something may have fallen
	// due: new tasks, a release, a retry. It holds at most one signal.
	Wake() <-chan struct{}

	// Tasks iterates over the tasks of the queue by ID, from after the given
	// one, as of the time of the call.
	Tasks(after TaskID) iter.Seq2[TaskInfo, error]
	// TaskCounts returns the destinations that have tasks, in no order, and
	// how many. It does not read the tasks, and so costs as much as there are
	// destinations; soon after opening it may wait until they have been
	// counted, and the context bounds that.
	TaskCounts(ctx context.Context) ([]DestinationTasks, error)
	// MessageTasks returns the tasks of one message; ErrNotFound if none.
	MessageTasks(id mail.ID) ([]TaskInfo, error)
	// Destinations iterates over the destinations that are in back-off.
	Destinations() iter.Seq2[DestinationInfo, error]
	// Hold stops a queued or dead task: ErrLeased while it is leased. As with
	// the verbs below, the events go into the message's story if the verb
	// changes something, in the same transaction.
	Hold(id TaskID, story ...Event) error
	// Release queues a held task as of now; the time it was held does not
	// count against its warning and expiry. A queued task is left alone.
	Release(id TaskID, story ...Event) error
	// Retry makes a queued or dead task due now and ends its destination's
	// back-off. A dead task that had expired may expire no more.
	Retry(id TaskID, story ...Event) error
	// Reroute is an administrator's change of where a task goes: it has another
	// destination from now on and stays with it (Pinned). A queued task is due
	// now, a dead one is queued and due now, as Retry would have it; a held one
	// stays held. The new destination's back-off counts. ErrLeased while it is
	// leased, ErrDestination if there cannot be such a destination.
	Reroute(id TaskID, to Destination, story ...Event) error
	// Unpin undoes a Reroute: the routes decide about the task again when it is
	// tried next. As Retry does, it has a queued or dead task due now and ends its
	// destination's back-off; a held one stays held. A task that is not Pinned is
	// left alone.
	Unpin(id TaskID, story ...Event) error
	// EndBackoff ends a destination's back-off, whether it has tasks or not. Its
	// failures stay on record, so that what goes first is a probe. A destination
	// in no back-off is left alone.
	EndBackoff(d Destination) error
	// Remove ends a task without delivery or report, unless it is leased.
	// It returns what the task was, for the record. Events of kind
	// EventRemoved that name nobody are about all its recipients.
	Remove(id TaskID, story ...Event) (TaskInfo, error)
}

// Claim is what a runner asks for.
type Claim struct {
	// Max bounds the tasks leased by one call because they are due, Timers
	// those leased for their warning or expiry; Timers 0 is Max.
	Max, Timers int
	// Lifetime is how long the leases last unless extended.
	Lifetime time.Duration
	// Allow returns how many more attempts the runner would make at a
	// destination now, 0 to pass it over. It is not asked about warnings and
	// expiries, which need no connection. It is called without locks held that the
	// engine's other verbs need, and must not call the engine. Nil allows all.
	Allow func(d DestinationInfo) int
	// Rest, if it is not nil, is asked right after Allow has said 0, for how
	// long the destination is passed over without being asked again. What
	// rests is not left behind: its time counts in what Lease returns. A rest
	// is not remembered longer than the process runs. It is called as Allow is.
	Rest func(d DestinationInfo) time.Duration
}

// DestinationInfo is the state of a destination.
type DestinationInfo struct {
	Destination Destination
	// Failures counts the attempts in a row that did not reach it.
	Failures int
	// Backoff is how long it is left alone from now; 0 if it is not in
	// back-off. It may be 0 while Failures is not: the time for a probe.
	Backoff time.Duration
	// Last is why.
	Last mail.Status
}

// Cause is why a task was leased.
type Cause uint8

// The causes, the most urgent first.
const (
	// CauseExpired: the time to deliver is over; an attempt may still be made.
	CauseExpired Cause = iota
	// CauseWarn: the sender is to be told of the delay, once. The settlement
	// must have Warned set, or the task comes back for it: at once with
	// KeepDue, otherwise after Delay.
	CauseWarn
	// CauseDue: an attempt is due.
	CauseDue
)

// Lease is a task in a runner's hands.
type Lease struct {
	Task TaskInfo
	// Token fences: only the lease given last can settle.
	Token uint64
	Cause Cause
	// Destination is the state of the task's destination at the time.
	Destination DestinationInfo
}

// TaskInfo is a task as stored.
type TaskInfo struct {
	ID          TaskID
	State       State
	Destination Destination
	// Pinned is Task.Pinned.
	Pinned   bool
	Envelope mail.Envelope
	// Size is the body's, in octets.
	Size int64
	// Recipients are those without an end yet.
	Recipients []RecipientState
	// Attempts counts settlements that had Attempted set.
	Attempts int
	// Queued is when the message was committed.
	Queued time.Time
	// Due is when the task's own next attempt is, Expires and Warns when
	// those are; zero if never. Warned tells that the warning was given.
	Due, Expires, Warns time.Time
	Warned              bool
}

// RecipientState is a recipient of a task and the last it was told.
type RecipientState struct {
	mail.Recipient
	// Last is the outcome of the last attempt; zero before the first.
	Last mail.Status
}

// Settlement is the outcome of a lease.
type Settlement struct {
	// Attempted tells that a delivery was tried; it counts.
	Attempted bool
	// Results has one element for each of the lease's recipients, in order.
	// Ended recipients leave the task. When all have ended so has the task.
	Results []Result
	// Delay is until the next attempt of what remains; ignored if nothing
	// does. A warning or expiry that has come and was not dealt with comes
	// back after it too.
	Delay time.Duration
	// KeepDue leaves the task's due time alone instead of applying Delay:
	// after a warning, or when the fault was the destination's.
	KeepDue bool
	// Warned records that the sender has been warned.
	Warned bool
	// Dead parks what remains in state Dead instead of queueing it.
	Dead bool
	// Moved makes new tasks of this message, for recipients whose results
	// have Ended set with the end "rerouted". Warn, Expire, From and the
	// time of queueing are taken over from the task, whatever the tasks say.
	Moved []Task
	// Reports are committed in the same transaction.
	Reports []Report
	// Destination is what the attempt told about the destination.
	Destination Reach
	// Events are what the message's story says of it.
	Events []Event
}

// Result is what became of one recipient.
type Result struct {
	Status mail.Status
	// Ended: the recipient has its end (delivered, bounced, rerouted…) and
	// leaves the task. A Status without Ended is kept and tried again.
	Ended bool
}

// Reach tells what an attempt learned of its destination.
type Reach struct {
	// Outcome is what was found.
	Outcome Outcome
	// Backoff is how long to leave an unreached destination alone.
	Backoff time.Duration
	// Status is why it was not reached.
	Status mail.Status
}

// Outcome is whether a destination answered.
type Outcome uint8

// The outcomes.
const (
	// Unknown says nothing of the destination; its state stays.
	Unknown Outcome = iota
	// Reached ends a back-off; all its due tasks may go.
	Reached
	// Unreached adds a failure and starts a back-off. If the failures are not
	// those the lease was given with (a probe failed meanwhile, or the
	// destination was reached), only the first of them counts.
	Unreached
)

// Report is a message of our own (a bounce, a delay warning) that becomes
// durable in the same transaction as the reason for it.
type Report struct {
	Staged  Staged
	Message Message
}
