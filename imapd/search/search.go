// Package search holds one message against the keys of a SEARCH (RFC 9051
// section 6.4.4), the cheap ones first: what the mailbox entry has, then what
// was found out at delivery (the envelope, the Date), then the header, and the
// text last. Only the last two open the body.
//
// Text is searched while it streams by, after its transfer encoding and its
// character set were undone; letters are equal whatever their case (package
// casemap), across the borders of what is read in one go, too. Memory does not depend on the message, but
// for a header, of which the first MaxHeader octets are looked at. Time is
// linear in the message for each of the keys' strings.
package search

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/casemap"
	"restante/internal/structure"
	"restante/spool"
)

// MaxHeader bounds the octets of a header that are searched.
const MaxHeader = 256 << 10

// Message is a message as the criteria see it.
type Message interface {
	Entry() *spool.Entry
	// Record is what was found out at delivery, Structure what is known of the
	// body in any case.
	Record() (structure.Record, error)
	Structure() (*structure.Message, error)
	// Header reads the header as the mailbox shows it, MaxHeader octets of it.
	Header() ([]byte, error)
	// Octets reads the body from off up to end.
	Octets(off, end int64) (io.Reader, error)
	// Found is told by a fuzzy key how well it found the message, from 1 to 100.
	Found(score uint8)
}

// Cost is how far a key has to look.
type Cost uint8

// The costs, the cheapest first.
const (
	Entry     Cost = iota // at the mailbox entry
	Structure             // at what was found out at delivery
	Header                // at the header
	Text                  // at all of the message
)

// Key is something that a message has or has not. The zero value matches all.
// Match fails with the message's errors.
type Key struct {
	Cost  Cost
	match func(m Message) (bool, error)
	// body and text are the strings of a key that looks for nothing else: those
	// of several keys are looked for in one go.
	body, text []string
	// found is what they are looked for with; its memory is used again.
	found *needles
	// all are the keys that it is made of, by And, the cheapest first.
	all []Key
}

// Stages are keys that together are k: one that looks only at the entry, one that
// looks at the structure, too, and one that may look at all. A message has to match
// the first to be held against the next.
func (k Key) Stages() [3]Key {
	var stages [3][]Key
	list := k.all
	if list == nil {
		list = []Key{k}
	}
	for _, k := range list {
		i := min(int(k.Cost), len(stages)-1)
		stages[i] = append(stages[i], k)
	}
	return [...]Key{And(stages[0]...), And(stages[1]...), And(stages[2]...)}
}

// MatchesAll tells whether a key has nothing to look for.
func (k Key) MatchesAll() bool { return k.match == nil && len(k.body)+len(k.text) == 0 }

// Match tells whether a message has it.
func (k Key) Match(m Message) (bool, error) {
	switch {
	case len(k.body)+len(k.text) > 0:
		return k.matchText(m)
	case k.match == nil:
		return true, nil
	}
	return k.match(m)
}

// And is for all of several keys, which are asked by their cost.
func And(keys ...Key) Key {
	var texts Key
	var rest []Key
	for _, k := range keys {
		switch {
		case k.all != nil:
			rest = append(rest, k.all...)
		case len(k.body)+len(k.text) > 0:
			texts.Cost = Text
			texts.body, texts.text = append(texts.body, k.body...), append(texts.text, k.text...)
		case k.match != nil:
			rest = append(rest, k)
		}
	}
	if len(texts.body)+len(texts.text) > 0 {
		texts.found = new(needles)
		rest = append(rest, texts)
	}
	switch len(rest) {
	case 0:
		return Key{}
	case 1:
		return rest[0]
	}
	slices.SortStableFunc(rest, func(a, b Key) int { return int(a.Cost) - int(b.Cost) })
	return Key{Cost: rest[len(rest)-1].Cost, all: rest, match: func(m Message) (bool, error) {
		for _, k := range rest {
			if ok, err := k.Match(m); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	}}
}

// Or is for one of two.
func Or(a, b Key) Key {
	if b.Cost < a.Cost {
		a, b = b, a
	}
	return Key{Cost: b.Cost, match: func(m Message) (bool, error) {
		if ok, err := a.Match(m); ok || err != nil {
			return ok, err
		}
		return b.Match(m)
	}}
}

// Not is for what another is not.
func Not(k Key) Key {
	return Key{Cost: k.Cost, match: func(m Message) (bool, error) {
		ok, err := k.Match(m)
		return !ok && err == nil, err
	}}
}

// entry makes a key of what the mailbox entry alone answers.
func entry(match func(e *spool.Entry) bool) Key {
	return Key{match: func(m Message) (bool, error) { return match(m.Entry()), nil }}
}

// UIDs is for messages of a list, which ascends.
func UIDs(list []spool.UID) Key {
	return entry(func(e *spool.Entry) bool {
		_, ok := slices.BinarySearch(list, e.UID)
		return ok
	})
}

// Flag is for a flag or a keyword.
func Flag(f imap.Flag) Key { return entry(func(e *spool.Entry) bool { return hasFlag(e.Flags, f) }) }

// Above matches messages with a UID above one, Below those below it.
func Above(uid spool.UID) Key { return entry(func(e *spool.Entry) bool { return e.UID > uid }) }

// Below is the other half of Above, without the UID itself.
func Below(uid spool.UID) Key { return entry(func(e *spool.Entry) bool { return e.UID < uid }) }

// Larger is for messages of more than n octets, Smaller for those of fewer.
func Larger(n int64) Key { return entry(func(e *spool.Entry) bool { return e.Size > n }) }

// Smaller is Larger's counterpart.
func Smaller(n int64) Key { return entry(func(e *spool.Entry) bool { return e.Size < n }) }

// Day is which of a message's days is meant.
type Day uint8

// The days.
const (
	Internal Day = iota // INTERNALDATE
	Saved               // when it came into the mailbox (RFC 8514)
	Sent                // the Date field
)

// Between is for days from since on and before before; zero is no bound.
func Between(day Day, since, before time.Time) Key {
	switch day {
	case Internal:
		return entry(func(e *spool.Entry) bool { return within(e.InternalDate, since, before) })
	case Saved:
		return entry(func(e *spool.Entry) bool { return within(e.Saved, since, before) })
	}
	return Key{Cost: Structure, match: func(m Message) (bool, error) {
		sent, err := sentOn(m)
		if err != nil {
			return false, fmt.Errorf("search dates: %w", err)
		}
		return !sent.IsZero() && within(sent, since, before), nil
	}}
}

// sentOn is a message's day, zero if it has none.
func sentOn(m Message) (time.Time, error) {
	r, err := m.Record()
	if err != nil {
		return time.Time{}, err
	}
	if day, known := r.Sent(); known {
		return day, nil
	}
	s, err := m.Structure()
	if err != nil {
		return time.Time{}, err
	}
	return s.Sent(), nil
}

// Younger is for messages whose INTERNALDATE is at most so long ago (RFC 5032).
func Younger(than time.Duration, now time.Time) Key {
	return entry(func(e *spool.Entry) bool { return !e.InternalDate.Before(now.Add(-than)) })
}

// ModSeq is for messages that changed at or after a modification sequence (RFC
// 7162 section 3.1.5).
func ModSeq(n spool.ModSeq) Key { return entry(func(e *spool.Entry) bool { return e.ModSeq >= n }) }

// ID is for copies of one message (RFC 8474).
func ID(id string) Key {
	return entry(func(e *spool.Entry) bool { return e.Message.String() == id })
}

// Recent is for messages of which recent is true.
func Recent(recent func(spool.UID) bool) Key {
	return entry(func(e *spool.Entry) bool { return recent(e.UID) })
}

// Nothing matches nothing.
func Nothing() Key { return entry(func(*spool.Entry) bool { return false }) }

// Field is for messages with a header field that has a string in it.
func Field(name, value string) Key {
	f := &fieldSearch{name: name, want: casemap.Fold(value), addresses: structure.IsAddresses(name)}
	return Key{Cost: fieldCost(name), match: f.match}
}

// fieldCost is how far one has to look for a header field.
func fieldCost(name string) Cost {
	if structure.Keeps(name) {
		return Structure
	}
	return Header
}

// Body is for messages with a string in their text, Anywhere for those that have
// it in their header or their text.
func Body(s string) Key { return Key{Cost: Text, body: []string{s}, found: new(needles)} }

// Anywhere is Body with the header.
func Anywhere(s string) Key { return Key{Cost: Text, text: []string{s}, found: new(needles)} }

func hasFlag(f spool.Flags, flag imap.Flag) bool {
	switch flag {
	case imap.FlagSeen:
		return f.System&spool.Seen != 0
	case imap.FlagAnswered:
		return f.System&spool.Answered != 0
	case imap.FlagFlagged:
		return f.System&spool.Flagged != 0
	case imap.FlagDeleted:
		return f.System&spool.Deleted != 0
	case imap.FlagDraft:
		return f.System&spool.Draft != 0
	}
	return slices.ContainsFunc(f.Keywords, func(k string) bool { return strings.EqualFold(k, string(flag)) })
}

// within compares days: the time and the zones are disregarded.
func within(t, since, before time.Time) bool {
	y, m, d := t.Date()
	day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	return (since.IsZero() || !day.Before(since)) && (before.IsZero() || day.Before(before))
}

func (k *Key) matchText(m Message) (bool, error) {
	s, err := m.Structure()
	if err != nil {
		return false, fmt.Errorf("search text: %w", err)
	}
	wanted := k.found
	wanted.reset(k.body)
	if len(k.text) > 0 {
		words, err := headerText(m)
		if err != nil {
			return false, err
		}
		words = foldText(words)
		for _, t := range k.text {
			if !strings.Contains(words, foldText(t)) {
				wanted.add(t)
			}
		}
	}
	if err := searchPart(s.Root, m, wanted); err != nil {
		return false, fmt.Errorf("search text: %w", err)
	}
	return wanted.allFound(), nil
}
