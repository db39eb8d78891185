package view

import (
	"errors"

	"github.com/emersion/go-imap/v2"

	"restante/spool"
)

// ErrNumber: a sequence number that no message has (RFC 9051 section 9,
// seq-number: the answer to that is BAD).
var ErrNumber = errors.New("no message has that number")

// BySeq returns the UIDs of a set of sequence numbers, ascending. "*" is the
// last message, and no message in an empty mailbox. A plain number above the
// last fails with ErrNumber.
func (v *View) BySeq(set imap.SeqSet) ([]spool.UID, error) {
	var uids []spool.UID
	for _, r := range set {
		from, to := r.Start, r.Stop
		switch {
		case from == 0: // "*"
			from, to = v.Len(), v.Len()
		case to == 0: // "n:*" is also "*:n"
			from, to = min(from, v.Len()), v.Len()
		case to > v.Len():
			return nil, ErrNumber
		}
		uids = v.Numbered(uids, from, to)
	}
	return sortUIDs(uids), nil
}

// ByUID returns those UIDs of a set that are in the view, ascending.
func (v *View) ByUID(set imap.UIDSet) []spool.UID {
	var uids []spool.UID
	for _, r := range set {
		from, to := spool.UID(r.Start), spool.UID(r.Stop)
		switch {
		case from == 0: // "*"
			from, to = v.Last(), v.Last()
		case to == 0:
			from, to = min(from, v.Last()), v.Last()
		}
		uids = v.Between(uids, from, to)
	}
	return sortUIDs(uids)
}
