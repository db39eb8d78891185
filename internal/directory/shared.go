package directory

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"restante/internal/mail"
)

// sharedPrefix begins the names under which the spool knows shared mailboxes. No
// account has such a name, since it is no address.
const sharedPrefix = "shared/"

// SharedAccount is the account to whom the mailboxes of a Shared belong in the
// spool. Nobody can log in as it.
func SharedAccount(name string) string { return sharedPrefix + name }

// IsShared tells whether an account's name is of a Shared's.
func IsShared(account string) bool { return strings.HasPrefix(account, sharedPrefix) }

// Shared is a mailbox that no account owns.
type Shared struct {
	Name string
	// Addresses are those, in local domains, whose mail goes into it.
	Addresses []string
	// Senders are the accounts that may send as these; "anyone" is all.
	Senders []string
}

// anyone stands for all accounts.
const anyone = "anyone"

// addShared adds a shared mailbox: its addresses are taken as those of an account
// are.
func (p *picture) addShared(opt Shared) error {
	a := &account{name: SharedAccount(opt.Name), static: true}
	a.address = mail.Address{Local: a.name} // what is told of it
	if err := a.addAddresses(opt.Addresses); err != nil {
		return fmt.Errorf("shared mailbox %q: %w", opt.Name, err)
	}
	if p.shared[a.name] != nil || len(a.patterns) > 0 || opt.Name == "" {
		return fmt.Errorf("shared mailbox %q: %w", opt.Name, errShared)
	}
	for _, x := range a.addresses {
		if other := p.own[x]; other != nil {
			return fmt.Errorf("shared mailbox %q: %w: the address %s is that of %s", opt.Name, ErrExists, x, other.name)
		}
		if _, ok := p.catchAll[x.Domain]; !ok {
			return fmt.Errorf("shared mailbox %q: %s: %w", opt.Name, x, ErrUnknownDomain)
		}
	}
	for _, x := range a.addresses {
		p.own[x] = a
	}
	for _, s := range opt.Senders {
		a.senders = append(a.senders, strings.ToLower(s))
	}
	p.shared[a.name] = a
	p.sharedOrder = append(p.sharedOrder, a)
	return nil
}

var errShared = errors.New("it has no name, is there twice, or takes the mail of whole domains")

// lends tells whether one of some accounts and shared mailboxes lets an account send
// as the address that leads there: itself, or a shared mailbox whose sender it is.
func (p *picture) lends(to []string, name string) bool {
	return slices.ContainsFunc(to, func(account string) bool {
		s := p.shared[account]
		return account == name || s != nil && (slices.Contains(s.senders, name) || slices.Contains(s.senders, anyone))
	})
}

// listShared describes the shared mailboxes, as configured.
func (p *picture) listShared() (list []Info) {
	for _, a := range p.sharedOrder {
		list = append(list, Info{Name: a.name, Addresses: texts(a.addresses), Static: true, Shared: true})
	}
	return list
}

func texts(list []mail.Address) (out []string) {
	for _, a := range list {
		out = append(out, a.String())
	}
	return out
}
