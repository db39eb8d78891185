package smtpd

import "restante/internal/mail"

// An LMTP server (RFC 2033) differs from the others in three things: the
// client says LHLO, nobody relays, and the end of a message has one reply for
// each recipient that was accepted.

var errHelloLMTP = reply{500, code{5, 5, 1}, "This is LMTP, say LHLO"}

// noRecipients is the reply to DATA and BDAT without a recipient; RFC 2033
// section 4.2 wants another.
func (s *session) noRecipients() error {
	if s.srv.opt.Role == LMTP {
		return reply{503, errNoRcpt.enhanced, errNoRcpt.text}
	}
	return errNoRcpt
}

// checkAgain drops the recipients that are no longer there, and returns for
// each what became of it: nil if it is to have the message. One commit decides
// about them all then. Outside LMTP, where there is one reply for all, it does
// and returns nothing.
func (s *session) checkAgain() []error {
	if s.srv.opt.Role != LMTP {
		return nil
	}
	results := make([]error, len(s.tx.rcpts))
	var left []mail.Recipient
	for i, r := range s.tx.rcpts {
		if _, results[i] = s.srv.policy.recipient(s.client(), r.To); results[i] == nil {
			left = append(left, r)
		}
	}
	s.tx.rcpts = left
	return results
}

// ended tells whether the client has sent the end of its message, so that
// each of its recipients is to be answered; until then one reply does.
func (b *body) ended() bool { return b.opened && !b.chunked || b.last }

// refuseBody answers a message that nobody is there for any more. DATA is
// answered in the place of 354, BDAT after its chunk.
func (s *session) refuseBody(each []error) {
	c, b := s.conn, s.body
	if b.chunked && !b.drain() {
		c.hangup = true
	}
	if b.ended() {
		c.answerEach(each, reply{})
		return
	}
	c.say(translate(each[0]))
}

// answerEach gives each recipient its reply, in the order of RCPT; those
// without an error of their own have the message's.
func (c *conn) answerEach(each []error, message reply) {
	var text []byte
	for _, err := range each {
		r := message
		if err != nil {
			r = translate(err)
		}
		text = append(text, r.wire()...)
	}
	c.instead, c.replaced = text, true
}
