package imapd

import (
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/view"
	"restante/spool"
)

const separator = '/'

// provision makes INBOX, and for a new account the special-use mailboxes: one
// that has no mailbox but INBOX and has subscribed to nothing. So what the user
// deletes does not come back.
func (s *session) provision(account string) error {
	boxes := s.srv.opt.Mailboxes
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

// Select opens a mailbox, for EXAMINE read-only.
func (s *session) Select(name string, options *imap.SelectOptions) (*imap.SelectData, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.box = nil
	row, err := s.srv.opt.Mailboxes.Mailbox(s.account, name)
	if err != nil {
		return nil, s.failure("select", err)
	}
	v, sum, err := view.Open(s.srv.opt.Mailboxes, row.ID)
	if err != nil {
		return nil, s.failure("select", err)
	}
	box := &selection{view: v, readOnly: options.ReadOnly, keywords: make(map[string]bool)}
	for _, k := range sum.Keywords {
		box.keywords[k] = true
	}
	s.box = box
	data := &imap.SelectData{
		Flags:             box.flags(),
		NumMessages:       v.Len(),
		FirstUnseenSeqNum: sum.FirstUnseen,
		UIDNext:           imap.UID(sum.Mailbox.UIDNext),
		UIDValidity:       sum.Mailbox.UIDValidity,
	}
	if !options.ReadOnly {
		data.PermanentFlags = append(box.flags(), imap.FlagWildcard)
	}
	if s.lib.EnabledCaps().Has(imap.CapIMAP4rev2) {
		data.List = &imap.ListData{Mailbox: row.Name, Delim: separator}
	}
	return data, nil
}

// Unselect closes the mailbox.
func (s *session) Unselect() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.box = nil
	return nil
}

// Create makes a mailbox. A separator at the end, by which a client announces
// levels below, is passed over.
func (s *session) Create(name string, options *imap.CreateOptions) error {
	name = strings.TrimSuffix(name, spool.Separator)
	if strings.ContainsAny(name, "*%") {
		return no(imap.ResponseCodeCannot, "Mailbox names may not have * or % in them")
	}
	use := spool.UseNone
	for _, attr := range options.SpecialUse {
		u, ok := useOf(attr)
		if !ok || use != spool.UseNone {
			return no(codeUseAttr, "Special use is not supported")
		}
		use = u
	}
	if _, err := s.srv.opt.Mailboxes.CreateMailbox(s.account, name, use); err != nil {
		return s.failure("create", err)
	}
	return nil
}

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

// Delete removes a mailbox and keeps those below it.
func (s *session) Delete(name string) error {
	if err := s.srv.opt.Mailboxes.DeleteMailbox(s.account, name); err != nil {
		return s.failure("delete", err)
	}
	return nil
}

// Rename renames a mailbox and those below it.
func (s *session) Rename(name, newName string, _ *imap.RenameOptions) error {
	newName = strings.TrimSuffix(newName, spool.Separator)
	if strings.ContainsAny(newName, "*%") {
		return no(imap.ResponseCodeCannot, "Mailbox names may not have * or % in them")
	}
	if err := s.srv.opt.Mailboxes.RenameMailbox(s.account, name, newName); err != nil {
		return s.failure("rename", err)
	}
	return nil
}

// Subscribe keeps a name, which need not be a mailbox's.
func (s *session) Subscribe(name string) error {
	if err := s.srv.opt.Mailboxes.Subscribe(s.account, name, true); err != nil {
		return s.failure("subscribe", err)
	}
	return nil
}

// Unsubscribe forgets a name.
func (s *session) Unsubscribe(name string) error {
	if err := s.srv.opt.Mailboxes.Subscribe(s.account, name, false); err != nil {
		return s.failure("unsubscribe", err)
	}
	return nil
}

// Status tells of a mailbox without selecting it.
func (s *session) Status(name string, options *imap.StatusOptions) (*imap.StatusData, error) {
	row, err := s.srv.opt.Mailboxes.Mailbox(s.account, name)
	if err != nil {
		return nil, s.failure("status", err)
	}
	data, err := s.status(row, options)
	if err != nil {
		return nil, s.failure("status", err)
	}
	return data, nil
}

// status fills in everything: the library writes what was asked for, and does
// not look whether it is there.
func (s *session) status(row spool.Mailbox, options *imap.StatusOptions) (*imap.StatusData, error) {
	limit, recent := s.AppendLimit(), uint32(0)
	data := &imap.StatusData{
		Mailbox:        row.Name,
		NumMessages:    &row.Messages,
		NumRecent:      &recent,
		UIDNext:        imap.UID(row.UIDNext),
		UIDValidity:    row.UIDValidity,
		NumUnseen:      &row.Unseen,
		NumDeleted:     &row.Deleted,
		Size:           &row.Size,
		AppendLimit:    &limit,
		DeletedStorage: new(int64),
	}
	if !options.DeletedStorage || row.Deleted == 0 {
		return data, nil
	}
	for e, err := range s.srv.opt.Mailboxes.Entries(row.ID, 1, 0) {
		if err != nil {
			return nil, err
		}
		if e.Flags.System&spool.Deleted != 0 {
			*data.DeletedStorage += e.Size
		}
	}
	return data, nil
}
