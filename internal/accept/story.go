package accept

import (
	"fmt"
	"strings"

	"restante/internal/header"
	"restante/internal/mail"
	"restante/internal/screen"
	"restante/spool"
)

// taken is a rule that was applied to a recipient, or to the sender.
type taken struct {
	rcpt mail.Address
	Step
}

// noteStep remembers a rule for the story. Where mail goes in the end the
// deposits and tasks tell.
func (m *Message) noteStep(rcpt mail.Address, s Step) {
	if s.Rule != RuleElsewhere && s.Rule != RuleAccount {
		m.steps = append(m.steps, taken{rcpt, s})
	}
}

// screened remembers what a screen did.
func (m *Message) screened(format string, args ...any) {
	m.said = append(m.said, spool.Event{Kind: spool.EventScreened, Text: fmt.Sprintf(format, args...)})
}

// name finds the message's Message-ID, by which its story is found.
func (m *Message) name(e *header.Editor) {
	id, _ := e.Get("Message-ID")
	m.msg.MessageID = spool.BareMessageID(id)
}

// begun makes the beginning of the message's story.
func (m *Message) begun() {
	s, c := &m.sub, &m.sub.Envelope.Client
	first := spool.Event{Kind: spool.EventAccepted, By: s.By, Host: c.Helo, TLS: s.TLS, Text: c.Protocol, To: make([]mail.Address, len(s.Recipients))}
	if c.Account != "" {
		first.By = c.Account
	}
	if c.Addr.IsValid() {
		first.Addr = c.Addr.String()
	}
	if s.Rule != "" {
		first.Text = strings.TrimPrefix(first.Text+"; "+s.Rule, "; ")
	}
	for i, r := range s.Recipients {
		first.To[i] = r.To
	}
	list := append(make([]spool.Event, 0, 2+len(m.msg.Deposits)+len(m.steps)+len(m.said)), first)
	list = append(list, m.said...)
	for _, t := range m.steps {
		list = append(list, t.event())
	}
	for i, d := range m.msg.Deposits {
		e := spool.Event{Kind: spool.EventDeposited, Text: d.Account + "/" + depositName(d)}
		if i < len(m.owners) {
			e.To = []mail.Address{m.owners[i]}
		}
		list = append(list, e)
	}
	m.msg.Events = list
}

func depositName(d spool.Deposit) string {
	if d.Mailbox == "" {
		return spool.Inbox
	}
	return spool.CanonicalName(d.Mailbox)
}

// maxNamed is how many of the addresses that a rule leads to are named.
const maxNamed = 5

// event tells of a rule. One about the sender is no recipient's.
func (t *taken) event() spool.Event {
	e := spool.Event{Kind: spool.EventRewritten, Text: string(t.Rule)}
	sender := t.Rule == RuleMasquerade || t.Rule == RuleSRS || t.Rule == RuleOwner || t.Rule == RuleKept
	switch {
	case sender:
		e.Text += ": sender " + t.Address.String()
	case t.Address == t.rcpt:
		e.To = []mail.Address{t.rcpt}
	default:
		// Further on the way of that recipient.
		e.To = []mail.Address{t.rcpt}
		e.Text += ": " + t.Address.String()
	}
	for i, to := range t.To {
		switch i {
		case 0:
			e.Text += " to " + to.String()
		case maxNamed:
			e.Text += fmt.Sprintf(" and %d more", len(t.To)-i)
			return e
		default:
			e.Text += ", " + to.String()
		}
	}
	return e
}

// tellVerdict remembers what a screen that lets the message pass says and does.
func (m *Message) tellVerdict(v screen.Verdict) {
	for _, f := range header.Parse(v.Fields).Fields() {
		if f.Is("Authentication-Results") {
			m.screened("%s", strings.Join(strings.Fields(f.Value()), " "))
		}
	}
	if n := len(v.Edits); n > 0 {
		m.screened("changes of the header: %d", n)
	}
	if v.From != nil {
		m.screened("the sender is now <%s>", v.From)
	}
	for _, to := range v.Remove {
		m.screened("recipient removed: %s", to)
	}
}
