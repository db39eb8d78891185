package badger

import (
	"context"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"restante/internal/mail"
	"restante/spool"
)

// liveHeap is what the heap holds that is needed.
func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// maxHeap is what one message may cost while it comes in or goes out.
const maxHeap = 4 << 20

// A message costs no more than maxHeap however long it is, and however many
// come and go at one time.
func TestBodiesAreNotHeld(t *testing.T) {
	for _, c := range []struct {
		name         string
		size, number int
	}{{"one of 50 MB", 50 << 20, 1}, {"64 of 3 MB", 3 << 20, 64}} {
		t.Run(c.name, func(t *testing.T) {
			e := open(t, Options{})
			commit(t, e, make([]byte, 100<<10), forAlice) // whatever comes once
			rnd, part := rand.NewChaCha8([32]byte{}), make([]byte, 32<<10)
			idle, most := liveHeap(), int64(0)
			look := func(at int) {
				if every := c.size / len(part) / 8; at%every == every-1 {
					most = max(most, liveHeap()-idle)
				}
			}
			staged := make([]spool.Staged, c.number)
			for i := range staged {
				s, err := e.Create()
				if err != nil {
					t.Fatal(err)
				}
				staged[i] = s
			}
			for at := range c.size / len(part) {
				rnd.Read(part)
				for _, s := range staged {
					if _, err := s.Write(part); err != nil {
						t.Fatal(err)
					}
				}
				look(at)
			}
			var ids []mail.ID
			for _, s := range staged {
				r, err := s.Commit(context.Background(), forBob)
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, r.ID)
			}
			t.Logf("in: %d KiB for each", most>>10/int64(c.number))
			if most > maxHeap*int64(c.number) {
				t.Errorf("%d octets of heap for %d messages on their way in", most, c.number)
			}
			clear(staged)
			most, idle = 0, liveHeap()
			bodies := make([]spool.Body, c.number)
			for i, id := range ids {
				b, err := e.OpenBody(id)
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				bodies[i] = b
			}
			for at := range c.size / len(part) {
				for _, b := range bodies {
					if _, err := b.ReadAt(part, int64(at*len(part))); err != nil && err != io.EOF {
						t.Fatal(err)
					}
				}
				look(at)
			}
			t.Logf("out: %d KiB for each", most>>10/int64(c.number))
			if most > maxHeap*int64(c.number) {
				t.Errorf("%d octets of heap for %d messages on their way out", most, c.number)
			}
		})
	}
}
