package imapd

import (
	"slices"

	"restante/spool"
)

// told is a spool of whose messages somebody else has always heard before: none
// is \Recent, so that tests of other things need not speak of it.
type told struct{ spool.Mailboxes }

func (t told) TakeRecent(id spool.MailboxID, upto spool.UID) (spool.UID, error) {
	_, err := t.Mailboxes.TakeRecent(id, upto)
	return upto + 1, err
}

func (t told) ListMailboxes(account string) ([]spool.Mailbox, error) {
	list, err := t.Mailboxes.ListMailboxes(account)
	list = slices.Clone(list)
	for i := range list {
		list[i].Recent = list[i].UIDNext
	}
	return list, err
}

func (t told) Mailbox(account, name string) (spool.Mailbox, error) {
	row, err := t.Mailboxes.Mailbox(account, name)
	row.Recent = row.UIDNext
	return row, err
}

func (t told) MailboxByID(id spool.MailboxID) (spool.Mailbox, error) {
	row, err := t.Mailboxes.MailboxByID(id)
	row.Recent = row.UIDNext
	return row, err
}
