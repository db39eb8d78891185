package badger

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"restante/internal/mail"
)

func segmentFiles(t testing.TB, e *Engine) int {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(e.opt.Dir, segmentsName))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Segments of which little is needed are emptied, and go; who reads in them
// reads on.
func TestSparseSegmentsAreEmptied(t *testing.T) {
	e := open(t, Options{})
	e.counting.Wait()
	text := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "body %06d\n", i), 25_000) } // 300 KB
	var kept []mail.ID
	const n, every = 150, 10 // less than maintainLoop takes care of
	for i := range n {
		m := forBob
		if i%every == 0 {
			m = forAlice
		}
		r := commit(t, e, text(i), m)
		if i%every == 0 {
			kept = append(kept, r.ID)
		}
	}
	reading, err := e.OpenBody(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	defer reading.Close()
	for range n - n/every {
		if err := e.Settle(context.Background(), lease(t, e), delivered); err != nil {
			t.Fatal(err)
		}
	}
	before := segmentFiles(t, e)
	if len(e.sparse(1)) == 0 {
		t.Fatalf("nothing to do: %+v", e.segments.Space())
	}
	if err := e.emptySparse(1); err != nil {
		t.Fatal(err)
	}
	if err := e.segments.Collect(); err != nil {
		t.Fatal(err)
	}
	pinned := segmentFiles(t, e)
	if pinned >= before {
		t.Errorf("%d segments, before %d", pinned, before)
	}
	got, err := io.ReadAll(io.NewSectionReader(reading, 0, reading.Size()))
	if err != nil || !bytes.Equal(got, text(0)) {
		t.Errorf("a body that was being read: %d octets, %v", len(got), err)
	}
	reading.Close()
	if err := e.segments.Collect(); err != nil {
		t.Fatal(err)
	}
	if left := segmentFiles(t, e); left >= pinned {
		t.Errorf("%d segments after the last reader, %d before", left, pinned)
	}
	for range 2 {
		for i, id := range kept {
			if got, err := readBody(e, id); err != nil || !bytes.Equal(got, text(i*every)) {
				t.Errorf("body %d: %d octets, %v", i, len(got), err)
			}
		}
		if rep, list := check(t, e, false); rep.Findings != 0 {
			t.Errorf("%+v", list)
		}
		e = reopen(t, e)
	}
}

// Without a disk that works nothing long is acknowledged.
func TestFailedSegmentSync(t *testing.T) {
	bad := false
	e := open(t, Options{datasync: func(f *os.File) error {
		if bad && filepath.Ext(f.Name()) == ".seg" {
			return os.ErrInvalid
		}
		return datasync(f)
	}})
	commit(t, e, make([]byte, 100<<10), forAlice)
	bad = true
	s := stage(t, e, make([]byte, 100<<10))
	if _, err := s.Commit(context.Background(), forAlice); err == nil {
		t.Error("a body that is not durable was acknowledged")
	}
	if e.Healthy() == nil {
		t.Error("the engine takes changes after a failed sync")
	}
	if _, err := e.Create(); err == nil {
		t.Error("mail is taken in after a failed sync")
	}
}

// Up to format 3 a long body was chunks in Badger, with a garbage mark while
// it came or went.
func TestLongBodiesAreMigrated(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	e := open(t, Options{Dir: dir})
	body := letter(5*chunkSize + 48)
	long := commit(t, e, body, forAlice).ID
	short := commit(t, e, body[:16], forAlice).ID
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, segmentsName)); err != nil {
		t.Fatal(err)
	}
	put := func(f func(t *tx) error) { raw(t, dir, f) }
	for i := 0; i*chunkSize < len(body); i++ {
		put(func(t *tx) error {
			return t.set(chunkKey(long, uint32(i)), bytes.Clone(body[i*chunkSize:min((i+1)*chunkSize, len(body))]))
		})
	}
	coming, marked := mail.ID{1}, mail.ID{2}
	put(func(t *tx) error {
		m, err := load(t, idKey(kMessage, long), decodeMessage)
		if err != nil {
			return err
		}
		m.packed = false
		for key, payload := range map[string][]byte{
			string(idKey(kMessage, long)): m.encode(), string(metaKey(metaFormat)): encodeCounter(3),
			string(chunkKey(coming, 0)): make([]byte, 100), string(chunkKey(coming, 1)): make([]byte, 100),
			string(idKey(kGarbage, coming)): {recordVersion}, string(idKey(kGarbage, marked)): {recordVersion},
			string(idKey(kGarbage, short)): {recordVersion},
		} {
			if err := t.set([]byte(key), payload); err != nil {
				return err
			}
		}
		return t.delete(idKey(kPieces, long))
	})
	e = open(t, Options{Dir: dir})
	for id, want := range map[mail.ID][]byte{long: body, short: body[:16]} {
		if got, err := readBody(e, id); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d octets, want %d, %v", len(got), len(want), err)
		}
	}
	for kind, want := range map[byte]int{kGarbage: 0, kChunk: 1, kPieces: 1} {
		if n := count0(t, e, kind); n != want {
			t.Errorf("%d records of kind %q, want %d", n, kind, want)
		}
	}
	if rep, list := check(t, e, false); rep.Findings != 0 {
		t.Errorf("%+v", list)
	}
}
