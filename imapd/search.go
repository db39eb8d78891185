package imapd

import (
	"errors"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"restante/imapd/search"
	"restante/spool"
)

// Search finds messages. Damaged ones are not found by what is in their text.
func (s *session) Search(kind imapserver.NumKind, criteria *imap.SearchCriteria, options *imap.SearchOptions) (*imap.SearchData, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.box == nil {
		return nil, bad("No mailbox is selected")
	}
	s.fix(criteria)
	found, err := s.find(criteria)
	if options.ReturnSave {
		s.box.saved = saved(found, options)
	}
	if err != nil {
		return nil, s.failure("search", err)
	}
	data := &imap.SearchData{Count: uint32(len(found))}
	if kind == imapserver.NumKindUID {
		data.All = uidSet(found)
		if len(found) > 0 {
			data.Min, data.Max = uint32(found[0]), uint32(found[len(found)-1])
		}
		return data, nil
	}
	var set imap.SeqSet
	for _, uid := range found {
		seq, _ := s.box.view.Seq(uid)
		set.AddNum(seq)
		data.Max = seq
		if data.Min == 0 {
			data.Min = seq
		}
	}
	data.All = set
	return data, nil
}

func (s *session) find(criteria *imap.SearchCriteria) ([]spool.UID, error) {
	v := s.box.view
	uids := v.Numbered(nil, 1, v.Len())
	if len(criteria.UID) > 0 {
		uids = v.ByUID(criteria.UID[0])
	}
	var found []spool.UID
	for e, err := range v.Entries(uids) {
		if err == nil {
			err = s.ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		m := &message{bodies: s.srv.opt.Bodies, entry: e}
		m.seq, _ = v.Seq(e.UID)
		ok, err := search.Match(criteria, m)
		m.close()
		switch {
		case isGone(err), errors.Is(err, spool.ErrCorrupt):
		case err != nil:
			return nil, err
		case ok:
			found = append(found, e.UID)
		}
	}
	return found, nil
}

// saved is what "$" stands for after a search (RFC 5182 section 2.4): with MIN
// or MAX and neither ALL nor COUNT, only these.
func saved(found []spool.UID, options *imap.SearchOptions) []spool.UID {
	if len(found) == 0 || options.ReturnAll || options.ReturnCount {
		return found
	}
	var list []spool.UID
	if options.ReturnMin {
		list = append(list, found[0])
	}
	if last := found[len(found)-1]; options.ReturnMax && (len(list) == 0 || list[0] != last) {
		list = append(list, last)
	}
	return list
}

// fix replaces "*" and "$" in the sets of the criteria by what they stand for.
func (s *session) fix(c *imap.SearchCriteria) {
	for i, set := range c.SeqNum {
		var fixed imap.SeqSet
		for _, r := range set {
			if start, stop := fixRange(r.Start, r.Stop, s.box.view.Len()); start != 0 {
				fixed.AddRange(start, stop)
			}
		}
		c.SeqNum[i] = fixed
	}
	for i, set := range c.UID {
		if imap.IsSearchRes(set) {
			c.UID[i] = uidSet(s.box.saved)
			continue
		}
		var fixed imap.UIDSet
		for _, r := range set {
			if start, stop := fixRange(uint32(r.Start), uint32(r.Stop), uint32(s.box.view.Last())); start != 0 {
				fixed.AddRange(imap.UID(start), imap.UID(stop))
			}
		}
		c.UID[i] = fixed
	}
	for i := range c.Not {
		s.fix(&c.Not[i])
	}
	for i := range c.Or {
		s.fix(&c.Or[i][0])
		s.fix(&c.Or[i][1])
	}
}

// fixRange puts in the last number for 0, which is "*"; a range that begins
// with 0 is then empty.
func fixRange(start, stop, last uint32) (uint32, uint32) {
	switch {
	case start == 0:
		return last, last
	case stop == 0:
		return min(start, last), max(start, last)
	}
	return start, stop
}
