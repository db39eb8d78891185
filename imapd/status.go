package imapd

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/wire"
	"restante/spool"
)

// parseStatus reads STATUS.
func (s *session) parseStatus(d *wire.Decoder, _ call) action {
	d.Space()
	name := d.Mailbox(s.rawNames())
	d.Space()
	items := statusItems(d)
	return func() error {
		p, err := s.mailbox(name, rightRead)
		row := p.row
		row.Name = p.name
		if err != nil {
			return s.failure("status", err)
		}
		s.enableFor(items)
		if err := s.tellStatus(row, items); err != nil {
			return s.failure("status", err)
		}
		return nil
	}
}

// statusItems reads what STATUS shall tell.
func statusItems(d *wire.Decoder) []string {
	items := []string{}
	d.List(func() {
		switch word := d.Word(); word {
		case "MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE", "APPENDLIMIT", "DELETED-STORAGE",
			"HIGHESTMODSEQ", "MAILBOXID":
			if !slices.Contains(items, word) {
				items = append(items, word)
			}
		default:
			d.Fail("Unknown item of STATUS")
		}
	})
	if len(items) == 0 {
		d.Fail("STATUS of nothing")
	}
	return items
}

// enableFor turns CONDSTORE on for who asks for what it has (RFC 7162 section 3.1.7).
func (s *session) enableFor(items []string) {
	if slices.Contains(items, "HIGHESTMODSEQ") {
		s.enable(condstore)
	}
}

// tellStatus writes a STATUS response, in the order in which it was asked.
func (s *session) tellStatus(row spool.Mailbox, items []string) error {
	var storage int64
	if slices.Contains(items, "DELETED-STORAGE") && row.Deleted > 0 {
		for e, err := range s.srv.opt.Mailboxes.Entries(row.ID, 1, 0) {
			if err != nil {
				return err
			}
			if e.Flags.System&spool.Deleted != 0 {
				storage += e.Size
			}
		}
	}
	var recent uint32
	if slices.Contains(items, "RECENT") {
		var err error
		if recent, err = s.countRecent(&row); err != nil {
			return err
		}
	}
	s.out.Raw("* STATUS ").Mailbox(row.Name).Raw(" (")
	for i, item := range items {
		if i > 0 {
			s.out.Raw(" ")
		}
		s.out.Raw(item).Raw(" ")
		switch item {
		case "MESSAGES":
			s.out.Number32(row.Messages)
		case "RECENT":
			s.out.Number32(recent)
		case "UIDNEXT":
			s.out.Number32(uint32(row.UIDNext))
		case "UIDVALIDITY":
			s.out.Number32(row.UIDValidity)
		case "UNSEEN":
			s.out.Number32(row.Unseen)
		case "DELETED":
			s.out.Number32(row.Deleted)
		case "SIZE":
			s.out.Number(uint64(row.Size))
		case "APPENDLIMIT":
			s.out.Number(uint64(s.srv.opt.MaxAppend))
		case "DELETED-STORAGE":
			s.out.Number(uint64(storage))
		case "HIGHESTMODSEQ":
			s.out.Number(uint64(row.ModSeq))
		case "MAILBOXID":
			s.out.Raw("(").Raw(mailboxID(row.ID)).Raw(")")
		}
	}
	s.out.Raw(")").CRLF()
	return nil
}

// codeTooBig is of RFC 4978's time and RFC 9051: what is sent is too large.
const codeTooBig = imap.ResponseCode("TOOBIG")
