package standin

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// errOver ends a session.
var errOver = errors.New("session is over")

// bodyPart is how much of a message has come, in octets, when a fault at Body
// happens.
const bodyPart = 16

type session struct {
	srv     *Server
	conn    net.Conn
	r       *bufio.Reader
	w       *bufio.Writer
	tls     bool
	helo    string
	account string
	script  Script
	// fresh tells that no transaction has used the script yet.
	fresh bool
	msg   *Message // of the transaction, nil outside
	// number is which connection it is, taken counts its messages.
	number, taken int
}

func newSession(srv *Server, conn net.Conn, number int) *session {
	s := &session{srv: srv, number: number, script: srv.script(), fresh: true}
	s.speak(worn(conn, s.script, srv.closing))
	return s
}

// speak goes on by another connection.
func (s *session) speak(conn net.Conn) {
	s.conn, s.r, s.w = conn, bufio.NewReader(conn), bufio.NewWriter(conn)
}

// encrypt makes the TLS handshake, or what the script has in its place.
func (s *session) encrypt() error {
	for _, f := range s.script {
		if f.At == Handshake {
			if _, err := s.r.Peek(1); err != nil {
				return err
			}
			if done, err := s.play(Handshake, ""); done || err != nil {
				return errOver
			}
		}
	}
	conn := tls.Server(s.conn, s.srv.tlsConfig())
	if err := conn.Handshake(); err != nil {
		return err
	}
	s.tls = true
	s.speak(conn)
	return nil
}

func (s *session) run() {
	if err := s.answer(Connect, "", 220, s.srv.opt.Greeting+" ESMTP"); err != nil {
		return
	}
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.srv.heard(line)
		if s.srv.lies("PIPELINING") {
			s.r.Discard(s.r.Buffered())
		}
		if s.command(line) != nil {
			return
		}
	}
}

// answer plays the faults of a point, or else replies. An error ends the
// session.
func (s *session) answer(at Point, to string, code int, text string) error {
	if done, err := s.play(at, to); done || err != nil {
		return err
	}
	return s.reply(code, text)
}

// play plays the faults of a point, and tells whether one of them replied.
func (s *session) play(at Point, to string) (done bool, err error) {
	for _, f := range s.script {
		if f.At != at || f.To != "" && !strings.EqualFold(f.To, to) {
			continue
		}
		if f.Wait != nil {
			select {
			case <-f.Wait:
			case <-s.srv.closing:
				return true, errOver
			}
		}
		if f.Delay > 0 {
			select {
			case <-time.After(f.Delay):
			case <-s.srv.closing:
				return true, errOver
			}
		}
		for f.Flood {
			if err := s.line("250-and so on"); err != nil {
				return true, err
			}
		}
		if f.Raw != "" {
			s.w.WriteString(f.Raw)
			if err := s.w.Flush(); err != nil {
				return true, err
			}
			done = true
		}
		if f.Code != 0 {
			if err := s.reply(f.Code, f.Text); err != nil {
				return true, err
			}
			done = true
		}
		if f.Drop || f.Code == 421 {
			return true, errOver
		}
		if done {
			return true, nil
		}
	}
	return false, nil
}

func (s *session) line(text string) error {
	s.w.WriteString(text + "\r\n")
	return s.w.Flush()
}

func (s *session) reply(code int, text string) error {
	return s.line(fmt.Sprintf("%d %s", code, text))
}

func (s *session) command(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO", "HELO", "LHLO":
		if (strings.ToUpper(verb) == "LHLO") != s.srv.opt.LMTP {
			break
		}
		return s.hello(strings.ToUpper(verb), rest)
	case "STARTTLS":
		return s.startTLS()
	case "AUTH":
		return s.auth(rest)
	case "MAIL":
		return s.mail(rest)
	case "RCPT":
		return s.rcpt(rest)
	case "DATA":
		return s.data()
	case "BDAT":
		if s.chunking() && !s.srv.lies("CHUNKING") {
			return s.bdat(rest)
		}
	case "RSET":
		s.msg = nil
		return s.reply(250, "2.0.0 forgotten")
	case "NOOP":
		return s.reply(250, "2.0.0 nothing done")
	case "QUIT":
		s.reply(221, "2.0.0 good-bye")
		return errOver
	}
	return s.reply(500, "5.5.1 what is that?")
}

func (s *session) hello(verb, name string) error {
	if verb == "HELO" {
		s.helo, s.msg = name, nil
		return s.answer(EHLO, "", 250, s.srv.opt.Greeting)
	}
	if done, err := s.play(EHLO, ""); done || err != nil {
		return err
	}
	s.helo, s.msg = name, nil
	lines := []string{s.srv.opt.Greeting}
	offer := func(keyword, params string) {
		if s.srv.offers(keyword) {
			lines = append(lines, strings.TrimSpace(keyword+" "+params))
		}
	}
	for _, k := range []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"} {
		offer(k, "")
	}
	if s.srv.opt.Size > 0 {
		offer("SIZE", fmt.Sprint(s.srv.opt.Size))
	} else {
		offer("SIZE", "")
	}
	if s.srv.opt.TLS == STARTTLS && !s.tls {
		offer("STARTTLS", "")
	}
	if s.srv.opt.Username != "" {
		var mechanisms []string
		for _, m := range []string{"PLAIN", "LOGIN"} {
			if s.srv.offers(m) {
				mechanisms = append(mechanisms, m)
			}
		}
		if len(s.srv.opt.Mechanisms) > 0 {
			mechanisms = s.srv.opt.Mechanisms
		}
		offer("AUTH", strings.Join(mechanisms, " "))
	}
	lines = append(lines, s.srv.opt.Extra...)
	for _, l := range lines[:len(lines)-1] {
		s.w.WriteString("250-" + l + "\r\n")
	}
	return s.line("250 " + lines[len(lines)-1])
}

func (s *session) startTLS() error {
	if s.srv.opt.TLS != STARTTLS || s.tls {
		return s.reply(502, "5.5.1 no TLS here")
	}
	if done, err := s.play(StartTLS, ""); done || err != nil {
		return err
	}
	if err := s.reply(220, "2.0.0 go ahead"); err != nil {
		return err
	}
	if err := s.encrypt(); err != nil {
		return err
	}
	s.helo, s.account = "", ""
	return nil
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

func (s *session) mail(rest string) error {
	if s.srv.opt.Username != "" && s.account == "" {
		return s.reply(530, "5.7.0 log in first")
	}
	if s.msg != nil {
		return s.reply(503, "5.5.1 one at a time")
	}
	if !s.fresh {
		s.script = s.srv.script()
	}
	s.fresh = false
	address, params := path(rest)
	if done, err := s.play(Mail, ""); done || err != nil {
		return err
	}
	if n := s.srv.opt.MaxMessages; n > 0 && s.taken >= n {
		s.reply(421, "4.7.0 enough for one session")
		return errOver
	}
	if p := s.disowned(params); p != "" {
		return s.disown(p)
	}
	s.msg = &Message{From: address, MailParams: params, Helo: s.helo, TLS: s.tls, Account: s.account}
	return s.reply(250, "2.1.0 ok")
}

func (s *session) rcpt(rest string) error {
	if s.msg == nil {
		return s.reply(503, "5.5.1 MAIL first")
	}
	address, params := path(rest)
	if done, err := s.play(Rcpt, address); done || err != nil {
		return err
	}
	if p := s.disowned(params); p != "" {
		return s.disown(p)
	}
	s.msg.To = append(s.msg.To, address)
	s.msg.RcptParams = append(s.msg.RcptParams, params)
	return s.reply(250, "2.1.5 ok")
}

// path takes apart "FROM:<address> params"; an angle bracket in a quoted local
// part is not its end.
func path(rest string) (address, params string) {
	_, rest, _ = strings.Cut(rest, "<")
	quoted := false
	for i := 0; i < len(rest); i++ {
		switch {
		case rest[i] == '\\':
			i++
		case rest[i] == '"':
			quoted = !quoted
		case rest[i] == '>' && !quoted:
			return rest[:i], strings.TrimSpace(rest[i+1:])
		}
	}
	return rest, ""
}

func (s *session) data() error {
	if s.msg == nil || len(s.msg.To) == 0 {
		return s.reply(503, "5.5.1 no recipients")
	}
	if done, err := s.play(Data, ""); done || err != nil {
		return err
	}
	if err := s.reply(354, "go ahead"); err != nil {
		return err
	}
	msg := s.msg
	s.msg = nil
	if err := s.amid(); err != nil {
		return err
	}
	data, err := readData(s.r)
	if err != nil {
		return err
	}
	msg.Data = data
	return s.finish(msg)
}

// amid plays the faults in the middle of a message.
func (s *session) amid() error {
	for _, f := range s.script {
		if f.At == Body {
			if _, err := s.r.Peek(bodyPart); err != nil {
				return err
			}
			if done, err := s.play(Body, ""); done || err != nil {
				return errOver
			}
			break
		}
	}
	return nil
}

// finish answers the end of a message.
func (s *session) finish(msg *Message) error {
	s.taken++
	msg.Session, msg.Turn = s.number, s.taken
	if s.srv.opt.LMTP {
		for i, to := range msg.To {
			one := *msg
			one.To, one.RcptParams = msg.To[i:i+1], msg.RcptParams[i:i+1]
			if err := s.verdict(&one, to); err != nil {
				return err
			}
		}
		return nil
	}
	return s.verdict(msg, "")
}

func (s *session) verdict(msg *Message, to string) error {
	done, err := s.play(EndOfData, to)
	switch {
	case errors.Is(err, errOver) && !s.refuses():
		s.srv.record(*msg)
		return err
	case done || err != nil:
		return err
	}
	// Recorded first, so that who has seen the reply sees the message too.
	msg.Answered = true
	s.srv.record(*msg)
	return s.reply(250, "2.0.0 accepted")
}

// refuses tells whether the script answers the end of data with a refusal.
func (s *session) refuses() bool {
	for _, f := range s.script {
		if f.At == EndOfData && f.Code/100 > 3 {
			return true
		}
	}
	return false
}

// readData reads up to the final dot, and takes the stuffing out.
func readData(r *bufio.Reader) ([]byte, error) {
	var data []byte
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line == ".\r\n" {
			return data, nil
		}
		// Only CRLF begins a line: a bare LF shows up in the message as it came.
		if strings.HasPrefix(line, ".") && (len(data) == 0 || strings.HasSuffix(string(data[max(0, len(data)-2):]), "\r\n")) {
			line = line[1:]
		}
		data = append(data, line...)
	}
}
