package imapd

import (
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/search"
	"restante/imapd/view"
	"restante/imapd/wire"
	"restante/spool"
)

// scope is what a SEARCH looks through: the messages of a view, as they are when
// the command is executed.
type scope struct {
	view *view.View
	// saved is what "$" stands for.
	saved []spool.UID
	// foreign tells that the view is not, or need not be, that of the selected
	// mailbox, so that sequence numbers and "$" make no sense.
	foreign bool
}

// criterion makes a key for a scope.
type criterion func(at scope) (search.Key, error)

var errForeign = bad("Sequence numbers belong to the selected mailbox alone")

// searchParser reads the keys of a SEARCH.
type searchParser struct {
	d   *wire.Decoder
	r   *results
	now func() time.Time
	n   int // keys so far
	// fuzzy tells that the key is under a FUZZY.
	fuzzy bool
	// uidonly tells that no sequence numbers may be among the keys.
	uidonly bool
}

func (s *session) searchParser(d *wire.Decoder, r *results) searchParser {
	return searchParser{d: d, r: r, now: s.srv.opt.Now, uidonly: s.has(uidonly)}
}

// maxKeys bounds the keys of one SEARCH.
const maxKeys = 1000

// word takes what a key begins with: a parenthesis, a set or a name.
func (p *searchParser) word() string {
	switch p.d.Peek() {
	case '(':
		return "("
	case '$':
		p.d.Try('$')
		return "$"
	}
	return strings.ToUpper(p.d.Until("()"))
}

// rest reads keys up to the end, the first of which was begun.
func (p *searchParser) rest(first string) criterion {
	list := []criterion{p.key(first)}
	for p.d.Err() == nil && p.d.TrySpace() {
		list = append(list, p.key(p.word()))
	}
	return all(list)
}

func all(list []criterion) criterion {
	return func(at scope) (search.Key, error) {
		keys := make([]search.Key, len(list))
		for i, c := range list {
			var err error
			if keys[i], err = c(at); err != nil {
				return search.Key{}, err
			}
		}
		return search.And(keys...), nil
	}
}

func plain(k search.Key) criterion {
	return func(scope) (search.Key, error) { return k, nil }
}

// key reads a key that was begun.
func (p *searchParser) key(word string) criterion {
	d := p.d
	if p.n++; p.n > maxKeys {
		d.Fail("Too many SEARCH keys")
		return nil
	}
	switch word {
	case "(":
		var list []criterion
		d.List(func() { list = append(list, p.key(p.word())) })
		if len(list) == 0 {
			d.Fail("A SEARCH key is missing")
		}
		return all(list)
	case "NOT":
		d.Space()
		inner := p.key(p.word())
		return func(at scope) (search.Key, error) {
			k, err := inner(at)
			return search.Not(k), err
		}
	case "FUZZY":
		d.Space()
		before := p.fuzzy
		p.fuzzy = true
		defer func() { p.fuzzy = before }()
		return p.key(p.word())
	case "OR":
		d.Space()
		a := p.key(p.word())
		d.Space()
		b := p.key(p.word())
		return func(at scope) (search.Key, error) {
			ka, err := a(at)
			if err != nil {
				return ka, err
			}
			kb, err := b(at)
			return search.Or(ka, kb), err
		}
	case "$":
		return func(at scope) (search.Key, error) {
			if at.foreign {
				return search.Key{}, errForeign
			}
			return search.UIDs(slices.Clone(at.saved)), nil
		}
	case "UID":
		d.Space()
		return byUID(d.Set())
	}
	if word != "" && strings.Trim(word, "0123456789:,*") == "" {
		if p.uidonly {
			d.Refuse(errUIDRequired)
		}
		return bySeq(d.ParseSet(word))
	}
	switch word {
	case "RECENT", "NEW", "OLD":
		return byRecent(word)
	}
	if k, ok := flagKey(word); ok {
		return plain(k)
	}
	return plain(p.argument(word))
}

func byUID(set wire.Set) criterion {
	return func(at scope) (search.Key, error) {
		switch {
		case !set.Saved:
			return search.UIDs(at.view.ByUID(set.Ranges)), nil
		case at.foreign:
			return search.Key{}, errForeign
		}
		return search.UIDs(slices.Clone(at.saved)), nil
	}
}

// bySeq passes over numbers that no message has: a search finds what there is.
func bySeq(set wire.Set) criterion {
	return func(at scope) (search.Key, error) {
		if at.foreign {
			return search.Key{}, errForeign
		}
		var uids []spool.UID
		for _, r := range set.Merged(at.view.Len()) {
			uids = at.view.Numbered(uids, r.Start, r.Stop)
		}
		return search.UIDs(uids), nil
	}
}

// byRecent makes the keys of IMAP4rev1 that ask for \Recent.
func byRecent(word string) criterion {
	return func(at scope) (search.Key, error) {
		k := search.Recent(at.view.Recent)
		switch word {
		case "NEW":
			return search.And(k, search.Not(search.Flag(imap.FlagSeen))), nil
		case "OLD":
			return search.Not(k), nil
		}
		return k, nil
	}
}

// flagKey returns the keys that have no argument.
func flagKey(word string) (search.Key, bool) {
	switch word {
	case "ALL":
		return search.Key{}, true
	case "ANSWERED", "DELETED", "DRAFT", "FLAGGED", "SEEN":
		return search.Flag(imap.Flag(`\` + word[:1] + strings.ToLower(word[1:]))), true
	case "UNANSWERED", "UNDELETED", "UNDRAFT", "UNFLAGGED", "UNSEEN":
		return search.Not(search.Flag(imap.Flag(`\` + word[2:3] + strings.ToLower(word[3:])))), true
	case "SAVEDATESUPPORTED":
		return search.Key{}, true
	}
	return search.Key{}, false
}

// argument reads the keys that have one, or two.
func (p *searchParser) argument(word string) search.Key {
	d := p.d
	text := func() string { d.Space(); return d.AString() }
	if k, ok := p.date(word); ok {
		return k
	}
	switch word {
	case "KEYWORD":
		d.Space()
		return search.Flag(d.Flag())
	case "UNKEYWORD":
		d.Space()
		return search.Not(search.Flag(d.Flag()))
	case "LARGER":
		d.Space()
		return search.Larger(int64(d.Number64()))
	case "SMALLER":
		d.Space()
		return search.Smaller(int64(d.Number64()))
	case "UIDAFTER", "UIDBEFORE": // RFC 9738
		d.Space()
		uid := spool.UID(d.Number())
		if d.Err() == nil && uid == 0 {
			d.Fail("UIDs begin with 1")
		}
		if word == "UIDAFTER" {
			return search.Above(uid)
		}
		return search.Below(uid)
	case "BCC", "CC", "FROM", "SUBJECT", "TO":
		return p.field(word, text())
	case "HEADER":
		name := text()
		return p.field(name, text())
	case "BODY":
		if p.fuzzy {
			return search.FuzzyText(text(), false)
		}
		return search.Body(text())
	case "TEXT":
		if p.fuzzy {
			return search.FuzzyText(text(), true)
		}
		return search.Anywhere(text())
	case "OLDER", "YOUNGER":
		d.Space()
		n := d.Number()
		if n == 0 {
			d.Fail("An interval of 0 seconds makes no sense")
		}
		k := search.Younger(time.Duration(n)*time.Second, p.now())
		if word == "OLDER" {
			return search.Not(k)
		}
		return k
	case "MODSEQ":
		return p.modseq()
	case "EMAILID":
		id, is := strings.CutPrefix(text(), "M")
		if !is {
			return search.Nothing()
		}
		return search.ID(id)
	case "THREADID":
		text()
		return search.Nothing()
	}
	d.Fail("Unknown SEARCH key")
	return search.Key{}
}

// date reads the keys that have a date: of the internal date, of the Date field, and
// of when a message came into its mailbox.
func (p *searchParser) date(word string) (k search.Key, ok bool) {
	which, how := search.Internal, word
	if rest, is := strings.CutPrefix(word, "SENT"); is {
		which, how = search.Sent, rest
	} else if rest, is := strings.CutPrefix(word, "SAVED"); is {
		which, how = search.Saved, rest
	}
	if how != "BEFORE" && how != "SINCE" && how != "ON" {
		return k, false
	}
	p.d.Space()
	switch t := p.d.Date(); how {
	case "BEFORE":
		return search.Between(which, time.Time{}, t), true
	case "SINCE":
		return search.Between(which, t, time.Time{}), true
	default:
		return search.Between(which, t, t.Add(24*time.Hour)), true
	}
}

// field makes a key of a header field.
func (p *searchParser) field(name, value string) search.Key {
	if p.fuzzy && value != "" {
		return search.FuzzyField(name, value)
	}
	return search.Field(name, value)
}

// modseq reads MODSEQ with or without the name and type of an entry, which make
// no difference here (RFC 7162 section 3.1.5).
func (p *searchParser) modseq() search.Key {
	d := p.d
	p.r.modseq = true
	d.Space()
	if d.Peek() == '"' {
		_ = d.String()
		d.Space()
		switch d.Word() {
		case "PRIV", "SHARED", "ALL":
		default:
			d.Fail("Unknown type of an entry")
		}
		d.Space()
	}
	return search.ModSeq(spool.ModSeq(d.Number64()))
}
