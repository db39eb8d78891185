package order

import (
	"strings"

	"restante/internal/structure"
	"restante/spool"
)

const (
	// maxReferences bounds the references that a message is threaded by: the
	// first, which is the beginning of the conversation, and the last ones.
	maxReferences = 50
	// maxID bounds an identifier, in octets; a longer one is none.
	maxID = 512
)

// Letter is a message with what its place in a thread depends on.
type Letter struct {
	UID spool.UID
	// sent and arrived are seconds.
	sent, arrived int64
	// subject is the folded base subject, reply tells whether it is that of a
	// reply or a forwarded message.
	subject string
	reply   bool
	id      string
	refs    []string
}

// NewLetter takes of a message what its place depends on. The structure may be
// nil if it cannot be read. References is the value of that field.
func NewLetter(e *spool.Entry, m *structure.Message, references string) Letter {
	l := Letter{UID: e.UID, sent: sent(e, m), arrived: e.InternalDate.Unix()}
	if m == nil {
		return l
	}
	env := m.Root.Envelope
	l.subject, l.reply = BaseSubject(structure.DecodeWords(env.Subject))
	l.subject = folded(l.subject)
	if ids := messageIDs(env.MessageID, 1); len(ids) > 0 {
		l.id = ids[0]
	}
	l.refs = messageIDs(references, maxReferences)
	if len(l.refs) == 0 {
		// Of several only the first counts: they are no history (RFC 5256
		// section 3, step 1).
		l.refs = messageIDs(env.InReplyTo, 1)
	}
	return l
}

// messageIDs returns the identifiers that stand in angle brackets, without them
// and without needless quotes: of more than limit the first and the last ones.
// What has no "@" is none.
func messageIDs(s string, limit int) (ids []string) {
	for {
		_, rest, ok := strings.Cut(s, "<")
		id, after, closed := strings.Cut(rest, ">")
		if !ok || !closed {
			return ids
		}
		s = after
		// A bracket that is not closed does not swallow the next one.
		if i := strings.LastIndexByte(id, '<'); i >= 0 {
			id = id[i+1:]
		}
		if id = plainID(id); id == "" || len(id) > maxID {
			continue
		}
		if len(ids) == limit {
			if limit == 1 {
				return ids
			}
			ids = append(ids[:1], ids[2:]...)
		}
		ids = append(ids, id)
	}
}

// plainID removes blanks and the quotes of a quoted local part: <"a"@b> is <a@b>.
func plainID(id string) string {
	if strings.ContainsAny(id, " \t\"\\") {
		var b strings.Builder
		quoted, escaped := false, false
		for i := range len(id) {
			c := id[i]
			switch {
			case escaped:
				escaped = false
				b.WriteByte(c)
			case quoted && c == '\\':
				escaped = true
			case c == '"':
				quoted = !quoted
			case !quoted && (c == ' ' || c == '\t'):
			default:
				b.WriteByte(c)
			}
		}
		id = b.String()
	}
	local, host, ok := strings.Cut(id, "@")
	if !ok || local == "" || host == "" {
		return ""
	}
	return strings.Clone(id)
}
