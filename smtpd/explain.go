package smtpd

import (
	"net/netip"

	"restante/internal/accept"
	"restante/internal/mail"
)

// Visit is a client and a transaction that are made up, to hear what would
// become of them.
type Visit struct {
	// Addr is where the client comes from. The zero Addr is a stranger's.
	Addr netip.Addr
	// Local tells that it is at a Unix socket on this machine.
	Local bool
	// TLS tells that the connection is encrypted.
	TLS bool
	// Account is the account that has logged in, "" for none.
	Account string
	From    mail.Address
	// Author is the address in the From field.
	Author mail.Address
	To     []mail.Address
}

// Standing is what a client is to a listener.
type Standing string

// The standings.
const (
	Stranger      Standing = "stranger"
	TrustedClient Standing = "trusted"
	Authenticated Standing = "authenticated"
)

// Answer is the reply to one command of a Visit.
type Answer struct {
	// Command is MAIL, RCPT or DATA; the last stands for what is looked at in
	// the header.
	Command string
	// To is the recipient of RCPT.
	To      mail.Address
	Reply   string
	Refused bool
}

// Explain answers a Visit as a Server of these options would, without a
// connection: by the policy, and nothing else, so that limits and rates do not
// show. What was accepted is returned as accept would be given it.
func Explain(opt Options, v Visit) (Standing, []Answer, accept.Submission) {
	p := newPolicy(opt)
	c := client{addr: v.Addr, local: v.Local, tls: v.TLS, account: v.Account}
	s := accept.Submission{
		Envelope: mail.Envelope{From: v.From, Client: mail.Client{Addr: v.Addr, Account: v.Account}},
		Trusted:  p.trustedClient(c), Screened: true, Complete: p.completes(c),
	}
	standing := p.standing(c)
	answer := func(command string, to mail.Address, good reply, err error) Answer {
		a := Answer{Command: command, To: to, Reply: good.String()}
		if err != nil {
			a.Reply, a.Refused = translate(err).String(), true
		}
		return a
	}
	err := p.transaction(c)
	if err == nil {
		err = p.sender(c, v.From)
	}
	answers := []Answer{answer("MAIL", mail.Address{}, senderAccepted(), err)}
	if err != nil {
		return standing, answers, s
	}
	c.from = v.From
	for _, to := range v.To {
		taken, err := p.recipient(c, to)
		answers = append(answers, answer("RCPT", to, recipientAccepted(), err))
		if err == nil {
			s.Recipients = append(s.Recipients, mail.Recipient{To: taken})
		}
	}
	if err := p.authors(c, []mail.Address{v.Author}); err != nil && !v.Author.IsNull() && len(s.Recipients) > 0 {
		answers = append(answers, answer("DATA", mail.Address{}, reply{}, err))
		s.Recipients = nil
	}
	return standing, answers, s
}

// standing is what a client may send by.
func (p *policy) standing(c client) Standing {
	switch {
	case c.account != "":
		return Authenticated
	case p.trustedClient(c):
		return TrustedClient
	}
	return Stranger
}

// rule tells in the story of a message why it was taken.
func (s Standing) rule() string {
	switch s {
	case Authenticated:
		return "authenticated"
	case TrustedClient:
		return "trusted address"
	}
	return "for recipients here"
}

func senderAccepted() reply    { return reply{250, code{2, 1, 0}, "Sender accepted"} }
func recipientAccepted() reply { return reply{250, code{2, 1, 5}, "Recipient accepted"} }

// newPolicy is the policy of a Server.
func newPolicy(opt Options) policy {
	return policy{role: opt.Role, trusted: opt.Trusted, accept: opt.Accept, senders: opt.Senders, xclient: opt.Extensions.XClient}
}
