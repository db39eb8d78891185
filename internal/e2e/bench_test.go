package e2e

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkAccept is how many messages of 4 KiB in a second become durable,
// through the real binary over loopback, into a mailbox. The file system below
// the temporary directory decides: set TMPDIR to the one in question.
func BenchmarkAccept(b *testing.B) {
	message := []byte("From: alice@example.org\r\nSubject: load\r\n\r\n")
	message = append(message, strings.Repeat(strings.Repeat("x", 62)+"\r\n", 63)...)
	for _, conns := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("connections=%d", conns), func(b *testing.B) {
			d := newDaemon(b, "[log]\nlevel = \"warn\"")
			clients := make([]*client, conns)
			for i := range clients {
				clients[i] = d.smtp()
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			var work sync.WaitGroup
			b.SetBytes(int64(len(message)))
			b.ResetTimer()
			for _, c := range clients {
				work.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := c.mail(message, alice, bob); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			work.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
