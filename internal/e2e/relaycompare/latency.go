package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"restante/internal/e2e/bench"
)

const (
	// lateSessions hand the mail over whose way is timed.
	lateSessions = 8
	// lateTime is for how long they do.
	lateTime = 5 * time.Second
)

// latency times messages from the 250 that the client gets to the 250 that the
// next hop gives, at half of the rate in f.
func latency(ctx context.Context, r relay, top string, p point, opt options, f *figure) error {
	dir, err := bench.Subdir(top)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	clock := &clock{accepted: make(map[string]time.Time), passed: make(map[string]time.Time), grew: make(chan struct{}, 1)}
	var hops []hop
	for i := range p.destinations {
		s, err := newSink(fmt.Sprintf("127.0.0.%d:0", i+2), p.delay, clock)
		if err != nil {
			return err
		}
		defer s.close()
		hops = append(hops, hop{fmt.Sprintf("d%d.example.com", i+1), s.listener.Addr().String()})
	}
	addr, _, err := r.Start(ctx, dir, hops)
	defer r.Stop()
	if err != nil {
		return err
	}
	if err := bench.Answers(ctx, addr); err != nil {
		return err
	}
	text := bench.Text(opt.size)
	if err := clock.hand(ctx, addr, text, []string{"first@" + hops[0].domain}, 0); err != nil {
		return err
	}
	times, err := clock.wait(ctx, 1)
	if err != nil {
		return err
	}
	f.first = times[0]
	n := max(lateSessions, int(f.rate/2*lateTime.Seconds()))
	errs := make([]error, lateSessions)
	var work sync.WaitGroup
	for i := range lateSessions {
		var to []string
		for m := i; m < n; m += lateSessions {
			to = append(to, fmt.Sprintf("m%d@%s", m, hops[m%len(hops)].domain))
		}
		work.Go(func() { errs[i] = clock.hand(ctx, addr, text, to, lateTime/time.Duration(len(to))) })
	}
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if times, err = clock.wait(ctx, n+1); err != nil {
		return err
	}
	f.median, f.worst = times[len(times)/2], times[len(times)*99/100]
	return nil
}

// clock notes when a message was accepted by the relay, and by the next hop.
type clock struct {
	mu               sync.Mutex
	accepted, passed map[string]time.Time // by recipient
	grew             chan struct{}        // holds at most one signal
}

func (c *clock) note(in map[string]time.Time, to string) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, twice := in[to]; !twice {
		in[to] = now
	}
	select {
	case c.grew <- struct{}{}:
	default:
	}
}

// wait waits for n messages to have come through, and returns their times,
// sorted. The next hop may be faster with its 250 than the relay with ours:
// that counts as no time.
func (c *clock) wait(ctx context.Context, n int) ([]time.Duration, error) {
	late := time.After(tooLong)
	for {
		c.mu.Lock()
		if len(c.passed) == n && len(c.accepted) == n {
			defer c.mu.Unlock()
			var list []time.Duration
			for to, at := range c.passed {
				list = append(list, max(0, at.Sub(c.accepted[to])))
			}
			slices.Sort(list)
			return list, nil
		}
		got := len(c.passed)
		c.mu.Unlock()
		select {
		case <-c.grew:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-late:
			return nil, fmt.Errorf("%d messages came through of %d", got, n)
		}
	}
}

// hand gives messages to the relay, each at its time or as soon after as the
// relay lets it.
func (c *clock) hand(ctx context.Context, addr string, text []byte, to []string, every time.Duration) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(tooLong)); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	expect := func(code string) error {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if !strings.HasPrefix(line, code) {
				return fmt.Errorf("the relay says %q", line)
			}
			if len(line) > 3 && line[3] == ' ' {
				return nil
			}
		}
	}
	ask := func(command, code string) error {
		if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
			return err
		}
		return expect(code)
	}
	if err := errors.Join(expect("220"), ask("EHLO source.example.net", "250")); err != nil {
		return err
	}
	data := strings.ReplaceAll(string(text), "\n", "\r\n") + "."
	begin := time.Now()
	for i, rcpt := range to {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * every)))
		err := errors.Join(ask("MAIL FROM:<from@example.net>", "250"), ask("RCPT TO:<"+rcpt+">", "250"), ask("DATA", "354"), ask(data, "250"))
		if err != nil {
			return err
		}
		c.note(c.accepted, rcpt)
	}
	return nil
}

// sink is a next hop that notes when it takes a message.
type sink struct {
	listener net.Listener
	clock    *clock
	delay    time.Duration
	work     sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]bool // nil when it is closed
}

func newSink(addr string, delay time.Duration, c *clock) (*sink, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &sink{listener: l, clock: c, delay: delay, conns: make(map[net.Conn]bool)}
	s.work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			open := s.conns != nil
			if open {
				s.conns[conn] = true
			}
			s.mu.Unlock()
			if !open {
				conn.Close()
				return
			}
			s.work.Go(func() {
				s.serve(conn)
				conn.Close()
				s.mu.Lock()
				delete(s.conns, conn)
				s.mu.Unlock()
			})
		}
	})
	return s, nil
}

func (s *sink) close() {
	s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.work.Wait()
}

// serve speaks as little SMTP as it takes. What can be answered at once is
// answered at once, as late as the delay says.
func (s *sink) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	var replies strings.Builder
	say := func(line string) bool {
		replies.WriteString(line + "\r\n")
		if r.Buffered() > 0 {
			return true
		}
		time.Sleep(s.delay)
		_, err := conn.Write([]byte(replies.String()))
		replies.Reset()
		return err == nil
	}
	if !say("220 sink.example ESMTP") {
		return
	}
	rcpt := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		ok := false
		switch verb {
		case "EHLO":
			ok = say("250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE")
		case "RCPT":
			_, rcpt, _ = strings.Cut(line, "<")
			rcpt, _, _ = strings.Cut(rcpt, ">")
			ok = say("250 2.1.5 ok")
		case "DATA":
			if !say("354 go on") {
				return
			}
			for line != ".\r\n" {
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
			}
			ok = say("250 2.0.0 taken")
			s.clock.note(s.clock.passed, rcpt)
		case "QUIT":
			say("221 2.0.0 bye")
			return
		default:
			ok = say("250 2.0.0 ok")
		}
		if !ok {
			return
		}
	}
}
