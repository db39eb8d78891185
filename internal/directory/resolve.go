package directory

import (
	"fmt"
	"slices"
	"strings"

	"restante/internal/accept"
	"restante/internal/mail"
)

// Resolve implements accept.Directory. An address is, in this order: an alias,
// an address of an account, the same without its "+tag", what the domain's
// catch-all takes, and if it is the postmaster, somebody at last: where the
// plain alias "postmaster" leads, the first domain's postmaster, or else the
// first account (RFC 5321 section 4.5.1).
func (d *Directory) Resolve(to mail.Address) (accept.Targets, error) {
	p := d.picture.Load()
	w := walk{picture: p, seen: make(map[mail.Address]bool)}
	w.local(to.Key())
	if len(w.targets.Accounts)+len(w.targets.Forwards) == 0 {
		return accept.Targets{}, fmt.Errorf("<%s>: %w", to, mail.ErrNoSuchUser)
	}
	return w.targets, nil
}

// MaySendAs tells whether an account may use an address as its sender: its
// own, those listed for it, an alias that leads to it, and any of these with a
// "+tag". What reaches it through a catch-all is not its own. The null sender
// claims to be nobody and is free.
func (d *Directory) MaySendAs(account string, from mail.Address) bool {
	p := d.picture.Load()
	a := p.accounts[account]
	if a == nil {
		return false
	}
	if from.IsNull() {
		return true
	}
	from = from.Key()
	for _, x := range []mail.Address{from, untagged(from)} {
		if owner := p.own[x]; owner != nil || p.aliases[x] != nil {
			if owner == a {
				return true
			}
			w := walk{picture: p, seen: make(map[mail.Address]bool)}
			w.local(x)
			if slices.Contains(w.targets.Accounts, a.name) {
				return true
			}
			break // somebody else's: a tag on it is as well
		}
	}
	return slices.Contains(a.patterns, "*") || slices.Contains(a.patterns, from.Domain)
}

// walk follows addresses to their ends. Each alias and each catch-all is
// followed once, which bounds the walk whatever loops there are.
type walk struct {
	picture *picture
	seen    map[mail.Address]bool
	targets accept.Targets
}

func (w *walk) follow(list []mail.Address) {
	for _, to := range list {
		if _, ok := w.picture.catchAll[to.Domain]; ok || to.Domain == "" {
			w.local(to.Key())
		} else if w.first(to) {
			w.targets.Forwards = append(w.targets.Forwards, to)
		}
	}
}

// first tells whether an alias, a catch-all by its bare domain, or an address
// elsewhere is met for the first time.
func (w *walk) first(a mail.Address) bool {
	met := w.seen[a]
	w.seen[a] = true
	return !met
}

func (w *walk) local(to mail.Address) {
	p := w.picture
	for _, x := range []mail.Address{to, untagged(to)} {
		if list, ok := p.aliases[x]; ok && w.first(x) {
			w.follow(list)
			return
		}
		if a := p.own[x]; a != nil {
			w.deposit(a)
			return
		}
		if w.seen[x] {
			return
		}
	}
	if list := p.catchAll[to.Domain]; len(list) > 0 {
		if w.first(mail.Address{Domain: to.Domain}) {
			w.follow(list)
		}
		return
	}
	if to.IsPostmaster() {
		w.postmaster(to)
	}
}

func (w *walk) postmaster(to mail.Address) {
	p := w.picture
	if bare := (mail.Address{Local: "postmaster"}); p.aliases[bare] != nil && to != bare {
		w.local(bare)
		return
	}
	if len(p.domains) > 0 && to.Domain != p.domains[0] {
		w.local(mail.Address{Local: "postmaster", Domain: p.domains[0]})
		return
	}
	for _, a := range p.order {
		if _, ok := p.catchAll[a.address.Domain]; ok {
			w.deposit(a)
			return
		}
	}
}

func (w *walk) deposit(a *account) {
	if !slices.Contains(w.targets.Accounts, a.name) {
		w.targets.Accounts = append(w.targets.Accounts, a.name)
	}
}

// untagged takes "+tag" off a local part.
func untagged(a mail.Address) mail.Address {
	if i := strings.IndexByte(a.Local, '+'); i > 0 {
		a.Local = a.Local[:i]
	}
	return a
}
