package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	warmUp = 100
	// probe is a run by which the length of the real one is chosen.
	probe = 300
	// settle is how long CPU time counts on after the last message.
	settle = 2 * time.Second
	// tooLong bounds one run of smtp-source.
	tooLong = 3 * time.Minute
)

// measure runs a fresh instance through one point.
func measure(ctx context.Context, s system, top string, p point, opt options) (f figure, err error) {
	dir, err := os.MkdirTemp(top, "run")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return f, err
	}
	letter := filepath.Join(dir, "letter")
	if err := os.WriteFile(letter, text(p.size), 0o644); err != nil {
		return f, err
	}
	addr, pid, err := s.start(ctx, dir)
	defer s.stop()
	if err != nil {
		return f, err
	}
	if err := answers(ctx, addr); err != nil {
		return f, err
	}
	runs := 0
	send := func(messages int) (time.Duration, error) {
		runs++
		l := load{addr, fmt.Sprintf("run%d@example.net", runs), letter, p.sessions, messages, opt.reconnect}
		return l.send(ctx)
	}
	if _, err := send(warmUp); err != nil {
		return f, err
	}
	took, err := send(probe)
	if err != nil {
		return f, err
	}
	n := min(opt.most, max(probe, int(float64(probe)*opt.seconds.Seconds()/took.Seconds())))
	before, err := cpuTime(pid)
	if err != nil {
		return f, err
	}
	if took, err = send(n); err != nil {
		return f, err
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return f, ctx.Err()
	}
	after, err := cpuTime(pid)
	if err != nil {
		return f, err
	}
	if got, err := s.queued(ctx); err != nil || got != warmUp+probe+n {
		return f, fmt.Errorf("%d messages are queued of %d that were accepted (%v)", got, warmUp+probe+n, err)
	}
	return figure{rate: float64(n) / took.Seconds(), cpu: (after - before).Seconds() * 1000 / float64(n)}, nil
}

// load is one run of smtp-source. No two messages of it are to the same recipient,
// and no two runs from the same sender: restante takes what is repeated only once.
type load struct {
	addr, from, letter string
	sessions, messages int
	reconnect          bool
}

// send runs it and returns how long that took.
func (l load) send(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, tooLong)
	defer cancel()
	args := []string{"-s", strconv.Itoa(min(l.sessions, l.messages)), "-m", strconv.Itoa(l.messages), "-F", l.letter,
		"-M", "source.example.net", "-f", l.from, "-t", "to@example.com", "-N"}
	if !l.reconnect {
		args = append(args, "-d")
	}
	cmd := exec.CommandContext(ctx, "smtp-source", append(args, l.addr)...)
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(begin)
	if err == nil && len(out) > 0 {
		err = errors.New("it complained")
	}
	if err != nil {
		return 0, fmt.Errorf("smtp-source: %w: %s", err, bytes.TrimSpace(out))
	}
	return took, nil
}

// text is a message of a size, of random text in lines of 76.
func text(size int) []byte {
	b := []byte("From: from@example.net\nTo: to@example.com\nSubject: load\nDate: Mon, 02 Mar 2026 10:00:00 +0000\nMessage-ID: <load@example.net>\n\n")
	random := make([]byte, size)
	rand.Read(random)
	line := base64.StdEncoding.EncodeToString(random)
	// On the wire each line end has one octet more.
	for octets := len(b) + bytes.Count(b, []byte("\n")); octets < size; {
		n := max(1, min(76, size-octets-2))
		b = append(append(b, line[:n]...), '\n')
		line, octets = line[n:], octets+n+2
	}
	return b
}

// answers waits for a greeting.
func answers(ctx context.Context, addr string) error {
	var dialer net.Dialer
	for end := time.Now().Add(30 * time.Second); ; {
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err == nil {
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			greeting := make([]byte, 3)
			_, err = conn.Read(greeting)
			conn.Close()
			if err == nil && string(greeting) == "220" {
				return nil
			}
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("nobody answers at %s: %w", addr, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// freePort is one that nobody listens on at the moment.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// cpuTime is what a process and all below it have used, those of their children
// that have ended included.
func cpuTime(root int) (time.Duration, error) {
	type process struct{ parent, ticks int }
	all := make(map[int]process)
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// The name of the program, in parentheses, may hold anything.
		i := bytes.LastIndexByte(b, ')')
		f := strings.Fields(string(b[i+1:]))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil || len(f) < 15 {
			return 0, fmt.Errorf("%s cannot be read", name)
		}
		// state ppid … utime(14) stime(15) cutime(16) cstime(17), counted from 1
		// with the pid and the name as the first two.
		number := func(field int) int { n, _ := strconv.Atoi(f[field-3]); return n }
		all[pid] = process{number(4), number(14) + number(15) + number(16) + number(17)}
	}
	if _, ok := all[root]; !ok {
		return 0, fmt.Errorf("process %d has ended", root)
	}
	ticks := 0
	for pid, p := range all {
		for at := pid; at > 1; at = all[at].parent {
			if at == root {
				ticks += p.ticks
				break
			}
		}
	}
	return time.Duration(ticks) * time.Second / 100, nil // USER_HZ
}
