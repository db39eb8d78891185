package badger

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"sync"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// checkVariable is how many messages TestCheckScale checks; without it, it is
// skipped.
const checkVariable = "SPOOL_CHECK_MESSAGES"

// TestCheckScale measures how long a check takes and what heap it needs, with a
// mailbox entry and a task for each message.
func TestCheckScale(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv(checkVariable))
	if err != nil {
		t.Skipf("%s=100000 makes it measure a check of so many messages", checkVariable)
	}
	e := open(t, Options{})
	var wg sync.WaitGroup
	for w := range 256 {
		wg.Go(func() {
			for i := w; i < n; i += 256 {
				both := spool.Message{Deposits: forAlice.Deposits, Structure: []byte("structure"), Tasks: []spool.Task{{
					Destination: spool.Destination{Route: "mx", Domain: "d" + strconv.Itoa(i%10_000) + ".example"},
					Recipients:  []mail.Recipient{{To: mail.Address{Local: "bob", Domain: "example.net"}}},
					Expire:      time.Hour,
				}}}
				s, err := e.Create()
				if err == nil {
					_, err = s.Write([]byte("Subject: x\r\n\r\nhello\r\n"))
				}
				if err == nil {
					_, err = s.Commit(context.Background(), both)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	runtime.GC()
	heap := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	idle, peak := heap(), uint64(0)
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				peak = max(peak, heap())
			}
		}
	})
	rep, err := e.Check(context.Background(), spool.CheckOptions{Bodies: true})
	close(stop)
	wg.Wait()
	if err != nil || rep.Findings != 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
	var records int64
	for _, v := range rep.Records {
		records += v
	}
	t.Logf("%d messages, %d records: %v; heap %d MB before, at most %d MB", n, records, rep.Took.Round(time.Millisecond), idle>>20, peak>>20)
}

// BenchmarkHighMark is what recording the high mark adds to a batch.
func BenchmarkHighMark(b *testing.B) {
	h, _, err := openMark(b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer h.close()
	at := time.Now()
	for i := range b.N {
		h.write(mark{uint64(i), at})
	}
}
