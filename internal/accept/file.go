package accept

import (
	"errors"
	"fmt"

	"restante/internal/mail"
	"restante/spool"
)

// Drawer is a mailbox that messages of our own making are filed in.
type Drawer struct {
	// Owner is an address that leads to an account of ours, to which the
	// mailbox belongs; a bare postmaster is one. Where it leads to several the
	// first is meant.
	Owner mail.Address
	// Mailbox is its name. It is made, and subscribed to, if it is not there.
	Mailbox string
}

// File begins a message that goes into one mailbox and nowhere else, with a
// prefix. It wraps mail.ErrNoSuchUser if the drawer has no owner here.
func (a *Acceptor) File(env mail.Envelope, d Drawer, prefix []byte) (*Message, error) {
	deposit, err := a.drawer(d)
	if err != nil {
		return nil, err
	}
	deposit.Prefix = prefix
	m := &Message{a: a, sub: Submission{Envelope: env, Trusted: true, Again: true}, local: true}
	m.msg.Envelope, m.msg.Deposits = env, []spool.Deposit{deposit}
	if m.staged, err = a.opt.Intake.Create(); err != nil {
		return nil, err
	}
	return m, nil
}

// drawer is the deposit into a drawer, which is made ready.
func (a *Acceptor) drawer(d Drawer) (spool.Deposit, error) {
	account, err := a.Account(d.Owner)
	if err != nil {
		return spool.Deposit{}, err
	}
	deposit := spool.Deposit{Account: account, Mailbox: d.Mailbox}
	if a.opt.Mailboxes == nil {
		return deposit, fmt.Errorf("%s: %w", d.Mailbox, spool.ErrNoMailbox)
	}
	_, err = a.opt.Mailboxes.Mailbox(account, d.Mailbox)
	if !errors.Is(err, spool.ErrNoMailbox) {
		return deposit, err
	}
	_, err = a.opt.Mailboxes.CreateMailbox(account, d.Mailbox, spool.UseNone)
	if errors.Is(err, spool.ErrMailboxExists) {
		return deposit, nil // another message was faster
	}
	if err == nil {
		// Many clients show no other. Without it the mail is there all the same.
		if err := a.opt.Mailboxes.Subscribe(account, d.Mailbox, true); err != nil {
			a.opt.Logger.Warn("mailbox cannot be subscribed to", "account", account, "mailbox", d.Mailbox, "error", err)
		}
	}
	return deposit, err
}

// Account is the account that takes the mail of an address, the first if there
// are several. It wraps mail.ErrNoSuchUser if there is none here.
func (a *Acceptor) Account(of mail.Address) (string, error) {
	t, err := a.opt.Directory.Resolve(of, nil)
	if err != nil {
		return "", err
	}
	if len(t.Accounts) == 0 {
		return "", fmt.Errorf("<%s> leads to no mailbox of this machine: %w", of, mail.ErrNoSuchUser)
	}
	return t.Accounts[0], nil
}

// Mailboxes is what is needed of spool.Mailboxes to find and make mailboxes.
type Mailboxes interface {
	ListMailboxes(account string) ([]spool.Mailbox, error)
	Mailbox(account, name string) (spool.Mailbox, error)
	CreateMailbox(account, name string, use spool.Use) (spool.Mailbox, error)
	Subscribe(account, name string, on bool) error
}
