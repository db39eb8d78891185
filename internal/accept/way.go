package accept

import (
	"bytes"
	"slices"
	"sync"

	"restante/internal/header"
	"restante/internal/mail"
	"restante/spool"
)

// Way asks which way the mail of a recipient elsewhere goes. It is asked when
// the recipient is accepted, again when the header is complete, and before
// each attempt: the answers are the same unless the routes have changed.
type Way struct {
	// To is the recipient, From the sender that the message leaves here with:
	// after masquerading, SRS and the owners of groups, before a route's own
	// rewriting.
	To, From mail.Address
	// Account is who has logged in to hand the message over, an account or an
	// application; "" is nobody.
	Account string
	// Header returns the header as it is stored, with our trace fields. It is
	// called only if an answer depends on it. Nil, or a nil block, is a header
	// that is not known.
	Header func() *header.Block
}

// way is the question about a recipient of a message that leaves with a sender.
func way(env *mail.Envelope, from, to mail.Address, head func() *header.Block) Way {
	return Way{To: to, From: from, Account: env.Client.Account, Header: head}
}

// route asks again which way the message goes, with the header that it is
// stored with, and sorts the recipients into other tasks where that decides.
func (m *Message) route(head []byte) {
	known := sync.OnceValue(func() *header.Block { return readHeader(head) })
	ask := func(t *spool.Task, to mail.Address) spool.Destination {
		if OwnRoute(t.Destination.Route) {
			return t.Destination
		}
		from := m.msg.Envelope.From
		if t.From != nil {
			from = *t.From
		}
		return m.a.opt.Route(way(&m.msg.Envelope, from, to, known))
	}
	if !slices.ContainsFunc(m.msg.Tasks, func(t spool.Task) bool {
		return slices.ContainsFunc(t.Recipients, func(r mail.Recipient) bool { return ask(&t, r.To) != t.Destination })
	}) {
		return
	}
	index := make(map[taskKey]int)
	var tasks []spool.Task
	for _, t := range m.msg.Tasks {
		for _, r := range t.Recipients {
			key := taskKey{Destination: ask(&t, r.To)}
			if t.From != nil {
				key.own, key.from = true, *t.From
			}
			i, ok := index[key]
			if !ok {
				i = len(tasks)
				index[key] = i
				into := m.a.task(key.Destination, &m.msg.Envelope)
				into.From, into.Held = t.From, t.Held
				tasks = append(tasks, into)
			}
			tasks[i].Recipients = append(tasks[i].Recipients, r)
		}
	}
	m.msg.Tasks = tasks
}

// readHeader reads the header of a head as it is read from the whole message.
func readHeader(head []byte) *header.Block {
	block, _, err := header.Read(bytes.NewReader(head), spool.MaxHead)
	if err != nil {
		return nil
	}
	return block
}
