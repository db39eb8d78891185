package smtpd

import (
	"errors"
	"net/netip"

	"restante/internal/accept"
	"restante/internal/mail"
)

// policy is who may do what. All of it:
//
//	                      relay                      submission
//	AUTH                  over TLS                   over TLS
//	MAIL                  anybody                    authenticated
//	  sender, if          one the account owns       one the account owns
//	  authenticated
//	RCPT in our domains   anybody, if it exists      authenticated, if it exists
//	RCPT elsewhere        trusted, authenticated     authenticated
//	From field, if        only addresses that        only addresses that
//	  authenticated       the account owns           the account owns
//
// The zero policy lets nobody relay.
type policy struct {
	role    Role
	trusted []netip.Prefix
	accept  *accept.Acceptor
	senders Senders
}

// client is what is known of the other end.
type client struct {
	addr    netip.Addr
	tls     bool
	account string
}

// transaction tells whether the client may send mail at all.
func (p *policy) transaction(c client) error {
	switch {
	case p.role != Submission || c.account != "":
		return nil
	case !c.tls:
		return reply{530, code{5, 7, 0}, "Must issue a STARTTLS command first"}
	}
	return reply{530, code{5, 7, 0}, "Authentication required"}
}

// sender tells whether the client may send as from, which can be null.
func (p *policy) sender(c client, from mail.Address) error {
	if c.account == "" || p.owns(c.account, from) {
		return nil
	}
	return reply{553, code{5, 7, 1}, "Sender is not an address of your account"}
}

// authors tells whether the client may send a message From the addresses.
func (p *policy) authors(c client, from []mail.Address) error {
	if c.account == "" {
		return nil
	}
	for _, a := range from {
		if !p.owns(c.account, a) {
			return reply{550, code{5, 7, 1}, "From field is not an address of your account"}
		}
	}
	return nil
}

func (p *policy) owns(account string, a mail.Address) bool {
	return p.senders != nil && p.senders.MaySendAs(account, a)
}

// recipient tells whether the client may send to an address, and returns the
// address that takes its mail.
func (p *policy) recipient(c client, to mail.Address) (mail.Address, error) {
	if !p.accept.Local(to) {
		if !p.mayRelay(c) {
			return to, reply{550, code{5, 7, 1}, "Relaying denied"}
		}
		return to, nil
	}
	err := p.accept.Check(to)
	if errors.Is(err, mail.ErrNoSuchUser) && to.IsPostmaster() && to.Domain != "" {
		// RFC 5321 section 4.5.1: every domain has a postmaster. Where it
		// has none of its own, the house's takes the mail.
		to = mail.Address{Local: to.Local}
		err = p.accept.Check(to)
	}
	return to, err
}

func (p *policy) mayRelay(c client) bool {
	if c.account != "" {
		return true
	}
	if p.role != Relay {
		return false
	}
	for _, network := range p.trusted {
		if network.Contains(c.addr) {
			return true
		}
	}
	return false
}
