package smtpd

import (
	"context"
	"errors"
	"strings"

	gosasl "github.com/emersion/go-sasl"

	"restante/internal/mail"
	"restante/internal/sasl"
)

var (
	errCredentials  = reply{535, code{5, 7, 8}, "Authentication failed"}
	errAuthResponse = reply{501, code{5, 5, 2}, "Malformed authentication response"}
	errTooWeak      = reply{534, code{5, 7, 9}, "Use SCRAM-SHA-256-PLUS, or say that you cannot bind to the channel"}
	errMechanism    = reply{504, code{5, 5, 4}, "Mechanism not supported"}
	errAuthFault    = reply{454, code{4, 7, 0}, "Cannot authenticate at the moment, try again later"}
)

// sources are what the mechanisms ask.
func (s *Server) sources() sasl.Sources {
	o := s.opt
	if o.Auth == nil || o.Role == LMTP {
		return sasl.Sources{}
	}
	return sasl.Sources{
		Passwords: o.Auth, Verifiers: o.Verifiers, Certificates: o.Certificates, Tokens: o.Tokens,
		ClearScram: o.ClearScram, NoBinding: o.NoBinding,
	}
}

// offerAuth notes the mechanisms that the client may use from now on, and
// returns them.
func (s *session) offerAuth() []string {
	s.offered = s.srv.sources().Offer(s.conn.channel)
	return s.offered
}

// Auth begins a SASL exchange.
func (s *session) Auth(mechanism string) (gosasl.Server, error) {
	x, err := s.srv.sources().Start(mechanism, sasl.Peer{
		Addr: s.addr, Channel: s.conn.channel, Offered: s.offered,
		Named: func(user string) error { return s.mayLogIn(s.named(user)) },
	})
	if err != nil {
		return nil, errMechanism.library()
	}
	return exchange{s, x}, nil
}

// exchange is an exchange as the library sees it. What failures cost is in
// logins.go.
type exchange struct {
	s *session
	x *sasl.Exchange
}

// Next passes on a response of the client. Its errors are replies.
func (e exchange) Next(response []byte) (challenge []byte, done bool, err error) {
	s := e.s
	ctx, cancel := context.WithTimeout(s.srv.ctx, s.srv.limits.CommandTimeout)
	defer cancel()
	challenge, done, err = e.x.Next(ctx, response)
	if err != nil {
		return nil, false, s.authError(s.named(e.x.User), err).library()
	}
	if done {
		s.account, s.implied = e.x.Account, false
		s.loggedIn(s.named(e.x.User))
		s.conn.say(reply{235, code{2, 7, 0}, "Authentication succeeded"})
	}
	return challenge, done, nil
}

// named is the name that failures are counted by. A token need not come with
// one: then they count for the client's network alone, and not for all who come
// without a name.
func (s *session) named(user string) string {
	if user == "" {
		return s.srv.network(s.addr).String()
	}
	return user
}

// authError is the reply to an exchange that failed. The log tells more of the
// reason than the client hears.
func (s *session) authError(user string, err error) reply {
	var r reply
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, sasl.ErrMalformed):
		return errAuthResponse
	case errors.Is(err, sasl.ErrDowngrade):
		if r = translate(s.failedLogin(user)); r.code == errCredentials.code {
			r = errTooWeak
		}
		return r
	case errors.Is(err, mail.ErrBadCredentials), errors.Is(err, sasl.ErrChannel), errors.Is(err, sasl.ErrIdentity):
		s.srv.log.Debug("login refused", "remote", s.conn.remote(), "account", user, "error", err)
		return translate(s.failedLogin(user))
	}
	s.srv.log.Error("fault", "while", "authenticating", "remote", s.conn.remote(), "error", err)
	return errAuthFault
}

// certified makes the client the one whose certificate it has shown, where that
// is enough.
func (s *session) certified() {
	if s.conn.channel == nil {
		return
	}
	id, err := s.srv.sources().Certified(s.conn.channel)
	if err == nil && id.Implicit {
		s.account, s.implied = id.Account, true
		s.srv.log.Info("logged in by certificate", "remote", s.conn.remote(), "account", id.Account)
	}
}

// checkAuth tells why there can be no AUTH now.
func (s *session) checkAuth(mechanism string) error {
	switch {
	case s.srv.opt.Auth == nil, s.srv.opt.Role == LMTP:
		return errNotHere
	case s.helo == "":
		return errNoHelo
	case s.account != "" && !s.implied:
		return reply{503, code{5, 5, 1}, "Already authenticated"}
	case s.tx.open:
		return errNested
	}
	if !s.esmtp || s.offered == nil {
		s.offerAuth() // nothing was announced: after HELO, or XCLIENT
	}
	switch {
	case s.conn.tls == nil && len(s.offered) == 0,
		s.conn.tls == nil && !strings.HasPrefix(mechanism, sasl.Scram):
		return reply{538, code{5, 7, 11}, "Encryption required: use STARTTLS first"}
	case mechanism == "":
		return reply{501, code{5, 5, 4}, "Which mechanism?"}
	}
	return nil
}
