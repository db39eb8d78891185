package remote

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"

	"restante/internal/mail"
)

// strength has the mechanisms that use a password, the strongest first; with an
// access token it is the other two.
func strength(token bool) []string {
	if token {
		return []string{"OAUTHBEARER", "XOAUTH2"}
	}
	return []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"}
}

// authenticate logs in, if the route has a login.
func (c *Courier) authenticate(ctx context.Context, s *session) error {
	r := s.route
	if r.Username == "" {
		return nil
	}
	if s.tls == "" && !s.target.local() && !r.InsecureAuth {
		return s.fault(transient(7, 11, "the password is not sent without TLS"))
	}
	mechanism, err := s.mechanism()
	if err != nil {
		return err
	}
	if r.Token != nil {
		return s.loginToken(ctx, mechanism)
	}
	password, err := r.Password()
	if err != nil {
		return s.fault(transient(7, 0, "the password cannot be read: "+mail.Line(err.Error(), maxText)))
	}
	rep, err := s.login(mechanism, r.Username, password)
	return s.loggedIn(mechanism, rep, err)
}

// mechanism chooses among those that are offered: by the route's order, or else
// by strength.
func (s *session) mechanism() (string, error) {
	offered := strings.Fields(strings.ToUpper(s.ext["AUTH"]))
	wanted := strength(s.route.Token != nil)
	// The route's may be for hosts that log in otherwise, too.
	fit := slices.DeleteFunc(slices.Clone(s.route.Mechanisms), func(m string) bool { return !slices.Contains(wanted, m) })
	if len(fit) > 0 {
		wanted = fit
	}
	for _, m := range wanted {
		if slices.Contains(offered, m) && (!strings.HasSuffix(m, "-PLUS") || s.binding() != nil) {
			return m, nil
		}
	}
	has := "no AUTH"
	if len(offered) > 0 {
		has = "AUTH " + mail.Line(strings.Join(offered, " "), maxText)
	}
	return "", s.fault(transient(7, 0, "next hop offers "+has+", and none of "+strings.Join(wanted, ", ")))
}

// loggedIn tells what came of a login.
func (s *session) loggedIn(mechanism string, rep reply, err error) error {
	switch {
	case err != nil:
		if _, ours := err.(*fault); ours {
			return err
		}
		return s.broken("login by "+mechanism, err)
	case rep.code != 235:
		return s.fault(soft("login by "+mechanism+" refused: ", rep.status(s.remote)))
	}
	return nil
}

// login authenticates with a password: by SCRAM (RFC 5802), PLAIN (RFC 4616) or
// LOGIN. The caller has made sure that the connection may carry a password.
func (s *session) login(mechanism, username, password string) (reply, error) {
	switch mechanism {
	case "PLAIN":
		return s.wire.ask("AUTH PLAIN " + encode("\x00"+username+"\x00"+password))
	case "LOGIN":
		return s.loginLogin(username, password)
	}
	x := scram{hash: sha256.New, username: username, password: password}
	if strings.HasPrefix(mechanism, "SCRAM-SHA-1") {
		x.hash = func() hash.Hash { return sha1.New() }
	}
	offered := strings.Fields(strings.ToUpper(s.ext["AUTH"]))
	b := s.binding()
	switch {
	case strings.HasSuffix(mechanism, "-PLUS"):
		x.gs2, x.binding = "p="+b.name+",,", b.data
	case b != nil && !slices.Contains(offered, mechanism+"-PLUS"):
		// RFC 5802 section 6: should the offer have been cut, the server sees it.
		x.gs2 = "y,,"
	default:
		x.gs2 = "n,,"
	}
	return s.loginSCRAM(mechanism, &x)
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

func (s *session) loginSCRAM(mechanism string, x *scram) (reply, error) {
	rep, err := s.wire.ask("AUTH " + mechanism + " " + encode(x.first()))
	if err != nil || rep.code != 334 {
		return rep, err
	}
	final, err := x.final(challenge(rep))
	if err != nil {
		return rep, s.fault(transient(7, 0, mechanism+": "+err.Error()))
	}
	if rep, err = s.wire.ask(encode(final)); err != nil || rep.code/100 > 3 {
		return rep, err
	}
	if rep.code != 334 || !x.proved(challenge(rep)) {
		return rep, s.fault(transient(7, 0, mechanism+": the next hop does not prove that it knows the password"))
	}
	return s.wire.ask("")
}

// loginToken authenticates with an access token: OAUTHBEARER (RFC 7628), or
// XOAUTH2, which came before it. One that is refused may have been withdrawn, so
// a fresh one is tried, once.
func (s *session) loginToken(ctx context.Context, mechanism string) error {
	refused := ""
	for {
		token, err := s.route.Token(ctx, refused)
		if err != nil {
			return s.fault(transient(7, 0, "no access token: "+mail.Line(err.Error(), maxText)))
		}
		rep, err := s.sendToken(mechanism, token)
		if err == nil && rep.code == 535 && refused == "" {
			refused = token
			continue
		}
		return s.loggedIn(mechanism, rep, err)
	}
}

func (s *session) sendToken(mechanism, token string) (reply, error) {
	response, goOn := "user="+s.route.Username+"\x01auth=Bearer "+token+"\x01\x01", ""
	if mechanism == "OAUTHBEARER" {
		response = fmt.Sprintf("n,a=%s,\x01host=%s\x01port=%s\x01auth=Bearer %s\x01\x01",
			saslName(s.route.Username), s.target.host(), strconv.Itoa(s.target.port), token)
		goOn = encode("\x01")
	}
	rep, err := s.wire.ask("AUTH " + mechanism + " " + encode(response))
	if err != nil || rep.code != 334 {
		return rep, err
	}
	// What is wrong, in JSON; the refusal comes after an answer to it.
	why := mail.Line(challenge(rep), maxText)
	if rep, err = s.wire.ask(goOn); err == nil && why != "" && !rep.is(2) {
		rep.lines = append(rep.lines, why)
	}
	return rep, err
}

// binding is what binds a login to the TLS connection, nil if nothing does: for
// TLS 1.3 of RFC 9266, before it of RFC 5929.
func (s *session) binding() *binding {
	switch {
	case s.state == nil:
		return nil
	case s.state.Version >= tls.VersionTLS13:
		data, err := s.state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
		if err != nil {
			return nil
		}
		return &binding{"tls-exporter", data}
	case len(s.state.TLSUnique) > 0:
		return &binding{"tls-unique", s.state.TLSUnique}
	}
	return nil
}

type binding struct {
	name string
	data []byte
}

// challenge decodes a 334; what is no base64 is as empty.
func challenge(rep reply) string {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rep.lines[0]))
	if err != nil {
		return ""
	}
	return string(b)
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
