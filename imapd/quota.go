package imapd

import (
	"errors"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/wire"
	"restante/internal/quota"
	"restante/spool"
)

// Quotas bound what accounts keep (package quota).
type Quotas interface {
	// Limit returns that of an account, Usage what is used of it too.
	Limit(account string) quota.Limit
	Usage(account string) (quota.Usage, error)
	// Room fails with quota.ErrOver unless an account may keep so much more.
	Room(account string, octets, messages int64) error
}

// unlimited is who keeps whatever comes.
type unlimited struct{}

func (unlimited) Limit(string) quota.Limit          { return quota.Limit{} }
func (unlimited) Usage(string) (quota.Usage, error) { return quota.Usage{}, nil }
func (unlimited) Room(string, int64, int64) error   { return nil }

// parseGetQuota reads GETQUOTA (RFC 9208 section 4.1.1). An account has one quota
// root, "", for all its mailboxes; a shared mailbox has one of its own name.
func (s *session) parseGetQuota(d *wire.Decoder, _ call) action {
	d.Space()
	root := d.Mailbox(s.rawNames())
	return func() error {
		if root == "" {
			return s.tellQuota("", s.account)
		}
		p, err := s.mailbox(root, rightRead)
		if err != nil || s.srv.team(p.row.Account) == nil || p.row.Name != spool.Inbox {
			return no(imap.ResponseCodeNonExistent, "No such quota root")
		}
		return s.tellQuota(root, p.row.Account)
	}
}

// parseGetQuotaRoot reads GETQUOTAROOT. The mailbox need not exist (RFC 9208
// section 4.1.2).
func (s *session) parseGetQuotaRoot(d *wire.Decoder, _ call) action {
	d.Space()
	name := d.Mailbox(s.rawNames())
	return func() error {
		owner, _, err := s.splitName(name)
		if err == nil && owner == s.account {
			s.out.Raw("* QUOTAROOT ").Mailbox(spool.CanonicalName(name)).Raw(` ""`).CRLF()
			return s.tellQuota("", s.account)
		}
		p, err := s.mailbox(name, rightRead)
		t := s.srv.team(owner)
		if err != nil || t == nil {
			// What others keep is theirs to know.
			s.out.Raw("* QUOTAROOT ").Mailbox(name).CRLF()
			return nil
		}
		root := teamPrefix + t.Name
		s.out.Raw("* QUOTAROOT ").Mailbox(p.name).Raw(" ").Mailbox(root).CRLF()
		return s.tellQuota(root, owner)
	}
}

// tellQuota tells what is used of what is limited. STORAGE is in units of 1024
// octets.
func (s *session) tellQuota(root, account string) error {
	u, err := s.srv.opt.Quota.Usage(account)
	if err != nil {
		return s.failure("quota", err)
	}
	s.out.Raw("* QUOTA ").Mailbox(root).Raw(" (")
	const unit = 1 << 10
	if u.Limit.Octets > 0 {
		s.out.Raw("STORAGE ").Number(uint64((u.Octets + unit - 1) / unit)).Raw(" ").Number(uint64(u.Limit.Octets / unit))
	}
	if u.Limit.Messages > 0 {
		if u.Limit.Octets > 0 {
			s.out.Raw(" ")
		}
		s.out.Raw("MESSAGE ").Number(uint64(u.Messages)).Raw(" ").Number(uint64(u.Limit.Messages))
	}
	s.out.Raw(")").CRLF()
	return nil
}

// room tells whether an account may keep so much more.
func (s *session) room(account string, octets, messages int64) error {
	err := s.srv.opt.Quota.Room(account, octets, messages)
	switch {
	case errors.Is(err, quota.ErrOver):
		return no(imap.ResponseCodeOverQuota, "There is no room left in this account")
	case err != nil:
		return s.failure("quota", err)
	}
	return nil
}

// roomFor is room for messages of the selected mailbox. They are only looked at
// if there is a limit.
func (s *session) roomFor(account string, uids []spool.UID) error {
	if s.srv.opt.Quota.Limit(account) == (quota.Limit{}) {
		return nil
	}
	var octets, messages int64
	for e, err := range s.box.view.Entries(uids) {
		if err != nil {
			return s.failure("quota", err)
		}
		octets += e.Size
		messages++
	}
	return s.room(account, octets, messages)
}
