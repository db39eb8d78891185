package imapd

import (
	"strings"

	"restante/imapd/order"
	"restante/imapd/wire"
	"restante/internal/header"
	"restante/spool"
)

// maxSortKeys bounds the keys of one SORT: more than there are criteria make no
// difference.
const maxSortKeys = 20

// parseSort reads SORT (RFC 5256, RFC 5267).
func (s *session) parseSort(d *wire.Decoder, c call) action {
	d.Space()
	r := results{command: "SORT", sorted: true}
	p := s.searchParser(d, &r)
	if d.Peek() != '(' {
		if word := d.Word(); word != "RETURN" {
			d.Fail("The keys of SORT stand in parentheses")
			return nil
		}
		r.extended = true
		d.Space()
		d.List(func() { r.option(d) })
		r.complete(d)
		d.Space()
	}
	keys := sortKeys(d)
	d.Space()
	p.charset()
	d.Space()
	key := p.rest(p.word())
	return func() error { return s.sort(c, &r, &order.Sorter{Keys: keys}, key) }
}

// sortKeys reads the keys by which SORT sorts.
func sortKeys(d *wire.Decoder) (keys []order.Key) {
	reverse := false
	d.List(func() {
		word := d.Word()
		if word == "REVERSE" && !reverse {
			reverse = true
			return
		}
		by, ok := sortCriterion(word)
		switch {
		case !ok:
			d.Fail("Unknown key of SORT")
		case len(keys) == maxSortKeys:
			d.Fail("Too many keys of SORT")
		}
		keys = append(keys, order.Key{By: by, Reverse: reverse})
		reverse = false
	})
	if d.Err() == nil && (reverse || len(keys) == 0) {
		d.Fail("A key of SORT is missing")
	}
	return keys
}

func sortCriterion(word string) (order.Criterion, bool) {
	switch word {
	case "ARRIVAL":
		return order.Arrival, true
	case "CC":
		return order.Cc, true
	case "DATE":
		return order.Date, true
	case "FROM":
		return order.From, true
	case "SIZE":
		return order.Size, true
	case "SUBJECT":
		return order.Subject, true
	case "TO":
		return order.To, true
	case "DISPLAYFROM":
		return order.DisplayFrom, true
	case "DISPLAYTO":
		return order.DisplayTo, true
	case "RELEVANCY":
		return order.Relevancy, true
	}
	return 0, false
}

// sort finds messages and sorts them.
func (s *session) sort(c call, r *results, by *order.Sorter, key criterion) error {
	t, err := s.begin(c, r)
	if err != nil {
		return err
	}
	at := scope{view: s.box.view, saved: s.box.saved}
	k, err := key(at)
	var rows []order.Row
	var found findings
	modseqs := make(map[spool.UID]spool.ModSeq)
	if err == nil {
		err = s.scanAll(at.view, k, rowNeeds(by), func(m *message) error {
			row, err := newRow(by, m)
			if err == nil {
				rows = append(rows, row)
				modseqs[row.UID] = m.entry.ModSeq
			}
			return err
		})
	}
	by.Sort(rows)
	for _, row := range rows {
		found.uids = append(found.uids, row.UID)
		found.scores = append(found.scores, row.Score)
		found.modseqs = append(found.modseqs, modseqs[row.UID])
	}
	if r.save {
		s.box.saved = r.saved(found.uids)
	}
	if err != nil {
		return s.failure("sort", err)
	}
	if t != nil {
		t.key, t.sorter, t.rows = k, by, rows
		s.box.contexts = append(s.box.contexts, t)
	}
	if r.extended {
		s.tellESearch(c, r, found, "", 0)
		return nil
	}
	s.tellPlain("* SORT", c, r, found)
	return nil
}

// rowNeeds is how far newRow looks at messages; without a sorter it is not asked.
func rowNeeds(by *order.Sorter) need {
	if by == nil || !by.NeedsStructure() {
		return needEntry
	}
	return needStructure
}

// newRow takes of a message what it is sorted by. One that is damaged has its
// place, too.
func newRow(by *order.Sorter, m *message) (order.Row, error) {
	if !by.NeedsStructure() {
		return by.NewRow(&m.entry, nil, m.relevancy()), nil
	}
	st, err := m.Structure()
	if err != nil && !unreadable(err) {
		return order.Row{}, err
	}
	return by.NewRow(&m.entry, st, m.relevancy()), nil
}

// parseThread reads THREAD (RFC 5256).
func (s *session) parseThread(d *wire.Decoder, c call) action {
	d.Space()
	var threads func([]order.Letter) []*order.Thread
	switch d.Word() {
	case "ORDEREDSUBJECT":
		threads = order.OrderedSubject
	case "REFERENCES":
		threads = order.References
	case "REFS":
		threads = order.Refs
	default:
		d.Fail("Unknown algorithm of THREAD")
	}
	r := results{command: "THREAD"}
	p := s.searchParser(d, &r)
	d.Space()
	p.charset()
	d.Space()
	key := p.rest(p.word())
	return func() error {
		if _, err := s.begin(c, &r); err != nil {
			return err
		}
		letters, err := s.letters(key)
		if err != nil {
			return s.failure("thread", err)
		}
		s.tellThreads(c, threads(letters))
		return nil
	}
}

// letters finds messages for THREAD.
func (s *session) letters(key criterion) (list []order.Letter, err error) {
	at := scope{view: s.box.view, saved: s.box.saved}
	k, err := key(at)
	if err != nil {
		return nil, err
	}
	err = s.scanAll(at.view, k, needStructure, func(m *message) error {
		st, err := m.Structure()
		references := ""
		if err == nil {
			references, err = m.references()
		}
		if err != nil && !unreadable(err) {
			return err
		}
		list = append(list, order.NewLetter(&m.entry, st, references))
		return nil
	})
	return list, err
}

// tellThreads writes a THREAD response.
func (s *session) tellThreads(c call, list []*order.Thread) {
	s.out.Raw("* THREAD")
	if len(list) > 0 {
		s.out.Raw(" ")
	}
	for _, t := range list {
		s.out.Raw("(")
		s.tellThread(c, t)
		s.out.Raw(")")
	}
	s.out.CRLF()
}

// tellThread writes a thread. It calls itself only where a message has several
// answers, since a conversation may be long.
func (s *session) tellThread(c call, t *order.Thread) {
	sep := ""
	for {
		if t.Letter != nil {
			s.out.Raw(sep).Number32(s.numbers(c, []spool.UID{t.Letter.UID})[0])
			sep = " "
		}
		if len(t.Answers) != 1 {
			break
		}
		t = t.Answers[0]
	}
	if len(t.Answers) == 0 {
		return
	}
	s.out.Raw(sep)
	for _, a := range t.Answers {
		s.out.Raw("(")
		s.tellThread(c, a)
		s.out.Raw(")")
	}
}

// references returns the References field. What was found out of the message at
// delivery may be from before it was kept.
func (m *message) references() (string, error) {
	st, err := m.Structure()
	switch {
	case err != nil:
		return "", err
	case !st.Root.Envelope.NoReferences:
		return st.Root.Envelope.References, nil
	}
	head, err := m.Header()
	if err != nil {
		return "", err
	}
	for _, f := range header.Parse(head).Fields() {
		if strings.EqualFold(f.Name, "References") {
			return f.Value(), nil
		}
	}
	return "", nil
}
