package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"restante/internal/e2e/bench"
)

// sinks are instances of smtp-sink, one for each domain, and the links to them.
type sinks struct {
	hops  []hop
	procs []*bench.Process
	logs  []string
	links []*link
}

// startSinks starts n of them, whose answers take as long as delay says.
func startSinks(ctx context.Context, dir string, n int, delay time.Duration) (*sinks, error) {
	s := new(sinks)
	for i := range n {
		// Each has an address of its own, since Postfix tells next hops apart by that.
		port, err := bench.FreePort()
		if err != nil {
			return s, err
		}
		addr := fmt.Sprintf("127.0.0.%d:%d", i+2, port)
		log := filepath.Join(dir, fmt.Sprintf("sink%d", i))
		p, err := bench.StartProcess(log, "smtp-sink", "-u", "postfix", "-c", "-m", "2000", addr, "1000")
		if err != nil {
			return s, err
		}
		s.procs, s.logs = append(s.procs, p), append(s.logs, log)
		if err := bench.Answers(ctx, addr); err != nil {
			return s, err
		}
		if delay > 0 {
			l, err := newLink(fmt.Sprintf("127.0.0.%d:0", i+2), addr, delay)
			if err != nil {
				return s, err
			}
			s.links = append(s.links, l)
			addr = l.listener.Addr().String()
		}
		s.hops = append(s.hops, hop{fmt.Sprintf("d%d.example.com", i+1), addr})
	}
	return s, nil
}

// messages is how many they have taken: the last counter that each has shown.
func (s *sinks) messages() (int, error) {
	sum := 0
	for _, log := range s.logs {
		f, err := os.Open(log)
		if err != nil {
			return 0, err
		}
		end, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			f.Close()
			return 0, err
		}
		tail := make([]byte, min(end, 200))
		_, err = f.ReadAt(tail, end-int64(len(tail)))
		f.Close()
		if err != nil && err != io.EOF {
			return 0, err
		}
		// "sess=1 quit=0 mesg=17", each behind a carriage return.
		list := strings.Split(string(tail), "mesg=")
		for i := len(list) - 1; i > 0; i-- {
			number, _, whole := strings.Cut(list[i], "\r")
			if n, err := strconv.Atoi(strings.TrimSpace(number)); err == nil && whole {
				sum += n
				break
			}
		}
	}
	return sum, nil
}

func (s *sinks) stop() {
	for _, l := range s.links {
		l.close()
	}
	for _, p := range s.procs {
		p.Stop()
	}
}

// link passes connections on, and what comes back a little later.
type link struct {
	listener net.Listener
	to       string
	delay    time.Duration
	work     sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]bool // nil when it is closed
}

func newLink(from, to string, delay time.Duration) (*link, error) {
	l, err := net.Listen("tcp", from)
	if err != nil {
		return nil, err
	}
	k := &link{listener: l, to: to, delay: delay, conns: make(map[net.Conn]bool)}
	k.work.Go(k.serve)
	return k, nil
}

func (k *link) serve() {
	for {
		in, err := k.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", k.to)
		if err != nil || !k.keep(in, out) {
			in.Close()
			continue
		}
		k.work.Go(func() {
			_, _ = io.Copy(out, in) // its end is what counts
			out.(*net.TCPConn).CloseWrite()
		})
		k.work.Go(func() {
			k.late(in, out)
			in.Close()
			out.Close()
		})
	}
}

// keep notes a pair of connections, to be closed with the link.
func (k *link) keep(pair ...net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conns == nil {
		return false
	}
	for _, c := range pair {
		k.conns[c] = true
	}
	return true
}

// late copies with the delay: it never holds back what comes behind for longer.
func (k *link) late(to io.Writer, from io.Reader) {
	type part struct {
		b  []byte
		at time.Time
	}
	parts := make(chan part, 1024)
	go func() {
		defer close(parts)
		for {
			b := make([]byte, 4096)
			n, err := from.Read(b)
			if err != nil {
				return
			}
			parts <- part{b[:n], time.Now().Add(k.delay)}
		}
	}()
	for p := range parts {
		time.Sleep(time.Until(p.at))
		if _, err := to.Write(p.b); err != nil {
			break
		}
	}
	for range parts { // until the reader has seen that it is over
	}
}

func (k *link) close() {
	k.listener.Close()
	k.mu.Lock()
	for c := range k.conns {
		c.Close()
	}
	k.conns = nil
	k.mu.Unlock()
	k.work.Wait()
}
