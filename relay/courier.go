package relay

import (
	"context"
	"io"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// Courier takes messages to their next hop; relay/remote does it by SMTP. It
// must be safe for concurrent use.
type Courier interface {
	// Deliver makes one attempt and returns when it is over. When ctx ends
	// it gives up at once; recipients without a result by then stay transient.
	Deliver(ctx context.Context, job Job) Outcome
}

// Couriers has one for each kind of route; it is a Courier itself.
type Couriers map[Kind]Courier

// Deliver implements Courier, by that for the job's route.
func (c Couriers) Deliver(ctx context.Context, job Job) Outcome {
	courier := c[job.Route.Kind]
	if courier == nil {
		return ownFault(len(job.Recipients), "nobody delivers for route "+job.Route.Name)
	}
	return courier.Deliver(ctx, job)
}

// Job is one attempt to deliver a message to recipients of one destination.
type Job struct {
	Task spool.TaskID
	// Route is how to get there; Domain is the recipients' domain where the
	// route has no fixed next hops, otherwise "".
	Route    *Route
	Domain   string
	Envelope mail.Envelope
	// Recipients has at least one element.
	Recipients []mail.Recipient
	// Sign makes signatures, as fields, for a message that the courier has had
	// to change: of its header as it is now, and its text, which is read from
	// the beginning. Nil if nobody signs.
	Sign func(ctx context.Context, fields []byte, text io.WriterTo) ([]byte, error)
	// Body is the message. The courier does not close it.
	Body spool.Body
}

// Outcome is what an attempt came to. The zero value says that nothing is
// known, and everything is tried again.
type Outcome struct {
	// Results has one element for each of the job's recipients, in order.
	Results []mail.Status
	// Reach tells whether the destination answered. Unreached is for what
	// has nothing to do with the message: DNS, connection, TLS, login.
	Reach spool.Outcome
	// Fault is why it was not reached.
	Fault mail.Status
	// RetryAfter is how long the next hop, or a limit of our own, asks to be
	// left alone: after Unreached the destination, otherwise the task; 0 asks
	// for nothing.
	RetryAfter time.Duration
	// Begun tells of an unreached destination that the envelope had been
	// sent, so that the message may be what ended the connection.
	Begun bool
	// Promised tells that the next hop took over the duty to report success
	// (RFC 3461); otherwise the sender who asked for it hears from us.
	Promised bool
	// Untimed tells that the next hop does not know of deadlines (RFC 2852).
	Untimed bool
	// Remote is the next hop that was talked to last, "name [address]".
	Remote string
	// TLS is the version of TLS used with it, "" for none.
	TLS string
	// Contacts are the hosts that were tried, in order; the last is Remote.
	Contacts []Contact
}

// Contact is one host that an attempt turned to, for the story of the message.
type Contact struct {
	// Host is its name, Addr the address and port, or the path of a socket.
	Host, Addr string
	// TLS is the version used, "" for none; Verified tells what the
	// certificate was held against: "PKIX", "DANE", "MTA-STS", "" for nothing.
	TLS, Verified string
	// Status is the host's last word on the connection or the message; a zero
	// Code says that there was none.
	Status mail.Status
	// QueueID is what the host calls the message, as far as its reply tells.
	QueueID string
	// Began is when it was turned to, Took how long it had.
	Began time.Time
	Took  time.Duration
}
