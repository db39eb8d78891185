package accept_test

import (
	"bytes"
	"context"
	"testing"

	"restante/internal/corpus"
	"restante/internal/header"
	"restante/spool/spooltest"
)

// BenchmarkMessage is what accept costs beside the spool: 4 KiB for a mailbox.
func BenchmarkMessage(b *testing.B) {
	message := corpus.Attachment(2 << 10)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		a := newAcceptor(spooltest.NewMemory(spooltest.MemoryOptions{}))
		b.StartTimer()
		m, err := a.Submit(submission("carol@there.example", "alice@here.example"))
		if err != nil {
			b.Fatal(err)
		}
		block, rest, err := header.Read(bytes.NewReader(message), 0)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.SetHeader(context.Background(), block); err != nil {
			b.Fatal(err)
		}
		buf := make([]byte, 32<<10)
		for {
			n, err := rest.Read(buf)
			m.Write(buf[:n])
			if err != nil {
				break
			}
		}
		if _, err := m.Commit(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
