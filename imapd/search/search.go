// Package search holds one message against the criteria of a SEARCH (RFC 9051
// section 6.4.4), the cheap ones first: what the mailbox entry has, then what
// was found out at delivery (the envelope, the Date), then the header, and the
// text last. Only the last two open the body.
//
// Text is searched while it streams by, after its transfer encoding and its
// character set were undone; letters are equal whatever their case, in the
// text itself only those of ASCII. Memory does not depend on the message, but
// for a header, of which the first MaxHeader octets are looked at. Time is
// linear in the message for each of the criteria's strings.
package search

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"restante/internal/structure"
	"restante/spool"
)

// MaxHeader bounds the octets of a header that are searched.
const MaxHeader = 256 << 10

// Message is a message as the criteria see it.
type Message interface {
	// Seq is its sequence number.
	Seq() uint32
	Entry() *spool.Entry
	// Structure is what is known of the body.
	Structure() (*structure.Message, error)
	// Header reads the header as the mailbox shows it, MaxHeader octets of it.
	Header() ([]byte, error)
	// Octets reads the body from off up to end.
	Octets(off, end int64) (io.Reader, error)
}

// Match tells whether a message meets all criteria. Number sets must not have
// "*" or "$" in them any more. The errors are the message's.
func Match(c *imap.SearchCriteria, m Message) (bool, error) {
	if !matchEntry(c, m) {
		return false, nil
	}
	if ok, err := matchSent(c, m); !ok || err != nil {
		return false, err
	}
	for _, f := range c.Header {
		if ok, err := matchField(f, m); !ok || err != nil {
			return false, err
		}
	}
	for i := range c.Not {
		if ok, err := Match(&c.Not[i], m); ok || err != nil {
			return false, err
		}
	}
	for i := range c.Or {
		ok, err := Match(&c.Or[i][0], m)
		if err == nil && !ok {
			ok, err = Match(&c.Or[i][1], m)
		}
		if !ok || err != nil {
			return false, err
		}
	}
	return matchText(c, m)
}

// matchEntry has the criteria that the mailbox entry alone answers.
func matchEntry(c *imap.SearchCriteria, m Message) bool {
	e := m.Entry()
	for _, set := range c.SeqNum {
		if !set.Contains(m.Seq()) {
			return false
		}
	}
	for _, set := range c.UID {
		if !set.Contains(imap.UID(e.UID)) {
			return false
		}
	}
	for _, f := range c.Flag {
		if !hasFlag(e.Flags, f) {
			return false
		}
	}
	for _, f := range c.NotFlag {
		if hasFlag(e.Flags, f) {
			return false
		}
	}
	return (c.Larger == 0 || e.Size > c.Larger) &&
		(c.Smaller == 0 || e.Size < c.Smaller) &&
		within(e.InternalDate, c.Since, c.Before)
}

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

func matchSent(c *imap.SearchCriteria, m Message) (bool, error) {
	if c.SentSince.IsZero() && c.SentBefore.IsZero() {
		return true, nil
	}
	s, err := m.Structure()
	if err != nil {
		return false, fmt.Errorf("search dates: %w", err)
	}
	sent := s.Sent()
	return !sent.IsZero() && within(sent, c.SentSince, c.SentBefore), nil
}

func matchText(c *imap.SearchCriteria, m Message) (bool, error) {
	if len(c.Body)+len(c.Text) == 0 {
		return true, nil
	}
	s, err := m.Structure()
	if err != nil {
		return false, fmt.Errorf("search text: %w", err)
	}
	wanted := newNeedles(c.Body)
	if len(c.Text) > 0 {
		head, err := m.Header()
		if err != nil {
			return false, fmt.Errorf("search header: %w", err)
		}
		words := foldText(decodeHeader(unfold(string(head))))
		for _, t := range c.Text {
			if !strings.Contains(words, foldText(t)) {
				wanted.add(t)
			}
		}
	}
	err = searchPart(s.Root, m, wanted)
	if err != nil {
		return false, fmt.Errorf("search text: %w", err)
	}
	return wanted.allFound(), nil
}
