package imapd

import (
	"cmp"
	"errors"
	"slices"
	"sort"

	"restante/imapd/view"
	"restante/imapd/wire"
	"restante/spool"
)

// resync is what a client knows of a mailbox that it comes back to (RFC 7162
// section 3.2.5).
type resync struct {
	validity uint32
	since    spool.ModSeq
	known    []wire.Range // UIDs; nil for all
	// seqs and uids are pairs of which the client is sure.
	seqs, uids []wire.Range
}

// parseSelect reads SELECT and EXAMINE.
func (s *session) parseSelect(d *wire.Decoder, c call) action {
	d.Space()
	name := d.Mailbox(s.rawNames())
	var back *resync
	wants := features(0)
	if d.TrySpace() {
		d.List(func() {
			switch word := d.Word(); word {
			case "CONDSTORE":
				wants |= condstore
			case "QRESYNC":
				if !s.has(qresync) {
					d.Fail("Turn QRESYNC on with ENABLE first")
				}
				d.Space()
				if back = parseResync(d); back.seqs != nil && s.has(uidonly) {
					d.Refuse(errUIDRequired)
				}
			default:
				d.Fail("Unknown parameter of SELECT")
			}
		})
	}
	return func() error {
		if s.box != nil {
			s.leave()
			s.out.Raw("* OK [CLOSED] The mailbox before is closed").CRLF()
		}
		s.enable(wants)
		return s.open(name, c.verb == "EXAMINE", back)
	}
}

func parseResync(d *wire.Decoder) *resync {
	r := new(resync)
	d.Expect('(')
	if r.validity = d.Number(); d.Err() == nil && r.validity == 0 {
		d.Fail("A UIDVALIDITY is not 0")
	}
	d.Space()
	r.since = spool.ModSeq(d.Number64())
	if d.TrySpace() && d.Peek() != '(' && d.Peek() != ')' {
		r.known = plainSet(d)
		d.TrySpace()
	}
	if d.Try('(') {
		r.seqs = plainSet(d)
		d.Space()
		r.uids = plainSet(d)
		d.Expect(')')
	}
	d.Expect(')')
	if d.Err() == nil && r.since == 0 {
		d.Fail("Modification sequences begin with 1")
	}
	return r
}

// plainSet takes a set in which neither "*" nor "$" may stand.
func plainSet(d *wire.Decoder) []wire.Range {
	set := d.Set()
	if set.Saved || slices.ContainsFunc(set.Ranges, func(r wire.Range) bool { return r.Start == 0 || r.Stop == 0 }) {
		d.Fail("Only numbers may stand in this set")
	}
	return set.Ranges
}

// open selects a mailbox when none is.
func (s *session) open(name string, readOnly bool, back *resync) error {
	p, err := s.mailbox(name, rightRead)
	if err != nil {
		return s.failure("select", err)
	}
	v, sum, err := view.Open(s.srv.opt.Mailboxes, p.row.ID)
	if err != nil {
		return s.failure("select", err)
	}
	box := &selection{view: v, name: p.name, readOnly: readOnly, keywords: make(map[string]string)}
	box.rights, box.owner, box.foreign = p.rights, p.row.Account, p.row.Account != s.account
	if err := v.TrackRecent(!readOnly && box.changes()); err != nil {
		return s.failure("select", err)
	}
	box.recent = v.CountRecent()
	box.vocabulary = s.srv.opt.Keywords.join(p.row.ID)
	s.box = box
	box.note(spool.Flags{Keywords: sum.Keywords})
	box.listen()
	box.moreKeywords = false // SELECT tells them
	s.opened(sum, name)
	if back != nil && back.validity == sum.Mailbox.UIDValidity {
		if err := s.resync(back, p.row.ID); err != nil {
			s.leave()
			return s.failure("select", err)
		}
	}
	if readOnly || !box.changes() {
		return ok(string(codeReadOnly))
	}
	return ok("READ-WRITE")
}

// opened tells of a mailbox that was selected under a name.
func (s *session) opened(sum view.Summary, name string) {
	box, row := s.box, sum.Mailbox
	s.out.Raw("* ").Number32(box.view.Len()).Raw(" EXISTS").CRLF()
	if !s.has(rev2) {
		s.out.Raw("* ").Number32(box.recent).Raw(" RECENT").CRLF()
		if sum.FirstUnseen > 0 && !s.has(uidonly) {
			s.out.Raw("* OK [UNSEEN ").Number32(sum.FirstUnseen).Raw("] First unseen message").CRLF()
		}
	}
	s.out.Raw("* OK [UIDVALIDITY ").Number32(row.UIDValidity).Raw("] UIDs valid").CRLF()
	s.out.Raw("* OK [UIDNEXT ").Number32(uint32(row.UIDNext)).Raw("] Predicted next UID").CRLF()
	s.out.Raw("* FLAGS ").Flags(box.flags()).CRLF()
	if !box.changes() {
		s.out.Raw("* OK [PERMANENTFLAGS ()] Permanent flags")
	} else {
		s.out.Raw("* OK [PERMANENTFLAGS ").Flags(box.permanent()).Raw("] Permanent flags")
	}
	s.out.CRLF()
	s.out.Raw("* OK [HIGHESTMODSEQ ").Number(uint64(row.ModSeq)).Raw("] Highest").CRLF()
	s.out.Raw("* OK [MAILBOXID (").Raw(mailboxID(row.ID)).Raw(")] Mailbox ID").CRLF()
	if s.has(rev2) {
		s.listed("LIST", listData{name: box.name, oldName: name})
	}
}

// resync tells a client what has happened since it was here last (RFC 7162
// section 3.2.5.1).
func (s *session) resync(r *resync, id spool.MailboxID) error {
	changes, _, err := s.srv.opt.Mailboxes.Changes(id, r.since)
	lost := errors.Is(err, spool.ErrChangesLost)
	if err != nil && !lost {
		return err
	}
	v := s.box.view
	known := r.known
	if known == nil {
		known = []wire.Range{{Start: 1, Stop: 1<<32 - 1}}
	}
	known = wire.Set{Ranges: known}.Merged(0)
	var gone, changed []spool.UID
	if lost {
		// What is gone is all that is not there: of what the client knows, or
		// of all UIDs that ever were.
		gone, changed = s.missing(known, r), v.ByUID(known)
	} else {
		for _, c := range changes {
			// What has happened since the view was opened is left to the next poll.
			_, there := v.Seq(c.UID)
			switch {
			case !within(known, c.UID):
			case c.Expunged && !there:
				gone = append(gone, c.UID)
			case !c.Expunged && there:
				changed = append(changed, c.UID)
			}
		}
		slices.Sort(gone)
		slices.Sort(changed)
	}
	if len(gone) > 0 {
		s.out.Raw("* VANISHED (EARLIER) ").Raw(numberSet(gone)).CRLF()
	}
	for e, err := range v.Entries(changed) {
		if err != nil {
			return err
		}
		if e.ModSeq <= r.since {
			continue
		}
		seq, _ := v.Seq(e.UID)
		s.tellFlags(seq, e)
	}
	return nil
}

// missing are the UIDs of ranges that are not in the view. Ranges without a real
// end stop at the highest UID; pairs of which the client is sure begin it.
func (s *session) missing(known []wire.Range, r *resync) []spool.UID {
	v := s.box.view
	from := r.sure(v) + 1
	row, err := s.srv.opt.Mailboxes.MailboxByID(v.Mailbox())
	last := v.Last()
	if err == nil {
		last = row.UIDNext - 1
	}
	var out []spool.UID
	for _, k := range known {
		for uid := max(spool.UID(k.Start), from); uid <= min(spool.UID(k.Stop), last); uid++ {
			if _, there := v.Seq(uid); !there {
				out = append(out, uid)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// sure is the highest UID of the pairs that are as the client says: of what has gone
// below it the client knows (RFC 7162 section 3.2.5.2). It is 0 if there is none. The
// sets are parallel number by number, whatever their ranges are.
func (r *resync) sure(v *view.View) (best spool.UID) {
	seqs, uids := wire.Set{Ranges: r.seqs}.Fixed(0), wire.Set{Ranges: r.uids}.Fixed(0)
	for len(seqs) > 0 && len(uids) > 0 {
		seq, uid := &seqs[0], &uids[0]
		more := min(seq.Stop-seq.Start, uid.Stop-uid.Start) // pairs behind the first
		// UIDs ascend at least as fast as numbers: those that are the client's are
		// neighbours, and the last of them stands before the first that is higher.
		n := sort.Search(int(more)+1, func(i int) bool {
			is, ok := v.UID(seq.Start + uint32(i))
			return !ok || uint32(is) > uid.Start+uint32(i)
		})
		if n > 0 {
			is, _ := v.UID(seq.Start + uint32(n-1))
			if uint32(is) == uid.Start+uint32(n-1) {
				best = max(best, is)
			}
		}
		if seq.Stop-seq.Start == more {
			seqs = seqs[1:]
		} else {
			seq.Start += more + 1
		}
		if uid.Stop-uid.Start == more {
			uids = uids[1:]
		} else {
			uid.Start += more + 1
		}
	}
	return best
}

// within tells whether merged ranges have a UID.
func within(ranges []wire.Range, uid spool.UID) bool {
	i, found := slices.BinarySearchFunc(ranges, uint32(uid), func(r wire.Range, n uint32) int { return cmp.Compare(r.Start, n) })
	return found || i > 0 && uint32(uid) <= ranges[i-1].Stop
}

// parseClose reads CLOSE, which expunges and says nothing of it, and UNSELECT,
// which does not.
func (s *session) parseClose(_ *wire.Decoder, c call) action {
	return func() error {
		box := s.box
		s.leave()
		if c.verb == "UNSELECT" || box.readOnly || !box.rights.has(rightExpunge) {
			return nil
		}
		how := s.did(spool.EventExpunged, box)
		gone, err := patiently(s, func() ([]spool.UID, error) { return s.srv.opt.Mailboxes.Expunge(box.view.Mailbox(), nil, how) })
		if err != nil {
			s.log.Error("close: expunge failed", "err", err)
		}
		s.moved(box.view.Mailbox(), gone)
		// There is no HIGHESTMODSEQ in the reply: of what was expunged the client
		// has not heard, and would not when it comes back with that (RFC 7162
		// section 3.2.8).
		return nil
	}
}
