package main

import (
	"context"
	"errors"
	"strings"

	"restante/internal/config"
	"restante/internal/directory"
	"restante/internal/quota"
	"restante/internal/retention"
)

// quotaRules are how much the accounts may keep.
func quotaRules(cfg *config.Config) quota.Rules {
	m := cfg.IMAP
	r := quota.Rules{
		Default:  quota.Limit{Octets: int64(m.Quota), Messages: int64(m.QuotaMessages)},
		Accounts: make(map[string]quota.Limit),
		Grace:    int64(m.QuotaGrace),
	}
	own := func(account string, octets config.Size, messages int) {
		l := r.Default
		if octets > 0 {
			l.Octets = int64(octets)
		}
		if messages > 0 {
			l.Messages = int64(messages)
		}
		if l != r.Default {
			r.Accounts[strings.ToLower(account)] = l
		}
	}
	for _, a := range cfg.Accounts {
		own(a.Name, a.Quota, a.QuotaMessages)
	}
	for _, s := range cfg.Shared {
		own(directory.SharedAccount(s.Name), s.Quota, s.QuotaMessages)
	}
	return r
}

// full tells whether an account takes no mail at the moment. If that cannot be
// found out, it takes it.
func (d *daemon) full(account string, octets int64) bool {
	err := d.room.Arrival(account, octets)
	if err != nil && !errors.Is(err, quota.ErrOver) {
		d.log.Error("what an account keeps cannot be counted", "account", account, "error", err)
	}
	return errors.Is(err, quota.ErrOver)
}

// retentionRoom removes what is too old.
func (d *daemon) retentionRoom(cfg *config.Config) room {
	type made struct{ trash, junk config.Duration }
	m := made{cfg.IMAP.ExpireTrash, cfg.IMAP.ExpireJunk}
	return room{name: "retention", made: m, alone: true, start: func() (run, stop func(context.Context) error) {
		ctx, cancel := context.WithCancel(d.ctx)
		r := retention.New(retention.Options{
			Mailboxes: d.spool, Accounts: d.accountNames, Trash: m.trash.Std(), Junk: m.junk.Std(), Logger: d.log,
		})
		run = func(context.Context) error {
			defer cancel()
			return r.Run(ctx)
		}
		return run, func(context.Context) error { cancel(); return nil }
	}}
}

// accountNames are the accounts that have mailboxes.
func (d *daemon) accountNames() []string {
	var names []string
	for _, a := range d.accounts.List() {
		if a.Application == nil {
			names = append(names, a.Name)
		}
	}
	return names
}
