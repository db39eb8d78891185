package remote

import (
	"encoding/base64"
	"slices"
	"strings"

	"restante/internal/mail"
)

// login authenticates by PLAIN (RFC 4616) or, where that is not offered,
// LOGIN. The caller has made sure that the connection may carry a password.
func (s *session) login(username, password string) error {
	offered := strings.Fields(strings.ToUpper(s.ext["AUTH"]))
	var rep reply
	var err error
	switch {
	case slices.Contains(offered, "PLAIN"):
		rep, err = s.wire.ask("AUTH PLAIN " + encode("\x00"+username+"\x00"+password))
	case slices.Contains(offered, "LOGIN"):
		rep, err = s.loginLogin(username, password)
	default:
		return s.fault(transient(7, 0, "next hop offers neither AUTH PLAIN nor LOGIN"))
	}
	if err != nil {
		return s.broken("login", err)
	}
	if rep.code != 235 {
		return s.fault(soft("login refused: ", rep.status(s.remote)))
	}
	return nil
}

func (s *session) loginLogin(username, password string) (reply, error) {
	rep, err := s.wire.ask("AUTH LOGIN")
	for _, word := range []string{username, password} {
		if err != nil || rep.code != 334 {
			return rep, err
		}
		rep, err = s.wire.ask(encode(word))
	}
	return rep, err
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// soft makes a refusal of the connection transient: it is no judgement of any
// message, so all of them may wait for it to pass.
func soft(prefix string, s mail.Status) mail.Status {
	if s.Code/100 == 4 {
		s.Text = prefix + s.Text
		return s
	}
	said := mail.Status{Code: s.Code, Enhanced: s.Enhanced, Text: s.Text}
	return mail.Status{
		Code:     451,
		Enhanced: [3]int{4, s.Enhanced[1], s.Enhanced[2]},
		Text:     prefix + said.String(),
		Remote:   s.Remote,
	}
}
