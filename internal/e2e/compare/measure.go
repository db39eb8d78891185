package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"restante/internal/e2e/bench"
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
	dir, err := bench.Subdir(top)
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir)
	letter := filepath.Join(dir, "letter")
	if err := os.WriteFile(letter, bench.Text(p.size), 0o644); err != nil {
		return f, err
	}
	addr, pid, err := s.start(ctx, dir)
	defer s.stop()
	if err != nil {
		return f, err
	}
	if err := bench.Answers(ctx, addr); err != nil {
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
	before, err := bench.CPUTime(pid)
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
	after, err := bench.CPUTime(pid)
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
