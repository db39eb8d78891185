// Package screen is the seam between taking a message in and those who judge
// it on the way: milters, and the evaluation of SPF, DKIM and DMARC. It has
// types only; accept asks the screens, in their order, about every message
// that comes by SMTP or LMTP, and does what they say before it commits.
//
// A screen sees the message as it came, header first and then the body as it
// streams by, and never holds the body: what it must keep it bounds. Its
// verdict is asked for when the body is complete and nothing is durable yet, so
// that a refusal is the client's to deal with.
package screen

import (
	"context"
	"io"

	"restante/internal/mail"
)

// Message is what is known of a message when its header is complete. Screens
// only read it.
type Message struct {
	// ID is the queue ID that the message will have.
	ID mail.ID
	// Envelope tells the sender and the client. A client with an Account has
	// authenticated.
	Envelope mail.Envelope
	// Recipients are those accepted, as the client gave them.
	Recipients []mail.Recipient
	// Trusted tells that the client's address is in a trusted network.
	Trusted bool
	// TLS describes the client's encryption, "TLS1.3 TLS_AES_128_GCM_SHA256";
	// "" without.
	TLS string
	// Header is the header as it came, field after field with their line ends,
	// without the empty line after it.
	Header []byte
}

// Outside tells whether the message comes from somebody who is neither
// authenticated nor trusted.
func (m *Message) Outside() bool { return m.Envelope.Client.Account == "" && !m.Trusted }

// Screen judges messages. It is safe for concurrent use.
type Screen interface {
	// Begin is called when the header is complete. A nil Judge has nothing to
	// do with this message. An error refuses the message for now (451).
	Begin(ctx context.Context, m *Message) (Judge, error)
}

// Judge judges one message. It is not safe for concurrent use.
type Judge interface {
	// Write is given the body as it came, without the empty line before it. It
	// never fails: what goes wrong is Verdict's to tell.
	io.Writer
	// Verdict is called once, when the body is complete. An error refuses the
	// message for now (451).
	Verdict(ctx context.Context) (Verdict, error)
	// Close ends the judging, whether there was a Verdict or not.
	Close()
}

// Verdict says what shall become of a message. The zero Verdict accepts it.
type Verdict struct {
	// Refuse, unless its Code is 0, is the reply that refuses the message: 4xx
	// or 5xx. Nothing else counts then.
	Refuse mail.Status
	// Discard accepts the message and throws it away. The log tells.
	Discard bool
	// Quarantine, unless it is "", is the reason for which the deposits go to
	// the account's Junk mailbox, and the tasks are held.
	Quarantine string
	// Unverified tells that the envelope's sender is not to be believed, and
	// so has nothing reported to it.
	Unverified bool
	// Fields are put in front of the header, as they stand: whole fields with
	// CRLF line ends. Trace fields such as Authentication-Results go here.
	Fields []byte
	// Edits change the header, in their order.
	Edits []Edit
	// Body, unless it is nil, is in the place of the body. It is closed by
	// whoever asked for the verdict.
	Body io.ReadCloser
	// From, unless it is nil, replaces the envelope's sender.
	From *mail.Address
	// Add and Remove change the envelope's recipients.
	Add, Remove []mail.Address
}

// Edit changes one field of the header.
type Edit struct {
	Op EditOp
	// Name is the field's name, in any case.
	Name string
	// Index tells, for Change and Delete, which of the fields of that name is
	// meant, 1 being the first; for Insert how many fields stay in front of it.
	Index int
	// Value is the new value, without the space after the colon; its line ends,
	// if it is folded, are CRLF.
	Value string
}

// EditOp is what an Edit does.
type EditOp uint8

// The operations of a milter on a header.
const (
	// Append puts a field behind the last.
	Append EditOp = iota
	// Insert puts one behind the first Index fields.
	Insert
	// Change replaces a value; a field that is not there is appended.
	Change
	// Delete takes a field out; one that is not there is no error.
	Delete
)
