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
	for _, r := range (wire.Set{Ranges: ranges}).Fixed(v.Len()) {
		if r.Stop > v.Len() && !isOpen(ranges, r) {
			return nil, ErrNumber
		}
		uids = v.Numbered(uids, r.Start, r.Stop)
	}
	return sortUIDs(uids), nil
}

// isOpen tells whether a fixed range came of one with "*" in it, which may begin
// above the last message.
func isOpen(ranges []wire.Range, fixed wire.Range) bool {
	for _, r := range ranges {
		if r.Start == 0 && r.Stop == fixed.Stop || r.Stop == 0 && r.Start == fixed.Stop {
			return true
		}
	}
	return false
}

// ByUID returns those UIDs of ranges that are in the view, ascending.
func (v *View) ByUID(ranges []wire.Range) []spool.UID {
	var uids []spool.UID
	for _, r := range (wire.Set{Ranges: ranges}).Fixed(uint32(v.Last())) {
		uids = v.Between(uids, spool.UID(r.Start), spool.UID(r.Stop))
	}
	return sortUIDs(uids)
}
