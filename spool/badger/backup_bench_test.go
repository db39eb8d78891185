package badger

import (
	"context"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

var backupMessages = flag.Int("backup.messages", 20_000, "queued messages of 4 KiB that BenchmarkBackup backs up")

// BenchmarkBackup backs a spool of queued messages up, makes an increment after
// a thousand more, and restores both: octets per second and per message, and the
// most heap that each needed above what the engine had.
func BenchmarkBackup(b *testing.B) {
	e := open(b, Options{})
	fill(b, e, *backupMessages)
	dir := b.TempDir()
	base, next := filepath.Join(dir, "base"), filepath.Join(dir, "next")
	var full BackupInfo
	b.Run("full", func(b *testing.B) {
		for b.Loop() {
			full = toFile(b, e, base, Mark{})
		}
		b.SetBytes(full.Octets)
		b.ReportMetric(float64(full.Octets)/float64(*backupMessages), "octets/message")
	})
	fill(b, e, 1000)
	b.Run("increment", func(b *testing.B) {
		var info BackupInfo
		for b.Loop() {
			info = toFile(b, e, next, full.Mark)
		}
		b.ReportMetric(float64(info.Octets), "octets")
	})
	b.Run("restore", func(b *testing.B) {
		b.SetBytes(full.Octets)
		n := 0
		for b.Loop() {
			n++
			var readers []io.Reader
			for _, name := range []string{base, next} {
				f, err := os.Open(name)
				if err != nil {
					b.Fatal(err)
				}
				defer f.Close()
				readers = append(readers, f)
			}
			into := filepath.Join(b.TempDir(), "spool")
			watch := watchHeap()
			if _, err := Restore(context.Background(), RestoreOptions{Dir: into}, readers...); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(watch(), "heap-MB")
			os.RemoveAll(into)
		}
	})
}

func toFile(b *testing.B, e *Engine, name string, since Mark) BackupInfo {
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	watch := watchHeap()
	info, err := e.Backup(context.Background(), f, BackupOptions{Since: since})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(watch(), "heap-MB")
	return info
}

// fill queues messages of 4 KiB that cannot be compressed.
func fill(b *testing.B, e *Engine, n int) {
	work := make(chan []byte)
	var writers sync.WaitGroup
	for range 64 {
		writers.Go(func() {
			for body := range work {
				commit(b, e, body, forBob)
			}
		})
	}
	for range n {
		body := make([]byte, 4<<10)
		for i := range body {
			body[i] = byte(rand.Uint32())
		}
		work <- body
	}
	close(work)
	writers.Wait()
}

// watchHeap returns a function that ends the watching, and returns by how many
// megabytes the heap was above where it began, at most.
func watchHeap() func() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	from, most := m.HeapAlloc, m.HeapAlloc
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
	}()
	return func() float64 {
		close(stop)
		<-done
		return float64(most-from) / 1e6
	}
}
