package imapd

import (
	"github.com/emersion/go-imap/v2"
	gosasl "github.com/emersion/go-sasl"

	"restante/internal/sasl"
)

// sources are what the mechanisms ask.
func (s *Server) sources() sasl.Sources {
	o := s.opt
	return sasl.Sources{Passwords: o.Auth, Verifiers: o.Verifiers, Certificates: o.Certificates, Tokens: o.Tokens, NoBinding: o.NoBinding}
}

// AuthenticateMechanisms is what AUTHENTICATE takes. The library asks for it
// only under TLS, for each list of capabilities.
func (s *session) AuthenticateMechanisms() []string {
	s.offered = s.srv.sources().Offer(s.link.channel)
	return s.offered
}

// Authenticate returns the server's side of a mechanism.
func (s *session) Authenticate(mechanism string) (gosasl.Server, error) {
	if s.offered == nil {
		s.AuthenticateMechanisms()
	}
	x, err := s.srv.sources().Start(mechanism, sasl.Peer{
		Addr: s.link.client.remote, Channel: s.link.channel, Offered: s.offered,
	})
	if err != nil {
		return nil, no(imap.ResponseCodeCannot, "Mechanism is not supported")
	}
	return exchange{s, x}, nil
}

// exchange is an exchange as the library sees it.
type exchange struct {
	s *session
	x *sasl.Exchange
}

// Next passes on a response of the client. Its errors are answers.
func (e exchange) Next(response []byte) (challenge []byte, done bool, err error) {
	challenge, done, err = e.x.Next(e.s.ctx, response)
	if err != nil {
		return nil, false, e.s.loginError(e.x.User, err)
	}
	if done {
		return nil, true, e.s.enter(e.x.User, e.x.Account)
	}
	return challenge, false, nil
}
