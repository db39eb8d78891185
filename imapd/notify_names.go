package imapd

import (
	"maps"
	"slices"
	"strings"

	"restante/spool"
)

// arrangement compares the names and subscriptions that are there with those that
// the client knows.
type arrangement struct {
	s *session
	n *notifier
	l *listing
	// next is what the client will know.
	next map[spool.MailboxID]*known
	// renamed are the new names by the old ones.
	renamed map[string]string
	// told are the names of which the client shall be told, with the name before if it
	// was renamed.
	told map[string]string
	// barred are those of told that are there and that the client may not read.
	barred map[string]bool
}

// tellNames tells of mailboxes that were made, renamed or deleted, and of
// subscriptions (RFC 5465 sections 5.4, 5.5 and 5.9): of each name once.
func (s *session) tellNames(n *notifier) error {
	l, err := s.watchedListing(n)
	if err != nil {
		return err
	}
	if len(l.boxes) > s.srv.opt.MaxNotified {
		s.overflow()
		return nil
	}
	a := arrangement{
		s: s, n: n, l: l, next: make(map[spool.MailboxID]*known, len(l.boxes)),
		renamed: make(map[string]string), told: make(map[string]string), barred: make(map[string]bool),
	}
	for _, row := range l.boxes {
		if k := n.known[row.ID]; k != nil && k.name != row.Name {
			a.renamed[k.name] = row.Name
		}
	}
	for _, row := range l.boxes {
		if err := a.mailbox(row); err != nil {
			return err
		}
	}
	for id, k := range n.known {
		if a.next[id] == nil {
			if err := a.gone(id, k); err != nil {
				return err
			}
		}
	}
	a.subscriptions()
	// Nothing can fail any more.
	n.known, n.subscribed, n.arranged = a.next, l.subscribed, false
	for _, name := range slices.SortedFunc(maps.Keys(a.told), spool.CompareNames) {
		data := l.notice(name, a.barred[name])
		data.oldName = a.told[name]
		s.listed("LIST", data)
	}
	return nil
}

// mailbox compares one that is there.
func (a *arrangement) mailbox(row spool.Mailbox) error {
	n := a.n
	before := n.known[row.ID]
	isNew := before == nil
	if isNew {
		before = &known{name: row.Name, validity: row.UIDValidity, next: 1, modseq: 1}
		if n.quiet[row.Name] {
			before.take(row)
		}
	}
	k := *before
	k.name = row.Name
	err := a.s.place(n, &k, a.l, row)
	if err == nil && !isNew && (before.events != k.events || before.readable() != k.readable()) {
		k.metadata, err = a.s.boxMetadata(&k, row.ID)
	}
	if err != nil {
		return err
	}
	switch {
	case isNew:
		a.tell(row.Name, "", k.own, mailboxName)
		a.parent(row.Name, k.own)
		put(&n.marked, row.ID)
	case before.name != row.Name:
		if !a.explained(before.name, row.Name) {
			a.tell(row.Name, before.name, k.own, mailboxName)
		}
	case before.readable() != k.readable():
		a.tell(row.Name, "", k.own, ^events(0))
	}
	if !k.readable() {
		a.barred[row.Name] = true
	}
	if !isNew && !before.events.has(messageEvents) {
		k.take(row) // it has not been followed
	}
	if k.events.has(flagChange) && !before.events.has(flagChange) && !n.quiet[row.Name] {
		// Another mailbox may have had the name: its UIDVALIDITY must be told (RFC 5465
		// section 5.1).
		k.next, k.modseq = 0, 0
	}
	if !k.is(row) {
		put(&n.entries, row.ID)
	}
	a.next[row.ID] = &k
	return nil
}

// gone tells of a mailbox that was deleted, or that the client may not see any more.
func (a *arrangement) gone(id spool.MailboxID, k *known) error {
	why := mailboxName
	_, err := a.s.srv.opt.Mailboxes.MailboxByID(id)
	if err != nil && !isNoMailbox(err) {
		return err
	}
	if err == nil {
		a.barred[k.name] = true
		why |= messageEvents | mailboxMetadataChange
	}
	a.tell(k.name, "", k.own, why)
	a.parent(k.name, k.own)
	return nil
}

// explained tells whether a mailbox has another name because one above it has.
func (a *arrangement) explained(from, to string) bool {
	for parent := range above(from) {
		if now, ok := a.renamed[parent]; ok && to == now+strings.TrimPrefix(from, parent) {
			return true
		}
	}
	return false
}

// parent tells of the level above a mailbox that came or went (RFC 5465 section 5.4).
func (a *arrangement) parent(name string, own bool) {
	for parent := range above(name) {
		a.tell(parent, "", own, mailboxName)
		return
	}
}

// subscriptions compares these.
func (a *arrangement) subscriptions() {
	was, now := a.n.subscribed, a.l.subscribed
	changed := func(name string) {
		owner, _, err := a.s.splitName(name)
		a.tell(name, "", err == nil && owner == a.s.account, subscriptionChange)
	}
	for name := range was {
		if !now[name] {
			changed(name)
		}
	}
	for name := range now {
		if !was[name] {
			changed(name)
		}
	}
}

// tell has the client told of a name, if it asked for the event and has not caused it.
func (a *arrangement) tell(name, old string, own bool, why events) {
	n := a.n
	if n.quiet[name] {
		return
	}
	wants := func(name string) bool {
		return n.eventsOf(name, own, n.subscribed[name] || a.l.subscribed[name]).has(why)
	}
	if wants(name) || old != "" && wants(old) {
		if old == "" {
			old = a.told[name]
		}
		a.told[name] = old
	}
}
