// Package miltertest is a mail filter for tests: it speaks the milter protocol
// as libmilter does, does what a script says, right or wrong, and keeps what it
// was told. It shares no code with the client it is to test.
package miltertest

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Command is what a filter is told: a letter of the protocol and its data.
type Command struct {
	Code byte
	Data []byte
	// Macros are those sent for the command.
	Macros map[string]string
	// N counts the commands of the letter in the session, from 1.
	N int
}

// Strings are the NUL-ended strings of the data.
func (c Command) Strings() []string {
	return strings.Split(strings.TrimSuffix(string(c.Data), "\x00"), "\x00")
}

// String is the letter and the data, with "|" between strings.
func (c Command) String() string {
	if len(c.Data) == 0 {
		return string(c.Code)
	}
	return string(c.Code) + " " + strings.Join(c.Strings(), "|")
}

// Act is something the filter does.
type Act func(*session) error

// Options is what a Filter does.
type Options struct {
	// Network is "tcp", the default, or "unix".
	Network string
	// Version, Actions and Protocol are what it negotiates; 6 and all actions
	// if 0.
	Version, Actions, Protocol uint32
	// Answer is asked at each command but macros, negotiation, abort and quit.
	// A nil result continues. Commands whose answers the protocol says are not
	// wanted are shown too; what is returned for them is done all the same.
	Answer func(Command) []Act
	// Negotiation is done in the place of the negotiation, unless it is nil.
	Negotiation []Act
}

// Filter is a running filter.
type Filter struct {
	opt      Options
	listener net.Listener
	work     sync.WaitGroup
	closing  chan struct{}

	mu       sync.Mutex
	sessions [][]Command
	conns    map[net.Conn]bool
}

// New starts a filter that ends with the test.
func New(t testing.TB, opt Options) *Filter {
	t.Helper()
	if opt.Version == 0 {
		opt.Version = 6
	}
	if opt.Actions == 0 {
		opt.Actions = 1<<8 - 1
	}
	addr := "127.0.0.1:0"
	if opt.Network == "" {
		opt.Network = "tcp"
	}
	if opt.Network == "unix" {
		dir, err := os.MkdirTemp("", "mlt") // a socket's name must be short
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		addr = filepath.Join(dir, "sock")
	}
	l, err := net.Listen(opt.Network, addr)
	if err != nil {
		t.Fatal(err)
	}
	f := &Filter{opt: opt, listener: l, closing: make(chan struct{}), conns: make(map[net.Conn]bool)}
	f.work.Go(f.serve)
	t.Cleanup(f.Close)
	return f
}

// Addr is where it listens.
func (f *Filter) Addr() string { return f.listener.Addr().String() }

// Close ends all sessions and waits for their end.
func (f *Filter) Close() {
	f.mu.Lock()
	select {
	case <-f.closing:
	default:
		close(f.closing)
	}
	f.listener.Close()
	for c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	f.work.Wait()
}

// Sessions waits until the client has closed all sessions and returns what each
// was told.
func (f *Filter) Sessions(t testing.TB) [][]Command {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		f.mu.Lock()
		open, sessions := len(f.conns), f.sessions
		f.mu.Unlock()
		if open == 0 {
			return sessions
		}
		if time.Now().After(end) {
			t.Fatal("a connection is still open")
		}
	}
}

func (f *Filter) serve() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.conns[conn] = true
		n := len(f.sessions)
		f.sessions = append(f.sessions, nil)
		f.mu.Unlock()
		f.work.Go(func() {
			s := &session{Conn: conn, filter: f, in: bufio.NewReader(conn), macros: make(map[byte]map[string]string)}
			_ = s.run(n) // sessions that end badly are what this is for
			conn.Close()
			f.mu.Lock()
			delete(f.conns, conn)
			f.mu.Unlock()
		})
	}
}

type session struct {
	net.Conn
	filter *Filter
	in     *bufio.Reader
	macros map[byte]map[string]string
}

func (s *session) run(n int) error {
	count := make(map[byte]int)
	for {
		var size uint32
		if err := binary.Read(s.in, binary.BigEndian, &size); err != nil {
			return err
		}
		packet := make([]byte, size)
		if _, err := io.ReadFull(s.in, packet); err != nil {
			return err
		}
		if size > 65535+1 {
			return fmt.Errorf("a packet of %d octets, which is more than libmilter takes", size)
		}
		cmd := Command{Code: packet[0], Data: packet[1:]}
		if cmd.Code == 'D' {
			s.setMacros(cmd)
			continue
		}
		count[cmd.Code]++
		cmd.N, cmd.Macros = count[cmd.Code], s.macros[cmd.Code]
		s.filter.mu.Lock()
		s.filter.sessions[n] = append(s.filter.sessions[n], cmd)
		s.filter.mu.Unlock()
		acts := s.acts(cmd)
		for _, act := range acts {
			if err := act(s); err != nil {
				return err
			}
		}
		if cmd.Code == 'Q' {
			return nil
		}
	}
}

func (s *session) setMacros(cmd Command) {
	m := make(map[string]string)
	list := strings.Split(strings.TrimSuffix(string(cmd.Data[1:]), "\x00"), "\x00")
	for i := 0; i+1 < len(list); i += 2 {
		m[list[i]] = list[i+1]
	}
	s.macros[cmd.Data[0]] = m
}

// acts is what is to be done about a command.
func (s *session) acts(cmd Command) []Act {
	opt := s.filter.opt
	switch cmd.Code {
	case 'O':
		if opt.Negotiation != nil {
			return opt.Negotiation
		}
		return []Act{Say('O', number(opt.Version), number(opt.Actions), number(opt.Protocol))}
	case 'A', 'Q':
		return nil
	}
	if opt.Answer != nil {
		if acts := opt.Answer(cmd); acts != nil {
			return acts
		}
	}
	if s.muted(cmd.Code) {
		return nil
	}
	return []Act{Say('c')}
}

// muted tells whether the protocol that was negotiated has no answer.
func (s *session) muted(code byte) bool {
	bits := map[byte]uint32{'L': 1 << 7, 'C': 1 << 12, 'H': 1 << 13, 'M': 1 << 14, 'R': 1 << 15, 'T': 1 << 16, 'N': 1 << 18, 'B': 1 << 19}
	return s.filter.opt.Protocol&bits[code] != 0
}

func number(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// Say sends a packet.
func Say(code byte, data ...string) Act {
	body := strings.Join(data, "")
	return Raw(number(uint32(len(body)+1)) + string(code) + body)
}

// Raw sends octets as they are.
func Raw(octets string) Act {
	return func(s *session) error {
		_, err := io.WriteString(s, octets)
		return err
	}
}

// Drop closes the connection.
func Drop(s *session) error { return s.Close() }

// Hang does nothing until the filter is closed or the client goes away.
func Hang(s *session) error {
	gone := make(chan struct{})
	s.filter.work.Go(func() {
		defer close(gone)
		// A client that waits sends nothing.
		_, _ = s.in.Peek(1)
	})
	select {
	case <-gone:
	case <-s.filter.closing:
	}
	return io.EOF
}

// Forever does something until it fails.
func Forever(act Act) Act {
	return func(s *session) error {
		for {
			if err := act(s); err != nil {
				return err
			}
			select {
			case <-time.After(time.Millisecond):
			case <-s.filter.closing:
				return io.EOF
			}
		}
	}
}

// Wait waits for a channel to be closed, or the filter.
func Wait(c <-chan struct{}) Act {
	return func(s *session) error {
		select {
		case <-c:
			return nil
		case <-s.filter.closing:
			return io.EOF
		}
	}
}

// Changes of the message, and verdicts.

// AddHeader puts a field behind the last.
func AddHeader(name, value string) Act { return Say('h', name, "\x00", value, "\x00") }

// InsHeader puts a field behind the first index fields.
func InsHeader(index uint32, name, value string) Act {
	return Say('i', number(index), name, "\x00", value, "\x00")
}

// ChgHeader changes the index-th field of a name; an empty value takes it out.
func ChgHeader(index uint32, name, value string) Act {
	return Say('m', number(index), name, "\x00", value, "\x00")
}

// Reply refuses with a reply in full.
func Reply(text string) Act { return Say('y', text, "\x00") }
