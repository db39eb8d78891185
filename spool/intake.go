package spool

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"restante/internal/mail"
)

// Intake takes messages in.
type Intake interface {
	// Create opens a staging area for one message. It fails with ErrFull or
	// ErrReadOnly before a body is transferred in vain.
	Create() (Staged, error)
	// CommitAll commits several messages as one: all of them are stored, in
	// their order, and the entry of replaced, unless that is the zero Place, is
	// removed in the same step; or nothing happens. It fails with ErrNotFound if
	// that entry is not there, and else as Staged.Commit does. Each message ends
	// its Staged. At most MaxTogether.
	CommitAll(ctx context.Context, list []Staging, replaced Place) ([]Receipt, error)
}

// MaxTogether bounds the messages of one CommitAll.
const MaxTogether = 100

// Staging is a message to be committed together with others.
type Staging struct {
	Staged  Staged
	Message Message
}

// Place is where an entry is.
type Place struct {
	Mailbox MailboxID
	UID     UID
}

// Staged is a message on its way in. Exactly one of Commit, CommitAll, Settle (as a
// Report) and Abort ends it; Abort after another end does nothing. It is not
// safe for concurrent use.
type Staged interface {
	// Write appends to the body. Memory stays bounded whatever the size.
	io.Writer
	// ID is the queue ID that the message will have.
	ID() mail.ID
	// Size is the number of octets written so far.
	Size() int64
	// Commit makes the message durable together with all its deposits and
	// tasks, and wakes who waits for them. A message with neither is refused.
	// The context bounds the wait for the answer, not the commit: when it
	// ends first the error wraps ErrUncertain and the context's.
	Commit(ctx context.Context, m Message) (Receipt, error)
	// Abort throws the staged body away.
	Abort()
}

// Message is what Commit stores beside the body.
type Message struct {
	// Envelope.Arrived is set by the engine.
	Envelope mail.Envelope
	// Head is read in front of what was written to Staged; the two together
	// are the body. So a header that says something of the body, a signature
	// or a verdict, can be made when the body has passed by. At most MaxHead.
	Head []byte
	// Once, unless it is zero, names the transaction that brings the message,
	// so that it is taken once however often it is repeated (RFC 1047): if a
	// message of the same name was committed less than OnceFor ago, nothing is
	// stored, and Commit fails with a *DuplicateError. At most MaxOnce. It does
	// not count for reports.
	Once    [32]byte
	OnceFor time.Duration
	// Structure is what internal/structure found in the body, encoded; opaque
	// to engines. Nil if no mailbox will show the message.
	Structure []byte
	Deposits  []Deposit
	Tasks     []Task
	// Events begin the story of the message; without any it has none.
	// MessageID is the one in its header, by which the story is found.
	Events    []Event
	MessageID string
}

const (
	// MaxHead bounds Message.Head, in octets.
	MaxHead = 512 << 10
	// MaxOnce bounds Message.OnceFor.
	MaxOnce = 24 * time.Hour
)

// DuplicateError tells that a message was committed before.
type DuplicateError struct {
	// ID is the queue ID that it got then.
	ID mail.ID
}

func (e *DuplicateError) Error() string {
	return "spool: the message was taken already, as " + e.ID.String()
}

// Deposit puts the message into one mailbox, exactly once.
type Deposit struct {
	Account string
	// Mailbox is a name; "" and any case of INBOX mean INBOX, which is made
	// if it is not there. Another missing mailbox fails with ErrNoMailbox.
	Mailbox string
	Flags   Flags
	// InternalDate is IMAP's INTERNALDATE; zero means now.
	InternalDate time.Time
	// Prefix is read in front of the body in this mailbox alone: the
	// Return-Path and Delivered-To fields of final delivery.
	Prefix []byte
}

// Task is what one destination shall do for the message: one or more
// recipients that share a next hop and a domain.
type Task struct {
	Destination Destination
	// Pinned keeps the task with its destination, whatever the routes say when
	// its time comes: somebody chose it.
	Pinned     bool
	Recipients []mail.Recipient
	// From, unless it is nil, is the reverse-path of this task in the place of
	// the envelope's: for who forwards, or sends for a group. TaskInfo.Envelope
	// has it, so that reports go to it too.
	From *mail.Address
	// Held makes a task in state Held: nothing is done before a Release.
	Held bool
	// Delay keeps the first attempt back (FUTURERELEASE); 0 is now.
	Delay time.Duration
	// Warn is when the sender shall be told that the message is late, Expire
	// when it shall be returned; both count from the commit, 0 means never.
	Warn, Expire time.Duration
}

// Destination is what the queue is ordered and backed off by: the name of the
// next-hop route and, where the route has no fixed next hop, the domain.
type Destination struct {
	Route, Domain string
}

// String is "route/domain", or "route" when the route alone decides.
func (d Destination) String() string {
	if d.Domain == "" {
		return d.Route
	}
	return d.Route + "/" + d.Domain
}

// MaxDestination bounds the octets of a Destination, its two parts together.
const MaxDestination = 1024

// Check returns ErrDestination if no task can have the destination: it is too
// long, or holds a NUL. Whether there is such a route is not asked.
func (d Destination) Check() error {
	if len(d.Route)+len(d.Domain) > MaxDestination || strings.ContainsRune(d.Route+d.Domain, 0) {
		return fmt.Errorf("%w: %q", ErrDestination, d)
	}
	return nil
}

// Receipt tells what a commit made.
type Receipt struct {
	ID mail.ID
	// Deposited has one element for each deposit, in order.
	Deposited []Deposited
	// Tasks has one element for each task, in order.
	Tasks []TaskID
}

// Deposited is where a deposit went, for IMAP's APPENDUID.
type Deposited struct {
	Mailbox     MailboxID
	UIDValidity uint32
	UID         UID
}

// Bodies reads what was taken in.
type Bodies interface {
	// OpenBody opens a stored body, without any deposit's prefix. It stays
	// readable until closed, even when its last reference goes meanwhile.
	// Reads fail with ErrCorrupt rather than return damaged octets.
	OpenBody(id mail.ID) (Body, error)
	// Structure returns Message.Structure of a stored message; nil if it
	// was committed without.
	Structure(id mail.ID) ([]byte, error)
	// Gather reads of several messages, as of one moment, what Structure returns
	// and, if bodies are asked for too, their bodies, as far as they are short.
	// The results are those of the first IDs, in order: of all, unless together
	// they have more than MaxGather octets, and of one in any case. It is meant for
	// messages that came in one after the other: those it reads in one go.
	Gather(ids []mail.ID, bodies bool) ([]Gathered, error)
	// Stat returns what is known of a stored message.
	Stat(id mail.ID) (Info, error)
}

// MaxGather is how many octets end a Gather.
const MaxGather = 2 << 20

// Gathered is what Gather has of a message.
type Gathered struct {
	// Structure is that of Bodies.Structure, and Err its error.
	Structure []byte
	Err       error
	// Body is the whole body; nil if it was not asked for, or is empty or long, or
	// cannot be read: OpenBody tells more.
	Body []byte
}

// Body is random access to a stored body. ReadAt is safe for concurrent use.
type Body interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Info describes a stored message.
type Info struct {
	ID       mail.ID
	Envelope mail.Envelope
	// Size is the whole body's, in octets.
	Size int64
	// Hash is SHA-256 of what was written to Staged, followed by Message.Head:
	// the head is known last.
	Hash [32]byte
	// References counts the tasks and mailbox entries that need the body.
	References int
}
