package standin

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// chunking tells whether BDAT (RFC 3030) is offered.
func (s *session) chunking() bool {
	return slices.ContainsFunc(s.srv.opt.Extra, func(line string) bool { return strings.EqualFold(line, "CHUNKING") })
}

// bdat takes a chunk.
func (s *session) bdat(rest string) error {
	size, last := strings.CutSuffix(strings.ToUpper(rest), " LAST")
	n, err := strconv.Atoi(strings.TrimSpace(size))
	if err != nil || n < 0 || n > 1<<30 {
		s.reply(501, "5.5.4 how much?")
		return errOver // where the next command begins is not known
	}
	if s.msg != nil && len(s.msg.To) > 0 {
		if err := s.amid(); err != nil {
			return err
		}
	}
	chunk := make([]byte, n)
	if _, err := io.ReadFull(s.r, chunk); err != nil {
		return err
	}
	if s.msg == nil || len(s.msg.To) == 0 {
		return s.reply(503, "5.5.1 no recipients")
	}
	s.msg.Data = append(s.msg.Data, chunk...)
	if !last {
		return s.reply(250, "2.0.0 more")
	}
	msg := s.msg
	s.msg = nil
	return s.finish(msg)
}

// disowned returns the first parameter that the server lied about.
func (s *session) disowned(params string) string {
	keywords := map[string]string{
		"BODY": "8BITMIME", "BY": "DELIVERBY", "RET": "DSN", "ENVID": "DSN", "NOTIFY": "DSN", "ORCPT": "DSN",
	}
	for _, p := range strings.Fields(params) {
		name, _, _ := strings.Cut(p, "=")
		keyword, ok := keywords[name]
		if !ok {
			keyword = name
		}
		if s.srv.lies(keyword) {
			return p
		}
	}
	return ""
}

func (s *session) disown(param string) error {
	code, text := s.srv.opt.LieCode, s.srv.opt.LieText
	if code == 0 {
		code, text = 555, "5.5.4 unsupported option: %s"
	}
	if strings.Contains(text, "%s") {
		text = fmt.Sprintf(text, param)
	}
	return s.reply(code, text)
}

// worn gives a connection the faults of Received and Sent.
func worn(conn net.Conn, script Script, closing <-chan struct{}) net.Conn {
	w := &wornConn{Conn: conn, closing: closing}
	for _, f := range script {
		switch f.At {
		case Received:
			w.in = &limit{f.Octets, f.Delay}
		case Sent:
			w.out = &limit{f.Octets, f.Delay}
		}
	}
	if w.in == nil && w.out == nil {
		return conn
	}
	return w
}

type limit struct {
	left  int
	delay time.Duration
}

type wornConn struct {
	net.Conn
	closing <-chan struct{}
	in, out *limit
}

// part is how much of p may pass now. It closes the connection if nothing may.
func (w *wornConn) part(l *limit, p []byte) ([]byte, error) {
	switch {
	case l == nil || len(p) == 0:
		return p, nil
	case l.delay > 0:
		select {
		case <-time.After(l.delay):
			return p[:1], nil
		case <-w.closing:
			return nil, errOver
		}
	case l.left <= 0:
		w.Close()
		return nil, errOver
	}
	return p[:min(len(p), l.left)], nil
}

func (w *wornConn) Read(p []byte) (int, error) {
	p, err := w.part(w.in, p)
	if err != nil {
		return 0, err
	}
	n, err := w.Conn.Read(p)
	if w.in != nil {
		w.in.left -= n
	}
	return n, err
}

func (w *wornConn) Write(p []byte) (int, error) {
	written := 0
	for {
		part, err := w.part(w.out, p[written:])
		if err != nil {
			return written, err
		}
		n, err := w.Conn.Write(part)
		written += n
		if w.out != nil {
			w.out.left -= n
		}
		if err != nil || written == len(p) {
			return written, err
		}
	}
}
