package imapd

import (
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/wire"
	"restante/spool"
)

// Provision makes INBOX, and for a new account the special-use mailboxes: one
// that has no mailbox but INBOX and has subscribed to nothing. So what the user
// deletes does not come back.
func Provision(boxes spool.Mailboxes, account string) error {
	list, err := boxes.ListMailboxes(account)
	if err != nil {
		return err
	}
	subscribed, err := boxes.Subscriptions(account)
	if err != nil {
		return err
	}
	type folder struct {
		name string
		use  spool.Use
	}
	var missing []folder
	if len(list) == 0 || list[0].Name != spool.Inbox {
		missing = append(missing, folder{spool.Inbox, spool.UseNone})
	}
	isNew := len(list)+len(missing) == 1 && len(subscribed) == 0
	if isNew {
		missing = append(missing, folder{"Drafts", spool.UseDrafts}, folder{"Sent", spool.UseSent}, folder{"Junk", spool.UseJunk},
			folder{"Trash", spool.UseTrash}, folder{"Archive", spool.UseArchive})
	}
	for _, f := range missing {
		// Another session of the same account may be doing the same.
		if _, err := boxes.CreateMailbox(account, f.name, f.use); err != nil && !errors.Is(err, spool.ErrMailboxExists) {
			return err
		}
		if err := boxes.Subscribe(account, f.name, true); err != nil {
			return err
		}
	}
	if isNew {
		return boxes.Subscribe(account, spool.Inbox, true)
	}
	return nil
}

// parseCreate reads CREATE, with special uses (RFC 6154).
func (s *session) parseCreate(d *wire.Decoder, _ call) action {
	d.Space()
	name := d.Mailbox(s.rawNames())
	var uses []imap.Flag
	if d.TrySpace() {
		d.List(func() {
			if word := d.Word(); d.Err() == nil && word != "USE" {
				d.Fail("Unknown parameter of CREATE")
			}
			d.Space()
			uses = append(uses, d.Flags()...)
		})
	}
	return func() error { return s.create(name, uses) }
}

// create makes a mailbox. A separator at the end, by which a client announces
// levels below, is passed over.
func (s *session) create(name string, uses []imap.Flag) error {
	name = strings.TrimSuffix(name, spool.Separator)
	if strings.ContainsAny(name, "*%") {
		return no(imap.ResponseCodeCannot, "Mailbox names may not have * or % in them")
	}
	use := spool.UseNone
	for _, attr := range uses {
		u, ok := useOf(imap.MailboxAttr(attr))
		if !ok || use != spool.UseNone {
			return no(codeUseAttr, "Special use is not supported")
		}
		use = u
	}
	row, err := s.createShared(name, use)
	if err != nil {
		return s.failure("create", err)
	}
	s.arranged(name)
	if told := s.nameOf(row); told != name && s.has(rev2) {
		s.listed("LIST", listData{name: told, oldName: name}) // RFC 9051 section 6.3.4
	}
	return ok("MAILBOXID (" + mailboxID(row.ID) + ")")
}

// mailboxID is a MAILBOXID of RFC 8474.
func mailboxID(id spool.MailboxID) string { return "F" + number(int64(id)) }

// emailID is an EMAILID.
func emailID(e *spool.Entry) string { return "M" + e.Message.String() }

// rawNames tells that the client sends mailbox names as they are.
func (s *session) rawNames() bool { return s.has(rev2 | utf8) }

func useOf(attr imap.MailboxAttr) (spool.Use, bool) {
	switch attr {
	case imap.MailboxAttrArchive:
		return spool.UseArchive, true
	case imap.MailboxAttrDrafts:
		return spool.UseDrafts, true
	case imap.MailboxAttrFlagged:
		return spool.UseFlagged, true
	case imap.MailboxAttrJunk:
		return spool.UseJunk, true
	case imap.MailboxAttrSent:
		return spool.UseSent, true
	case imap.MailboxAttrTrash:
		return spool.UseTrash, true
	}
	return spool.UseNone, false
}

// parseName reads a command with one name.
func (s *session) parseName(d *wire.Decoder, c call) action {
	d.Space()
	name := d.Mailbox(s.rawNames())
	boxes := s.srv.opt.Mailboxes
	return func() error {
		var err error
		switch c.verb {
		case "DELETE": // those below it stay
			err = s.deleteShared(name)
		case "SUBSCRIBE": // the name need not be a mailbox's
			err = boxes.Subscribe(s.account, name, true)
		case "UNSUBSCRIBE":
			err = boxes.Subscribe(s.account, name, false)
		}
		if err != nil {
			return s.failure(strings.ToLower(c.verb), err)
		}
		s.arranged(name)
		return nil
	}
}

// parseRename reads RENAME, which takes those below along.
func (s *session) parseRename(d *wire.Decoder, _ call) action {
	d.Space()
	from := d.Mailbox(s.rawNames())
	d.Space()
	to := strings.TrimSuffix(d.Mailbox(s.rawNames()), spool.Separator)
	return func() error {
		if strings.ContainsAny(to, "*%") {
			return no(imap.ResponseCodeCannot, "Mailbox names may not have * or % in them")
		}
		if err := s.renameShared(from, to); err != nil {
			return s.failure("rename", err)
		}
		s.arranged(from, to)
		return nil
	}
}
