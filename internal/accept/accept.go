// Package accept is the one way into the spool: it turns an envelope, its
// recipients and the octets of a message into deposits (local recipients,
// aliases and groups followed) and tasks (one for each destination and sender),
// and commits them as one. smtpd, the control socket's sendmail and the relay's
// reports all come through here, so that they cannot treat an address or a
// header differently; and explain asks the same code, without a message.
//
// The body is streamed into the spool and never held. The header, which is
// bounded, is held until the body has passed by, since what is put into it
// depends on the body: the verdicts of the screens, and signatures. From the
// top, what is stored is then
//
//	Return-Path, Delivered-To   of a deposit only, as its prefix
//	DKIM-Signature …            of the signers, in their order
//	Received                    the trace fields of who took the message in
//	Authentication-Results …    of the screens, in their order
//	From, Date, Message-ID      if they were missing, and the message is ours
//	the header as it came       but for Return-Path, and what a screen changed
//	the body as it came         or as a screen replaced it
//
// Mail from outside is not touched beyond that. Mail that is our own
// (Submission.Complete) gets the fields that it lacks, loses its Bcc, and has
// the names of internal hosts masqueraded; unless somebody has signed it, who
// would be made a liar: then it loses its Bcc only.
package accept

import (
	"log/slog"
	"time"

	"restante/internal/archive"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/internal/rewrite"
	"restante/internal/screen"
	"restante/internal/srs"
	"restante/spool"
)

// Directory knows what is local.
type Directory interface {
	// IsLocal tells whether mail for the domain is delivered here.
	IsLocal(domain string) bool
	// Resolve follows aliases, groups and the catch-all of a local address to
	// its end, and tells trace of each step, unless that is nil. It fails with
	// mail.ErrNoSuchUser; its errors name the address. A bare postmaster (no
	// domain) is local.
	Resolve(to mail.Address, trace func(Step)) (Targets, error)
}

// Targets is where a local address leads.
type Targets struct {
	// Accounts are the names of accounts whose INBOX takes the message.
	Accounts []string
	// Forwards are addresses elsewhere.
	Forwards []Forward
	// Closed are the groups on the way that do not take mail from everybody.
	Closed []Closed
}

// Forward is an address elsewhere that a local one leads to.
type Forward struct {
	To mail.Address
	// Sender, unless it is null, is who sends to it: the owner of a group.
	Sender mail.Address
}

// Closed is a group that takes mail only from accounts, from trusted clients,
// and from whom of outside it admits.
type Closed struct {
	Name   mail.Address
	Admits func(from mail.Address) bool
}

// Options is what an Acceptor works with. Intake, Directory and Route are
// required.
type Options struct {
	Intake    spool.Intake
	Directory Directory
	// Route gives the queue's destination of a recipient elsewhere.
	Route func(Way) spool.Destination
	// Warn and Expire are given to every task, from the commit on; 0 is never.
	Warn, Expire time.Duration
	// Times, if it is not nil, says instead what a destination's tasks are given.
	Times func(d spool.Destination) (warn, expire time.Duration)
	// Refusal tells what is known against mail to elsewhere before anybody is
	// asked: a domain that takes none. Nil knows nothing.
	Refusal func(Way) (mail.Status, bool)
	// Full tells that an account has no room for a message of so many octets, 0
	// if that is not known. It is asked by Admit alone: a message that was taken
	// is stored. Nil is never.
	Full func(account string, octets int64) bool
	// Mailboxes is where the Junk mailboxes are that quarantined mail goes to;
	// without it such mail goes to INBOX, with the keyword $Junk. File and
	// Archive need it.
	Mailboxes Mailboxes
	// Archive are the rules by which copies are kept. They look at mail that
	// comes in, not at reports and what is sent again.
	Archive []archive.Rule
	// Hostname is ours, in Message-ID fields.
	Hostname string
	// Screens judge what comes by SMTP and LMTP, in their order. Signers are
	// asked to sign our own mail, and reports.
	Screens []screen.Screen
	Signers []Signer
	// Masquerade hides internal host names in our own mail.
	Masquerade *rewrite.Masquerade
	// SRS makes the senders of forwarded mail; nil leaves them as they are.
	SRS *srs.Rewriter
	// Logger is told what screens did to a message; nil is none.
	Logger *slog.Logger
	// Now is the clock of Date fields, and that which HoldUntil and By of an
	// envelope are held against; nil is time.Now.
	Now func() time.Time
}

// Acceptor takes messages in. It is safe for concurrent use.
type Acceptor struct{ opt Options }

// New returns an Acceptor.
func New(opt Options) *Acceptor {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	return &Acceptor{opt: opt}
}

// Submission is what is known of a message before its header.
type Submission struct {
	Envelope   mail.Envelope
	Recipients []mail.Recipient
	// Trusted tells that the client's address is in a trusted network, or that
	// it is on this machine.
	Trusted bool
	// TLS describes the client's encryption, "" without.
	TLS string
	// Rule is why the message is taken, and By who brought it, if that is no
	// account of ours: for its story.
	Rule, By string
	// Screened messages are shown to the screens.
	Screened bool
	// Complete tells that the message is our own: from one of our users,
	// devices or programs, and not from another mail server.
	Complete bool
	// Header is what Plan holds the routes against, if the header is known
	// then. A Message that is written looks at its own.
	Header func() *header.Block
	// Again tells that the message is one that was stored, and is sent again
	// as it is: it is neither signed nor archived.
	Again bool
	// Trace returns the trace fields of a message, whole fields with CRLF line
	// ends; nil is none. It is asked last: a message whose body was replaced
	// has another queue ID than it began with.
	Trace func(id mail.ID) string
}

// ours tells whether the message may be signed: it is our own, or of our own
// making. What other servers bring, by LMTP too, is not, whatever its From says.
func (s *Submission) ours() bool { return !s.Again && (s.Complete || !s.Screened) }

// origin is what decides about closed groups.
func (s *Submission) origin() Origin {
	return Origin{From: s.Envelope.From, Account: s.Envelope.Client.Account, Trusted: s.Trusted}
}

// RefusedError refuses a message for a reason that its client shall be told.
type RefusedError struct{ Status mail.Status }

// Error returns the status.
func (e *RefusedError) Error() string { return e.Status.String() }
