package structure

import "time"

// Message is what the parser found.
type Message struct {
	// Size is the number of octets of the whole message.
	Size int64
	// Root is the message itself seen as a part; its Envelope is set.
	Root *Part
	// Fields are fields of its header as they stand.
	Fields Fields
}

// Part is one node of the tree: the message, a part of a multipart, or the
// message inside a message/rfc822 part. Offsets count from the first octet of
// the stored message.
type Part struct {
	// The header is [HeaderStart, BodyStart) and contains the empty line that
	// ends it, if there is one; the body is [BodyStart, BodyEnd).
	HeaderStart, BodyStart, BodyEnd int64
	// Lines counts the body's lines; one without a line end counts too.
	Lines int64

	// Type and Subtype are in lower case and never empty.
	Type, Subtype string
	// Params are Content-Type's, names in lower case, continuations of RFC
	// 2231 joined and otherwise as they stand: a value that has a character
	// set keeps its encoded form and the asterisk at the name (RFC 2231
	// section 6 asks that of IMAP servers).
	Params []Param
	// ID, Description, MD5 and Location are field values, unfolded. Encoding is
	// in lower case; "7bit" if there is none.
	ID, Description, Encoding, MD5, Location string
	// Disposition is in lower case, "" if there is none.
	Disposition       string
	DispositionParams []Param
	Language          []string

	// Envelope is set in Root and in every Embedded.
	Envelope *Envelope
	// Children are the parts of a multipart.
	Children []*Part
	// Embedded is the message in a message/rfc822 or message/global part;
	// it covers exactly the body of that part.
	Embedded *Part
}

// Param is one parameter of a MIME field.
type Param struct{ Name, Value string }

// Envelope holds what IMAP's ENVELOPE shows. Text is valid UTF-8 without
// control characters; encoded words (RFC 2047) are still encoded.
type Envelope struct {
	// Date is the Date field's value. Sent is its meaning, in the zone that it
	// names; zero if it cannot be understood.
	Date    string
	Sent    time.Time
	Subject string
	// InReplyTo and MessageID are field values, angle brackets included.
	InReplyTo, MessageID string
	// Empty are the fields that are there with nothing in them: RFC 9051 section
	// 7.5.2 tells them from those that are missing.
	Empty EmptyFields
	// References is the last MaxReferences octets of that field, and the first
	// identifier in front of them.
	References string
	// NoReferences tells that References was not looked for: the Envelope comes
	// from an encoding of an older version.
	NoReferences bool

	From, Sender, ReplyTo, To, Cc, Bcc []Address
}

// EmptyFields tells which of the fields of an Envelope are there and empty.
type EmptyFields struct{ Date, Subject, InReplyTo, MessageID bool }

// Address is one element of an address list.
type Address struct {
	Kind AddressKind
	// Name is the display name, without its quotes, or the name of a group
	// at its start.
	Name string
	// Mailbox and Host are the two sides of the @; either may be missing. Route is
	// what stood before them, "@a,@b", as it was in use once (RFC 5322 section 4.4).
	Mailbox, Host, Route string
}

// AddressKind tells what an Address stands for.
type AddressKind uint8

// The kinds of Address.
const (
	Mailbox AddressKind = iota
	GroupStart
	GroupEnd
)

// Sent is the time in the Date field, in the zone that it names: what IMAP's
// SENTBEFORE, SENTON and SENTSINCE look at. Zero if there is none.
func (m *Message) Sent() time.Time { return m.Root.Envelope.Sent }

// isMessage tells whether p's body is a message of its own.
func (p *Part) isMessage() bool {
	return p.Type == "message" && (p.Subtype == "rfc822" || p.Subtype == "global")
}

func (p *Part) isMultipart() bool { return p.Type == "multipart" }
