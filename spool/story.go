package spool

import (
	"iter"
	"time"

	"restante/internal/mail"
)

// Stories tells what became of messages: while they are in the queue, and for
// some time after. A story is begun by a Commit or Report with Message.Events,
// goes on with each Settle of its tasks, and what else happens is noted. What
// belongs to a Commit or a Settle becomes durable with it, in one transaction.
type Stories interface {
	// Story tells the story of one message; ErrNotFound if there is none, or
	// none any more.
	Story(id mail.ID) (Story, error)
	// Search yields the stories that a query is about, the newest first, as of
	// the time of the call. One that cannot be read is yielded with its ID and
	// an error, and the search goes on; another error ends it.
	Search(q Search) iter.Seq2[Story, error]
	// Note adds to a story; a message without one is left alone, without an
	// error. At is now where it is zero.
	Note(id mail.ID, events ...Event) error
	// ForgetStories looks at stories, at most max of them and the oldest first, and
	// drops those that are over: none of the message's tasks is left, and
	// nothing has happened for kept. The next call goes on where this one
	// ended. It tells how many it dropped, and whether it came to the end.
	ForgetStories(kept time.Duration, max int) (dropped int, end bool, err error)
}

// Bounds of what is remembered.
const (
	// StoryEvents is how many events that end nobody are kept of a task, and
	// of what is not a task's: the first quarter and the newest. An event of
	// kind EventOmitted stands for the rest.
	StoryEvents = 100
	// StoryText bounds each text of an event, in octets, StoryList its list of
	// recipients where the event is not their end.
	StoryText = 256
	StoryList = 100
)

// EventKind is what happened. Kinds that a program does not know it shows as
// they are.
type EventKind string

// The kinds of events. Those that end a recipient are told in End.
const (
	// EventAccepted: the message became ours. By is the account, Host the name
	// that the client gave itself, Addr its address, TLS how it was encrypted,
	// Text the protocol and by which rule it was taken; To are the recipients
	// as it named them.
	EventAccepted EventKind = "accepted"
	// EventRewritten: a rule led from an address (To) to others, or changed
	// the sender; Text says which and to what.
	EventRewritten EventKind = "rewritten"
	// EventScreened: a screen changed or judged the message; Text says how.
	EventScreened EventKind = "screened"
	// EventQueued: a task was made for recipients; Text is its destination,
	// Due when it may go first. Engines tell of it by themselves.
	EventQueued EventKind = "queued"
	// EventTried: a host was turned to, and then another.
	EventTried EventKind = "tried"
	// EventDeferred: recipients stay in the queue; Status says why, Due when
	// they are tried again, unless their destination decides that.
	EventDeferred EventKind = "deferred"
	// EventWarned: the sender was told of the delay, by message Ref.
	EventWarned EventKind = "warned"
	// EventReported: the sender was told of a delivery, by message Ref.
	EventReported EventKind = "reported"
	// EventDelivered: the next hop took the message. QueueID is its name there.
	EventDelivered EventKind = "delivered"
	// EventDeposited: the message is in a mailbox, Text is "account/mailbox".
	EventDeposited EventKind = "deposited"
	// EventBounced: it cannot be delivered. Ref is the report, zero if the
	// sender asked for none.
	EventBounced EventKind = "bounced"
	// EventRemoved: By took the recipients out of the queue.
	EventRemoved EventKind = "removed"
	// EventRerouted: the recipients went on as another task; Text is its
	// destination.
	EventRerouted EventKind = "rerouted"
	// EventReleasedAs: the recipients' mail goes on as message Ref, which was
	// held back until now.
	EventReleasedAs EventKind = "released as"
	// EventParked: it can neither be delivered nor returned; state Dead.
	EventParked EventKind = "dead"
	// EventHeld, EventReleased, EventRetried, EventMoved and EventUnpinned are
	// what By did to a task.
	EventHeld     EventKind = "held"
	EventReleased EventKind = "released"
	EventRetried  EventKind = "retried"
	EventMoved    EventKind = "moved"
	EventUnpinned EventKind = "unpinned"
	// EventCollected: By read the message for the first time; Text is
	// "account/mailbox", Addr the client's address.
	EventCollected EventKind = "collected"
	// EventExpunged: By deleted it from the mailbox "account/mailbox" of Text,
	// from the address Addr; nobody did if it was its age.
	EventExpunged EventKind = "expunged"
	// EventOmitted stands for Count events that are not kept.
	EventOmitted EventKind = "omitted"
)

// End tells whether the kind is the end of the recipients in an event's To.
func (k EventKind) End() bool {
	switch k {
	case EventDelivered, EventDeposited, EventBounced, EventRemoved, EventRerouted, EventReleasedAs:
		return true
	}
	return false
}

// Event is something that happened to a message.
type Event struct {
	At   time.Time
	Kind EventKind
	// Task is the task it happened to; zero if it is about the whole message.
	// Those of a Settle and of an administrator's verb get it from the engine.
	Task TaskID
	// To are the recipients that it is about, and More how many there were
	// beside them.
	To   []mail.Address
	More int
	// Status is what was said of them.
	Status mail.Status
	// Host, Addr, TLS, Verified and QueueID are of the host on the other side;
	// see relay.Contact. Took is how long it had.
	Host, Addr, TLS, Verified, QueueID string
	Took                               time.Duration
	// Attempt is the number of the attempt, from 1.
	Attempt int
	// Due is when it will be tried again.
	Due time.Time
	// By is who did it: an account, or a user of the machine.
	By string
	// Text says more.
	Text string
	// Ref is another message that this led to.
	Ref mail.ID
	// Count is how many events an EventOmitted stands for.
	Count int
}

// Story is what is known of a message.
type Story struct {
	ID mail.ID
	// From is the envelope's sender, MessageID that of the header, without
	// angle brackets; "" if it has none.
	From      mail.Address
	MessageID string
	// Size is the body's, in octets, Arrived when it was committed.
	Size    int64
	Arrived time.Time
	// Recipients are all that the message had or came to have, in the order in
	// which they first came up.
	Recipients []StoryRecipient
	// Open tells that tasks are in the queue; otherwise Ended is when the last
	// recipient had its end.
	Open  bool
	Ended time.Time
	// Events are what happened, by time.
	Events []Event
}

// StoryRecipient is what became of one recipient.
type StoryRecipient struct {
	To mail.Address
	// State is that of its task while it has one, otherwise its end.
	State StoryState
	// Task and Destination are its last task's, Due when that is tried next.
	Task        TaskID
	Destination string
	Due         time.Time
	// At is when it had its end; zero before.
	At time.Time
	// Last is what was last said of it, QueueID what the next hop calls the
	// message.
	Last    mail.Status
	QueueID string
}

// StoryState is where a recipient stands: one of the states of a task, or its
// end.
type StoryState string

// The states that are no task's. A recipient is expanded if it led to others.
const (
	StateExpanded  StoryState = "expanded"
	StateDelivered StoryState = "delivered"
	StateDeposited StoryState = "deposited"
	StateBounced   StoryState = "bounced"
	StateRemoved   StoryState = "removed"
	StateReleased  StoryState = "released"
	// StateLost: it has neither a task nor an end, which must not be.
	StateLost StoryState = "lost"
)

// StoryStates are all states that a recipient of a story can have.
func StoryStates() []StoryState {
	list := []StoryState{}
	for s := Queued; s <= Dead; s++ {
		list = append(list, StoryState(s.String()))
	}
	return append(list, StateExpanded, StateDelivered, StateDeposited, StateBounced, StateRemoved, StateReleased, StateLost)
}

// Search says which stories are wanted. The zero value wants all.
type Search struct {
	// Since and Until bound when the messages arrived; zero is no bound.
	Since, Until time.Time
	// Sender and Recipient have to be equal to the story's (the latter to one
	// of its recipients), in any case; nil is everybody.
	Sender, Recipient *mail.Address
	// About is an address, the sender's or a recipient's, or the Message-ID of
	// the header, either with angle brackets or without; "" is anything.
	About string
	// States has one of the recipients in one of these states; nil is any. If
	// it is a recipient that the above names, it must be that one.
	States []StoryState
}
