package accept

import (
	"restante/internal/header"
	"restante/internal/mail"
	"restante/spool"
)

// Readmit takes in a message that was taken in before, by another node or by
// this one, with what is left of its tasks. It is stored octet by octet as it
// comes, without a Return-Path at most: screens and signers had their say. The
// tasks keep their recipients, sender, times and Held; where they go is found
// out anew, for each recipient, from the envelope and the header, and a
// recipient who is local here is one of a task for a mailbox. Who leads nowhere
// any more is told of when that task is due. Of the submission, the envelope
// counts, and what its story says: By and Rule. What follows is Write for the
// body, and Commit or Abort.
func (a *Acceptor) Readmit(s Submission, tasks []spool.Task, head *header.Block) (*Message, error) {
	// Another server's mail, as far as signers are concerned.
	s.Trusted, s.Screened, s.Complete, s.Recipients = true, true, false, nil
	m := &Message{a: a, block: head}
	for _, t := range tasks {
		s.Recipients = append(s.Recipients, t.Recipients...)
		m.msg.Tasks = append(m.msg.Tasks, a.refile(&s.Envelope, t, head)...)
	}
	m.sub, m.msg.Envelope = s, s.Envelope
	staged, err := a.opt.Intake.Create()
	if err != nil {
		return nil, err
	}
	m.staged = staged
	m.begin()
	return m, nil
}

// refile makes one task for each destination that a task's recipients have here.
func (a *Acceptor) refile(env *mail.Envelope, t spool.Task, head *header.Block) []spool.Task {
	from := env.From
	if t.From != nil {
		from = *t.From
	}
	index := make(map[spool.Destination]int)
	var list []spool.Task
	for _, r := range t.Recipients {
		d := spool.Destination{Route: LocalRoute}
		if !a.Local(r.To) {
			d = a.opt.Route(way(env, from, r.To, func() *header.Block { return head }))
		}
		i, ok := index[d]
		if !ok {
			i = len(list)
			index[d] = i
			into := t
			into.Destination, into.Recipients = d, nil
			list = append(list, into)
		}
		list[i].Recipients = append(list[i].Recipients, r)
	}
	return list
}
