package mail

import (
	"fmt"
	"strings"
)

// Class is what a Status means for its recipient.
type Class uint8

// The classes of RFC 3463: anything short of definite success or definite
// failure is Transient and is retried.
const (
	Transient Class = iota
	Delivered
	Permanent
)

func (c Class) String() string {
	return [...]string{"transient", "delivered", "permanent"}[c]
}

// Status is the outcome of one attempt for one recipient. The zero value is
// transient: what has no result is tried again.
type Status struct {
	// Code is the SMTP reply code, or one that we chose for a failure of
	// our own making (a name that does not resolve: 451 or 550).
	Code int
	// Enhanced is the enhanced status code of RFC 3463, zero if none.
	Enhanced [3]int
	// Text is one line, printable: the remote's words without its codes, or ours.
	Text string
	// Remote is the host that said so, "name [address]", or "" if we did.
	Remote string
}

// Class sorts the status: 2xx delivered, 5xx permanent, all else transient.
func (s Status) Class() Class {
	switch s.Code / 100 {
	case 2:
		return Delivered
	case 5:
		return Permanent
	}
	return Transient
}

// EnhancedOrDefault returns the enhanced code, made from the class if there
// was none: 2.0.0, 4.0.0 or 5.0.0.
func (s Status) EnhancedOrDefault() [3]int {
	if s.Enhanced != [3]int{} {
		return s.Enhanced
	}
	switch s.Class() {
	case Delivered:
		return [3]int{2, 0, 0}
	case Permanent:
		return [3]int{5, 0, 0}
	}
	return [3]int{4, 0, 0}
}

// String is "550 5.1.1 no such user (mx.example [192.0.2.1])".
func (s Status) String() string {
	var b strings.Builder
	if s.Code != 0 {
		e := s.EnhancedOrDefault()
		fmt.Fprintf(&b, "%d %d.%d.%d ", s.Code, e[0], e[1], e[2])
	}
	b.WriteString(s.Text)
	if s.Remote != "" {
		fmt.Fprintf(&b, " (%s)", s.Remote)
	}
	return strings.TrimSpace(b.String())
}
