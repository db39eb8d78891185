package accept

import (
	"fmt"

	"restante/internal/archive"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/spool"
)

// ArchiveRoute is for copies that an archive rule sends to an address, which is
// the destination's Domain. The task has that address as its recipient once for
// each of the message's, which is the Original, as archive.Recipient.Text writes
// it; the runner makes the copy, with its envelope in front, and sends it on.
// Like the other destinations of our own it needs no next hop.
const ArchiveRoute = "archive copy"

// ArchiveOriginal is the type in the Original of such recipients.
const ArchiveOriginal = "x-restante-envelope;"

// matching are the rules that keep a message, as far as its envelope tells.
// What is sent again, and our own reports, are not kept: the message that they
// are or tell of has been.
func (a *Acceptor) matching(s *Submission, from mail.Address) []archive.Rule {
	if len(a.opt.Archive) == 0 || s.Again || !s.Complete && !s.Screened {
		return nil
	}
	to := make([]archive.Whither, len(s.Recipients))
	for i, r := range s.Recipients {
		to[i] = archive.Whither{To: r.To, Local: a.Local(r.To)}
	}
	var rules []archive.Rule
	for i := range a.opt.Archive {
		if rule := &a.opt.Archive[i]; rule.Matches(from, s.Complete, to) {
			rules = append(rules, *rule)
		}
	}
	return rules
}

// keep adds the copies to what is committed, so that nothing is archived that
// was not accepted, and nothing accepted escapes. Copies are not for the
// screens: none is held, or put among junk. A copy that cannot be kept refuses
// the message for now.
func (m *Message) keep(b *header.Block) error {
	for i := range m.rules {
		rule := &m.rules[i]
		if !rule.MatchesHeader(b) {
			continue
		}
		if !rule.To.IsNull() {
			t := m.a.task(spool.Destination{Route: ArchiveRoute, Domain: rule.To.String()}, &m.msg.Envelope)
			for _, r := range m.copy(rule.Name).Recipients {
				t.Recipients = append(t.Recipients, mail.Recipient{To: rule.To, Original: ArchiveOriginal + r.Text()})
			}
			m.msg.Tasks = append(m.msg.Tasks, t)
			continue
		}
		d, err := m.a.drawer(Drawer{Owner: rule.Account, Mailbox: rule.MailboxAt(m.a.now())})
		if err != nil {
			return fmt.Errorf("archive %s: %w", rule.Name, err)
		}
		d.Prefix = m.copy(rule.Name).Fields()
		m.msg.Deposits = append(m.msg.Deposits, d)
	}
	return nil
}

// copy is what a copy of the message is kept with.
func (m *Message) copy(rule string) *archive.Copy {
	c := &archive.Copy{Message: m.ID(), Rule: rule, Envelope: m.msg.Envelope}
	known := func() *header.Block { return m.block }
	for _, r := range m.sub.Recipients {
		route := archive.LocalRoute
		if !m.a.Local(r.To) {
			route = m.a.opt.Route(way(&m.msg.Envelope, m.msg.Envelope.From, r.To, known)).Route
		}
		c.Recipients = append(c.Recipients, archive.Recipient{Recipient: r, Route: route})
	}
	return c
}
