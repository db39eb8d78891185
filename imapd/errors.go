package imapd

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/view"
	"restante/spool"
)

// Response codes that the library has no names for.
const (
	// codeExpungeIssued is of RFC 5530, codeReadOnly of RFC 9051, codeUseAttr
	// of RFC 6154.
	codeExpungeIssued imap.ResponseCode = "EXPUNGEISSUED"
	codeReadOnly      imap.ResponseCode = "READ-ONLY"
	codeUseAttr       imap.ResponseCode = "USEATTR"
)

func no(code imap.ResponseCode, text string) error {
	return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: text}
}

func bad(text string) error {
	return &imap.Error{Type: imap.StatusResponseTypeBad, Code: imap.ResponseCodeClientBug, Text: text}
}

// failure is the one place where errors become replies. What the client cannot
// have caused is logged.
func (s *session) failure(op string, err error) error {
	var reply *imap.Error
	switch {
	case errors.As(err, &reply):
		return reply
	case errors.Is(err, view.ErrNumber):
		return bad("No message has that number")
	case errors.Is(err, spool.ErrNoMailbox):
		return no(imap.ResponseCodeNonExistent, "No such mailbox")
	case errors.Is(err, spool.ErrAttributes):
		return no(imap.ResponseCodeLimit, "Too much is kept with this mailbox")
	case errors.Is(err, spool.ErrMailboxExists):
		return no(imap.ResponseCodeAlreadyExists, "Mailbox exists already")
	case errors.Is(err, spool.ErrMailboxName):
		return no(imap.ResponseCodeCannot, "Not possible with a mailbox of that name")
	case errors.Is(err, spool.ErrNotFound):
		return no(codeExpungeIssued, "Message is gone")
	case errors.Is(err, spool.ErrClosed), errors.Is(err, context.Canceled):
		return no(imap.ResponseCodeUnavailable, "Server is shutting down")
	case isLost(err):
		s.log.Debug(op+" ended with the connection", "err", err)
		return no(imap.ResponseCodeUnavailable, "Connection is lost")
	}
	s.log.Error(op+" failed", "err", err)
	switch {
	case errors.Is(err, spool.ErrFull):
		return no(imap.ResponseCodeUnavailable, "Storage is full, try again later")
	case errors.Is(err, spool.ErrReadOnly):
		return no(imap.ResponseCodeUnavailable, "Storage takes no changes at the moment")
	case errors.Is(err, spool.ErrUncertain):
		return no(imap.ResponseCodeUnavailable, "It is not known whether that was stored")
	case errors.Is(err, spool.ErrCorrupt):
		return no(imap.ResponseCodeCorruption, "Stored message is damaged")
	}
	return no(imap.ResponseCodeServerBug, "Internal error")
}

// isLost tells whether an error is the connection's and not the spool's.
func isLost(err error) bool {
	var netErr net.Error
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &netErr)
}

// tryCreate is failure for the mailbox that something shall be put into. One that
// cannot be made is not suggested.
func (s *session) tryCreate(op, name string, err error) error {
	if errors.Is(err, spool.ErrNoMailbox) && spool.CheckName(name) == nil {
		return no(imap.ResponseCodeTryCreate, "No such mailbox; create it first")
	}
	return s.failure(op, err)
}

// some is the reply to a command of which only done of asked messages were still
// there. It is OK even if none was: what others have expunged is no failure (RFC
// 2180 section 4.1.2, RFC 5530).
func some(byUID bool, asked, done int) error {
	if byUID || done == asked {
		return nil
	}
	return &imap.Error{
		Type: imap.StatusResponseTypeOK,
		Code: codeExpungeIssued,
		Text: "Completed, but some of the messages are gone",
	}
}

// noneLeft is the reply to a COPY or MOVE that found none of its messages.
func noneLeft(byUID bool, asked int) error {
	if byUID || asked == 0 {
		return nil
	}
	return no(codeExpungeIssued, "The messages are gone")
}
