package main

import (
	"slices"

	"restante/imapd"
	"restante/internal/config"
	"restante/internal/directory"
	"restante/internal/mail"
)

// sharedAddresses is whose mail goes into shared mailboxes, and who may send as
// their addresses.
func sharedAddresses(cfg *config.Config) (list []directory.Shared) {
	for _, s := range cfg.Shared {
		list = append(list, directory.Shared{Name: s.Name, Addresses: s.Addresses, Senders: cfg.People(slices.Concat(s.Members, s.Managers))})
	}
	return list
}

// sharedMailboxes is who may do what in them.
func sharedMailboxes(cfg *config.Config) (list []imapd.Shared) {
	for _, s := range cfg.Shared {
		t := imapd.Shared{Name: s.Name, Account: directory.SharedAccount(s.Name), Rights: make(map[string]string)}
		// Who is in several lists has the rights of the last.
		for _, group := range []struct {
			who    config.Strings
			rights string
		}{{s.Readers, imapd.ReaderRights}, {s.Members, imapd.MemberRights}, {s.Managers, imapd.ManagerRights}} {
			for _, who := range cfg.People(group.who) {
				t.Rights[who] = group.rights
			}
		}
		list = append(list, t)
	}
	return list
}

// provisionShared makes the shared mailboxes that are not there, and tells of people who
// are none. One that cannot be made now is with its first message.
func (d *daemon) provisionShared(cfg *config.Config) {
	for _, s := range cfg.Shared {
		for _, who := range cfg.People(slices.Concat(s.Readers, s.Members, s.Managers)) {
			a, err := mail.ParseAddress(who)
			if err != nil || !d.accounts.IsLocal(a.Domain) {
				continue // everybody, or a member elsewhere of a group
			}
			if name, err := d.accounts.Lookup(who); err != nil || name != who {
				d.log.Warn("who may use a shared mailbox is no account", "mailbox", s.Name, "address", who)
			}
		}
		if err := imapd.ProvisionShared(d.spool, directory.SharedAccount(s.Name)); err != nil {
			d.log.Error("a shared mailbox cannot be made", "mailbox", s.Name, "error", err)
		}
	}
}

// provision makes the mailboxes of an account, or a shared one.
func (d *daemon) provision(account string) error {
	if directory.IsShared(account) {
		return imapd.ProvisionShared(d.spool, account)
	}
	return imapd.Provision(d.spool, account)
}
