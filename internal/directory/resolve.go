package directory

import (
	"fmt"
	"slices"
	"strings"

	"restante/internal/accept"
	"restante/internal/mail"
)

// maxTargets bounds what one address leads to.
const maxTargets = 10_000

// Resolve implements accept.Directory. An address is, in this order: an alias
// or a group, an address of an account, the same without its "+tag", what the
// domain's catch-all takes, and if it is the postmaster, somebody at last:
// where the plain alias "postmaster" leads, the first domain's postmaster, or
// else the first account (RFC 5321 section 4.5.1).
func (d *Directory) Resolve(to mail.Address, trace func(accept.Step)) (accept.Targets, error) {
	w := walk{picture: d.picture.Load(), seen: make(map[mail.Address]bool), trace: trace}
	w.local(to.Key())
	if len(w.targets.Accounts)+len(w.targets.Forwards) == 0 {
		return accept.Targets{}, fmt.Errorf("<%s>: %w", to, mail.ErrNoSuchUser)
	}
	if len(w.targets.Accounts)+len(w.targets.Forwards) > maxTargets {
		return accept.Targets{}, fmt.Errorf("<%s> leads to more than %d addresses", to, maxTargets)
	}
	return w.targets, nil
}

// MaySendAs tells whether an account may use an address as its sender: its
// own, those listed for it, those of shared mailboxes whose sender it is, an alias
// that leads to it, and any of these with a "+tag". What reaches it through a catch-all is not its own. The null sender
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
	if a.application != nil {
		return a.maySendAs(from)
	}
	for _, x := range []mail.Address{from, untagged(from)} {
		if owner := p.own[x]; owner != nil || p.aliases[x] != nil {
			if owner == a {
				return true
			}
			w := walk{picture: p, seen: make(map[mail.Address]bool)}
			w.local(x)
			if p.lends(w.targets.Accounts, a.name) {
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
	// owner is that of the innermost group with one, null outside of groups.
	owner mail.Address
	trace func(accept.Step) // may be nil
}

func (w *walk) step(rule accept.Rule, from mail.Address, to ...mail.Address) {
	if w.trace != nil {
		w.trace(accept.Step{Rule: rule, Address: from, To: to})
	}
}

func (w *walk) follow(list []mail.Address) {
	for _, to := range list {
		if _, ok := w.picture.catchAll[to.Domain]; ok || to.Domain == "" {
			w.local(to.Key())
		} else if w.first(to) {
			w.targets.Forwards = append(w.targets.Forwards, accept.Forward{To: to, Sender: w.owner})
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
			w.tag(to, x)
			w.alias(x, list)
			return
		}
		if a := p.own[x]; a != nil {
			w.tag(to, x)
			w.deposit(x, a)
			return
		}
		if w.seen[x] {
			return
		}
	}
	if list := p.catchAll[to.Domain]; len(list) > 0 {
		if w.first(mail.Address{Domain: to.Domain}) {
			w.step(accept.RuleCatchAll, to, list...)
			w.follow(list)
		}
		return
	}
	if to.IsPostmaster() {
		w.postmaster(to)
		return
	}
	w.step(accept.RuleNobody, to)
}

// tag traces that "+tag" was taken off.
func (w *walk) tag(to, x mail.Address) {
	if to != x {
		w.step(accept.RuleTag, to, x)
	}
}

// alias follows an alias or a group.
func (w *walk) alias(name mail.Address, list []mail.Address) {
	g := w.picture.groups[name]
	if g == nil {
		w.step(accept.RuleAlias, name, list...)
		w.follow(list)
		return
	}
	w.step(accept.RuleGroup, name, list...)
	if g.closed {
		w.targets.Closed = append(w.targets.Closed, accept.Closed{Name: name, Admits: func(a mail.Address) bool { return g.members[a.Key()] }})
	}
	outer := w.owner
	if !g.owner.IsNull() {
		w.owner = g.owner
	}
	w.follow(list)
	w.owner = outer
}

func (w *walk) postmaster(to mail.Address) {
	p := w.picture
	if bare := (mail.Address{Local: "postmaster"}); p.aliases[bare] != nil && to != bare {
		w.step(accept.RulePostmaster, to, bare)
		w.local(bare)
		return
	}
	if len(p.domains) > 0 && to.Domain != p.domains[0] {
		first := mail.Address{Local: "postmaster", Domain: p.domains[0]}
		w.step(accept.RulePostmaster, to, first)
		w.local(first)
		return
	}
	for _, a := range p.order {
		if _, ok := p.catchAll[a.address.Domain]; ok {
			w.step(accept.RulePostmaster, to, a.address)
			w.deposit(a.address, a)
			return
		}
	}
}

func (w *walk) deposit(to mail.Address, a *account) {
	w.step(accept.RuleAccount, to, a.address)
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
