package badger

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"restante/internal/mail"
	"restante/spool"
)

// A head is read in front of the body, however long both are.
func TestHead(t *testing.T) {
	e := open(t, Options{Dir: filepath.Join(t.TempDir(), "spool")})
	for _, head := range []int{1, 100, chunkSize - 1, chunkSize, chunkSize + 1, spool.MaxHead} {
		for _, body := range []int{0, 1, chunkSize - 100, chunkSize, chunkSize + 1, 3*chunkSize + 5} {
			h, b := bytes.Repeat([]byte("h"), head), bytes.Repeat([]byte("0123456789abcdefg"), body/17+1)[:body]
			s, err := e.Create()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Write(b); err != nil {
				t.Fatal(err)
			}
			r, err := s.Commit(context.Background(), spool.Message{
				Head: h, Tasks: []spool.Task{{Recipients: []mail.Recipient{{To: mail.Address{Local: "a", Domain: "b.example"}}}}},
			})
			if err != nil {
				t.Fatalf("head of %d, body of %d: %v", head, body, err)
			}
			got, err := readBody(e, r.ID)
			if err != nil || !bytes.Equal(got, append(h, b...)) {
				t.Errorf("head of %d, body of %d: %d octets came back, %v", head, body, len(got), err)
			}
		}
	}
	s, err := e.Create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(context.Background(), spool.Message{
		Head: make([]byte, spool.MaxHead+1), Tasks: []spool.Task{{Recipients: []mail.Recipient{{}}}},
	}); err == nil {
		t.Error("a head that is too long was taken")
	}
}
