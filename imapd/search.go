package imapd

import (
	"errors"
	"strings"

	"restante/imapd/search"
	"restante/imapd/view"
	"restante/imapd/wire"
	"restante/spool"
)

// parseSearch reads SEARCH.
func (s *session) parseSearch(d *wire.Decoder, c call) action {
	d.Space()
	r := results{command: "SEARCH"}
	p := s.searchParser(d, &r)
	first := p.returns(p.word())
	if first == "CHARSET" {
		d.Space()
		p.charset()
		d.Space()
		first = p.word()
	}
	key := p.rest(first)
	return func() error { return s.search(c, &r, key) }
}

// returns reads RETURN if it is what was begun, and begins what follows.
func (p *searchParser) returns(first string) string {
	if first != "RETURN" {
		return first
	}
	p.r.extended = true
	p.d.Space()
	p.d.List(func() { p.r.option(p.d) })
	p.r.complete(p.d)
	p.d.Space()
	return p.word()
}

func (p *searchParser) charset() {
	charset := strings.ToUpper(p.d.AString())
	p.r.unknownCharset = charset != "UTF-8" && charset != "US-ASCII"
}

// search finds messages. Damaged ones are not found by what is in their text.
func (s *session) search(c call, r *results, key criterion) error {
	t, err := s.begin(c, r)
	if err != nil {
		return err
	}
	at := scope{view: s.box.view, saved: s.box.saved}
	k, err := key(at)
	var found findings
	if err == nil {
		found, err = s.find(at.view, k)
	}
	if t == nil { // who wants to be told of changes must know all
		found = s.limitFindings(found, r)
	}
	if r.save {
		s.box.saved = r.saved(found.uids)
	}
	if err != nil {
		return s.failure("search", err)
	}
	if t != nil {
		t.key, t.uids = k, found.uids
		s.box.contexts = append(s.box.contexts, t)
	}
	if r.extended || s.has(rev2) {
		s.tellESearch(c, r, found, "", 0)
		return nil
	}
	s.tellPlain("* SEARCH", c, r, found)
	return nil
}

// begin is what all commands that search begin with. It returns a context if the
// client wants to be told of changes.
func (s *session) begin(c call, r *results) (*searchContext, error) {
	if r.unknownCharset {
		if r.save {
			s.box.saved = nil // RFC 5182 section 2.1
		}
		return nil, no("BADCHARSET (UTF-8 US-ASCII)", "Strings are taken in UTF-8")
	}
	if r.modseq {
		s.enable(condstore)
	}
	if !r.update {
		return nil, nil
	}
	return s.newContext(c, r.fetch)
}

// findings are the messages that a SEARCH found, in the order in which they are
// told.
type findings struct {
	uids []spool.UID
	// scores are how well they were found, one for each.
	scores []uint8
	// modseqs are their ModSeqs.
	modseqs []spool.ModSeq
}

// find returns the messages that a key matches, in the order of the mailbox.
func (s *session) find(v *view.View, k search.Key) (f findings, err error) {
	err = s.scanAll(v, k, needEntry, func(m *message) error {
		f.uids = append(f.uids, m.entry.UID)
		f.scores = append(f.scores, m.relevancy())
		f.modseqs = append(f.modseqs, m.entry.ModSeq)
		return nil
	})
	return f, err
}

// scanAll is scan for all messages of a view, and tells the client how far it is if
// it takes long.
func (s *session) scanAll(v *view.View, k search.Key, n need, visit func(m *message) error) error {
	defer s.counting(int(v.Len()))()
	return s.scan(v, k, v.Numbered(nil, 1, v.Len()), n, visit)
}

// scan visits those of some messages that a key matches, with what the visitor
// needs of them. Each message is looked at only as far as that is necessary.
func (s *session) scan(v *view.View, k search.Key, uids []spool.UID, n need, visit func(m *message) error) error {
	r := reader{bodies: s.srv.opt.Bodies, done: s.stepped}
	defer r.end()
	var stages []stage
	for i, key := range k.Stages() {
		if n := need(i); n == needEntry || !key.MatchesAll() {
			stages = append(stages, stage{n, key})
		}
	}
	if last := stages[len(stages)-1]; last.need < n {
		stages = append(stages, stage{need: n})
	}
	all := func(*spool.Entry) bool { return true }
	return batches(v.Entries(uids), all, func(entries []spool.Entry) error {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		return r.scan(r.begin(entries), stages, visit)
	})
}

// stage is a key and what it needs of messages.
type stage struct {
	need need
	key  search.Key
}

// scan has messages go through all stages, and visits what is left.
func (r *reader) scan(list []*message, stages []stage, visit func(m *message) error) error {
	for i, st := range stages {
		left := list[:0]
		err := r.each(list, st.need, func(m *message) error {
			ok, err := st.key.Match(m)
			switch last := i == len(stages)-1; {
			case !ok || err != nil:
			case last:
				err = visit(m)
			default:
				left = append(left, m)
				return nil
			}
			r.done()
			if unreadable(err) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
		list = left
	}
	return nil
}

// unreadable tells whether an error is a message's own.
func unreadable(err error) bool { return isGone(err) || errors.Is(err, spool.ErrCorrupt) }
