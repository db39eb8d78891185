package view

import (
	"errors"

	"restante/imapd/wire"
	"restante/spool"
)

// ErrNumber: a sequence number that no message has (RFC 9051 section 9,
// seq-number: the answer to that is BAD).
var ErrNumber = errors.New("no message has that number")

// BySeq returns the UIDs of ranges of sequence numbers, ascending. "*" is the
// last message, and no message in an empty mailbox. A plain number above the
// last fails with ErrNumber.
func (v *View) BySeq(ranges []wire.Range) ([]spool.UID, error) {
	var uids []spool.UID
	for _, r := range ranges {
		if r.Start != 0 && r.Stop != 0 && max(r.Start, r.Stop) > v.Len() {
			return nil, ErrNumber
		}
	}
	for _, r := range (wire.Set{Ranges: ranges}).Merged(v.Len()) {
		uids = v.Numbered(uids, r.Start, r.Stop)
	}
	return uids, nil
}

// ByUID returns those UIDs of ranges that are in the view, ascending.
func (v *View) ByUID(ranges []wire.Range) []spool.UID {
	var uids []spool.UID
	for _, r := range (wire.Set{Ranges: ranges}).Merged(uint32(v.Last())) {
		uids = v.Between(uids, spool.UID(r.Start), spool.UID(r.Stop))
	}
	return uids
}
