package order

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"restante/imapd/casemap"
	"restante/internal/structure"
	"restante/spool"
)

// maxText bounds the text by which a message is sorted, in octets: beyond it
// texts count as equal.
const maxText = 512

// Criterion is what SORT looks at.
type Criterion uint8

// The criteria. Those of addresses look at the first one of the field: at its
// mailbox, the Display ones at its name.
const (
	Arrival Criterion = iota
	Cc
	Date
	From
	Size
	Subject
	To
	DisplayFrom
	DisplayTo
	Relevancy // how well it was found (RFC 6203), the best first
)

// Key is a criterion and its direction.
type Key struct {
	By      Criterion
	Reverse bool
}

// NeedsStructure tells whether a key looks at more than the mailbox entry.
func (k Key) NeedsStructure() bool { return k.By != Arrival && k.By != Size && k.By != Relevancy }

// Row is a message with the values of the keys.
type Row struct {
	UID    spool.UID
	Score  uint8 // the relevancy
	values []value
}

// value is a number or a text.
type value struct {
	n int64
	s string
}

// Sorter sorts by keys, the first of which counts most.
type Sorter struct{ Keys []Key }

// NeedsStructure tells whether NewRow wants the structure.
func (s *Sorter) NeedsStructure() bool { return slices.ContainsFunc(s.Keys, Key.NeedsStructure) }

// NewRow takes of a message what its place depends on. The structure may be nil
// if it is not needed, or cannot be read. Relevancy is from 1 to 100.
func (s *Sorter) NewRow(e *spool.Entry, m *structure.Message, relevancy uint8) Row {
	row := Row{UID: e.UID, Score: relevancy, values: make([]value, len(s.Keys))}
	for i, k := range s.Keys {
		row.values[i] = k.value(e, m, relevancy)
	}
	return row
}

func (k Key) value(e *spool.Entry, m *structure.Message, relevancy uint8) value {
	switch k.By {
	case Arrival:
		return value{n: e.InternalDate.UnixNano()}
	case Size:
		return value{n: e.Size}
	case Relevancy:
		return value{n: -int64(relevancy)}
	case Date:
		return value{n: sent(e, m)}
	}
	if m == nil {
		return value{}
	}
	env := m.Root.Envelope
	var text string
	switch k.By {
	case Subject:
		text, _ = BaseSubject(structure.DecodeWords(env.Subject))
	case From:
		text = mailbox(env.From)
	case To:
		text = mailbox(env.To)
	case Cc:
		text = mailbox(env.Cc)
	case DisplayFrom:
		text = display(env.From)
	case DisplayTo:
		text = display(env.To)
	}
	return value{s: folded(text)}
}

// folded is how a text is compared.
func folded(text string) string {
	if len(text) > maxText {
		n := maxText
		for n > maxText-utf8.UTFMax && !utf8.RuneStart(text[n]) {
			n--
		}
		text = text[:n]
	}
	return casemap.Fold(text)
}

// sent is the date of a message in seconds (RFC 5256 section 2.2): of one that
// does not say it, when it arrived.
func sent(e *spool.Entry, m *structure.Message) int64 {
	if m != nil && !m.Sent().IsZero() {
		return m.Sent().Unix()
	}
	return e.InternalDate.Unix()
}

// mailbox is the mailbox of the first address, or the name of a group that comes
// first: what ENVELOPE has as addr-mailbox.
func mailbox(list []structure.Address) string {
	switch {
	case len(list) == 0:
		return ""
	case list[0].Kind == structure.GroupStart:
		return list[0].Name
	}
	return list[0].Mailbox
}

// display is what a person is shown of the first address (RFC 5957 section 3).
func display(list []structure.Address) string {
	if len(list) == 0 {
		return ""
	}
	a := list[0]
	switch name := structure.DecodeWords(a.Name); {
	case name != "" || a.Kind != structure.Mailbox:
		return name
	case a.Host == "":
		return a.Mailbox
	}
	return a.Mailbox + "@" + a.Host
}

// Compare tells which of two messages comes first.
func (s *Sorter) Compare(a, b Row) int {
	for i, k := range s.Keys {
		c := cmp.Compare(a.values[i].n, b.values[i].n)
		if c == 0 {
			c = strings.Compare(a.values[i].s, b.values[i].s)
		}
		switch {
		case c == 0:
		case k.Reverse:
			return -c
		default:
			return c
		}
	}
	return cmp.Compare(a.UID, b.UID)
}

// Sort sorts rows.
func (s *Sorter) Sort(rows []Row) { slices.SortFunc(rows, s.Compare) }
