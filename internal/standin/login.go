package standin

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"

	"restante/internal/mail"
	"restante/internal/sasl"
)

// login is the one login that a Server knows, for the mechanisms of
// Options.Mechanisms.
type login struct {
	username, password, token string
}

func (l login) sources() sasl.Sources {
	return sasl.Sources{Passwords: l, Verifiers: l, Tokens: l}
}

func (l login) Authenticate(_ context.Context, user, password string, _ netip.Addr) (string, error) {
	if user != l.username || password != l.password || l.password == "" {
		return "", mail.ErrBadCredentials
	}
	return user, nil
}

func (login) Complete() bool { return true }

func (l login) Verifier(user string) sasl.Verifier {
	salt := []byte("standin's salt")
	v := sasl.Verifier{Salt: salt, Iterations: sasl.MinIterations}
	if user == l.username {
		if keys, err := sasl.Derive(l.password, salt, v.Iterations); err == nil {
			v.Keys = []sasl.Keys{keys}
		}
	}
	return v
}

func (l login) Proved(user string, _ sasl.Keys) (string, error) { return user, nil }

func (l login) Token(_ context.Context, token string) (string, error) {
	if token != l.token || token == "" {
		return "", mail.ErrBadCredentials
	}
	return l.username, nil
}

func (login) Discovery() string { return "https://issuer.test/.well-known/openid-configuration" }

// exchange plays the server's part of a mechanism.
func (s *session) exchange(mechanism, initial string) error {
	opt := s.srv.opt
	peer := sasl.Peer{Offered: opt.Mechanisms}
	if conn, ok := s.conn.(*tls.Conn); ok {
		peer.Channel = &sasl.Channel{State: conn.ConnectionState(), Certificate: s.srv.cert.Certificate.Leaf}
	}
	x, err := login{opt.Username, opt.Password, opt.Token}.sources().Start(mechanism, peer)
	if err != nil {
		return s.reply(504, "5.5.4 unknown mechanism")
	}
	var response []byte
	if initial != "" {
		response = []byte(decode(initial))
	}
	for {
		challenge, done, err := x.Next(context.Background(), response)
		switch {
		case errors.Is(err, mail.ErrBadCredentials):
			return s.reply(535, "5.7.8 wrong")
		case err != nil:
			return s.reply(501, "5.5.2 "+err.Error())
		case done:
			s.account = x.Account
			return s.reply(235, "2.7.0 welcome")
		}
		if err := s.reply(334, base64.StdEncoding.EncodeToString(challenge)); err != nil {
			return err
		}
		line, err := s.r.ReadString('\n')
		if err != nil {
			return err
		}
		response = []byte(decode(strings.TrimRight(line, "\r\n")))
	}
}

func (s *session) auth(rest string) error {
	if done, err := s.play(Auth, ""); done || err != nil {
		return err
	}
	mechanism, initial, _ := strings.Cut(rest, " ")
	if len(s.srv.opt.Mechanisms) > 0 {
		return s.exchange(mechanism, initial)
	}
	var user, password string
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		_, rest, _ := strings.Cut(decode(initial), "\x00")
		user, password, _ = strings.Cut(rest, "\x00")
	case "LOGIN":
		for _, into := range []*string{&user, &password} {
			if err := s.reply(334, "Z28gb24="); err != nil {
				return err
			}
			line, err := s.r.ReadString('\n')
			if err != nil {
				return err
			}
			*into = decode(strings.TrimRight(line, "\r\n"))
		}
	default:
		return s.reply(504, "5.5.4 unknown mechanism")
	}
	if user != s.srv.opt.Username || password != s.srv.opt.Password {
		return s.reply(535, "5.7.8 wrong")
	}
	s.account = user
	return s.reply(235, "2.7.0 welcome")
}

func decode(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return ""
	}
	return string(b)
}
