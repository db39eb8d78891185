package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"restante/internal/config"

	"github.com/coreos/go-systemd/v22/activation"
)

// entrance is one socket of ours, open from the start of the daemon to its end.
// The server behind it may be replaced meanwhile: connections go to the one whose
// door is the newest, from the moment that it has one. When the entrance closes the doors are not told: a server
// that must stop is stopped, and may take its time over what it has accepted.
type entrance struct {
	role     config.Role
	l        net.Listener
	accepted chan accepted
	closed   chan struct{}
	once     sync.Once

	mu     sync.Mutex
	newest *door
}

type accepted struct {
	conn net.Conn
	err  error
}

func newEntrance(role config.Role, l net.Listener) *entrance {
	return &entrance{role: role, l: l, accepted: make(chan accepted), closed: make(chan struct{})}
}

// run accepts connections until close. Where the machine is short of something
// it waits and goes on; only an error that will not pass reaches the server.
func (e *entrance) run() {
	for {
		c, err := e.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil && passing(err) {
			select {
			case <-time.After(acceptPause):
				continue
			case <-e.closed:
				return
			}
		}
		select {
		case e.accepted <- accepted{c, err}:
		case <-e.closed:
			if err == nil {
				c.Close()
			}
			return
		}
	}
}

// acceptPause is how long to wait for descriptors or memory to come free.
const acceptPause = 100 * time.Millisecond

func passing(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (e *entrance) close() {
	e.once.Do(func() {
		close(e.closed)
		e.l.Close()
	})
}

// door returns a listener on the entrance; closing it leaves the socket open.
// Those before it accept nothing any more, and wait to be closed.
func (e *entrance) door() net.Listener {
	d := &door{entrance: e, passed: make(chan struct{}), shut: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.newest != nil {
		close(e.newest.passed)
	}
	e.newest = d
	return d
}

type door struct {
	*entrance
	passed chan struct{} // closed when another has taken over
	shut   chan struct{}
	once   sync.Once
}

// Accept returns the next connection, or net.ErrClosed after Close.
func (d *door) Accept() (net.Conn, error) {
	select {
	case <-d.shut:
		return nil, net.ErrClosed
	case <-d.passed:
	default:
		select {
		case a := <-d.accepted:
			return a.conn, a.err
		case <-d.shut:
			return nil, net.ErrClosed
		case <-d.passed:
		}
	}
	<-d.shut
	return nil, net.ErrClosed
}

// Close makes Accept return.
func (d *door) Close() error {
	d.once.Do(func() { close(d.shut) })
	return nil
}

// Addr is the socket's.
func (d *door) Addr() net.Addr { return d.l.Addr() }

// openEntrances opens all sockets, or none. Those that the service manager
// passes replace the default ones, and come before those of the file.
// challenges are those for an ACME authority.
func openEntrances(cfg *config.Config) (all, challenges []*entrance, err error) {
	defer func() {
		if err != nil {
			for _, e := range slices.Concat(all, challenges) {
				e.close()
			}
			all, challenges = nil, nil
		}
	}()
	passed, err := activation.ListenersWithNames()
	if err != nil {
		return nil, nil, fmt.Errorf("sockets of the service manager: %w", err)
	}
	// The map has no order; the roles' order is as good as any.
	for _, role := range config.Roles() {
		for _, l := range passed[string(role)] {
			all = append(all, newEntrance(role, l))
		}
		delete(passed, string(role))
	}
	for _, role := range []config.Role{challengeHTTP, challengeTLS} {
		for _, l := range passed[string(role)] {
			challenges = append(challenges, newEntrance(role, l))
		}
		delete(passed, string(role))
	}
	for name, list := range passed {
		for _, l := range list {
			l.Close()
		}
		err = fmt.Errorf("a socket of the service manager is named %q: FileDescriptorName= must be one of %v", name, config.Roles())
	}
	if err != nil || len(all) > 0 && cfg.DefaultListeners() {
		return all, challenges, err
	}
	for _, l := range cfg.Listeners {
		for _, addr := range l.Addresses {
			e, err := openEntrance(l.Role, addr)
			if err != nil {
				return all, challenges, err
			}
			all = append(all, e)
		}
	}
	return all, challenges, nil
}

// listen opens a TCP address, or with "unix:" in front a socket that every
// local user may connect to: the directory decides who can reach it. A socket
// that nobody answers at was left behind, and is replaced.
func listen(addr string) (net.Listener, error) {
	path, unix := strings.CutPrefix(addr, config.UnixPrefix)
	if !unix {
		return net.Listen("tcp", addr)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return nil, syscall.EADDRINUSE
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func openEntrance(role config.Role, addr string) (*entrance, error) {
	l, err := listen(addr)
	if err == nil {
		return newEntrance(role, l), nil
	}
	// The library's words repeat the address and name system calls.
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return nil, fmt.Errorf("cannot listen on %s for %s: %w", addr, role, err)
}
