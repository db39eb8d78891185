package imapd

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/wire"
	"restante/spool"
)

// events are those of NOTIFY (RFC 5465 section 5), as bits.
type events uint8

const (
	messageNew events = 1 << iota
	messageExpunge
	flagChange
	mailboxName
	subscriptionChange
	mailboxMetadataChange
	serverMetadataChange

	messageEvents = messageNew | messageExpunge | flagChange
)

// eventNames are the events that there are, from the lowest bit.
const eventNames = "MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange"

// codeOverflow is of RFC 5465 section 5.8.
const codeOverflow imap.ResponseCode = "NOTIFICATIONOVERFLOW"

func (e events) has(some events) bool { return e&some != 0 }

// eventOf returns the event of a name in capitals; 0 if there is none.
func eventOf(word string) events {
	for i, name := range strings.Fields(eventNames) {
		if strings.ToUpper(name) == word {
			return 1 << i
		}
	}
	return 0
}

// maxGroups bounds the event groups of one NOTIFY.
const maxGroups = 100

// eventGroup asks for events of some mailboxes; 0 is NONE: no events of these,
// whatever other groups say.
type eventGroup struct {
	source
	events events
}

// notifier is what a client has asked for with NOTIFY, and what it knows. The zero
// notifier is NOTIFY NONE. What happens is not queued: watch says where to look, and
// what is there is compared with what the client knows.
type notifier struct {
	// selected are the events of the selected mailbox; delayed tells to hold back
	// expunges until a command lets them through. fetch is what is told of new
	// messages, nil for nothing.
	selected events
	delayed  bool
	fetch    *query
	groups   []eventGroup

	// watch is nil if no mailbox but the selected one matters.
	watch spool.Watcher
	known map[spool.MailboxID]*known
	// subscribed are the subscriptions, server the sums of the server's metadata.
	subscribed map[string]bool
	server     map[string]uint64

	// What is to be looked at: names and subscriptions, all of it, the rows of some
	// mailboxes, the attributes of some.
	arranged, everything bool
	entries, marked      map[spool.MailboxID]bool
	// What the client has done itself since it was told last, of which it is not told:
	// names that it has arranged, and messages that came or went by it.
	quiet map[string]bool
	mine  map[spool.MailboxID][]spool.UID
}

// hears tells whether the client is told of messages of the selected mailbox.
func (n *notifier) hears() bool { return n == nil || n.selected != 0 }

// wants tells whether a group asks for an event.
func (n *notifier) wants(e events) bool {
	for _, g := range n.groups {
		if g.events.has(e) {
			return true
		}
	}
	return false
}

// eventsOf are the events that are asked for of a mailbox that is not selected.
func (n *notifier) eventsOf(name string, own, subscribed bool) (e events) {
	for _, g := range n.groups {
		if !g.has(name, own, subscribed) {
			continue
		}
		if g.events == 0 {
			return 0
		}
		e |= g.events
	}
	return e
}

// notifyParser reads a NOTIFY.
type notifyParser struct {
	s *session
	d *wire.Decoder
	n *notifier
	// names counts those of mailboxes, groups the event groups.
	names, groups int
	// about tells that a group is about the selected mailbox, unknown that an event
	// is not supported.
	about, unknown bool
}

// parseNotify reads NOTIFY (RFC 5465 section 3.1).
func (s *session) parseNotify(d *wire.Decoder, _ call) action {
	d.Space()
	p := notifyParser{s: s, d: d, n: new(notifier)}
	status := false
	switch d.Word() {
	case "NONE":
		return func() error { return s.setNotify(p.n, false) }
	case "SET":
		d.Space()
		if d.Peek() != '(' {
			if status = d.Word() == "STATUS"; !status {
				d.Fail("Expected STATUS or an event group")
			}
			d.Space()
		}
		p.group()
		for d.Err() == nil && d.TrySpace() {
			p.group()
		}
	default:
		d.Fail("NOTIFY takes SET or NONE")
	}
	return func() error {
		switch {
		case p.unknown:
			return no("BADEVENT ("+eventNames+")", "Some of these events are not supported")
		case p.groups > maxGroups || p.names > maxSources:
			return no(codeOverflow, "Too many mailboxes or event groups in one NOTIFY")
		}
		return s.setNotify(p.n, status)
	}
}

// group reads an event group.
func (p *notifyParser) group() {
	d := p.d
	d.Expect('(')
	g := eventGroup{source: source{kind: d.Word()}}
	switch g.kind {
	case "SELECTED", "SELECTED-DELAYED":
		if p.about {
			d.Fail("Only one event group can be about the selected mailbox")
		}
		p.about = true
		d.Space()
		p.n.selected = p.events(true)
		p.n.delayed = g.kind == "SELECTED-DELAYED"
		if p.n.selected.has(^messageEvents) {
			d.Fail("Only events of messages are for the selected mailbox")
		}
		d.Expect(')')
		return
	case "INBOXES", "PERSONAL", "SUBSCRIBED":
	case "SUBTREE", "MAILBOXES":
		d.Space()
		g.names = p.s.sourceNames(d, &p.names)
	default:
		d.Fail("Unknown mailbox specifier of NOTIFY")
	}
	d.Space()
	g.events = p.events(false)
	d.Expect(')')
	if p.groups++; p.groups <= maxGroups {
		p.n.groups = append(p.n.groups, g)
	}
}

// events reads a list of events. Where they are the selected mailbox's MessageNew may
// say what shall be told of a message.
func (p *notifyParser) events(selected bool) (e events) {
	d := p.d
	if d.Peek() != '(' {
		if d.Word() != "NONE" {
			d.Fail("Events stand in parentheses")
		}
		return 0
	}
	count := 0
	d.List(func() {
		count++
		one := eventOf(d.Word())
		p.unknown = p.unknown || one == 0
		e |= one
		if q := new(query); one == messageNew && selected && d.TryAfterSpace(func() { q.item(d, false) }) {
			p.n.fetch = q
		}
	})
	switch {
	case d.Err() != nil || p.unknown:
	case count == 0:
		d.Fail("An event is missing")
	case !selected:
		// RFC 5465 section 5 wants the two below for all mailboxes, but Dovecot, and
		// so clients, take each event by itself where it is not the selected one.
	case e.has(messageNew) != e.has(messageExpunge):
		d.Fail("MessageNew and MessageExpunge go together")
	case e.has(flagChange) && !e.has(messageNew):
		d.Fail("FlagChange needs MessageNew and MessageExpunge")
	}
	return e
}

// setNotify takes up what the client has asked for. NOTIFY SET is a NOOP, too: what
// the client would have heard up to now it does.
func (s *session) setNotify(n *notifier, status bool) error {
	if n.selected != 0 || len(n.groups) > 0 {
		s.poll(true)
	}
	if len(n.groups) > 0 {
		l, err := s.survey(n)
		if err != nil {
			n.stop()
			return s.failure("notify", err)
		}
		s.tellSurvey(n, l, status)
	}
	s.notify.stop()
	s.notify = n
	return nil
}

// stop ends the watch.
func (n *notifier) stop() {
	if n != nil && n.watch != nil {
		n.watch.Stop()
		n.watch = nil
	}
}

// overflow ends notifications that have become too many.
func (s *session) overflow() {
	s.log.Warn("too many mailboxes for NOTIFY", "limit", s.srv.opt.MaxNotified)
	s.out.Raw("* OK [").Raw(string(codeOverflow)).Raw("] Too many mailboxes to watch; there are no notifications any more").CRLF()
	s.notify.stop()
	s.notify = new(notifier)
}

// arranged takes note that the client itself has changed names or subscriptions.
func (s *session) arranged(names ...string) {
	n := s.notify
	if n == nil || n.watch == nil {
		return
	}
	for _, name := range names {
		name = spool.CanonicalName(name)
		put(&n.quiet, name)
		for parent := range above(name) {
			put(&n.quiet, parent)
		}
	}
	n.arranged = true
}

// moved takes note that messages came into a mailbox, or went, by the client itself.
func (s *session) moved(id spool.MailboxID, uids []spool.UID) {
	if s.box != nil && s.box.view.Mailbox() == id {
		if s.notify.hears() {
			s.box.mine = append(s.box.mine, uids...)
		}
		return
	}
	n := s.notify
	if n == nil || n.known[id] == nil {
		return
	}
	if n.mine == nil {
		n.mine = make(map[spool.MailboxID][]spool.UID)
	}
	n.mine[id] = append(n.mine[id], uids...)
	put(&n.entries, id)
}

// leave closes the selected mailbox. What the client was not told of it is a matter
// of the other event groups from now on.
func (s *session) leave() {
	if s.box == nil {
		return
	}
	if n, v := s.notify, s.box.view; n != nil {
		if k := n.known[v.Mailbox()]; k != nil {
			k.next, k.messages, k.modseq = 0, v.Len(), v.Told()
			put(&n.entries, v.Mailbox())
		}
	}
	s.srv.opt.Keywords.leave(s.box.view.Mailbox(), s.box.vocabulary)
	s.box = nil
}

func put[K comparable](set *map[K]bool, key K) {
	if *set == nil {
		*set = make(map[K]bool)
	}
	(*set)[key] = true
}
