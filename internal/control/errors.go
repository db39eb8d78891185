package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"

	"restante/internal/accept"
	"restante/internal/directory"
	"restante/internal/mail"
	"restante/internal/resend"
	"restante/spool"
)

// ErrNotRunning is wrapped by every method of Client when no daemon answers at
// the socket.
var ErrNotRunning = errors.New("the daemon is not running")

// Code names the kind of an Error.
type Code string

// The codes, with the HTTP status each of them comes with.
const (
	CodeBadRequest    Code = "bad_request"    // 400
	CodeForbidden     Code = "forbidden"      // 403
	CodeNotFound      Code = "not_found"      // 404
	CodeMethod        Code = "bad_method"     // 405
	CodeTimeout       Code = "timeout"        // 408
	CodeLeased        Code = "leased"         // 409
	CodeConflict      Code = "conflict"       // 409
	CodeTooLarge      Code = "too_large"      // 413
	CodeNoSuchUser    Code = "no_such_user"   // 422
	CodeUnprocessable Code = "unprocessable"  // 422
	CodeInternal      Code = "internal_error" // 500
	CodeUnavailable   Code = "unavailable"    // 503
	CodeFull          Code = "full"           // 507
)

var codeStatus = map[Code]int{
	CodeBadRequest:    http.StatusBadRequest,
	CodeForbidden:     http.StatusForbidden,
	CodeNotFound:      http.StatusNotFound,
	CodeMethod:        http.StatusMethodNotAllowed,
	CodeTimeout:       http.StatusRequestTimeout,
	CodeLeased:        http.StatusConflict,
	CodeConflict:      http.StatusConflict,
	CodeTooLarge:      http.StatusRequestEntityTooLarge,
	CodeNoSuchUser:    http.StatusUnprocessableEntity,
	CodeUnprocessable: http.StatusUnprocessableEntity,
	CodeInternal:      http.StatusInternalServerError,
	CodeUnavailable:   http.StatusServiceUnavailable,
	CodeFull:          http.StatusInsufficientStorage,
}

// Error is an error as the API tells it; Client returns it too.
type Error struct {
	Message string `json:"error"`
	Code    Code   `json:"code"`
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

func errorf(code Code, format string, args ...any) *Error {
	return &Error{Message: fmt.Sprintf(format, args...), Code: code}
}

// known is the one place where errors of the house become codes of the API.
// The first match counts.
var known = []struct {
	err  error
	code Code
}{
	{spool.ErrNotFound, CodeNotFound},
	{spool.ErrNoMailbox, CodeNotFound},
	{spool.ErrMailboxName, CodeBadRequest},
	{spool.ErrLeased, CodeLeased},
	{resend.ErrSent, CodeConflict},
	{resend.ErrNoPlace, CodeNotFound},
	{resend.ErrReplay, CodeBadRequest},
	{spool.ErrChecking, CodeConflict},
	{spool.ErrFull, CodeFull},
	{spool.ErrReadOnly, CodeUnavailable},
	{spool.ErrUncertain, CodeUnavailable},
	{spool.ErrClosed, CodeUnavailable},
	{directory.ErrExists, CodeConflict},
	{directory.ErrStatic, CodeConflict},
	{directory.ErrUnknownDomain, CodeUnprocessable},
	{directory.ErrPassword, CodeUnprocessable},
	{directory.ErrNoSecret, CodeNotFound},
	{directory.ErrSecretName, CodeUnprocessable},
	{directory.ErrPriority, CodeUnprocessable},
	{directory.ErrTooMany, CodeUnprocessable},
	{mail.ErrNoSuchUser, CodeNoSuchUser},
	{mail.ErrAddress, CodeBadRequest},
	{mail.ErrID, CodeBadRequest},
	{spool.ErrDestination, CodeBadRequest},
	{os.ErrDeadlineExceeded, CodeTimeout},
	{context.Canceled, CodeUnavailable},
	{context.DeadlineExceeded, CodeUnavailable},
}

// toError gives any error its code. What is unknown is internal: its text is
// shown, since whoever reads it is on this machine.
func toError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return errorf(CodeTooLarge, "larger than %d octets", tooLarge.Limit)
	}
	var refused *accept.RefusedError
	if errors.As(err, &refused) {
		if refused.Status.Class() == mail.Permanent {
			return errorf(CodeUnprocessable, "%s", refused.Status)
		}
		return errorf(CodeUnavailable, "%s", refused.Status)
	}
	for _, k := range known {
		if errors.Is(err, k.err) {
			return &Error{Message: err.Error(), Code: k.code}
		}
	}
	return &Error{Message: err.Error(), Code: CodeInternal}
}

func writeError(w http.ResponseWriter, e *Error) {
	status, ok := codeStatus[e.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	writeJSON(w, status, e)
}

// writeJSON answers with one JSON value. An error of writing is the peer's
// absence; there is nobody left to tell.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
