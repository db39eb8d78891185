package smtpd

import (
	"bytes"
	"context"
	"errors"

	"github.com/emersion/go-sasl"

	"restante/internal/mail"
)

var (
	errCredentials  = reply{535, code{5, 7, 8}, "Authentication failed"}
	errAuthResponse = reply{501, code{5, 5, 2}, "Malformed authentication response"}
)

// authenticate checks a password and notes the account. Its errors are
// replies. What failures cost is in logins.go.
func (s *session) authenticate(user, password string) error {
	ctx, cancel := context.WithTimeout(s.srv.ctx, s.srv.limits.CommandTimeout)
	defer cancel()
	if err := s.mayLogIn(user); err != nil {
		return translate(err).library()
	}
	account, err := s.srv.opt.Auth.Authenticate(ctx, user, password, s.addr)
	switch {
	case err == nil && account != "":
		s.account = account
		s.loggedIn(user)
		s.conn.say(reply{235, code{2, 7, 0}, "Authentication succeeded"})
		return nil
	case !errors.Is(err, mail.ErrBadCredentials):
		s.srv.log.Error("fault", "while", "authenticating", "remote", s.conn.remote(), "error", err)
		return reply{454, code{4, 7, 0}, "Cannot authenticate at the moment, try again later"}.library()
	}
	return translate(s.failedLogin(user)).library()
}

// plainServer is PLAIN (RFC 4616).
type plainServer struct {
	authenticate func(user, password string) error
}

var _ sasl.Server = (*plainServer)(nil)

// Next takes the one response; nil asks for it. An authorization identity
// other than the authentication identity is nobody's right.
func (p *plainServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil {
		return nil, false, nil
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 {
		return nil, false, errAuthResponse.library()
	}
	if len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return nil, false, errCredentials.library()
	}
	err = p.authenticate(string(parts[1]), string(parts[2]))
	return nil, err == nil, err
}

// loginServer is LOGIN, which was never standardised but is all that some
// devices speak: the user name and the password, each asked for. The name may
// come as initial response.
type loginServer struct {
	authenticate func(user, password string) error
	user         []byte
	named        bool
}

var _ sasl.Server = (*loginServer)(nil)

// Next takes the name, then the password.
func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil:
		return []byte("Username:"), false, nil
	case !l.named:
		if len(response) == 0 {
			return nil, false, errAuthResponse.library()
		}
		l.user, l.named = bytes.Clone(response), true
		return []byte("Password:"), false, nil
	}
	err = l.authenticate(string(l.user), string(response))
	return nil, err == nil, err
}
