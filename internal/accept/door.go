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

// room refuses mail for now that nobody behind an address has room for (RFC 3463,
// X.2.2). As long as one has, the others are given it too: they shall not miss
// what their group got.
func (a *Acceptor) room(from Origin, t Targets) error {
	if a.opt.Full == nil || len(t.Accounts) == 0 || len(t.Forwards) > 0 {
		return nil
	}
	for _, account := range t.Accounts {
		if !a.opt.Full(account, from.Size) {
			return nil
		}
	}
	return &RefusedError{mail.Status{Code: 452, Enhanced: [3]int{4, 2, 2}, Text: "Mailbox is full, try again later"}}
}
