package badger

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"restante/spool"
)

// BenchmarkCommit measures durable commits of one message with one deposit,
// beside the raw ceiling: the same octets appended to a file by one grouped
// writer and made durable by fdatasync.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		body := make([]byte, size)
		for _, writers := range []int{1, 8, 32, 128} {
			b.Run(fmt.Sprintf("spool/%dKiB/%d", size>>10, writers), func(b *testing.B) {
				e := open(b, Options{})
				var account atomic.Int64
				parallel(b, writers, size, func() error {
					s, err := e.Create()
					if err != nil {
						return err
					}
					if _, err := s.Write(body); err != nil {
						return err
					}
					name := fmt.Sprintf("a%d", account.Add(1)%64)
					_, err = s.Commit(context.Background(), spool.Message{Deposits: []spool.Deposit{{Account: name}}})
					return err
				})
			})
			b.Run(fmt.Sprintf("ceiling/%dKiB/%d", size>>10, writers), func(b *testing.B) {
				c := newCeiling(b)
				parallel(b, writers, size, func() error { return c.append(body) })
			})
		}
	}
}

// parallel runs b.N calls over the given number of writers.
func parallel(b *testing.B, writers, size int, f func() error) {
	b.SetBytes(int64(size))
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan error, writers)
	b.ResetTimer()
	start := time.Now()
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
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "commits/s")
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
