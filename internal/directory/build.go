package directory

import (
	"errors"
	"fmt"
	"strings"

	"restante/internal/mail"
)

// build makes a picture out of options and stored accounts. Faults of the
// options are errors. A stored account that clashes with the options is passed
// to unused, so that a domain taken out of the configuration does not stop the
// daemon.
func (d *Directory) build(opt Options, stored []record, unused func(name string, why error)) (*picture, error) {
	p := &picture{
		catchAll: make(map[string][]mail.Address),
		aliases:  make(map[mail.Address][]mail.Address),
		accounts: make(map[string]*account),
		own:      make(map[mail.Address]*account),
	}
	if err := p.addDomains(opt); err != nil {
		return nil, err
	}
	for from, to := range opt.Aliases {
		if err := p.addAlias(from, to); err != nil {
			return nil, err
		}
	}
	for _, s := range opt.Static {
		a, err := newAccount(s.Name, s.Addresses)
		if err == nil {
			a.static = true
			a.credential, err = d.credential(s.Hash, s.Password)
		}
		if err == nil {
			err = p.addAccount(a)
		}
		if err != nil {
			return nil, fmt.Errorf("account %q: %w", s.Name, err)
		}
	}
	for _, r := range stored {
		a, err := newAccount(r.Name, r.Addresses)
		if err == nil {
			a.created, a.changed = r.Created, r.Changed
			a.credential, err = d.credential(r.Password, "")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: account %q: %w", opt.Path, r.Name, err)
		}
		if err := p.addStored(a); err != nil {
			unused(a.name, err)
		}
	}
	return p, nil
}

func (p *picture) addDomains(opt Options) error {
	for _, s := range opt.Domains {
		domain, err := mail.ParseDomain(s)
		if err != nil {
			return fmt.Errorf("domain %q: %w", s, err)
		}
		if _, ok := p.catchAll[domain]; !ok {
			p.domains = append(p.domains, domain)
			p.catchAll[domain] = nil
		}
	}
	for s, to := range opt.CatchAll {
		domain, err := mail.ParseDomain(s)
		if err != nil {
			return fmt.Errorf("catch-all of domain %q: %w", s, err)
		}
		if _, ok := p.catchAll[domain]; !ok {
			return fmt.Errorf("catch-all of domain %q: %w", s, ErrUnknownDomain)
		}
		if p.catchAll[domain], err = parseAddresses(to); err != nil {
			return fmt.Errorf("catch-all of domain %q: %w", s, err)
		}
	}
	return nil
}

func (p *picture) addAlias(from string, to []string) error {
	a, err := mail.ParseAddress(from)
	if err != nil {
		return fmt.Errorf("alias: %w", err)
	}
	if _, ok := p.catchAll[a.Domain]; !ok && a.Domain != "" {
		return fmt.Errorf("alias %q: %w", from, ErrUnknownDomain)
	}
	if _, ok := p.aliases[a.Key()]; ok {
		return fmt.Errorf("alias %q: defined twice", from)
	}
	if p.aliases[a.Key()], err = parseAddresses(to); err != nil {
		return fmt.Errorf("alias %q: %w", from, err)
	}
	return nil
}

func parseAddresses(list []string) ([]mail.Address, error) {
	var out []mail.Address
	for _, s := range list {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

func newAccount(name string, addresses []string) (*account, error) {
	address, err := parseName(name)
	if err != nil {
		return nil, err
	}
	a := &account{name: address.String(), address: address}
	for _, s := range addresses {
		if domain, ok := parsePattern(s); ok {
			a.patterns = append(a.patterns, domain)
			continue
		}
		x, err := mail.ParseAddress(s)
		if err != nil {
			return nil, err
		}
		a.addresses = append(a.addresses, x.Key())
	}
	return a, nil
}

// parseName reads an account's name, which is a full address.
func parseName(name string) (mail.Address, error) {
	a, err := mail.ParseAddress(name)
	if err != nil {
		return a, err
	}
	if a.Domain == "" {
		return a, fmt.Errorf("%w: %q has no domain", mail.ErrAddress, name)
	}
	return a.Key(), nil
}

// parsePattern reads "*@domain" or "*", and returns the domain or "*".
func parsePattern(s string) (domain string, ok bool) {
	if s == "*" {
		return s, true
	}
	rest, ok := strings.CutPrefix(s, "*@")
	if !ok {
		return "", false
	}
	domain, err := mail.ParseDomain(rest)
	return domain, err == nil
}

func patternText(domain string) string {
	if domain == "*" {
		return domain
	}
	return "*@" + domain
}

// addAccount adds an account; all its addresses must be free.
func (p *picture) addAccount(a *account) error {
	if _, ok := p.catchAll[a.address.Domain]; !ok {
		return ErrUnknownDomain
	}
	if other := p.own[a.address]; other != nil {
		return fmt.Errorf("%w: the address is that of %s", ErrExists, other.name)
	}
	for _, x := range a.addresses {
		if other := p.own[x]; other != nil && other != a {
			return fmt.Errorf("%w: the address %s is that of %s", ErrExists, x, other.name)
		}
	}
	p.own[a.address] = a
	for _, x := range a.addresses {
		p.own[x] = a
	}
	p.accounts[a.name] = a
	p.order = append(p.order, a)
	return nil
}

// addStored is addAccount for a stored account. One in a domain that is no
// longer local may still log in, to collect what is in its mailboxes, and send
// as itself.
func (p *picture) addStored(a *account) error {
	err := p.addAccount(a)
	if errors.Is(err, ErrUnknownDomain) && p.own[a.address] == nil {
		p.own[a.address] = a
		p.accounts[a.name] = a
		p.order = append(p.order, a)
	}
	return err
}
