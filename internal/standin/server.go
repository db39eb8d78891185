package standin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// TLSMode is how a Server speaks TLS.
type TLSMode int

// The modes.
const (
	NoTLS TLSMode = iota
	STARTTLS
	ImplicitTLS
)

// Point is where in a session a Fault happens.
type Point string

// The points, in the order of a session.
const (
	Connect  Point = "connect" // in the place of the greeting
	EHLO     Point = "EHLO"    // and HELO
	StartTLS Point = "STARTTLS"
	Auth     Point = "AUTH"
	Mail     Point = "MAIL"
	Rcpt     Point = "RCPT"
	Data     Point = "DATA" // in the place of 354
	// Body is in the middle of the message; a reply there is followed by
	// closing. Messages for it need 16 octets or more.
	Body      Point = "body"
	EndOfData Point = "endofdata" // after the final dot, before the reply
	// Handshake is in the place of the TLS handshake, once its first octets
	// have come.
	Handshake Point = "handshake"
	// Received and Sent are anywhere, in octets of the connection: what is
	// beyond Octets does not come, or does not go, and the connection is
	// closed; with Delay each octet takes its time instead.
	Received Point = "received"
	Sent     Point = "sent"
)

// Fault is one thing that goes wrong, or takes its time. What is set happens
// in the order of the fields.
type Fault struct {
	At Point
	// To restricts a fault at Rcpt, or with LMTP at EndOfData, to one address,
	// without angle brackets.
	To string
	// Octets is for Received and Sent.
	Octets int
	// Wait, until the channel is closed or the server is.
	Wait <-chan struct{}
	// Delay comes before what follows.
	Delay time.Duration
	// Flood sends reply lines without end until the connection breaks.
	Flood bool
	// Raw is sent as it is, in the place of a reply.
	Raw string
	// Code and Text are the reply. A 421 is followed by closing.
	Code int
	Text string
	// Drop closes the connection. At EndOfData the message is recorded as
	// if it had been accepted, since a real server may well have done so.
	Drop bool
}

// Script is what happens in one session and one transaction of it.
type Script []Fault

// Options is what a Server works with. The zero value is good.
type Options struct {
	TLS TLSMode
	// Names are those the certificate is for, besides localhost and
	// 127.0.0.1.
	Names []string
	// Certificate, unless it is nil, is shown in the place of a self-signed one.
	Certificate *Certificate
	// Clients, unless it is nil, has clients asked for a certificate of one of
	// these authorities, and turned away without one.
	Clients *x509.CertPool
	// Username and Password, if set, are required before MAIL.
	Username, Password string
	// Mechanisms, if there are any, are offered in the place of PLAIN and LOGIN;
	// Token is the access token that is taken for the password.
	Mechanisms []string
	Token      string
	// Without are EHLO keywords not to offer. Offered are PIPELINING, SIZE,
	// 8BITMIME, SMTPUTF8, DSN, ENHANCEDSTATUSCODES, and STARTTLS and AUTH as
	// the options say.
	Without []string
	// Extra are EHLO lines to offer besides. BDAT is taken if CHUNKING is one.
	Extra []string
	// Lies are keywords that are offered and not kept: without PIPELINING what
	// has come along with a command is thrown away, without CHUNKING BDAT is
	// not known and what follows are commands; parameters of SIZE, 8BITMIME,
	// SMTPUTF8, DSN, MT-PRIORITY and DELIVERBY are refused.
	Lies []string
	// LieCode and LieText are the refusal, 555 if 0; %s is the parameter.
	LieCode int
	LieText string
	// LMTP has RFC 2033 spoken.
	LMTP bool
	// Socket is the path of a Unix socket to listen on, in the place of a port.
	Socket string
	// MaxMessages is how many messages a session has; MAIL is then answered
	// with 421. 0 is any number.
	MaxMessages int
	// Size is the limit announced, 0 for none.
	Size int64
	// Greeting is the server's name.
	Greeting string
}

// Message is one that was accepted, or may have been (Fault.Drop).
type Message struct {
	// From and To are as they stood between the angle brackets.
	From string
	To   []string
	// MailParams and RcptParams are what followed them.
	MailParams string
	RcptParams []string
	// Data is the message, unstuffed.
	Data []byte
	// Session counts the connections from 1 on, Turn the messages of one whose
	// end was seen; Done is when the reply to it was due.
	Session, Turn int
	Done          time.Time
	// Helo, TLS and Account are the session's.
	Helo    string
	TLS     bool
	Account string
	// Answered tells that a 250 was sent, or would have been but for a
	// connection that broke at that moment.
	Answered bool
}

// Server is a next hop. It is safe for concurrent use.
type Server struct {
	opt      Options
	listener net.Listener
	cert     *Certificate
	sessions sync.WaitGroup
	closing  chan struct{}

	mu       sync.Mutex
	scripts  []Script
	standard Script
	messages []Message
	changed  chan struct{} // closed and replaced when messages grows
	conns    map[net.Conn]bool
	accepted int
	most     int
	commands []string
}

// NewServer starts a server on a free port of 127.0.0.1.
func NewServer(opt Options) (*Server, error) {
	if opt.Greeting == "" {
		opt.Greeting = "standin.test"
	}
	s := &Server{
		opt:     opt,
		closing: make(chan struct{}),
		changed: make(chan struct{}),
		conns:   make(map[net.Conn]bool),
	}
	if opt.TLS != NoTLS {
		if s.cert = opt.Certificate; s.cert == nil {
			cert, err := NewCertificate(opt.Names...)
			if err != nil {
				return nil, err
			}
			s.cert = cert
		}
	}
	network, address := "tcp", "127.0.0.1:0"
	if opt.Socket != "" {
		network, address = "unix", opt.Socket
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("standin: %w", err)
	}
	s.listener = l
	s.sessions.Add(1)
	go s.serve()
	return s, nil
}

// Addr is "127.0.0.1:port"; Port is the port alone.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Port is the port the server listens on.
func (s *Server) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// RootCAs verifies the server's certificate. It is nil without TLS.
func (s *Server) RootCAs() *x509.CertPool {
	if s.cert == nil {
		return nil
	}
	return s.cert.Pool
}

// Next adds scripts to those that wait to be played. A session takes one when
// it begins, and one more for each further transaction; the faults before MAIL
// of the latter are passed over. When none waits the standard script is played.
func (s *Server) Next(scripts ...Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts = append(s.scripts, scripts...)
}

// Always sets the standard script; nil accepts everything.
func (s *Server) Always(script Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.standard = script
}

func (s *Server) script() Script {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.scripts) == 0 {
		return s.standard
	}
	next := s.scripts[0]
	s.scripts = s.scripts[1:]
	return next
}

// Messages returns the messages so far.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Wait returns the messages as soon as there are n or more. When ctx ends it
// returns those there are, and an error.
func (s *Server) Wait(ctx context.Context, n int) ([]Message, error) {
	for {
		s.mu.Lock()
		have, changed := slices.Clone(s.messages), s.changed
		s.mu.Unlock()
		if len(have) >= n {
			return have, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return have, fmt.Errorf("standin: %d of %d messages: %w", len(have), n, ctx.Err())
		}
	}
}

// Connections is how many there have been, MostConnections how many at a time.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// MostConnections is the largest number of connections open at a time.
func (s *Server) MostConnections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// Commands returns every command line of every session, in the order of their
// arrival.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

func (s *Server) record(m Message) {
	m.Done = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) heard(command string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = append(s.commands, command)
}

// Close stops listening, breaks all connections, and waits for their end.
func (s *Server) Close() error {
	s.mu.Lock()
	select {
	case <-s.closing:
	default:
		close(s.closing)
	}
	err := s.listener.Close()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.sessions.Wait()
	return err
}

func (s *Server) serve() {
	defer s.sessions.Done()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		number, ok := s.admit(conn)
		if !ok {
			conn.Close()
			return
		}
		go func() {
			defer s.sessions.Done()
			defer s.dismiss(conn)
			session := newSession(s, conn, number)
			if s.opt.TLS == ImplicitTLS && session.encrypt() != nil {
				return
			}
			session.run()
			session.conn.Close()
		}()
	}
}

// admit counts a connection, unless the server closes.
func (s *Server) admit(conn net.Conn) (number int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closing:
		return 0, false
	default:
	}
	s.conns[conn] = true
	s.accepted++
	s.most = max(s.most, len(s.conns))
	s.sessions.Add(1)
	return s.accepted, true
}

func (s *Server) dismiss(conn net.Conn) {
	conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

func (s *Server) tlsConfig() *tls.Config {
	c := s.cert.config()
	if s.opt.Clients != nil {
		c.ClientCAs, c.ClientAuth = s.opt.Clients, tls.RequireAndVerifyClientCert
	}
	return c
}

func (s *Server) lies(keyword string) bool {
	return slices.ContainsFunc(s.opt.Lies, func(l string) bool { return strings.EqualFold(l, keyword) })
}

func (s *Server) offers(keyword string) bool {
	return !slices.ContainsFunc(s.opt.Without, func(w string) bool { return strings.EqualFold(w, keyword) })
}
