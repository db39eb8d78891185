package standin

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// errOver ends a session.
var errOver = errors.New("session is over")

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
