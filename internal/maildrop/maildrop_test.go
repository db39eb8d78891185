package maildrop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"restante/internal/logbuffer"
)

// box is a maildrop with a collector.
type box struct {
	t     *testing.T
	dir   string
	c     *Collector
	log   *logbuffer.Buffer
	taken []string
	// fail is asked before anything is taken.
	fail func(*Item) error
	now  time.Time
}

func newBox(t *testing.T) *box {
	b := &box{t: t, dir: filepath.Join(t.TempDir(), "drop"), log: &logbuffer.Buffer{}, now: time.Now()}
	if err := Make(b.dir); err != nil {
		t.Fatal(err)
	}
	b.restart()
	return b
}

// restart forgets what the collector knew.
func (b *box) restart() {
	b.c = NewCollector(Options{Dir: b.dir, Take: b.take, MaxSize: 1 << 20, Logger: slog.New(slog.NewTextHandler(b.log, nil)), Now: func() time.Time { return b.now }})
}

func (b *box) take(_ context.Context, i *Item) error {
	if b.fail != nil {
		if err := b.fail(i); err != nil {
			return err
		}
	}
	body, err := io.ReadAll(i.Body)
	if err != nil || int64(len(body)) != i.Size || i.Owner != os.Geteuid() || i.Left.IsZero() {
		b.t.Errorf("%+v %q %v", i, body, err)
	}
	b.taken = append(b.taken, string(i.Envelope)+"|"+string(body))
	return nil
}

func (b *box) put(envelope, body string) (path string) {
	b.t.Helper()
	name, err := Put(PutOptions{Dir: b.dir}, []byte(envelope), strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	return filepath.Join(b.dir, newDir, name)
}

// collect looks once; want are the beginnings of what must have been taken.
func (b *box) collect(want ...string) error {
	b.t.Helper()
	b.taken = nil
	err := b.c.Collect(b.t.Context())
	if !slices.Equal(b.taken, want) {
		b.t.Errorf("taken %q, want %q\n%s", b.taken, want, b.log)
	}
	return err
}

func (b *box) files(dir string) []string {
	b.t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.dir, dir))
	if err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (b *box) good(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Error(err)
	}
}

func TestMessagesGoThrough(t *testing.T) {
	b := newBox(t)
	b.good(b.collect())
	big := strings.Repeat("0123456789", 50<<10)
	b.put("one", "first\n")
	b.put("", "")
	b.put("three", big)
	if n, err := Count(b.dir); n != 3 || err != nil {
		t.Errorf("%d wait, %v", n, err)
	}
	b.good(b.collect("one|first\n", "|", "three|"+big))
	b.good(b.collect())
	if n, err := Count(b.dir); n != 0 || err != nil {
		t.Errorf("%d are left, %v", n, err)
	}
	info, err := os.Stat(filepath.Join(b.dir, newDir))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := Make(b.dir); err != nil {
		t.Error(err)
	}
	if !Exists(b.dir) || Exists(b.dir+"x") {
		t.Error("Exists")
	}
}

func TestPutFailsWhole(t *testing.T) {
	b := newBox(t)
	broken := errors.New("broken")
	open := filepath.Join(t.TempDir(), "open")
	if err := Make(open); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(open, newDir), 0o733); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what     string
		opt      PutOptions
		envelope []byte
		body     io.Reader
		want     error
	}{
		{"no maildrop", PutOptions{Dir: b.dir + "x"}, nil, strings.NewReader(""), fs.ErrNotExist},
		{"no sticky bit", PutOptions{Dir: open}, nil, strings.NewReader(""), ErrUnsafe},
		{"body breaks", PutOptions{Dir: b.dir}, nil, iotest.ErrReader(broken), broken},
		{"full", PutOptions{Dir: b.dir, MinFree: 1 << 62}, nil, strings.NewReader(""), ErrFull},
		{"envelope", PutOptions{Dir: b.dir}, make([]byte, MaxEnvelope+1), strings.NewReader(""), nil},
	} {
		if _, err := Put(c.opt, c.envelope, c.body); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if left := b.files(newDir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestFailuresAreTriedAgain(t *testing.T) {
	b := newBox(t)
	full := errors.New("full")
	var asked int
	b.fail = func(i *Item) error {
		if asked++; string(i.Envelope) == "2" {
			return full
		}
		return nil
	}
	for _, e := range []string{"1", "2", "3"} {
		b.put(e, "")
	}
	if err := b.collect("1|", "3|"); !errors.Is(err, full) {
		t.Error(err)
	}
	// When nothing goes, it is not the messages.
	for range 10 {
		b.put("2", "")
	}
	asked = 0
	if err := b.collect(); !errors.Is(err, full) || asked != maxFailures {
		t.Errorf("asked %d times: %v", asked, err)
	}
	b.fail = nil
	b.good(b.collect(slices.Repeat([]string{"2|"}, 11)...))
}

// TestTakenAgainAfterCrash plays a crash between the commit and the removal.
func TestTakenAgainAfterCrash(t *testing.T) {
	b := newBox(t)
	path := b.put("e", "b")
	again, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b.good(b.collect("e|b"))
	if err := os.WriteFile(path, again, 0o640); err != nil {
		t.Fatal(err)
	}
	b.restart()
	b.good(b.collect("e|b")) // it is Take that knows

	// What cannot be removed is not taken twice while we live.
	b.put("e", "b")
	var once bool
	b.fail = func(i *Item) error {
		if once {
			t.Error("asked to take it again")
		}
		once = true
		// In its place there is what cannot be removed like a file.
		return errors.Join(os.Remove(filepath.Join(b.dir, newDir, i.Name)), os.MkdirAll(filepath.Join(b.dir, newDir, i.Name, "x"), 0o700))
	}
	if err := b.collect("e|b"); err == nil {
		t.Error("no error")
	}
}

func TestWhatIsDamagedIsKept(t *testing.T) {
	b := newBox(t)
	damage := map[string]func(path string, whole []byte) error{
		"flipped bit":  func(p string, w []byte) error { w[len(w)/2] ^= 1; return os.WriteFile(p, w, 0o600) },
		"cut":          func(p string, w []byte) error { return os.WriteFile(p, w[:len(w)-1], 0o600) },
		"longer":       func(p string, w []byte) error { return os.WriteFile(p, append(w, 0), 0o600) },
		"empty":        func(p string, w []byte) error { return os.WriteFile(p, nil, 0o600) },
		"length":       func(p string, w []byte) error { w[len(magic)] = 'f'; return os.WriteFile(p, w, 0o600) },
		"magic":        func(p string, w []byte) error { w[0] = 'R'; return os.WriteFile(p, w, 0o600) },
		"symlink":      func(p string, w []byte) error { return errors.Join(os.Remove(p), os.Symlink("/etc/passwd", p)) },
		"dead symlink": func(p string, w []byte) error { return errors.Join(os.Remove(p), os.Symlink("nowhere", p)) },
		"hard link":    func(p string, w []byte) error { return os.Link(p, filepath.Join(b.dir, "other")) },
		"pipe":         func(p string, w []byte) error { return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o600)) },
		"directory":    func(p string, w []byte) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) },
		"huge":         func(p string, w []byte) error { return os.Truncate(p, 1<<40) },
		"too large":    func(p string, w []byte) error { return os.Rename(b.put("e", strings.Repeat("x", 1<<20+1)), p) },
	}
	for what, do := range damage {
		path := b.put("envelope", "body")
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := do(path, whole); err != nil {
			t.Fatal(err)
		}
		b.put("good", "")
		b.good(b.collect("good|"))
		if got := b.files(badDir); len(got) != 1 || got[0] != filepath.Base(path) {
			t.Errorf("%s: moved aside: %v", what, got)
		}
		if left := b.files(newDir); len(left) > 0 {
			t.Errorf("%s: left %v", what, left)
		}
		if !strings.Contains(b.log.String(), filepath.Base(path)) {
			t.Errorf("%s: not in the log", what)
		}
		os.Remove(filepath.Join(b.dir, "other"))
		if err := os.RemoveAll(filepath.Join(b.dir, badDir, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	// Of Take's own judgement, and of one name twice.
	b.fail = func(i *Item) error { return fmt.Errorf("%w: why not", ErrUnfit) }
	path := b.put("e", "b")
	for range 2 {
		if err := os.WriteFile(path, encoded("e", "b"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.good(b.collect())
	}
	if n, err := CountBad(b.dir); n != 2 || err != nil {
		t.Errorf("%d were moved aside, %v", n, err)
	}
	if got := b.files(badDir); len(got) != 2 {
		t.Errorf("moved aside: %v", got)
	}
}

func encoded(envelope, body string) []byte {
	var w bytes.Buffer
	e := newEncoder(&w, []byte(envelope))
	io.WriteString(e, body)
	e.close()
	return w.Bytes()
}

func TestHalfWrittenAndStrangeFiles(t *testing.T) {
	b := newBox(t)
	half := filepath.Join(b.dir, newDir, "t"+newName())
	strange := filepath.Join(b.dir, newDir, "README")
	for _, p := range []string{half, strange} {
		if err := os.WriteFile(p, encoded("e", "b"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.good(b.collect())
	if left := b.files(newDir); len(left) != 2 {
		t.Errorf("left %v", left)
	}
	b.now = b.now.Add(maxPartial + time.Hour)
	b.good(b.collect())
	if left := b.files(newDir); len(left) != 1 || left[0] != "README" {
		t.Errorf("left %v", left)
	}
	if n := strings.Count(b.log.String(), "README"); n != 1 {
		t.Errorf("told %d times of the strange file", n)
	}
	if len(b.files(badDir)) > 0 {
		t.Error("something was moved aside")
	}
}

func TestRun(t *testing.T) {
	b := newBox(t)
	b.c.opt.Interval = time.Millisecond
	came := make(chan string, 10)
	b.fail = func(i *Item) error { came <- string(i.Envelope); return nil }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	b.put("before", "")
	go func() { done <- b.c.Run(ctx) }()
	if got := <-came; got != "before" {
		t.Error(got)
	}
	b.put("while it runs", "")
	if got := <-came; got != "while it runs" {
		t.Error(got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encoded("e", "body"))
	f.Add(encoded("", ""))
	f.Add([]byte(magic + "ffffffff\n" + strings.Repeat("x", 64)))
	f.Fuzz(func(t *testing.T, in []byte) {
		envelope, body, err := decode(bytes.NewReader(in), int64(len(in)))
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Fatal(err)
			}
			return
		}
		b, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(encoded(string(envelope), string(b)), in) {
			t.Fatalf("%q was taken for %q and %q (%v)", in, envelope, b, err)
		}
	})
}
