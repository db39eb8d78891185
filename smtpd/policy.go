package smtpd

import (
	"errors"
	"net/netip"

	"restante/internal/accept"
	"restante/internal/mail"
)

// policy is who may do what. All of it:
//
//	                      relay                 submission           lmtp
//	says hello with       EHLO, HELO            EHLO, HELO           LHLO
//	AUTH                  over TLS              over TLS             no
//	  SCRAM               also without, with Options.ClearScram
//	a certificate that    stands for AUTH       stands for AUTH      no
//	  is implicit
//	MAIL                  anybody               authenticated        the Unix socket,
//	                                                                 trusted
//	  sender, if          one the account owns  one the account owns -
//	  authenticated
//	RCPT in our domains   anybody, if it        authenticated, if    if it exists
//	                      exists                it exists
//	RCPT elsewhere        trusted,              authenticated        nobody
//	                      authenticated
//	From field, if        only addresses that   only addresses that  -
//	  authenticated       the account owns      the account owns
//	MT-PRIORITY above 0   trusted,              authenticated        yes
//	                      authenticated
//	FUTURERELEASE         trusted,              authenticated        no
//	                      authenticated
//	XONCE=NO              trusted,              authenticated        yes
//	                      authenticated
//	Missing fields,       trusted,              authenticated        left as they are
//	  Bcc, masquerading   authenticated
//	RCPT of a closed      trusted,              authenticated        yes
//	  group               authenticated,
//	                      members elsewhere
//	VRFY                  252, whatever is asked
//	EXPN                  502
//	XCLIENT               from Extensions.XClient, by the address of the
//	                      connection, whatever XCLIENT said of it before
//	PROXY header          from Extensions.Proxy, where it must be there
//
// Who is trusted sends with any sender, without login: printers, cron,
// appliances. The null sender is anybody's, for accounts if Senders says so,
// and mail to a postmaster of ours is taken from whoever may send at all.
//
// The zero policy lets nobody relay.
type policy struct {
	role    Role
	trusted []netip.Prefix
	accept  *accept.Acceptor
	senders Senders
	xclient []netip.Prefix
}

// client is what is known of the other end.
type client struct {
	addr netip.Addr
	tls  bool
	// local tells that it is on this machine, at a Unix socket.
	local   bool
	account string
	// from is the sender of the transaction, size what it declares, in octets.
	from mail.Address
	size int64
}

// transaction tells whether the client may send mail at all.
func (p *policy) transaction(c client) error {
	switch {
	case p.role == LMTP && !c.local && !p.trusts(c.addr):
		return reply{550, code{5, 7, 1}, "LMTP is for trusted networks only"}
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
	origin := accept.Origin{From: c.from, Account: c.account, Trusted: p.trustedClient(c), Size: c.size}
	err := p.accept.Admit(origin, to)
	if errors.Is(err, mail.ErrNoSuchUser) && to.IsPostmaster() && to.Domain != "" {
		// RFC 5321 section 4.5.1: every domain has a postmaster. Where it
		// has none of its own, the house's takes the mail.
		to = mail.Address{Local: to.Local}
		err = p.accept.Admit(origin, to)
	}
	return to, err
}

// trustedClient tells whether the client is trusted without a login.
func (p *policy) trustedClient(c client) bool {
	return p.role != Submission && (c.local || p.trusts(c.addr))
}

// completes tells whether the client's mail is our own, so that it gets the
// fields it lacks (RFC 6409 section 8). LMTP brings mail of other servers.
func (p *policy) completes(c client) bool {
	return p.role == Submission || p.role == Relay && (c.account != "" || p.trustedClient(c))
}

func (p *policy) mayRelay(c client) bool {
	switch {
	case p.role == LMTP:
		return false
	case c.account != "":
		return true
	}
	return p.role == Relay && p.trusts(c.addr)
}

// mayAsk tells whether the client's wishes count that cost others something:
// to go before them, or to be taken twice.
func (p *policy) mayAsk(c client) bool { return p.role == LMTP || p.mayRelay(c) }

// mayXClient tells whether a connection may speak in another's name.
func (p *policy) mayXClient(peer netip.Addr) bool { return within(peer, p.xclient) }

func (p *policy) trusts(addr netip.Addr) bool { return within(addr, p.trusted) }
