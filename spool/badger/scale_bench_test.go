package badger

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// heapInUse returns the octets in use after a collection.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// bulk stores records through the committer, some hundred in an operation, so
// that a large spool is made in seconds.
func bulk(b *testing.B, e *Engine, n int, put func(t *tx, i int) error) {
	b.Helper()
	const step = 500
	var last <-chan error
	for from := 0; from < n; from += step {
		c := e.submit(func(t *tx) error {
			for i := from; i < min(from+step, n); i++ {
				if err := put(t, i); err != nil {
					return err
				}
			}
			return nil
		}, nil)
		if last != nil {
			if err := <-last; err != nil {
				b.Fatal(err)
			}
		}
		last = c
	}
	if err := <-last; err != nil {
		b.Fatal(err)
	}
}

// sizes are those of the curve; BENCH_SIZE names one alone.
func sizes() []int {
	if n, err := strconv.Atoi(os.Getenv("BENCH_SIZE")); err == nil {
		return []int{n}
	}
	return []int{10_000, 100_000, 1_000_000}
}

// fillQueue queues n recipients, each of a message of its own, over 10,000
// destinations (fewer if there are fewer messages than that).
func fillQueue(b *testing.B, e *Engine, n int) {
	now := e.opt.Now()
	body := []byte("Subject: one of many\r\n\r\nThis is what waits.\r\n")
	bulk(b, e, n, func(t *tx, i int) error {
		var id mail.ID
		binary.BigEndian.PutUint64(id[:], uint64(i)+1)
		rec := messageRecord{size: int64(len(body)), chunks: 1}
		rec.env.From = mail.Address{Local: "sender", Domain: "example.org"}
		rec.env.Arrived = now
		refs := refsRecord{refs: 1, nextTask: 1}
		domain := fmt.Sprintf("d%d.example", i%10_000)
		task := newTask(spool.Task{
			Destination: spool.Destination{Route: "mx", Domain: domain},
			Recipients:  []mail.Recipient{{To: mail.Address{Local: "user", Domain: domain}}},
			Warn:        4 * time.Hour, Expire: 5 * 24 * time.Hour,
		}, 0, spool.Share(&rec.env), now)
		for _, put := range []func() error{
			func() error { return t.set(chunkKey(id, 0), slices.Clone(body)) },
			func() error { return t.set(idKey(kMessage, id), rec.encode()) },
			func() error { return t.set(idKey(kRefs, id), refs.encode()) },
			func() error { return t.putTask(spool.TaskID{Message: id}, &task) },
		} {
			if err := put(); err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkQueue measures, with so many recipients queued: the time from Open
// to the first lease, the heap that the engine holds then, how long it takes to
// lease the next due task while mail is accepted at the same time, and how long
// it takes to count the tasks, and to ask for their counts from then on.
//
//	go test ./spool/badger -run '^$' -bench Queue -benchtime 2000x
func BenchmarkQueue(b *testing.B) {
	for _, n := range sizes() {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			e := open(b, Options{})
			fillQueue(b, e, n)
			if err := e.Close(); err != nil {
				b.Fatal(err)
			}
			before := heapInUse()
			start := time.Now()
			e = open(b, e.opt)
			claim := spool.Claim{Max: 1, Lifetime: time.Hour}
			leases, _, err := e.Lease(claim)
			first := time.Since(start)
			if err != nil || len(leases) != 1 {
				b.Fatalf("%d leases, %v", len(leases), err)
			}
			held := heapInUse() - before

			stop := make(chan struct{})
			var mail sync.WaitGroup
			accepted := 0
			mail.Go(func() { accepted = acceptUntil(b, e, stop) })
			took := make([]time.Duration, 0, b.N)
			b.ResetTimer()
			for range b.N {
				start := time.Now()
				leases, _, err := e.Lease(claim)
				if err != nil || len(leases) != 1 {
					b.Fatalf("%d leases, %v", len(leases), err)
				}
				took = append(took, time.Since(start))
				if err := e.Settle(context.Background(), leases[0], spool.Settlement{Attempted: true, Results: []spool.Result{{Ended: true}}}); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			close(stop)
			mail.Wait()
			e.recount()
			counting := timed(b, e)
			b.ReportMetric(counting.Seconds(), "count-tasks-s")
			b.ReportMetric(float64(timed(b, e))/1e3, "task-counts-µs")
			slices.Sort(took)
			b.ReportMetric(first.Seconds(), "open-to-lease-s")
			b.ReportMetric(float64(held)/(1<<20), "heap-MB")
			b.ReportMetric(float64(took[len(took)/2])/1e3, "lease-median-µs")
			b.ReportMetric(float64(took[len(took)*99/100])/1e3, "lease-p99-µs")
			b.ReportMetric(float64(accepted)/b.Elapsed().Seconds(), "accepts/s")
		})
	}
}

// timed returns how long TaskCounts takes.
func timed(b *testing.B, e *Engine) time.Duration {
	start := time.Now()
	if _, err := e.TaskCounts(b.Context()); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// acceptUntil takes mail in, one message after the other.
func acceptUntil(b *testing.B, e *Engine, stop <-chan struct{}) (n int) {
	body := make([]byte, 4<<10)
	for ; ; n++ {
		select {
		case <-stop:
			return n
		default:
		}
		s, err := e.Create()
		if err == nil {
			_, err = s.Write(body)
		}
		if err == nil {
			_, err = s.Commit(context.Background(), forBob)
		}
		if err != nil {
			b.Error(err)
			return n
		}
	}
}

// BenchmarkBodies measures the heap that transfers take above the idle engine,
// for each message: the most that was in use, garbage not counted, while so
// many were streamed in, and then out, at once. The engine has had traffic
// before, so that its memtables are not counted; what Badger holds while it
// builds tables is, and is most of it, however many messages there are.
//
//	go test ./spool/badger -run '^$' -bench Bodies -benchtime 1x
func BenchmarkBodies(b *testing.B) {
	for _, c := range []struct{ at, size int }{{1, 50 << 20}, {8, 50 << 20}, {64, 8 << 20}} {
		b.Run(fmt.Sprintf("%dx%dMB", c.at, c.size>>20), func(b *testing.B) {
			e := open(b, Options{})
			ids := make([]mail.ID, c.at)
			in := func(i int) error { return streamIn(e, c.size, &ids[i]) }
			out := func(i int) error { return streamOut(e, ids[i]) }
			if err := streamIn(e, 4*memTableSize, new(mail.ID)); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				b.ReportMetric(peak(b, c.at, in), "in-MB/msg")
				b.ReportMetric(peak(b, c.at, out), "out-MB/msg")
			}
		})
	}
}

// peak runs f n times at once and returns how many MB of heap each took.
func peak(b *testing.B, n int, f func(i int) error) float64 {
	idle, most := heapInUse(), uint64(0)
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- f(i) }()
	}
	for range n {
		for waiting := true; waiting; {
			select {
			case err := <-errs:
				if err != nil {
					b.Fatal(err)
				}
				waiting = false
			default:
				most = max(most, heapInUse())
			}
		}
	}
	return float64(max(most, idle)-idle) / float64(n) / (1 << 20)
}

func streamIn(e *Engine, size int, id *mail.ID) error {
	s, err := e.Create()
	if err != nil {
		return err
	}
	line := make([]byte, 4<<10)
	random := rand.NewChaCha8([32]byte{byte(size)})
	for range size / len(line) {
		random.Read(line) // what does not compress: Badger's tables are as large as the bodies
		if _, err := s.Write(line); err != nil {
			return err
		}
	}
	r, err := s.Commit(context.Background(), forAlice)
	*id = r.ID
	return err
}

func streamOut(e *Engine, id mail.ID) error {
	body, err := e.OpenBody(id)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.NewSectionReader(body, 0, body.Size()), make([]byte, 32<<10))
	return err
}
