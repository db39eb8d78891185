package imapd

import (
	"slices"

	"restante/imapd/wire"
	"restante/spool"
)

// results are what a SEARCH or a SORT shall return (RFC 4731, RFC 5182, RFC 5267,
// RFC 9394).
type results struct {
	// command is whose options they are.
	command                    string
	extended                   bool
	min, max, all, count, save bool
	partial                    window
	update                     bool
	// fetch is what UPDATE shall tell of new messages, nil for nothing.
	fetch     *query
	relevancy bool // RFC 6203
	// sorted tells that the order is not the mailbox's.
	sorted         bool
	modseq         bool // MODSEQ is a key: the highest is told
	unknownCharset bool
}

// option reads an option of RETURN.
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
	case "PARTIAL":
		if r.partial.set() {
			d.Fail("There can be one PARTIAL only")
		}
		d.Space()
		r.partial = parseWindow(d)
	case "RELEVANCY":
		r.relevancy = true
	case "UPDATE":
		r.update = true
		// The syntax of RFC 5465 section 8 has no blank, its example has one.
		q := new(query)
		item := func() { q.item(d, false) }
		if d.TryList(item) || d.TryAfterSpace(item) {
			r.fetch = q
		}
	case "CONTEXT":
		// A hint that the same will be asked again (RFC 5267 section 4.2).
	default:
		d.Fail("Unknown return option of %s", r.command)
	}
}

// complete ends the options.
func (r *results) complete(d *wire.Decoder) {
	if r.all && r.partial.set() {
		d.Fail("ALL and PARTIAL exclude each other")
	}
	r.all = r.all || !r.min && !r.max && !r.count && !r.save && !r.partial.set()
}

// window is the range of a PARTIAL: from the first on, or with back, from the last
// backwards; start is not above stop. The zero window is none.
type window struct {
	back        bool
	start, stop uint32
}

func (w window) set() bool { return w.start > 0 }

// parseWindow reads a range of PARTIAL (RFC 9394 section 3.1).
func parseWindow(d *wire.Decoder) window {
	var w window
	w.back = d.Try('-')
	w.start = d.Number()
	d.Expect(':')
	if w.back {
		d.Expect('-')
	}
	w.stop = d.Number()
	if d.Err() == nil && (w.start == 0 || w.stop == 0) {
		d.Fail("The numbers of PARTIAL begin with 1")
	}
	// 500:400 is 400:500, and called so (RFC 9394 section 4).
	w.start, w.stop = min(w.start, w.stop), max(w.start, w.stop)
	return w
}

// String is the window as the client is told of it.
func (w window) String() string {
	sign := ""
	if w.back {
		sign = "-"
	}
	return sign + number(int64(w.start)) + ":" + sign + number(int64(w.stop))
}

// bounds returns what the window shows of n elements, as indices.
func (w window) bounds(n int) (from, to int) {
	low, high := int64(w.start), int64(w.stop)
	if w.back {
		return int(max(0, int64(n)-high)), int(max(0, int64(n)-low+1))
	}
	return int(min(low-1, int64(n))), int(min(high, int64(n)))
}

// saved is what "$" stands for after a search (RFC 5182 section 2.4, RFC 9394
// section 3.2): with MIN, MAX or PARTIAL and neither ALL nor COUNT, only these.
// It ascends.
func (r *results) saved(found []spool.UID) []spool.UID {
	if len(found) == 0 {
		return nil
	}
	list := found
	if !r.all && !r.count && (r.min || r.max || r.partial.set()) {
		list = nil
		if r.min {
			list = append(list, found[0])
		}
		if r.max {
			list = append(list, found[len(found)-1])
		}
		if r.partial.set() {
			from, to := r.partial.bounds(len(found))
			list = append(list, found[from:to]...)
		}
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// highest is the MODSEQ of an answer: that of the messages that it names, or of all
// that were found (RFC 4731 section 3.2).
func (r *results) highest(found []spool.ModSeq) spool.ModSeq {
	if !r.all && !r.count && (r.min || r.max || r.partial.set()) {
		var named []spool.ModSeq
		if r.partial.set() {
			from, to := r.partial.bounds(len(found))
			named = append(named, found[from:to]...)
		}
		if r.min {
			named = append(named, found[0])
		}
		if r.max {
			named = append(named, found[len(found)-1])
		}
		found = named
	}
	var highest spool.ModSeq
	for _, n := range found {
		highest = max(highest, n)
	}
	return highest
}

// numbers returns what the client calls messages of a view: UIDs or sequence
// numbers.
func (s *session) numbers(c call, uids []spool.UID) []uint32 {
	nums := make([]uint32, len(uids))
	for i, uid := range uids {
		if nums[i] = uint32(uid); !c.uid {
			nums[i], _ = s.box.view.Seq(uid)
		}
	}
	return nums
}

// tellPlain writes a SEARCH or a SORT response.
func (s *session) tellPlain(name string, c call, r *results, found findings) {
	s.out.Raw(name)
	for _, n := range s.numbers(c, found.uids) {
		s.out.Raw(" ").Number32(n)
	}
	if r.modseq && len(found.uids) > 0 {
		s.out.Raw(" (MODSEQ ").Number(uint64(r.highest(found.modseqs))).Raw(")")
	}
	s.out.CRLF()
}

// tellESearch writes an ESEARCH response, of a mailbox that is named if it need
// not be the selected one (RFC 7377). With nothing but SAVE there is none.
func (s *session) tellESearch(c call, r *results, found findings, mailbox string, validity uint32) {
	if r.save && !r.min && !r.max && !r.all && !r.count && !r.partial.set() {
		return
	}
	s.out.Raw("* ESEARCH (TAG ").String(c.tag)
	if mailbox != "" {
		s.out.Raw(" MAILBOX ").Mailbox(mailbox).Raw(" UIDVALIDITY ").Number32(validity)
	}
	s.out.Raw(")")
	if c.uid {
		s.out.Raw(" UID")
	}
	nums := s.numbers(c, found.uids)
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
	if r.partial.set() {
		from, to := r.partial.bounds(len(nums))
		s.out.Raw(" PARTIAL (").Raw(r.partial.String()).Raw(" ")
		if from < to {
			s.out.Raw(numberSet(nums[from:to])).Raw(")")
		} else {
			s.out.Raw("NIL)")
		}
	}
	if r.relevancy {
		s.tellScores(r, found.scores)
	}
	if r.count {
		s.out.Raw(" COUNT ").Number(uint64(len(nums)))
	}
	if r.modseq && len(nums) > 0 {
		s.out.Raw(" MODSEQ ").Number(uint64(r.highest(found.modseqs)))
	}
	s.out.CRLF()
}

// tellScores writes how well messages were found, in the order of ALL or PARTIAL
// (RFC 6203 section 4).
func (s *session) tellScores(r *results, scores []uint8) {
	if r.partial.set() {
		from, to := r.partial.bounds(len(scores))
		scores = scores[from:to]
	}
	if len(scores) == 0 {
		return
	}
	s.out.Raw(" RELEVANCY (")
	for i, score := range scores {
		if i > 0 {
			s.out.Raw(" ")
		}
		s.out.Number32(uint32(score))
	}
	s.out.Raw(")")
}
