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
	"sync"
	"time"

	"restante/internal/e2e/bench"
)

const (
	// probe is a run for each destination's sake, by which the length of the real
	// one is chosen; it warms up, too.
	probe = 500
	// tooLong bounds one run.
	tooLong = 3 * time.Minute
)

// measure runs fresh instances through one point: one for the throughput, one
// for the latencies.
func measure(ctx context.Context, create func() relay, top string, p point, opt options) (figure, error) {
	f, err := throughput(ctx, create(), top, p, opt)
	if err != nil {
		return f, err
	}
	return f, latency(ctx, create(), top, p, opt, &f)
}

func throughput(ctx context.Context, r relay, top string, p point, opt options) (f figure, err error) {
	dir, err := bench.Subdir(top)
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir)
	letter := filepath.Join(dir, "letter")
	if err := os.WriteFile(letter, bench.Text(opt.size), 0o644); err != nil {
		return f, err
	}
	s, err := startSinks(ctx, dir, p.destinations, p.delay)
	defer s.stop()
	if err != nil {
		return f, err
	}
	addr, pid, err := r.Start(ctx, dir, s.hops)
	defer r.Stop()
	if err != nil {
		return f, err
	}
	if err := bench.Answers(ctx, addr); err != nil {
		return f, err
	}
	l := load{addr: addr, letter: letter, sinks: s, sessions: opt.sessions}
	took, err := l.run(ctx, probe)
	if err != nil {
		return f, err
	}
	n := min(opt.most, max(probe, int(float64(probe)*opt.seconds.Seconds()/took.Seconds())))
	before, err := bench.CPUTime(pid)
	if err != nil {
		return f, err
	}
	sent := l.round(n)
	if took, err = l.run(ctx, n); err != nil {
		return f, err
	}
	after, err := bench.CPUTime(pid)
	if err != nil {
		return f, err
	}
	f.rate = float64(sent) / took.Seconds()
	f.cpu = (after - before).Seconds() * 1000 / float64(sent)
	return f, nil
}

// load is smtp-source at work, one for each destination.
type load struct {
	addr, letter   string
	sinks          *sinks
	sessions, runs int
	sum            int // messages so far
}

// round is how many messages are sent when so many are asked for: each
// destination gets as many as the others.
func (l *load) round(n int) int {
	d := len(l.sinks.hops)
	return max(1, n/d) * d
}

// run sends and waits until all has come through.
func (l *load) run(ctx context.Context, n int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, tooLong)
	defer cancel()
	l.runs++
	l.sum += l.round(n)
	d := len(l.sinks.hops)
	each := l.round(n) / d
	errs := make([]error, d)
	var work sync.WaitGroup
	begin := time.Now()
	for i, h := range l.sinks.hops {
		work.Go(func() { errs[i] = l.source(ctx, i, h.domain, each, max(1, l.sessions/d)) })
	}
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	for {
		got, err := l.sinks.messages()
		switch {
		case err != nil:
			return 0, err
		case got > l.sum:
			return 0, fmt.Errorf("%d messages came through of %d", got, l.sum)
		case got == l.sum:
			return time.Since(begin), nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("%d messages came through of %d: %w", got, l.sum, ctx.Err())
		}
	}
}

// source runs smtp-source. No two messages have the same sender and recipient:
// restante takes what is repeated only once.
func (l *load) source(ctx context.Context, i int, domain string, messages, sessions int) error {
	out, err := exec.CommandContext(ctx, "smtp-source", "-d", "-N",
		"-s", strconv.Itoa(min(sessions, messages)), "-m", strconv.Itoa(messages), "-F", l.letter, "-M", "source.example.net",
		"-f", fmt.Sprintf("run%d-%d@example.net", l.runs, i), "-t", "to@"+domain, l.addr).CombinedOutput()
	if err == nil && len(out) > 0 {
		err = errors.New("it complained")
	}
	if err != nil {
		return fmt.Errorf("smtp-source: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
