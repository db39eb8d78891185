// Package view is one session's picture of a selected mailbox: which messages
// the client knows of, and under which sequence numbers. It knows the spool
// and nothing of a protocol engine.
//
// The mailbox goes on changing under other sessions, but a view changes only
// in Sync and Remove, and tells of each change by an Event. A client that
// applies the events in order has the same numbers as the view at any time
// (RFC 9051 sections 5.2 and 7.5.1): that is what the package guarantees.
// SyncHolding keeps expunges back for the commands during which they must not
// be sent; a message that is expunged but not yet announced keeps its number,
// and reads as missing, never as another message.
//
// A view of a mailbox that is deleted loses all its messages by expunges and
// stays empty. An error of the spool leaves the view as it was; the next Sync
// makes up for it.
//
// A view costs 4 octets for each message. It is not safe for concurrent use.
package view

import (
	"errors"
	"fmt"
	"slices"

	"restante/spool"
)

// Kind is what an Event tells.
type Kind uint8

// The kinds of Event.
const (
	// Expunged: the message Seq is gone, and those above it move down by one.
	Expunged Kind = iota
	// Exists: the mailbox now has Seq messages.
	Exists
	// Flagged: message Seq has the flags of Entry.
	Flagged
)

// Event is one change that a client must be told of.
type Event struct {
	Kind Kind
	// Seq is a sequence number as of this event; with Exists the number of
	// messages.
	Seq uint32
	// UID is that of the message that is gone, in Expunged.
	UID spool.UID
	// Entry is set in Flagged.
	Entry spool.Entry
}

// View is the picture. Open makes one.
type View struct {
	src spool.Mailboxes
	id  spool.MailboxID
	// uids are the messages that the client knows, ascending: the number of
	// uids[i] is i+1.
	uids []spool.UID
	// modseq is up to where the journal was read, and told up to where the client
	// knows all that is in it.
	modseq, told spool.ModSeq
	// top is the highest UID that was ever in uids.
	top spool.UID
	// held are messages of uids that are gone, which the client has not been
	// told yet.
	held map[spool.UID]bool
	// own are the entries whose present state the client knows already
	// although the journal beyond modseq mentions it.
	own map[spool.UID]spool.ModSeq
	// missed tells that the client does not hear of everything.
	missed bool

	recent recent
}

// Summary is what is found out on the way when a view is opened.
type Summary struct {
	Mailbox spool.Mailbox
	// FirstUnseen is the number of the first message without \Seen, or 0.
	FirstUnseen uint32
	// Keywords are those in use, sorted.
	Keywords []string
}

// Open reads a mailbox. It fails with spool.ErrNoMailbox.
func Open(src spool.Mailboxes, id spool.MailboxID) (*View, Summary, error) {
	o, err := src.Overview(id)
	if err != nil {
		return nil, Summary{}, fmt.Errorf("open mailbox: %w", err)
	}
	v := &View{
		src:    src,
		id:     id,
		uids:   o.UIDs,
		modseq: o.Mailbox.ModSeq,
		told:   o.Mailbox.ModSeq,
		held:   make(map[spool.UID]bool),
		own:    make(map[spool.UID]spool.ModSeq),
	}
	v.top = v.Last()
	sum := Summary{Mailbox: o.Mailbox, Keywords: o.Keywords}
	if o.FirstUnseen != 0 {
		sum.FirstUnseen, _ = v.Seq(o.FirstUnseen)
	}
	return v, sum, nil
}

// Told is up to where the client has been told all: the HIGHESTMODSEQ that it may
// be given (RFC 7162 section 3.1.2.1). It stays behind while expunges are held
// back, or a client that came back with it would never hear of them.
func (v *View) Told() spool.ModSeq { return v.told }

// ModSeq is up to where the view is the mailbox's, expunges that are held back
// included.
func (v *View) ModSeq() spool.ModSeq { return v.modseq }

// Mailbox is the mailbox's ID.
func (v *View) Mailbox() spool.MailboxID { return v.id }

// Len is the number of messages, those included whose expunge is held back.
func (v *View) Len() uint32 { return uint32(len(v.uids)) }

// Last is the highest UID, which "*" stands for; 0 if there is none.
func (v *View) Last() spool.UID {
	if len(v.uids) == 0 {
		return 0
	}
	return v.uids[len(v.uids)-1]
}

// Seq returns the number of a message; ok is false if the client does not
// know of it.
func (v *View) Seq(uid spool.UID) (seq uint32, ok bool) {
	i, ok := slices.BinarySearch(v.uids, uid)
	return uint32(i) + 1, ok
}

// UID returns the UID of a number; ok is false if no message has it.
func (v *View) UID(seq uint32) (uid spool.UID, ok bool) {
	if seq == 0 || seq > v.Len() {
		return 0, false
	}
	return v.uids[seq-1], true
}

// Known returns those of a list of UIDs that are in the view.
func (v *View) Known(uids []spool.UID) []spool.UID {
	return slices.DeleteFunc(slices.Clone(uids), func(uid spool.UID) bool {
		_, known := v.Seq(uid)
		return !known
	})
}

// Numbered appends the UIDs of the messages numbered from to to, both
// included, as far as there are any.
func (v *View) Numbered(dst []spool.UID, from, to uint32) []spool.UID {
	from, to = max(from, 1), min(to, v.Len())
	if from > to {
		return dst
	}
	return append(dst, v.uids[from-1:to]...)
}

// Between appends the UIDs from from to to, both included, that are in the
// view.
func (v *View) Between(dst []spool.UID, from, to spool.UID) []spool.UID {
	i, _ := slices.BinarySearch(v.uids, from)
	j, found := slices.BinarySearch(v.uids, to)
	if found {
		j++
	}
	if i >= j {
		return dst
	}
	return append(dst, v.uids[i:j]...)
}

// Own tells the view that the client learns of the present state of these
// entries in another way (a FETCH response to its own STORE), so that no
// event for it is wanted.
func (v *View) Own(entries []spool.Entry) {
	for _, e := range entries {
		if e.ModSeq > v.modseq {
			v.own[e.UID] = e.ModSeq
		}
	}
}

// Missed tells the view that some of its last events are kept from the client, which
// knew all up to told: so Told stays there.
func (v *View) Missed(told spool.ModSeq) {
	if !v.missed {
		v.missed, v.told = true, told
	}
}

// Knows tells whether the client knows the state that a message had at a ModSeq.
func (v *View) Knows(uid spool.UID, at spool.ModSeq) bool { return at <= v.modseq || v.own[uid] == at }

// Sync takes over what happened in the mailbox and returns the events, in the
// order in which the client must see them.
func (v *View) Sync() ([]Event, error) { return v.sync(true) }

// SyncHolding is Sync without the expunges, which the next Sync has.
func (v *View) SyncHolding() ([]Event, error) { return v.sync(false) }

func (v *View) sync(expunge bool) ([]Event, error) {
	changes, upto, err := v.src.Changes(v.id, v.modseq)
	switch {
	case errors.Is(err, spool.ErrNoMailbox):
		for _, uid := range v.uids {
			v.held[uid] = true
		}
		changes, upto = nil, v.modseq
	case errors.Is(err, spool.ErrChangesLost):
		changes, upto, err = v.compare()
		fallthrough
	default:
		if err != nil {
			return nil, fmt.Errorf("sync: %w", err)
		}
	}
	var gone, flagged, fresh []spool.UID
	for _, c := range changes {
		_, known := v.Seq(c.UID)
		switch {
		case known && c.Expunged:
			gone = append(gone, c.UID)
		case known && v.own[c.UID] != c.ModSeq:
			flagged = append(flagged, c.UID)
		case !known && !c.Expunged && c.UID > v.top:
			fresh = append(fresh, c.UID)
		}
	}
	slices.Sort(flagged)
	slices.Sort(fresh)
	// The entries are read before anything is changed, so that a failure
	// leaves the view as it was.
	var flags []spool.Entry
	for e, err := range v.Entries(flagged) {
		if err != nil {
			return nil, fmt.Errorf("sync: %w", err)
		}
		flags = append(flags, e)
	}
	if len(fresh) > 0 {
		if err := v.findRecent(v.top+1, fresh[len(fresh)-1]); err != nil {
			return nil, fmt.Errorf("sync: %w", err)
		}
	}
	for _, uid := range gone {
		v.held[uid] = true
	}
	v.modseq = upto
	clear(v.own)
	// The entries may be newer than the journal that was read.
	v.Own(flags)
	return v.apply(expunge, fresh, flags), nil
}

func (v *View) apply(expunge bool, fresh []spool.UID, flags []spool.Entry) []Event {
	var events []Event
	if expunge && len(v.held) > 0 {
		for _, r := range v.remove(v.held) {
			events = append(events, Event{Kind: Expunged, Seq: r.Seq, UID: r.UID})
		}
		clear(v.held)
	}
	if len(v.held) == 0 && !v.missed {
		v.told = v.modseq
	}
	if len(fresh) > 0 {
		v.uids = append(v.uids, fresh...)
		v.top = fresh[len(fresh)-1]
		events = append(events, Event{Kind: Exists, Seq: v.Len()})
	}
	for _, e := range flags {
		if seq, ok := v.Seq(e.UID); ok {
			events = append(events, Event{Kind: Flagged, Seq: seq, Entry: e})
		}
	}
	return events
}

// compare makes up for a journal that does not reach back to v.modseq, out of
// the entries that are there now.
func (v *View) compare() ([]spool.Change, spool.ModSeq, error) {
	row, err := v.src.MailboxByID(v.id)
	if err != nil {
		return nil, 0, err
	}
	var changes []spool.Change
	present := make(map[spool.UID]bool, len(v.uids))
	for e, err := range v.src.Entries(v.id, 1, 0) {
		if err != nil {
			return nil, 0, err
		}
		present[e.UID] = true
		if e.ModSeq > v.modseq {
			changes = append(changes, spool.Change{UID: e.UID, ModSeq: e.ModSeq})
		}
	}
	for _, uid := range v.uids {
		if !present[uid] {
			changes = append(changes, spool.Change{UID: uid, ModSeq: row.ModSeq, Expunged: true})
		}
	}
	return changes, max(row.ModSeq, v.modseq), nil
}

// Removed is a message that has left the view.
type Removed struct {
	Seq uint32
	UID spool.UID
}

// Remove takes messages that the session itself has expunged or moved out of
// the view and returns the numbers to announce, in order. UIDs that the client
// never knew are passed over; other sessions' expunges stay for Sync.
func (v *View) Remove(uids []spool.UID) []Removed {
	set := make(map[spool.UID]bool, len(uids))
	for _, uid := range uids {
		set[uid] = true
		delete(v.held, uid)
	}
	return v.remove(set)
}

// remove goes from the highest number down: so each number is the one that
// the message had before, and one pass is enough.
func (v *View) remove(set map[spool.UID]bool) []Removed {
	var out []Removed
	for i, uid := range slices.Backward(v.uids) {
		if set[uid] {
			out = append(out, Removed{uint32(i) + 1, uid})
		}
	}
	v.uids = slices.DeleteFunc(v.uids, func(uid spool.UID) bool { return set[uid] })
	return out
}
