package tlsrpt

// Kind is what a session was held against (RFC 8460 section 4.2).
type Kind string

// The kinds.
const (
	STS      Kind = "sts"
	TLSA     Kind = "tlsa"
	NoPolicy Kind = "no-policy-found"
)

// Result is what went wrong (RFC 8460 section 4.3); "" is nothing.
type Result string

// The results.
const (
	StartTLSNotSupported Result = "starttls-not-supported"
	HostMismatch         Result = "certificate-host-mismatch"
	Expired              Result = "certificate-expired"
	NotTrusted           Result = "certificate-not-trusted"
	ValidationFailure    Result = "validation-failure"
	TLSAInvalid          Result = "tlsa-invalid"
	DNSSECInvalid        Result = "dnssec-invalid"
	STSFetch             Result = "sts-policy-fetch-error"
	STSInvalid           Result = "sts-policy-invalid"
	STSWebPKI            Result = "sts-webpki-invalid"
)

// Event is one session, or one that could not be for want of TLS.
type Event struct {
	// Domain is the recipients'.
	Domain string
	Kind   Kind
	// Policy is what it was held against, in lines: those of the MTA-STS
	// policy, or TLSA records. Patterns are its mail exchangers.
	Policy   []string
	Patterns []string
	// MX is the host, Helo the name in its greeting, Sending and Receiving the
	// addresses.
	MX, Helo           string
	Sending, Receiving string
	// Result and Reason say what failed, "" if nothing did. Without Session
	// there is no count of it: a policy that could not be had is no session.
	Result  Result
	Reason  string
	Session bool
}

// Recorder takes events. It must be safe for concurrent use, and quick.
type Recorder interface{ Record(Event) }
