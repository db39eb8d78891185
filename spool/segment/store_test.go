package segment

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"restante/internal/mail"
	"restante/spool"
)

func start(t *testing.T, opt Options) *Store {
	t.Helper()
	if opt.Dir == "" {
		opt.Dir = filepath.Join(t.TempDir(), "bodies")
	}
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t *testing.T, s *Store, owner byte, number uint32, parts ...[]byte) Ref {
	t.Helper()
	ref, err := s.Append(mail.ID{owner}, number, parts...)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func get(s *Store, ref Ref, owner byte, number uint32) ([]byte, error) {
	r := s.Reader()
	defer r.Close()
	return r.Read(ref, mail.ID{owner}, number, nil)
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

func TestReadBack(t *testing.T) {
	s := start(t, Options{Size: 64 << 10})
	var refs []Ref
	for i := range 40 {
		refs = append(refs, put(t, s, byte(i), uint32(i), noise(i*100), noise(7)))
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	again := start(t, Options{Dir: s.opt.Dir})
	r := again.Reader()
	defer r.Close()
	var buf []byte
	for i, ref := range refs {
		got, err := r.Read(ref, mail.ID{byte(i)}, uint32(i), buf)
		if want := append(noise(i*100), noise(7)...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("blob %d: %d octets, %v", i, len(got), err)
		}
		buf = got
	}
	if n := put(t, again, 1, 1, noise(10)); n.Segment <= refs[len(refs)-1].Segment {
		t.Errorf("segment %d of an earlier run was appended to", n.Segment)
	}
	// The right place, and not what was asked for.
	for _, wrong := range []struct {
		ref    Ref
		owner  byte
		number uint32
	}{
		{refs[3], 4, 3}, {refs[3], 3, 4}, {Ref{99, 0, 5}, 3, 3}, {Ref{refs[3].Segment, refs[3].Offset, 8}, 3, 3},
		{Ref{refs[3].Segment, 1 << 30, 5}, 3, 3}, {Ref{refs[3].Segment, 0, MaxBlob + 1}, 3, 3},
	} {
		if got, err := get(again, wrong.ref, wrong.owner, wrong.number); !errors.Is(err, spool.ErrCorrupt) {
			t.Errorf("%+v: %d octets, %v", wrong, len(got), err)
		}
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	s := start(t, Options{})
	ref := put(t, s, 1, 2, []byte("some octets"))
	name := s.name(ref.Segment)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(whole) * 8 {
		bad := bytes.Clone(whole)
		bad[i/8] ^= 1 << (i % 8)
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := get(s, ref, 1, 2); !errors.Is(err, spool.ErrCorrupt) {
			t.Fatalf("bit %d: %q, %v", i, got, err)
		}
	}
}

// Whatever was appended before Sync is in a file that was synced after it.
func TestSyncCoversWhatWasAppended(t *testing.T) {
	var mu sync.Mutex
	durable := make(map[string]int64)
	var calls atomic.Int64
	s := start(t, Options{Size: 32 << 10, Datasync: func(f *os.File) error {
		calls.Add(1)
		info, err := f.Stat()
		if err != nil {
			return err
		}
		mu.Lock()
		durable[f.Name()] = max(durable[f.Name()], info.Size())
		mu.Unlock()
		return nil
	}})
	const writers, each = 8, 60
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				ref, err := s.Append(mail.ID{byte(w)}, uint32(i), noise(500+i))
				if err == nil {
					err = s.Sync()
				}
				mu.Lock()
				got := durable[s.name(ref.Segment)]
				mu.Unlock()
				if err != nil || got < ref.end() {
					t.Errorf("%d durable, the blob ends at %d, %v", got, ref.end(), err)
					return
				}
			}
		})
	}
	group.Wait()
	if n := calls.Load(); n >= writers*each*2 {
		t.Errorf("%d syncs for %d blobs", n, writers*each)
	}
	open := 0
	s.mu.Lock()
	for _, g := range s.segments {
		if g.file != nil {
			open++
		}
	}
	s.mu.Unlock()
	if open > 1 {
		t.Errorf("%d files are open", open)
	}
}

func TestNothingAfterAFailedSync(t *testing.T) {
	bad := errors.New("bad device")
	fails := true
	s := start(t, Options{Datasync: func(*os.File) error {
		if fails {
			return bad
		}
		return nil
	}})
	put(t, s, 1, 0, noise(10))
	if err := s.Sync(); !errors.Is(err, spool.ErrReadOnly) || !errors.Is(err, bad) {
		t.Errorf("Sync: %v", err)
	}
	fails = false
	if err := s.Sync(); !errors.Is(err, spool.ErrReadOnly) {
		t.Errorf("the next Sync: %v", err)
	}
	if _, err := s.Append(mail.ID{1}, 1, noise(10)); !errors.Is(err, spool.ErrReadOnly) {
		t.Errorf("Append: %v", err)
	}
}

func TestSegmentsGo(t *testing.T) {
	dead := 0
	s := start(t, Options{Size: 1000, Dead: func() { dead++ }})
	var refs []Ref
	for i := range 10 {
		refs = append(refs, put(t, s, 1, uint32(i), noise(400)))
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	collect := func(want int) {
		t.Helper()
		if err := s.Collect(); err != nil {
			t.Fatal(err)
		}
		files, err := os.ReadDir(s.opt.Dir)
		if err != nil || len(files) != want || s.Space().Segments != want {
			t.Errorf("%d files, %+v, want %d, %v", len(files), s.Space(), want, err)
		}
	}
	first := s.Space().Segments
	s.Free(refs[:3]...) // the whole first segment
	collect(first)      // nobody has counted yet
	s.Counted()
	s.Hold()
	collect(first)
	s.Pin(refs[:1])
	s.Unhold()
	collect(first)
	dead = 0
	s.Unpin(refs[:1])
	if dead == 0 {
		t.Error("nobody was told that the last reader has gone")
	}
	collect(first - 1)
	if _, err := get(s, refs[0], 1, 0); !errors.Is(err, spool.ErrCorrupt) {
		t.Errorf("a removed segment: %v", err)
	}
	s.Free(refs[3], refs[4])
	if list := s.Sparse(5); len(list) != 1 || list[0] != refs[3].Segment {
		t.Errorf("sparse: %v", list)
	}
	s.Free(refs[5:]...)
	collect(0) // the current one too
	if put(t, s, 1, 99, noise(5)).Segment <= refs[9].Segment {
		t.Error("a number was given twice")
	}
}

func TestCountAfterReopening(t *testing.T) {
	s := start(t, Options{Size: 1000})
	refs := []Ref{put(t, s, 1, 0, noise(900)), put(t, s, 1, 1, noise(900)), put(t, s, 1, 2, noise(100))}
	s.Close()
	s = start(t, Options{Dir: s.opt.Dir})
	fresh := put(t, s, 2, 0, noise(10))
	s.Free(refs[1]) // of a record that the walk still sees
	if !s.Count(refs[0]) || !s.Count(refs[1]) || s.Count(Ref{77, 0, 1}) || s.Count(Ref{refs[2].Segment, 0, 5000}) {
		t.Error("what is there and what is not")
	}
	s.Counted()
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := s.Collect(); err != nil {
		t.Fatal(err)
	}
	if got := s.Numbers(); fmt.Sprint(got) != fmt.Sprint([]uint32{refs[0].Segment, refs[2].Segment, fresh.Segment}) {
		t.Errorf("segments %v are left", got)
	}
}

func TestScan(t *testing.T) {
	s := start(t, Options{})
	var refs []Ref
	for i := range 20 {
		// Payloads that look like blobs themselves.
		refs = append(refs, put(t, s, 1, uint32(i), []byte(magic), head(mail.ID{9}, 9, 3, nil), noise(i)))
	}
	f, err := os.OpenFile(s.name(refs[0].Segment), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 30), int64(refs[4].Offset)+10); err != nil {
		t.Fatal(err)
	}
	var got []uint32
	if err := s.Scan(refs[0].Segment, func(b Found) error {
		if b.Owner != (mail.ID{1}) || b.Ref != refs[b.Number] {
			t.Errorf("found %+v", b)
		}
		got = append(got, b.Number)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 19 {
		t.Errorf("found %v", got)
	}
}

func FuzzScan(f *testing.F) {
	whole := append(head(mail.ID{1}, 2, 3, [][]byte{[]byte("abc")}), "abc"...)
	f.Add(whole)
	f.Add(append([]byte("RSRSG1"), whole...))
	f.Add(append(bytes.Clone(whole[:20]), whole...))
	f.Fuzz(func(t *testing.T, b []byte) {
		end := int64(0)
		if err := scan(bytes.NewReader(b), int64(len(b)), 1, func(found Found) error {
			if int64(found.Ref.Offset) < end || found.Ref.end() > int64(len(b)) {
				t.Errorf("%+v behind %d of %d", found, end, len(b))
			}
			end = found.Ref.end()
			_, err := open(b[found.Ref.Offset:end], found.Owner, found.Number)
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}

// What passes by itself does not end the taking of mail.
func TestTooManyOpenFiles(t *testing.T) {
	s := start(t, Options{})
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Skip(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: old.Max}); err != nil {
		t.Skip(err)
	}
	_, err := s.Append(mail.ID{1}, 0, noise(10))
	if err2 := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err2 != nil {
		t.Fatal(err2)
	}
	if !errors.Is(err, syscall.EMFILE) || errors.Is(err, spool.ErrReadOnly) {
		t.Errorf("without a file to open: %v", err)
	}
	put(t, s, 1, 0, noise(10))
}
