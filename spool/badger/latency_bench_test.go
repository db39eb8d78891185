package badger

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkAcceptLatency shows how long senders wait, eight at a time, for
// messages of 16 KiB: without housekeeping, and with full compactions of a spool
// of 100 MB and more all the time.
func BenchmarkAcceptLatency(b *testing.B) {
	for _, c := range []struct {
		name     string
		maintain func(e *Engine) error
	}{
		{"alone", nil},
		{"compaction", (*Engine).compact},
	} {
		b.Run(c.name, func(b *testing.B) {
			e := open(b, Options{})
			rnd, body := rand.NewChaCha8([32]byte{}), make([]byte, inlineSize)
			for range 3200 { // 100 MB in Badger
				rnd.Read(body)
				commit(b, e, body, forAlice)
			}
			stop := make(chan struct{})
			var work sync.WaitGroup
			runs := 0
			if c.maintain != nil {
				work.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if err := c.maintain(e); err != nil {
							b.Error(err)
							return
						}
						runs++
					}
				})
			}
			waits := acceptMany(b, e, b.N, 8, body[:16<<10])
			close(stop)
			work.Wait()
			slices.Sort(waits)
			for _, p := range []struct {
				name string
				part float64
			}{{"p50", .5}, {"p90", .9}, {"p99", .99}, {"p99.9", .999}, {"max", 1}} {
				at := min(int(p.part*float64(len(waits))), len(waits)-1)
				b.ReportMetric(float64(waits[at].Microseconds())/1000, p.name+"-ms")
			}
			b.ReportMetric(float64(runs), "runs")
		})
	}
}

// acceptMany commits n messages and returns how long each took.
func acceptMany(b *testing.B, e *Engine, n, writers int, body []byte) []time.Duration {
	waits := make([]time.Duration, n)
	var wg sync.WaitGroup
	b.ResetTimer()
	for w := range writers {
		wg.Go(func() {
			for i := w; i < n; i += writers {
				start := time.Now()
				s, err := e.Create()
				if err == nil {
					if _, err = s.Write(body); err == nil {
						_, err = s.Commit(context.Background(), forBob)
					}
				}
				if err != nil {
					b.Error(err)
					return
				}
				waits[i] = time.Since(start)
			}
		})
	}
	wg.Wait()
	return waits
}
