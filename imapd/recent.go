package imapd

import (
	"slices"

	"restante/spool"
)

// \Recent is of IMAP4rev1 alone (RFC 3501 section 2.3.2); IMAP4rev2 has done away
// with it, and clients that have turned that on are never told.
const recentFlag = `\Recent`

// tellRecent tells how many messages are \Recent, if that has changed.
func (s *session) tellRecent() {
	if s.has(rev2) {
		return
	}
	if n := s.box.view.CountRecent(); n != s.box.recent {
		s.box.recent = n
		s.out.Raw("* ").Number32(n).Raw(" RECENT").CRLF()
	}
}

// countRecent is what STATUS tells.
func (s *session) countRecent(row *spool.Mailbox) (uint32, error) {
	switch {
	case s.has(rev2):
		return 0, nil
	case s.box != nil && s.box.view.Mailbox() == row.ID:
		return s.box.view.CountRecent(), nil
	case row.Recent >= row.UIDNext:
		return 0, nil
	}
	o, err := s.srv.opt.Mailboxes.Overview(row.ID)
	if err != nil {
		return 0, err
	}
	i, _ := slices.BinarySearch(o.UIDs, o.Mailbox.Recent)
	return uint32(len(o.UIDs) - i), nil
}
