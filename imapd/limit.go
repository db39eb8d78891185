package imapd

import (
	"errors"
	"fmt"

	"github.com/emersion/go-imap/v2"

	"restante/spool"
)

// MESSAGELIMIT (RFC 9738), for servers whose administrator wants it: a command is
// done for as many messages as one command may be for, from the highest UID down,
// and its reply tells how far it came. COPY, which must be done for all or none, is
// refused.

// codeMessageLimit is what a reply says of a command that has named too many
// messages; lowest is the UID that it came down to, 0 if it did nothing.
func (s *session) codeMessageLimit(lowest spool.UID) imap.ResponseCode {
	code := fmt.Sprintf("MESSAGELIMIT %d", s.srv.opt.MaxMessages)
	if lowest > 0 {
		code += fmt.Sprintf(" %d", lowest)
	}
	return imap.ResponseCode(code)
}

// tooMany tells whether a command may not be for so many messages.
func (s *session) tooMany(n int) bool {
	most := s.srv.opt.MaxMessages
	return most > 0 && n > most
}

// limited returns those of the messages that a command names, which ascend, for which
// it may be done.
func (s *session) limited(uids []spool.UID) []spool.UID {
	if !s.tooMany(len(uids)) {
		return uids
	}
	uids = uids[len(uids)-s.srv.opt.MaxMessages:]
	s.lowest = uids[0]
	return uids
}

// limitFindings is limited for what a SEARCH found.
func (s *session) limitFindings(f findings, r *results) findings {
	n := len(f.uids)
	if p := r.partial; p.set() {
		n = int(p.stop-p.start) + 1
	}
	if !s.tooMany(n) || !s.tooMany(len(f.uids)) {
		return f
	}
	f.uids = s.limited(f.uids)
	cut := len(f.scores) - len(f.uids)
	f.scores, f.modseqs = f.scores[cut:], f.modseqs[cut:]
	return f
}

// withLimit adds to the reply how far a command came, if it was not done for all.
func (s *session) withLimit(reply error) error {
	lowest := s.lowest
	if s.lowest = 0; lowest == 0 {
		return reply
	}
	const text = "Done for as many messages as one command may name"
	code := s.codeMessageLimit(lowest)
	var e *imap.Error
	switch {
	case reply == nil:
		return &imap.Error{Type: imap.StatusResponseTypeOK, Code: code, Text: text}
	case errors.As(reply, &e) && e.Type == imap.StatusResponseTypeOK:
		// The reply has a code of its own.
		s.out.Raw("* OK [").Raw(string(code)).Raw("] ").Raw(text).CRLF()
	}
	return reply
}
