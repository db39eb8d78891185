package archive

import (
	"slices"
	"strings"
	"time"

	"restante/internal/header"
	"restante/internal/mail"
)

// Direction is which way mail goes: a set of bits.
type Direction uint8

// The directions. Ours is mail of accounts, trusted clients and programs on this
// machine; which addresses are ours is as they were written, before aliases
// are followed.
const (
	// In is mail from outside to addresses of ours.
	In Direction = 1 << iota
	// Out is mail of ours to addresses elsewhere.
	Out
	// Local is mail of ours to addresses of ours.
	Local
)

// Pattern selects addresses: "alice@example.org" that one, "example.org" those
// of the domain, "*.example.org" those of the domains below it, "<>" the null
// sender. Letters in any case.
type Pattern string

// Match tells whether an address is selected.
func (p Pattern) Match(a mail.Address) bool {
	s := strings.ToLower(string(p))
	a = a.Key()
	switch below, wild := strings.CutPrefix(s, "*"); {
	case s == "<>":
		return a.IsNull()
	case strings.Contains(s, "@"):
		return strings.ToLower(a.String()) == s
	case wild:
		return strings.HasSuffix(a.Domain, below)
	}
	return a.Domain == s && s != ""
}

// Rule keeps copies of some mail. All of its conditions must hold; one that is
// empty holds always.
type Rule struct {
	// Name is what copies and the log call it.
	Name string
	// Senders are those of the envelope. Recipients and Directions must both
	// hold for one recipient at least.
	Senders, Recipients []Pattern
	Directions          Direction
	// Header is the name of a field that must be there; Value, unless it is "",
	// is what it must be, letters in any case.
	Header, Value string

	// Account is the address of the account whose mailbox takes the copies;
	// the mailbox is made when it is needed. With Monthly there is one below it
	// for each month, by UTC: "Journal/2026-11".
	Account mail.Address
	Mailbox string
	Monthly bool
	// To, if Account is null, is an address that copies are sent to.
	To mail.Address
}

// MailboxAt is the mailbox for a copy that is made at a time.
func (r *Rule) MailboxAt(now time.Time) string {
	if r.Monthly {
		return r.Mailbox + "/" + now.UTC().Format("2006-01")
	}
	return r.Mailbox
}

// Whither is one recipient of a message, and whether he is an address of ours.
type Whither struct {
	To    mail.Address
	Local bool
}

// Matches tells whether a rule keeps a message of ours or of others, as far as
// its envelope tells.
func (r *Rule) Matches(from mail.Address, ours bool, to []Whither) bool {
	if len(r.Senders) > 0 && !slices.ContainsFunc(r.Senders, func(p Pattern) bool { return p.Match(from) }) {
		return false
	}
	return slices.ContainsFunc(to, func(w Whither) bool {
		return (r.Directions == 0 || r.Directions&direction(ours, w.Local) != 0) &&
			(len(r.Recipients) == 0 || slices.ContainsFunc(r.Recipients, func(p Pattern) bool { return p.Match(w.To) }))
	})
}

// direction is none for what others send to others.
func direction(ours, local bool) Direction {
	switch {
	case ours && local:
		return Local
	case ours:
		return Out
	case local:
		return In
	}
	return 0
}

// MatchesHeader tells whether the header is as the rule wants it.
func (r *Rule) MatchesHeader(b *header.Block) bool {
	if r.Header == "" {
		return true
	}
	return slices.ContainsFunc(b.Fields(), func(f header.Field) bool {
		return f.Is(r.Header) && (r.Value == "" || strings.EqualFold(strings.TrimSpace(f.Value()), r.Value))
	})
}
