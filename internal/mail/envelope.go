package mail

import (
	"errors"
	"net/netip"
	"time"
)

// Errors that a directory of local addresses gives; smtpd and imapd translate
// them to replies.
var (
	// ErrNoSuchUser: the domain is local, the local part is nobody's.
	ErrNoSuchUser = errors.New("no such user here")
	// ErrBadCredentials: unknown account or wrong password; the two are not
	// told apart, in time neither.
	ErrBadCredentials = errors.New("bad credentials")
)

// Notify holds the conditions of DSN's NOTIFY parameter (RFC 3461 section
// 4.1). The zero value means that the parameter was absent: report failures
// and, at the relay's choice, delays.
type Notify uint8

// The values of NOTIFY. Never excludes the others.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Wants tells whether a report of the given kind may be sent.
func (n Notify) Wants(kind Notify) bool {
	if n == 0 {
		return kind == NotifyFailure || kind == NotifyDelay
	}
	return n&NotifyNever == 0 && n&kind != 0
}

// Return is DSN's RET parameter (RFC 3461 section 4.3).
type Return uint8

// The values of RET.
const (
	ReturnUnspecified Return = iota
	ReturnFull
	ReturnHeaders
)

// Recipient is one RCPT of an envelope.
type Recipient struct {
	To Address
	// Original is the ORCPT parameter, "type;xtext-decoded address", or "".
	Original string
	Notify   Notify
}

// Envelope is all that travels with a message but is not part of it. It is
// immutable once accepted; the recipients with their state live in the
// deposits and tasks of the spool.
type Envelope struct {
	// From is the reverse-path; null for reports.
	From Address
	// EnvID is DSN's ENVID, decoded, or "".
	EnvID string
	Ret   Return
	// EightBit: BODY=8BITMIME was given or 8-bit octets were seen.
	EightBit bool
	// UTF8: the SMTPUTF8 parameter was given (RFC 6531).
	UTF8 bool
	// RequireTLS: the REQUIRETLS parameter was given (RFC 8689).
	RequireTLS bool
	// Priority is MT-PRIORITY (RFC 6710), -9 to 9; higher goes first.
	Priority int
	// By is DELIVERBY (RFC 2852); the zero value asks for nothing.
	By By
	// HoldUntil is when the message may be delivered or passed on at the
	// earliest (FUTURERELEASE, RFC 4865); zero is at once.
	HoldUntil time.Time
	// Arrived is when the message was accepted, by the clock of the spool.
	Arrived time.Time
	Client  Client
	// Unverified tells that the message came from outside and that SPF, DKIM
	// and DMARC speak against its sender: From may be anybody, and nothing is
	// reported to it.
	Unverified bool
}

// By is by when a message shall have been delivered (RFC 2852).
type By struct {
	// At is that time; zero means that nothing was asked for.
	At time.Time
	// Return has the message returned then (by-mode R); otherwise the sender
	// is told that it is late, and it goes on (by-mode N).
	Return bool
	// Trace asks for a report from each relay on the way.
	Trace bool
}

// IsZero tells that nothing was asked for.
func (b By) IsZero() bool { return b.At.IsZero() }

// TLSReport is the Protocol of reports about TLS (RFC 8460).
const TLSReport = "tls-report"

// Client is who handed a message over; it is what Received and logs say.
type Client struct {
	// Protocol is the "with" value of RFC 3848 (ESMTPSA …), "local" for the
	// control socket, "report" for our own reports, "tls-report" for those of
	// RFC 8460, which are not reported on themselves, "append" for IMAP APPEND.
	Protocol string
	Addr     netip.Addr
	Helo     string
	// Account is the authenticated account, or "".
	Account string
}
