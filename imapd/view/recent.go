package view

import (
	"errors"
	"fmt"
	"slices"

	"restante/spool"
)

// span is a range of UIDs, both ends included.
type span struct{ from, to spool.UID }

// recent is which messages of a view are \Recent: those that this session was
// the first to be told of (RFC 3501 section 2.3.2).
type recent struct {
	// tracked tells that anybody wants to know, take that what the view has is
	// recent for nobody else.
	tracked, take bool
	// spans ascend, with gaps between them.
	spans []span
}

// TrackRecent has the view know which of its messages are \Recent, from now on.
// With take they are so in no other session; without, as EXAMINE wants it, they
// stay what they are.
func (v *View) TrackRecent(take bool) error {
	v.recent = recent{tracked: true, take: take}
	return v.findRecent(1, v.top)
}

// findRecent looks which of the messages that come into the view, from a UID up
// to another, are recent.
func (v *View) findRecent(from, to spool.UID) error {
	r := &v.recent
	if !r.tracked || to < from {
		return nil
	}
	var first spool.UID
	var err error
	if r.take {
		first, err = v.src.TakeRecent(v.id, to)
	} else {
		var row spool.Mailbox
		row, err = v.src.MailboxByID(v.id)
		first = row.Recent
	}
	switch {
	case errors.Is(err, spool.ErrNoMailbox):
		return nil
	case err != nil:
		return fmt.Errorf("recent messages: %w", err)
	}
	if first = max(first, from); first > to {
		return nil
	}
	if n := len(r.spans); n > 0 && r.spans[n-1].to+1 == first {
		r.spans[n-1].to = to
		return nil
	}
	r.spans = append(r.spans, span{first, to})
	return nil
}

// Recent tells whether a message of the view is \Recent.
func (v *View) Recent(uid spool.UID) bool {
	i, _ := slices.BinarySearchFunc(v.recent.spans, uid, func(s span, uid spool.UID) int { return int(int64(s.to) - int64(uid)) })
	return i < len(v.recent.spans) && uid >= v.recent.spans[i].from
}

// CountRecent returns how many messages of the view are \Recent.
func (v *View) CountRecent() uint32 {
	n := 0
	r := &v.recent
	r.spans = slices.DeleteFunc(r.spans, func(s span) bool {
		i, _ := slices.BinarySearch(v.uids, s.from)
		j, found := slices.BinarySearch(v.uids, s.to)
		if found {
			j++
		}
		n += j - i
		return i == j // none of them is left
	})
	return uint32(n)
}
