package imapd

import (
	"github.com/emersion/go-imap/v2"

	"restante/imapd/wire"
	"restante/spool"
)

// A client that has turned UIDONLY on (RFC 9586) neither sends sequence numbers nor
// is told any: FETCH responses are UIDFETCH, and EXPUNGE is VANISHED.

// errUIDRequired is the answer to sequence numbers.
var errUIDRequired = &imap.Error{
	Type: imap.StatusResponseTypeBad, Code: "UIDREQUIRED", Text: "Messages are named by UID since UIDONLY was enabled",
}

// byNumber tells whether a call names messages by sequence number, or is answered
// with them.
func (c call) byNumber(cmd command) bool { return cmd.byUID && !c.uid && c.verb != "EXPUNGE" }

// beginFetch begins what is told of a message, up to its parenthesis.
func (s *session) beginFetch(seq uint32, uid spool.UID) *wire.Encoder {
	if s.has(uidonly) {
		return s.out.Raw("* ").Number32(uint32(uid)).Raw(" UIDFETCH (")
	}
	return s.out.Raw("* ").Number32(seq).Raw(" FETCH (")
}

// dropNumbered ends the searches that are kept up to date in sequence numbers.
func (s *session) dropNumbered() {
	if s.box == nil {
		return
	}
	var rest []*searchContext
	for _, t := range s.box.contexts {
		if t.call.uid {
			rest = append(rest, t)
			continue
		}
		s.out.Raw("* NO [NOUPDATE ").String(t.call.tag).Raw("] Messages are named by UID from now on").CRLF()
	}
	s.box.contexts = rest
}
