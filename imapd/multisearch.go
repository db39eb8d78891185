package imapd

import (
	"errors"
	"slices"
	"strings"

	"restante/imapd/view"
	"restante/imapd/wire"
	"restante/spool"
)

// maxSources bounds the names in the IN of one ESEARCH.
const maxSources = 1000

// source is what an ESEARCH looks through (RFC 7377 section 2.2): all mailboxes,
// or those that subscriptions or names say.
type source struct {
	kind  string
	names []string
}

// parseESearch reads ESEARCH, which searches several mailboxes.
func (s *session) parseESearch(d *wire.Decoder, c call) action {
	d.Space()
	r := results{command: "ESEARCH", extended: true, all: true}
	p := s.searchParser(d, &r)
	sources := []source{{kind: "SELECTED"}}
	first := p.word()
	if first == "IN" {
		d.Space()
		sources = s.sourcesOf(d)
		d.Space()
		first = p.word()
	}
	if first == "RETURN" {
		r.all = false
		first = p.returns(first)
	}
	if first == "CHARSET" {
		d.Space()
		p.charset()
		d.Space()
		first = p.word()
	}
	key := p.rest(first)
	if r.save || r.update {
		d.Fail("SAVE and UPDATE are for the selected mailbox alone")
	}
	c.uid = true // UIDs are told in any case.
	return func() error { return s.multiSearch(c, &r, sources, key) }
}

// sourcesOf reads what stands after IN.
func (s *session) sourcesOf(d *wire.Decoder) (list []source) {
	names := 0
	d.List(func() {
		src := source{kind: d.Word()}
		switch src.kind {
		case "SELECTED", "INBOXES", "PERSONAL", "SUBSCRIBED":
		case "SUBTREE", "SUBTREE-ONE", "MAILBOXES":
			d.Space()
			if src.names = s.sourceNames(d, &names); names > maxSources {
				d.Fail("Too many mailboxes in one ESEARCH")
			}
		default:
			d.Fail("Unknown source of ESEARCH")
		}
		list = append(list, src)
	})
	if d.Err() == nil && len(list) == 0 {
		d.Fail("A source of ESEARCH is missing")
	}
	return list
}

// sourceNames reads one name, or several in parentheses, and counts them. More than
// maxSources are read and not kept.
func (s *session) sourceNames(d *wire.Decoder, count *int) (names []string) {
	name := func() {
		one := d.Mailbox(s.rawNames())
		if *count++; *count <= maxSources {
			names = append(names, one)
		}
	}
	if !d.TryList(name) {
		name()
	}
	return names
}

// has tells whether a mailbox, which may be the account's own or subscribed, is in a
// source that is not the selected one. INBOXES are those into which mail is delivered.
func (src source) has(name string, own, subscribed bool) bool {
	for _, n := range src.names {
		if strings.EqualFold(n, spool.Inbox) {
			n = spool.Inbox
		}
		below, under := strings.CutPrefix(name, n+spool.Separator)
		switch {
		case name == n,
			src.kind == "SUBTREE" && (under || n == ""),
			src.kind == "SUBTREE-ONE" && (under && !strings.Contains(below, spool.Separator) || n == "" && !strings.Contains(name, spool.Separator)):
			return true
		}
	}
	switch src.kind {
	case "INBOXES":
		return name == spool.Inbox
	case "SUBSCRIBED":
		return subscribed
	}
	return src.kind == "PERSONAL" && own
}

// multiSearch searches mailbox by mailbox. Of those in which nothing is found, or
// that are not there, nothing is told (RFC 7377 section 2.1).
func (s *session) multiSearch(c call, r *results, sources []source, key criterion) error {
	if _, err := s.begin(c, r); err != nil {
		return err
	}
	isSelected := func(src source) bool { return src.kind == "SELECTED" }
	inSelected := slices.ContainsFunc(sources, isSelected)
	others := slices.DeleteFunc(slices.Clone(sources), isSelected)
	if inSelected && s.box == nil {
		return bad("No mailbox is selected")
	}
	if inSelected {
		at := scope{view: s.box.view, saved: s.box.saved, foreign: len(others) > 0}
		if err := s.searchIn(c, r, at, key); err != nil {
			return s.failure("search", err)
		}
	}
	if len(others) == 0 {
		return nil
	}
	l, err := s.listing()
	if err != nil {
		return s.failure("search", err)
	}
	for _, name := range l.names() {
		row, ok := l.boxes[name]
		wanted := slices.ContainsFunc(others, func(src source) bool { return src.has(name, row.Account == l.account, l.subscribed[name]) })
		if !ok || !wanted || inSelected && row.ID == s.box.view.Mailbox() {
			continue
		}
		may, err := s.rightsOf(row)
		if err == nil && !may.has(rightRead) {
			continue
		}
		var v *view.View
		if err == nil {
			v, _, err = view.Open(s.srv.opt.Mailboxes, row.ID)
		}
		if errors.Is(err, spool.ErrNoMailbox) {
			continue
		}
		if err == nil {
			err = s.searchIn(c, r, scope{view: v, foreign: true}, key)
		}
		if err != nil {
			return s.failure("search", err)
		}
	}
	return nil
}

// searchIn searches one mailbox.
func (s *session) searchIn(c call, r *results, at scope, key criterion) error {
	k, err := key(at)
	if err != nil {
		return err
	}
	found, err := s.find(at.view, k)
	if err != nil || len(found.uids) == 0 {
		return err
	}
	row, err := s.srv.opt.Mailboxes.MailboxByID(at.view.Mailbox())
	if errors.Is(err, spool.ErrNoMailbox) {
		return nil
	}
	if err == nil {
		s.tellESearch(c, r, found, s.nameOf(row), row.UIDValidity)
	}
	return err
}
