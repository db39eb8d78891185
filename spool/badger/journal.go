package badger

import (
	"fmt"
	"time"

	"restante/spool"
)

// journalLine is what is stored under J.
type journalLine struct {
	// gone tells that the entry was removed: a tombstone.
	gone bool
	// at is when, to the second; zero in tombstones of before this was noted.
	at time.Time
}

func (l journalLine) encode() []byte {
	e := &enc{b: append(make([]byte, 0, 2+5+sumLen), recordVersion)}
	e.bool(l.gone)
	if l.gone && !l.at.IsZero() {
		e.uint(uint64(l.at.Unix()))
	}
	return e.b
}

func decodeJournal(payload []byte) (l journalLine, err error) {
	d := openRecord(payload)
	switch d.byte() {
	case 0:
	case 1:
		l.gone = true
		if len(d.b) > 0 {
			l.at = time.Unix(int64(d.uint()), 0)
		}
	default:
		d.fail()
	}
	return l, d.end()
}

// openJournal reads the value of a journal record.
func openJournal(key, value []byte) (journalLine, error) {
	p, err := unseal(key, value)
	if err != nil {
		return journalLine{}, err
	}
	l, err := decodeJournal(p)
	if err != nil {
		err = fmt.Errorf("record %q: %w", key, err)
	}
	return l, err
}

// journalBounds say how long tombstones are kept, which a client that was away
// needs to learn what has gone meanwhile.
type journalBounds struct {
	// age is how long, as long as a mailbox has between least and most.
	age time.Duration
	// least are kept however old they are.
	least int
	// most are kept however young the others are.
	most int
}

func defaultJournal() journalBounds {
	return journalBounds{age: 30 * 24 * time.Hour, least: 1_000, most: 100_000}
}

// trimSlack is how much older than age a tombstone may become, so that the
// journal of a busy mailbox is not walked all the time.
const trimSlack = 24 * time.Hour

// overdue is how many tombstones make a walk worth its while.
func (b journalBounds) overdue() int { return b.most + b.most/10 }

// trimState is what is known of a mailbox's tombstones since it was looked at.
type trimState struct {
	// gone is how many entries had left it then, stones how many tombstones
	// there were.
	gone, stones int
	// oldest is when the first of them was made.
	oldest time.Time
}

// due tells whether a mailbox's journal is to be walked. looked tells that st
// says something; without it the mailbox has as many tombstones at most as
// entries have ever left it.
func (b journalBounds) due(m *spool.Mailbox, st trimState, looked bool, now time.Time) bool {
	if !looked {
		return gone(m) > b.least
	}
	stones := st.stones + gone(m) - st.gone
	return stones > b.overdue() || stones > b.least && now.Sub(st.oldest) > b.age+trimSlack
}

// excess is how many of so many tombstones have to go, of which the oldest ones
// are too old.
func (b journalBounds) excess(stones, old int) int {
	return max(stones-b.most, min(stones-b.least, old), 0)
}
