package imapd

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/search"
	"restante/imapd/wire"
	"restante/spool"
)

// results are what a SEARCH shall return (RFC 4731, RFC 5182).
type results struct {
	extended                   bool
	min, max, all, count, save bool
	modseq                     bool // MODSEQ is a key: the highest is told
	unknownCharset             bool
}

// criterion makes a key for the mailbox as it is when the command is executed.
type criterion func(s *session) (search.Key, error)

// parseSearch reads SEARCH.
func (s *session) parseSearch(d *wire.Decoder, c call) action {
	d.Space()
	var r results
	p := searchParser{d: d, r: &r, now: s.srv.opt.Now}
	first := p.word()
	if first == "RETURN" {
		r.extended = true
		d.Space()
		d.List(func() { r.option(d) })
		r.all = r.all || !r.min && !r.max && !r.count && !r.save
		d.Space()
		first = p.word()
	}
	if first == "CHARSET" {
		d.Space()
		charset := strings.ToUpper(d.AString())
		r.unknownCharset = charset != "UTF-8" && charset != "US-ASCII"
		d.Space()
		first = p.word()
	}
	key := p.rest(first)
	return func() error {
		if r.unknownCharset {
			return no("BADCHARSET (UTF-8 US-ASCII)", "Strings are taken in UTF-8")
		}
		return s.search(c, &r, key)
	}
}

func (r *results) option(d *wire.Decoder) {
	switch word := d.Word(); word {
	case "MIN":
		r.min = true
	case "MAX":
		r.max = true
	case "ALL":
		r.all = true
	case "COUNT":
		r.count = true
	case "SAVE":
		r.save = true
	default:
		d.Fail("Unknown return option of SEARCH")
	}
}

// searchParser reads the keys of a SEARCH.
type searchParser struct {
	d   *wire.Decoder
	r   *results
	now func() time.Time
	n   int // keys so far
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
	return func(s *session) (search.Key, error) {
		keys := make([]search.Key, len(list))
		for i, c := range list {
			var err error
			if keys[i], err = c(s); err != nil {
				return search.Key{}, err
			}
		}
		return search.And(keys...), nil
	}
}

func plain(k search.Key) criterion {
	return func(*session) (search.Key, error) { return k, nil }
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
		return all(list)
	case "NOT":
		d.Space()
		inner := p.key(p.word())
		return func(s *session) (search.Key, error) {
			k, err := inner(s)
			return search.Not(k), err
		}
	case "OR":
		d.Space()
		a := p.key(p.word())
		d.Space()
		b := p.key(p.word())
		return func(s *session) (search.Key, error) {
			ka, err := a(s)
			if err != nil {
				return ka, err
			}
			kb, err := b(s)
			return search.Or(ka, kb), err
		}
	case "$":
		return func(s *session) (search.Key, error) { return search.UIDs(s.box.saved), nil }
	case "UID":
		d.Space()
		return byUID(d.Set())
	}
	if word != "" && strings.Trim(word, "0123456789:,*") == "" {
		return bySeq(d.ParseSet(word))
	}
	if k, ok := flagKey(word); ok {
		return plain(k)
	}
	return plain(p.argument(word))
}

func byUID(set wire.Set) criterion {
	return func(s *session) (search.Key, error) {
		uids, err := s.resolve(set, true)
		return search.UIDs(uids), err
	}
}

// bySeq passes over numbers that no message has: a search finds what there is.
func bySeq(set wire.Set) criterion {
	return func(s *session) (search.Key, error) {
		var uids []spool.UID
		for _, r := range set.Fixed(s.box.view.Len()) {
			uids = s.box.view.Numbered(uids, r.Start, r.Stop)
		}
		slices.Sort(uids)
		return search.UIDs(slices.Compact(uids)), nil
	}
}

// flagKey returns the keys that have no argument.
func flagKey(word string) (search.Key, bool) {
	switch word {
	case "ALL", "OLD":
		return search.Key{}, true
	case "RECENT", "NEW":
		return search.Nothing(), true
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
	day := 24 * time.Hour
	text := func() string { d.Space(); return d.AString() }
	date := func() time.Time { d.Space(); return d.Date() }
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
	case "BCC", "CC", "FROM", "SUBJECT", "TO":
		return search.Field(word, text())
	case "HEADER":
		name := text()
		return search.Field(name, text())
	case "BODY":
		return search.Body(text())
	case "TEXT":
		return search.Anywhere(text())
	case "BEFORE":
		return search.Between(search.Internal, time.Time{}, date())
	case "SINCE":
		return search.Between(search.Internal, date(), time.Time{})
	case "ON":
		t := date()
		return search.Between(search.Internal, t, t.Add(day))
	case "SENTBEFORE":
		return search.Between(search.Sent, time.Time{}, date())
	case "SENTSINCE":
		return search.Between(search.Sent, date(), time.Time{})
	case "SENTON":
		t := date()
		return search.Between(search.Sent, t, t.Add(day))
	case "SAVEDBEFORE":
		return search.Between(search.Saved, time.Time{}, date())
	case "SAVEDSINCE":
		return search.Between(search.Saved, date(), time.Time{})
	case "SAVEDON":
		t := date()
		return search.Between(search.Saved, t, t.Add(day))
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

// modseq reads MODSEQ with or without the name and type of an entry, which make
// no difference here (RFC 7162 section 3.1.5).
func (p *searchParser) modseq() search.Key {
	d := p.d
	p.r.modseq = true
	d.Space()
	if d.Peek() == '"' {
		_ = d.String()
		d.Space()
		d.Atom()
		d.Space()
	}
	return search.ModSeq(spool.ModSeq(d.Number64()))
}

// search finds messages. Damaged ones are not found by what is in their text.
func (s *session) search(c call, r *results, key criterion) error {
	if r.modseq {
		s.enable(condstore)
	}
	k, err := key(s)
	var found []spool.UID
	var highest spool.ModSeq
	if err == nil {
		found, highest, err = s.find(k)
	}
	if r.save {
		s.box.saved = r.saved(found)
	}
	if err != nil {
		return s.failure("search", err)
	}
	nums := make([]uint32, len(found))
	for i, uid := range found {
		if nums[i] = uint32(uid); !c.uid {
			nums[i], _ = s.box.view.Seq(uid)
		}
	}
	if r.extended || s.has(rev2) {
		s.tellESearch(c, r, nums, highest)
		return nil
	}
	s.out.Raw("* SEARCH")
	for _, n := range nums {
		s.out.Raw(" ").Number32(n)
	}
	if r.modseq && len(nums) > 0 {
		s.out.Raw(" (MODSEQ ").Number(uint64(highest)).Raw(")")
	}
	s.out.CRLF()
	return nil
}

// tellESearch writes an ESEARCH response. With nothing but SAVE there is none.
func (s *session) tellESearch(c call, r *results, nums []uint32, highest spool.ModSeq) {
	if r.save && !r.min && !r.max && !r.all && !r.count {
		return
	}
	s.out.Raw("* ESEARCH (TAG ").String(c.tag).Raw(")")
	if c.uid {
		s.out.Raw(" UID")
	}
	if len(nums) > 0 {
		if r.min {
			s.out.Raw(" MIN ").Number32(nums[0])
		}
		if r.max {
			s.out.Raw(" MAX ").Number32(nums[len(nums)-1])
		}
		if r.all || !r.extended {
			s.out.Raw(" ALL ").Raw(numberSet(nums))
		}
	}
	if r.count {
		s.out.Raw(" COUNT ").Number(uint64(len(nums)))
	}
	if r.modseq && len(nums) > 0 {
		s.out.Raw(" MODSEQ ").Number(uint64(highest))
	}
	s.out.CRLF()
}

// find returns the messages that a key matches, and their highest ModSeq.
func (s *session) find(k search.Key) (found []spool.UID, highest spool.ModSeq, err error) {
	v := s.box.view
	for e, err := range v.Entries(v.Numbered(nil, 1, v.Len())) {
		if err == nil {
			err = s.ctx.Err()
		}
		if err != nil {
			return nil, 0, err
		}
		m := &message{bodies: s.srv.opt.Bodies, entry: e}
		m.seq, _ = v.Seq(e.UID)
		ok, err := k.Match(m)
		m.close()
		switch {
		case isGone(err), errors.Is(err, spool.ErrCorrupt):
		case err != nil:
			return nil, 0, err
		case ok:
			found = append(found, e.UID)
			highest = max(highest, e.ModSeq)
		}
	}
	return found, highest, nil
}

// saved is what "$" stands for after a search (RFC 5182 section 2.4): with MIN
// or MAX and neither ALL nor COUNT, only these.
func (r *results) saved(found []spool.UID) []spool.UID {
	if len(found) == 0 || r.all || r.count || !r.min && !r.max {
		return found
	}
	var list []spool.UID
	if r.min {
		list = append(list, found[0])
	}
	if last := found[len(found)-1]; r.max && (len(list) == 0 || list[0] != last) {
		list = append(list, last)
	}
	return list
}
