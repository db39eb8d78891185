package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/emersion/go-smtp"

	"restante/internal/accept"
	"restante/internal/header"
	"restante/internal/mail"
)

// commitWait bounds how long a commit is waited for. A client waits ten
// minutes for the reply (RFC 5321 section 4.5.3.2.6).
const commitWait = 5 * time.Minute

// session is what the dialogue has come to: who the client is, and the
// transaction. go-smtp calls it; conn looks into it.
type session struct {
	conn *conn
	srv  *Server
	addr netip.Addr
	// peer is who connected, or what a proxy in front told of that; XCLIENT
	// changes addr, shown and name. shown, unless it is nil, is addr for people.
	peer  netip.Addr
	shown net.Addr
	name  string // by XCLIENT, the client's in the DNS

	helo    string
	esmtp   bool
	account string
	// implied: the account is that of a certificate, without AUTH.
	implied bool
	// offered are the mechanisms of AUTH that the client was told of.
	offered []string
	// authFailures counts over the whole connection.
	authFailures int

	tx transaction
	// asked, rcpt and body are the arguments of the command that the library
	// has been given.
	asked mailCommand
	rcpt  rcptCommand
	body  *body
	// envelope is what asked comes to, and granted the reply to it.
	envelope mail.Envelope
	granted  reply
}

// transaction is a mail transaction (RFC 5321 section 3.3).
type transaction struct {
	open bool
	mailCommand
	envelope mail.Envelope
	rcpts    []mail.Recipient
}

var _ smtp.AuthSession = (*session)(nil)

func (s *session) client() client {
	return client{addr: s.addr, tls: s.conn.tls != nil, local: s.local(), account: s.account, from: s.tx.from, size: s.tx.size}
}

// forget drops all that a client said before STARTTLS.
func (s *session) forget() {
	s.helo, s.esmtp, s.account = "", false, ""
	s.implied, s.offered = false, nil
	s.Reset()
}

// Reset ends the transaction.
func (s *session) Reset() {
	s.tx = transaction{}
	s.conn.until = time.Time{}
	s.asked, s.rcpt, s.body = mailCommand{}, rcptCommand{}, nil
}

// Logout has nothing to do: nothing outlives the call it was made in.
func (s *session) Logout() error { return nil }

// Mail opens a transaction. The arguments are those conn has parsed.
func (s *session) Mail(string, *smtp.MailOptions) error {
	if err := s.srv.policy.sender(s.client(), s.asked.from); err != nil {
		return translate(err).library()
	}
	if err := s.takeMessage(); err != nil {
		return translate(err).library()
	}
	s.tx = transaction{open: true, mailCommand: s.asked, envelope: s.envelope}
	s.conn.until = time.Now().Add(s.srv.limits.EnvelopeTimeout)
	s.conn.say(s.granted)
	return nil
}

// Rcpt adds a recipient.
func (s *session) Rcpt(string, *smtp.RcptOptions) error {
	to, err := s.srv.policy.recipient(s.client(), s.rcpt.to)
	if err != nil {
		s.logFault("checking a recipient", err)
		return translate(err).library()
	}
	if err := s.takeRecipient(); err != nil {
		return translate(err).library()
	}
	s.tx.rcpts = append(s.tx.rcpts, mail.Recipient{To: to, Original: s.rcpt.original, Notify: s.rcpt.notify})
	s.conn.say(reply{250, code{2, 1, 5}, "Recipient accepted"})
	return nil
}

// AuthMechanisms is not asked: conn answers EHLO.
func (s *session) AuthMechanisms() []string { return nil }

// Data takes the message that the library believes to be empty. What it
// returns is the reply.
func (s *session) Data(io.Reader) error {
	c, b := s.conn, s.body
	c.lib = nil // the library's 354; ours waits for the spool
	each := s.checkAgain()
	if len(each) > 0 && len(s.tx.rcpts) == 0 {
		s.refuseBody(each)
		return nil
	}
	c.until = time.Now().Add(s.srv.limits.TransferTimeout)
	defer func() { c.until = time.Time{} }()
	id, err := s.receive(b)
	switch {
	case errors.Is(err, errAborted):
		c.silence()
		return err
	case errors.Is(err, errGone):
		return err
	}
	// The reply comes after the message, and the next command after both.
	if !b.drain() {
		c.hangup = true
	}
	if b.doubtful() {
		// Whoever sends such lines may be made to disagree with us on where
		// the message ended. What follows could be its rest.
		c.hangup = true
	}
	answer := reply{250, code{2, 0, 0}, "Accepted as " + id.String()}
	if original := s.takenAs(err); !original.IsZero() {
		answer.text, err = "Accepted as "+original.String()+" before", nil
	}
	if err != nil {
		s.logFault("taking a message", err)
		answer = translate(err)
	} else {
		c.errors, c.refused, c.junk = 0, 0, 0
	}
	if each != nil && b.ended() {
		c.answerEach(each, answer)
	}
	return answer.library()
}

// receive streams a message into the spool and commits it. It returns nil
// only if the commit did.
func (s *session) receive(b *body) (mail.ID, error) {
	if b.chunked && b.left > s.srv.limits.MaxSize {
		return mail.ID{}, errTooBig
	}
	m, err := s.srv.opt.Accept.Submit(s.submission())
	if err != nil {
		return mail.ID{}, fmt.Errorf("beginning a message: %w", err)
	}
	defer m.Abort()
	b.open()
	once := s.fingerprint()
	block, rest, err := header.Read(once.reader(b), s.srv.limits.MaxHeader)
	if err != nil {
		return mail.ID{}, err
	}
	once.header(block)
	if err := s.checkHeader(block); err != nil {
		return mail.ID{}, err
	}
	if err := m.SetHeader(s.srv.ctx, block); err != nil {
		return mail.ID{}, fmt.Errorf("judging the header: %w", err)
	}
	buf := s.srv.copies.Get().(*[copySize]byte)
	defer s.srv.copies.Put(buf)
	if _, err := io.CopyBuffer(writer{m}, rest, buf[:]); err != nil {
		return mail.ID{}, fmt.Errorf("transferring the body: %w", err)
	}
	if err := b.fault(); err != nil {
		return mail.ID{}, err
	}
	if b.eightBit {
		m.Envelope().EightBit = true
	}
	once.mark(m)
	ctx, cancel := context.WithTimeout(s.srv.ctx, commitWait)
	defer cancel()
	receipt, err := m.Commit(ctx)
	if err != nil {
		return mail.ID{}, fmt.Errorf("committing: %w", err)
	}
	s.logAccepted(receipt.ID, b)
	return receipt.ID, nil
}

// copySize is how much of a body is handed over at a time, in octets.
const copySize = 32 << 10

// writer hides all of a message but Write, so that copies use our buffer.
type writer struct{ io.Writer }

// submission is the transaction as accept wants to know it.
func (s *session) submission() accept.Submission {
	p, c := &s.srv.policy, s.client()
	return accept.Submission{
		Envelope: s.sealed(), Recipients: s.tx.rcpts,
		Trusted: p.trustedClient(c), TLS: s.tlsText(), Screened: true, Complete: p.completes(c), Rule: p.standing(c).rule(),
		Trace: s.trace,
	}
}

// sealed is the envelope with what is known of the client.
func (s *session) sealed() mail.Envelope {
	env := s.tx.envelope
	env.Client = mail.Client{Protocol: s.protocol(), Addr: s.addr, Helo: s.helo, Account: s.account}
	return env
}

// checkHeader refuses loops, and authors that the account does not own.
func (s *session) checkHeader(block *header.Block) error {
	if block.Hops() > s.srv.limits.MaxHops {
		return reply{554, code{5, 4, 6}, "Too many hops, the message is in a loop"}
	}
	if s.account == "" {
		return nil
	}
	from, err := authors(block)
	if err != nil {
		return err
	}
	return s.srv.policy.authors(s.client(), from)
}

func (s *session) logAccepted(id mail.ID, b *body) {
	s.srv.log.Info("accepted",
		"id", id.String(), "from", s.tx.from.String(), "remote", s.conn.remote(), "helo", s.helo,
		"account", s.account, "size", b.size, "recipients", len(s.tx.rcpts), "tls", s.tlsText())
}

// logFault logs what is a fault of ours; the reply does not tell.
func (s *session) logFault(what string, err error) {
	if r := translate(err); r == errUnavailable || r == errFull {
		s.srv.log.Error("fault", "while", what, "remote", s.conn.remote(), "error", err)
	}
}
