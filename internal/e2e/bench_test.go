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
	text := strings.Repeat(strings.Repeat("x", 62)+"\r\n", 63)
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
			// Each is another message: one that is repeated is taken once.
			message := func(n int64) []byte {
				return fmt.Appendf(nil, "From: alice@example.org\r\nSubject: load %020d\r\n\r\n%s", n, text)
			}
			b.SetBytes(int64(len(message(0))))
			b.ResetTimer()
			for _, c := range clients {
				work.Go(func() {
					for n := left.Add(-1); n >= 0; n = left.Add(-1) {
						if _, err := c.mail(message(n), alice, bob); err != nil {
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
