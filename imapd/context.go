package imapd

import (
	"errors"
	"slices"

	"restante/imapd/order"
	"restante/imapd/search"
	"restante/imapd/view"
	"restante/imapd/wire"
	"restante/spool"
)

// maxContexts bounds the searches of one session whose results are kept up to
// date.
const maxContexts = 8

// searchContext is a SEARCH or SORT whose client is told how its results change
// (RFC 5267 section 4.3), until the mailbox is closed.
type searchContext struct {
	call call
	key  search.Key
	// uids are the results of a SEARCH, ascending; rows those of a SORT, sorted
	// by sorter, which is nil for a SEARCH.
	uids   []spool.UID
	sorter *order.Sorter
	rows   []order.Row
	// fetch is what is told of a new message that is a result, nil for nothing (RFC
	// 5465 section 7).
	fetch *query
}

// newContext makes a context for a command. If there are too many the client is
// told so, and there is none.
func (s *session) newContext(c call, fetch *query) (*searchContext, error) {
	if slices.ContainsFunc(s.box.contexts, func(t *searchContext) bool { return t.call.tag == c.tag }) {
		return nil, bad("A search with that tag is kept up to date already")
	}
	if len(s.box.contexts) == maxContexts {
		s.out.Raw("* NO [NOUPDATE ").String(c.tag).Raw("] Too many searches are kept up to date").CRLF()
		return nil, nil
	}
	if len(s.box.contexts) == 0 {
		s.box.followed = s.box.view.ModSeq()
	}
	return &searchContext{call: c, fetch: fetch}, nil
}

// parseCancelUpdate reads CANCELUPDATE.
func (s *session) parseCancelUpdate(d *wire.Decoder, _ call) action {
	var tags []string
	d.Space()
	tags = append(tags, d.String())
	for d.Err() == nil && d.TrySpace() {
		tags = append(tags, d.String())
	}
	return func() error {
		for _, tag := range tags {
			i := slices.IndexFunc(s.box.contexts, func(t *searchContext) bool { return t.call.tag == tag })
			if i < 0 {
				return bad("No search with that tag is kept up to date")
			}
			s.box.contexts = slices.Delete(s.box.contexts, i, i+1)
		}
		return nil
	}
}

// forget tells of results that are gone, before the client hears that the
// messages are: their numbers are still those that it knows.
func (s *session) forget(gone []view.Removed) {
	for _, t := range s.box.contexts {
		u := s.update(t, "REMOVEFROM")
		for _, r := range gone {
			if at, ok := t.remove(r.UID); ok {
				u.add(at, r.UID, r.Seq)
			}
		}
		u.end()
	}
}

// follow looks at the messages that are new or have changed, and tells of those
// that have become results, or are none any more; before that, of fresh ones what was
// asked for. What cannot be read now will be at the next time.
func (s *session) follow(fresh []spool.UID) {
	box := s.box
	var changed []spool.UID
	var found []matches
	if upto := box.view.ModSeq(); len(box.contexts) > 0 && upto != box.followed {
		var err error
		changed, err = box.changed(s.srv.opt.Mailboxes)
		for i := 0; i < len(box.contexts) && err == nil; i++ {
			var f matches
			f, err = s.match(box.contexts[i], changed)
			found = append(found, f)
		}
		switch {
		case errors.Is(err, spool.ErrNoMailbox):
			found = nil
		case err != nil:
			s.log.Error("keeping a search up to date failed", "err", err)
			found = nil
		default:
			box.followed = upto
		}
	}
	s.tellFresh(fresh, found)
	for _, f := range found {
		s.tellMatches(f, changed)
	}
}

// matches are the messages, of those that have changed, that a search finds now; rows
// if they are sorted.
type matches struct {
	t    *searchContext
	uids []spool.UID
	rows []order.Row
}

// changed returns the messages of the view that have changed since they were
// looked at, ascending.
func (b *selection) changed(from spool.Mailboxes) ([]spool.UID, error) {
	changes, _, err := from.Changes(b.view.Mailbox(), b.followed)
	if errors.Is(err, spool.ErrChangesLost) {
		return b.view.Numbered(nil, 1, b.view.Len()), nil
	}
	var list []spool.UID
	for _, c := range changes {
		if _, ok := b.view.Seq(c.UID); ok && !c.Expunged {
			list = append(list, c.UID)
		}
	}
	slices.Sort(list)
	return list, err
}

// match looks at the messages that have changed.
func (s *session) match(t *searchContext, changed []spool.UID) (f matches, err error) {
	f.t = t
	err = s.scan(s.box.view, t.key, changed, rowNeeds(t.sorter), func(m *message) error {
		f.uids = append(f.uids, m.entry.UID)
		if t.sorter == nil {
			return nil
		}
		row, err := newRow(t.sorter, m)
		f.rows = append(f.rows, row)
		return err
	})
	return f, err
}

// tellMatches tells what has changed in the results.
func (s *session) tellMatches(f matches, changed []spool.UID) {
	t, v := f.t, s.box.view
	u := s.update(t, "REMOVEFROM")
	for _, uid := range changed {
		if _, still := slices.BinarySearch(f.uids, uid); still {
			continue
		}
		if at, ok := t.remove(uid); ok {
			seq, _ := v.Seq(uid)
			u.add(at, uid, seq)
		}
	}
	u.end()
	u = s.update(t, "ADDTO")
	for i, uid := range f.uids {
		var at int
		var ok bool
		if t.sorter == nil {
			at, ok = t.insert(uid)
		} else {
			at, ok = t.insertRow(f.rows[i])
		}
		if ok {
			seq, _ := v.Seq(uid)
			u.add(at, uid, seq)
		}
	}
	u.end()
}

// tellFresh tells of messages that others have put into the mailbox what NOTIFY asked
// for, and the searches that found them: of each message in one response.
func (s *session) tellFresh(fresh []spool.UID, found []matches) {
	asked := func(uid spool.UID) *query {
		var q *query
		if s.notify != nil {
			q = q.with(s.notify.fetch)
		}
		for _, f := range found {
			if _, ok := slices.BinarySearch(f.uids, uid); ok {
				q = q.with(f.t.fetch)
			}
		}
		return q
	}
	r := reader{bodies: s.srv.opt.Bodies}
	defer r.end()
	for _, uid := range fresh {
		q := asked(uid)
		if q == nil || slices.Contains(s.box.mine, uid) {
			continue
		}
		if err := s.tellNew(&r, uid, q); err != nil {
			s.log.Error("telling of a new message failed", "mailbox", s.box.name, "uid", uid, "err", err)
		}
		if s.broken {
			break
		}
	}
	s.copied = nil
}

// tellNew tells of a new message. Of one that is gone again the client hears the UID,
// since VANISHED has nothing else.
func (s *session) tellNew(r *reader, uid spool.UID, q *query) error {
	seq, _ := s.box.view.Seq(uid)
	e, err := s.srv.opt.Mailboxes.Entry(s.box.view.Mailbox(), uid)
	if err == nil {
		q.modseq = q.modseq || q.flags && s.has(condstore)
		err = r.each(r.begin([]spool.Entry{e}), q.needs(), func(m *message) error {
			m.seq = seq
			return s.fetchOne(m, q, false)
		})
	}
	switch {
	case isGone(err), isNoMailbox(err):
		s.beginFetch(seq, uid)
		s.out.Raw("UID ").Number32(uint32(uid)).Raw(")").CRLF()
		return nil
	case err == nil:
		s.collected(&e, q)
	}
	return err
}

// remove takes a message out of the results and returns its position, from 1 on;
// 0 where there is no order but that of the mailbox.
func (t *searchContext) remove(uid spool.UID) (at int, ok bool) {
	if t.sorter == nil {
		i, ok := slices.BinarySearch(t.uids, uid)
		if ok {
			t.uids = slices.Delete(t.uids, i, i+1)
		}
		return 0, ok
	}
	i := slices.IndexFunc(t.rows, func(r order.Row) bool { return r.UID == uid })
	if i >= 0 {
		t.rows = slices.Delete(t.rows, i, i+1)
	}
	return i + 1, i >= 0
}

// insert is remove's counterpart; ok is false if the message is a result already.
func (t *searchContext) insert(uid spool.UID) (at int, ok bool) {
	i, there := slices.BinarySearch(t.uids, uid)
	if !there {
		t.uids = slices.Insert(t.uids, i, uid)
	}
	return 0, !there
}

func (t *searchContext) insertRow(row order.Row) (at int, ok bool) {
	i, there := slices.BinarySearchFunc(t.rows, row, t.sorter.Compare)
	if !there {
		t.rows = slices.Insert(t.rows, i, row)
	}
	return i + 1, !there
}

// notice is an ESEARCH response that tells of changes.
type notice struct {
	s     *session
	t     *searchContext
	verb  string
	begun bool
	// run are neighbours that have not been written yet, all at position at.
	run []uint32
	at  int
}

func (s *session) update(t *searchContext, verb string) *notice {
	return &notice{s: s, t: t, verb: verb}
}

// add tells of one message. Those without a position are told together.
func (n *notice) add(at int, uid spool.UID, seq uint32) {
	num := uint32(uid)
	if !n.t.call.uid {
		num = seq
	}
	if at > 0 {
		n.flush()
	}
	n.at, n.run = at, append(n.run, num)
}

func (n *notice) flush() {
	if len(n.run) == 0 {
		return
	}
	out := n.s.out
	if n.begun {
		out.Raw(" ")
	} else {
		out.Raw("* ESEARCH (TAG ").String(n.t.call.tag).Raw(")")
		if n.t.call.uid {
			out.Raw(" UID")
		}
		out.Raw(" ").Raw(n.verb).Raw(" (")
		n.begun = true
	}
	slices.Sort(n.run)
	out.Number(uint64(n.at)).Raw(" ").Raw(numberSet(n.run))
	n.run = n.run[:0]
}

func (n *notice) end() {
	if n.flush(); n.begun {
		n.s.out.Raw(")").CRLF()
	}
}
