package accept

import (
	"restante/internal/mail"
)

// mailable refuses mail from outside that could only come back: to an address
// of ours which leads to nowhere but where nothing is taken. A report of it would
// go to whoever the message says is its sender. Mail of ours is taken, and its
// sender told.
func (a *Acceptor) mailable(from Origin, t Targets) error {
	if a.opt.Refusal == nil || from.Account != "" || from.Trusted || len(t.Accounts) > 0 {
		return nil
	}
	var last mail.Status
	for _, f := range t.Forwards {
		s, refused := a.opt.Refusal(Way{To: f.To, From: from.From})
		if !refused {
			return nil
		}
		last = s
	}
	if last.Code == 0 {
		return nil
	}
	// Where an address of ours leads is nobody's business.
	last.Text, last.Remote = "Mail for this address cannot be delivered where it is forwarded to", ""
	return &RefusedError{last}
}
