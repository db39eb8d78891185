package imapd

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"restante/spool"
)

// rights are those of RFC 4314 section 2.1, as bits.
type rights uint16

const (
	rightLookup rights = 1 << iota
	rightRead
	rightSeen
	rightWrite
	rightInsert
	rightPost
	rightCreate
	rightDelete
	rightDeleted
	rightExpunge
	rightAdmin

	allRights rights = 1<<iota - 1
	noRights  rights = 0
)

// rightLetters are the letters of the rights, from the lowest bit.
const rightLetters = "lrswipkxtea"

// The obsolete rights (RFC 4314 section 2.1.1): each stands for some of the others.
const (
	rightOldCreate = rightCreate | rightDelete
	rightOldDelete = rightDeleted | rightExpunge
)

func (r rights) has(need rights) bool { return r&need == need }

// letters are the rights without the obsolete ones: the form in which they are
// stored.
func (r rights) letters() string {
	var b strings.Builder
	for i, c := range rightLetters {
		if r&(1<<i) != 0 {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// String is how clients are told of the rights: with c and d where some of what
// they stand for is there.
func (r rights) String() string {
	text := r.letters()
	if r&rightOldCreate != 0 {
		text += "c"
	}
	if r&rightOldDelete != 0 {
		text += "d"
	}
	return text
}

// parseRights reads letters; it is false if one of them is unknown.
func parseRights(text string) (r rights, ok bool) {
	for _, c := range text {
		switch i := strings.IndexRune(rightLetters, c); {
		case i >= 0:
			r |= 1 << i
		case c == 'c':
			r |= rightOldCreate
		case c == 'd':
			r |= rightOldDelete
		default:
			return noRights, false
		}
	}
	return r, true
}

// fixed are the flags that may be neither set nor removed.
func (r rights) fixed() (m spool.FlagMask) {
	if !r.has(rightSeen) {
		m.System |= spool.Seen
	}
	if !r.has(rightDeleted) {
		m.System |= spool.Deleted
	}
	if !r.has(rightWrite) {
		m.System |= spool.Answered | spool.Flagged | spool.Draft
		m.Keywords = true
	}
	return m
}

// aclPrefix begins the names of the attributes that grant rights; the identifier
// follows, and the value is letters. anyone is every account.
const (
	aclPrefix = "acl/"
	anyone    = "anyone"
)

// identifier is how an account is named in an ACL.
func identifier(name string) string { return strings.ToLower(name) }

// rightsFor are the rights that attributes give to an account that is not the
// owner.
func rightsFor(attributes map[string]string, account string) rights {
	own, _ := parseRights(attributes[aclPrefix+identifier(account)])
	all, _ := parseRights(attributes[aclPrefix+anyone])
	return own | all
}

var errNoPerm = no(imap.ResponseCodeNoPerm, "You have not the right to do that")

// changes tells whether anything in the mailbox can be changed.
func (b *selection) changes() bool {
	return !b.readOnly && b.rights&(rightSeen|rightWrite|rightDeleted|rightInsert|rightExpunge) != 0
}

// permanent are the flags that the client can set.
func (b *selection) permanent() []imap.Flag {
	list := slices.DeleteFunc(b.flags(), func(f imap.Flag) bool {
		switch f {
		case imap.FlagSeen:
			return !b.rights.has(rightSeen)
		case imap.FlagDeleted:
			return !b.rights.has(rightDeleted)
		}
		return !b.rights.has(rightWrite)
	})
	if b.rights.has(rightWrite) {
		list = append(list, imap.FlagWildcard)
	}
	return list
}

// allow narrows a STORE to the flags that the client may change, and refuses it
// if there are none (RFC 4314 section 4).
func (b *selection) allow(q *storing) error {
	if b.rights.has(rightSeen | rightWrite | rightDeleted) {
		return nil
	}
	may := q.flags.Without(b.rights.fixed())
	none := may.System == 0 && len(may.Keywords) == 0
	if q.op == spool.FlagSet {
		none = b.rights&(rightSeen|rightWrite|rightDeleted) == noRights
	}
	if none {
		return errNoPerm
	}
	q.flags = may
	return nil
}

// flag changes flags of some messages. Where all flags are replaced, those that the
// client may not change stay as they are; others may see such a STORE half done.
func (s *session) flag(uids []spool.UID, q *storing) (spool.Flagging, error) {
	boxes, id, fixed := s.srv.opt.Mailboxes, s.box.view.Mailbox(), s.box.rights.fixed()
	if q.op != spool.FlagSet || fixed == (spool.FlagMask{}) {
		return boxes.Flag(id, uids, q.op, q.flags, q.unchangedSince)
	}
	added, err := boxes.Flag(id, uids, spool.FlagAdd, q.flags, q.unchangedSince)
	if err != nil {
		return added, err
	}
	var others spool.Flags
	for _, f := range systemFlags() {
		others.System |= systemFlag(f)
	}
	s.box.listen()
	for _, k := range s.box.keywords {
		if !slices.ContainsFunc(q.flags.Keywords, func(given string) bool { return strings.EqualFold(k, given) }) {
			others.Keywords = append(others.Keywords, k)
		}
	}
	others.System &^= q.flags.System
	before := make(map[spool.UID]spool.ModSeq)
	uids = uids[:0:0]
	for i, e := range added.Changed {
		before[e.UID] = added.Before[i]
		uids = append(uids, e.UID)
	}
	done, err := boxes.Flag(id, uids, spool.FlagRemove, others.Without(fixed), spool.ModSeqUnbounded)
	for i, e := range done.Changed {
		done.Before[i] = before[e.UID]
	}
	done.Modified = added.Modified
	return done, err
}

// mayExpunge tells whether messages can be taken out of the mailbox.
func (s *session) mayExpunge() error {
	switch {
	case s.box.readOnly:
		return errReadOnly
	case !s.box.rights.has(rightDeleted | rightExpunge):
		return errNoPerm
	}
	return nil
}
