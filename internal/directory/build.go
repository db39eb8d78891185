package directory

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"restante/internal/mail"
	"restante/internal/sasl"
)

// build makes a picture out of options and stored accounts. Faults of the
// options are errors. A stored account that clashes with the options is passed
// to unused, so that a domain taken out of the configuration does not stop the
// daemon.
func (d *Directory) build(opt Options, stored file, unused func(name string, why error)) (*picture, error) {
	p := &picture{
		catchAll: make(map[string][]mail.Address),
		aliases:  make(map[mail.Address][]mail.Address),
		groups:   make(map[mail.Address]*group),
		accounts: make(map[string]*account),
		own:      make(map[mail.Address]*account),
		shared:   make(map[string]*account),
	}
	if err := p.addDomains(opt); err != nil {
		return nil, err
	}
	for from, to := range opt.Aliases {
		if err := p.addAlias(from, to); err != nil {
			return nil, err
		}
	}
	for _, g := range opt.Groups {
		if err := p.addGroup(g); err != nil {
			return nil, err
		}
	}
	if err := p.addCertificates(opt); err != nil {
		return nil, err
	}
	p.tokens = opt.Tokens
	for _, s := range opt.Static {
		a, err := d.staticAccount(s, stored.Secrets)
		if err == nil {
			err = p.add(a)
		}
		if err != nil {
			return nil, fmt.Errorf("account %q: %w", s.Name, err)
		}
	}
	for _, s := range opt.Shared {
		if err := p.addShared(s); err != nil {
			return nil, err
		}
	}
	for _, r := range stored.Accounts {
		a, err := d.storedAccount(r, stored.Secrets)
		if err != nil {
			return nil, fmt.Errorf("%s: account %q: %w", opt.Path, r.Name, err)
		}
		if err := p.addStored(a); err != nil {
			unused(a.name, err)
		}
	}
	p.finish()
	return p, nil
}

func (d *Directory) staticAccount(s Static, secrets []secretRecord) (a *account, err error) {
	if s.Application != nil {
		a, err = newApplication(s.Name, s.Addresses, *s.Application)
	} else {
		a, err = newAccount(s.Name, s.Addresses)
	}
	if err != nil {
		return nil, err
	}
	a.static = true
	if a.credential, err = d.credential(s.Hash, s.Password); err != nil {
		return nil, err
	}
	password := s.Password
	if s.Hash != "" {
		password = ""
	}
	if err := a.addSecrets(secrets); err != nil {
		return nil, err
	}
	return a, d.setVerifier(a, s.SCRAM, password)
}

func (d *Directory) storedAccount(r record, secrets []secretRecord) (a *account, err error) {
	if r.Application != nil {
		a, err = newApplication(r.Name, r.Addresses, *r.Application)
	} else {
		a, err = newAccount(r.Name, r.Addresses)
	}
	if err != nil {
		return nil, err
	}
	a.created, a.changed = r.Created, r.Changed
	if a.credential, err = d.credential(r.Password, ""); err != nil {
		return nil, err
	}
	if err := a.addSecrets(secrets); err != nil {
		return nil, err
	}
	return a, d.setVerifier(a, r.SCRAM, "")
}

// addSecrets takes those of the account out of all secrets.
func (a *account) addSecrets(all []secretRecord) error {
	for _, r := range all {
		if r.Of != a.name {
			continue
		}
		v, err := sasl.ParseVerifier(r.SCRAM)
		if err != nil {
			return fmt.Errorf("secret %q: %w", r.Name, err)
		}
		a.secrets = append(a.secrets, &secretKey{Secret{Name: r.Name, IMAP: r.IMAP, Created: r.Created}, v})
	}
	return nil
}

// finish works out what holds for all accounts together.
func (p *picture) finish() {
	p.complete = [2]bool{true, true}
	for _, a := range p.order {
		a.recent = new(recents)
		h := sha256.New()
		fmt.Fprintf(h, "%s %s %t %v %x", a.name, a.credential.hash, a.static, a.application, a.own)
		if a.credential.plain != nil {
			h.Write(a.credential.plain[:])
		}
		for _, k := range a.secrets {
			p.secrets = true
			fmt.Fprintf(h, "\n%s %t %s", k.Name, k.IMAP, k.verifier)
		}
		h.Sum(a.mark[:0])
		if a.own == nil {
			p.complete[Sending] = false
			if a.application == nil || a.application.Collects != "" {
				p.complete[Collecting] = false
			}
		}
	}
}

// lacking are the accounts without a SCRAM verifier.
func (p *picture) lacking() (names []string) {
	for _, a := range p.order {
		if a.own == nil {
			names = append(names, a.name)
		}
	}
	return names
}

// inherit takes over the recent logins of accounts that have not changed.
func (p *picture) inherit(old *picture) {
	for _, a := range p.order {
		if b := old.accounts[a.name]; b != nil && b.mark == a.mark {
			a.recent = b.recent
		}
	}
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

// group is what a Group is beyond an alias.
type group struct {
	name   mail.Address
	owner  mail.Address // null if there is none
	closed bool
	// members are those, and the owner, that may send to it.
	members map[mail.Address]bool
}

func (p *picture) addGroup(opt Group) error {
	if err := p.addAlias(opt.Name, opt.Members); err != nil {
		return fmt.Errorf("group: %w", err)
	}
	g := &group{name: mail.MustParseAddress(opt.Name).Key(), closed: opt.Closed, members: make(map[mail.Address]bool)}
	for _, m := range p.aliases[g.name] {
		g.members[m.Key()] = true
	}
	if opt.Owner != "" {
		owner, err := mail.ParseAddress(opt.Owner)
		if err != nil {
			return fmt.Errorf("group %q: owner: %w", opt.Name, err)
		}
		g.owner = owner
		g.members[owner.Key()] = true
	}
	p.groups[g.name] = g
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
	return a, a.addAddresses(addresses)
}

func (a *account) addAddresses(addresses []string) error {
	for _, s := range addresses {
		if domain, ok := parsePattern(s); ok {
			a.patterns = append(a.patterns, domain)
			continue
		}
		x, err := mail.ParseAddress(s)
		if err != nil {
			return err
		}
		a.addresses = append(a.addresses, x.Key())
	}
	return nil
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

// add adds an account or an application.
func (p *picture) add(a *account) error {
	if a.application != nil {
		return p.addApplication(a)
	}
	if app := p.accounts[a.address.Local]; app != nil && len(p.domains) > 0 && a.address.Domain == p.domains[0] {
		return fmt.Errorf("%w: %s is an application, and the short name of both is the same", ErrExists, app.name)
	}
	return p.addAccount(a)
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
// longer local, or whose short name an application has by now, may still log in
// by its full name, to collect what is in its mailboxes, and send
// as itself.
func (p *picture) addStored(a *account) error {
	if a.application != nil {
		return p.addApplication(a)
	}
	err := p.addAccount(a)
	if errors.Is(err, ErrUnknownDomain) && p.own[a.address] == nil {
		p.own[a.address] = a
		p.accounts[a.name] = a
		p.order = append(p.order, a)
	}
	return err
}
