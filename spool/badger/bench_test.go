package badger

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// BenchmarkCommit measures durable commits of one message with one deposit,
// beside the raw ceiling: the same octets appended to a file by one grouped
// writer and made durable by fdatasync. The two take turns, so that both meet
// the same weather. Written is what the process made the kernel write, counted
// in pages, background work included.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		body := make([]byte, size)
		for _, writers := range []int{1, 8, 32, 128} {
			b.Run(fmt.Sprintf("%dKiB/%d", size>>10, writers), func(b *testing.B) {
				e := open(b, Options{})
				var account atomic.Int64
				deposit := func() error {
					s, err := e.Create()
					if err != nil {
						return err
					}
					if _, err := s.Write(body); err != nil {
						return err
					}
					name := fmt.Sprintf("a%d", account.Add(1)%64)
					_, err = s.Commit(context.Background(), spool.Message{
						Deposits: []spool.Deposit{{Account: name}}, Events: benchStory(name), MessageID: name + ".18c3f@client.example.org",
					})
					return err
				}
				c := newCeiling(b)
				var ours, raw side
				b.ResetTimer()
				for left := b.N; left > 0; {
					n := min(left, max(32, 16*writers))
					left -= n
					ours.run(b, writers, n, deposit)
					raw.run(b, writers, n, func() error { return c.append(body) })
				}
				perSecond := float64(b.N) / ours.took.Seconds()
				ceiling := float64(b.N) / raw.took.Seconds()
				b.ReportMetric(float64(ours.took)/float64(b.N), "ns/op")
				b.ReportMetric(perSecond, "commits/s")
				b.ReportMetric(ceiling, "ceiling/s")
				b.ReportMetric(perSecond/ceiling, "ratio")
				b.ReportMetric(float64(ours.written)/float64(b.N), "written/msg")
				b.ReportMetric(float64(raw.written)/float64(b.N), "ceiling-written/msg")
			})
		}
	}
}

// benchStory is how the story of a message to an account begins.
func benchStory(account string) []spool.Event {
	to := []mail.Address{{Local: account, Domain: "example.org"}}
	return []spool.Event{
		{
			Kind: spool.EventAccepted, By: "alice@example.org", Host: "client.example.org", Addr: "192.0.2.17",
			TLS: "TLS1.3 TLS_AES_128_GCM_SHA256", Text: "ESMTPSA; authenticated", To: to,
		},
		{Kind: spool.EventDeposited, Text: account + "@example.org/INBOX", To: to},
	}
}

// side is what one side of a benchmark took.
type side struct {
	took    time.Duration
	written int64
}

// run makes n calls, over the given number of writers.
func (l *side) run(b *testing.B, writers, n int, f func() error) {
	var left atomic.Int64
	left.Store(int64(n))
	done := make(chan error, writers)
	before, start := written(b), time.Now()
	for range writers {
		go func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
	l.took += time.Since(start)
	l.written += written(b) - before
}

// written returns how much this process has made the kernel write; 0 where
// the system does not tell.
func written(b *testing.B) (n int64) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "write_bytes:"); ok {
			if _, err := fmt.Sscan(v, &n); err != nil {
				b.Fatal(err)
			}
		}
	}
	return n
}

// ceiling is a log file with group commit and nothing else.
type ceiling struct {
	f    *os.File
	work chan ceilingWrite
}

type ceilingWrite struct {
	p    []byte
	done chan error
}

func newCeiling(b *testing.B) *ceiling {
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	c := &ceiling{f: f, work: make(chan ceilingWrite, 512)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.loop()
	}()
	b.Cleanup(func() { close(c.work); <-ended; f.Close() })
	return c
}

func (c *ceiling) append(p []byte) error {
	w := ceilingWrite{p, make(chan error, 1)}
	c.work <- w
	return <-w.done
}

func (c *ceiling) loop() {
	for w := range c.work {
		batch := []ceilingWrite{w}
		for len(batch) < 512 && len(c.work) > 0 {
			batch = append(batch, <-c.work)
		}
		var buf []byte
		for _, w := range batch {
			buf = append(buf, w.p...)
		}
		_, err := c.f.Write(buf)
		if err == nil {
			err = datasync(c.f)
		}
		for _, w := range batch {
			w.done <- err
		}
	}
}
