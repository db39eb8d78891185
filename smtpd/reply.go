package smtpd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-smtp"

	"restante/internal/accept"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/spool"
)

// code is an enhanced status code (RFC 3463).
type code = smtp.EnhancedCode

// reply is one line that answers a command. It is an error when it refuses.
type reply struct {
	code     int
	enhanced code
	text     string
}

func (r reply) String() string {
	if r.enhanced == (code{}) {
		return fmt.Sprintf("%d %s", r.code, r.text)
	}
	return fmt.Sprintf("%d %d.%d.%d %s", r.code, r.enhanced[0], r.enhanced[1], r.enhanced[2], r.text)
}

// Error is String.
func (r reply) Error() string { return r.String() }

// wire is the reply as it is sent; nothing for the zero reply.
func (r reply) wire() []byte {
	if r.code == 0 {
		return nil
	}
	return []byte(r.String() + "\r\n")
}

// library is the reply as the session gives it to go-smtp.
func (r reply) library() *smtp.SMTPError {
	return &smtp.SMTPError{Code: r.code, EnhancedCode: r.enhanced, Message: r.text}
}

// Replies that are given in several places.
var (
	errShuttingDown = reply{421, code{4, 3, 2}, "Shutting down, try again later"}
	errTimeout      = reply{421, code{4, 4, 2}, "Timeout, closing the connection"}
	errTooMany      = reply{421, code{4, 7, 0}, "Too many errors, closing the connection"}
	errEarly        = reply{554, code{5, 5, 1}, "You must wait for the greeting"}
	errTooBig       = reply{552, code{5, 3, 4}, "Message is larger than this server takes"}
	errUnavailable  = reply{451, code{4, 3, 0}, "Cannot take mail at the moment, try again later"}
	errFull         = reply{452, code{4, 3, 1}, "Storage is full, try again later"}
	errClosed       = reply{550, code{5, 7, 2}, "This group takes no mail from you"}
	errNoSuchUser   = reply{550, code{5, 1, 1}, "No such user here"}
)

// translate turns any error into the reply for it: the one place where that
// happens. What is not known here is a fault of ours, temporary, and none of
// the client's business.
func translate(err error) reply {
	var r reply
	var refused *accept.RefusedError
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &refused):
		return refusal(refused.Status)
	case errors.Is(err, accept.ErrClosed):
		return errClosed
	case errors.Is(err, mail.ErrNoSuchUser):
		return errNoSuchUser
	case errors.Is(err, header.ErrTooLarge):
		return reply{552, code{5, 3, 4}, "Header is larger than this server takes"}
	case errors.Is(err, spool.ErrFull):
		return errFull
	case errors.Is(err, context.Canceled) && !errors.Is(err, spool.ErrUncertain):
		return errShuttingDown
	}
	return errUnavailable
}

// refusal is the reply to a message that a screen refuses. Its words may be
// those of another program; they stay in one line.
func refusal(s mail.Status) reply {
	if s.Code < 400 || s.Code > 599 {
		return errUnavailable
	}
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s.Text)
	if len(text) > 400 {
		text = text[:400]
	}
	if text == "" {
		text = "Message refused"
	}
	return reply{s.Code, code(s.EnhancedOrDefault()), text}
}
