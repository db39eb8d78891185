package standin

import (
	"bufio"
	"errors"
	"strings"
)

// bodyPart is how much of a message has come, in octets, when a fault at Body
// happens.
const bodyPart = 16

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
