package badger

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

const (
	crashDirEnv    = "RESTANTE_CRASH_DIR"    // makes TestCrashWorker work, on this spool
	crashRunEnv    = "RESTANTE_CRASH_RUN"    // the name of its run
	crashRoundsEnv = "RESTANTE_CRASH_ROUNDS" // more rounds of the crash tests
)

// rounds is how often a crash test is to be done.
func rounds(t *testing.T, usual int) int {
	if n, err := strconv.Atoi(os.Getenv(crashRoundsEnv)); err == nil {
		return n
	}
	if testing.Short() {
		return 2
	}
	return usual
}

// TestCrashWorker is no test: it is the process that TestKill kills.
func TestCrashWorker(t *testing.T) {
	dir := os.Getenv(crashDirEnv)
	if dir == "" {
		t.Skip("the process of TestKill")
	}
	e, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	out := os.NewFile(3, "lines")
	l := &crashLoad{e: e, run: os.Getenv(crashRunEnv), say: func(line string) {
		// One write is one line, since a pipe takes as much at once.
		if _, err := out.WriteString(line + "\n"); err != nil {
			os.Exit(1)
		}
	}}
	t.Fatal(l.wait())
}

// TestKill kills a process with SIGKILL that does everything at once, at a
// random moment, again and again on the same spool. Everything acknowledged
// must be there exactly once, nothing that had ended may be back, and what was
// begun is there as a whole or not at all.
func TestKill(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	dir := filepath.Join(t.TempDir(), "spool")
	st := make(crashState)
	total := 0
	for round := range rounds(t, 10) {
		total += killOne(t, self, dir, round, st)
		e, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := st.compare(e); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if err := checked(e); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d acts, %d messages", total, len(st))
	if total == 0 {
		t.Error("nothing was done before the kills")
	}
}

// killOne runs a worker, kills it, takes its lines in, and returns their number.
func killOne(t *testing.T, self, dir string, round int, st crashState) (lines int) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(self, "-test.run=^TestCrashWorker$")
	cmd.Env = append(os.Environ(), crashDirEnv+"="+dir, crashRunEnv+"=run"+strconv.Itoa(round))
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var kill sync.Once
	in := bufio.NewScanner(r)
	for in.Scan() {
		kill.Do(func() {
			time.AfterFunc(time.Duration(rand.IntN(300))*time.Millisecond, func() { cmd.Process.Kill() })
		})
		lines++
		if err := st.hear(in.Text(), true); err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("round %d: the worker ended by itself: %v", round, err)
	}
	return lines
}

// TestPowerLoss takes images of a spool under load as a loss of power may
// leave it, and opens them. An image is made between two syncs of the log:
// what the log held when the first began is durable, and of what came later
// each page is there or is not, at random. The high mark, which is not synced,
// is as it was at some earlier time, a page at a time. All other files are
// Badger's own, which it syncs before it relies on them; they are taken as
// they are. Of a segment, what was there when its last sync began is durable,
// and each page of the rest is there or not. Nothing may be missing that was
// acknowledged between the two.
func TestPowerLoss(t *testing.T) {
	p := &powerCut{t: t, dir: filepath.Join(t.TempDir(), "spool"), images: t.TempDir(), want: rounds(t, 4), stop: make(chan struct{}), segments: make(map[string]int64)}
	e := open(t, Options{Dir: p.dir, datasync: p.segmentSync})
	p.e = e
	e.wal.datasync = func(f *os.File) error {
		p.watch(false)
		err := datasync(f)
		p.watch(true)
		return err
	}
	l := &crashLoad{e: e, run: "run", stop: p.stop, say: p.hear}
	if err := l.wait(); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for i, image := range p.taken {
		st := make(crashState)
		for n, line := range p.lines[:image.tries] {
			if err := st.hear(line, n < image.acks); err != nil {
				t.Fatal(err)
			}
		}
		e, err := Open(Options{Dir: image.dir})
		if err != nil {
			t.Fatalf("image %d: %v", i, err)
		}
		if err := st.compare(e); err != nil {
			t.Errorf("image %d: %v", i, err)
		}
		if err := checked(e); err != nil {
			t.Errorf("image %d: %v", i, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d images, %d lines", len(p.taken), len(p.lines))
}

// powerCut takes the images.
type powerCut struct {
	t           *testing.T
	e           *Engine
	dir, images string
	want        int
	stop        chan struct{}

	// syncLoop's
	syncs, next int
	name        string // of the log that is
	log, mark   []byte // as they were when the last sync began
	durable     bool   // that sync has ended
	taken       []powerImage

	mu       sync.Mutex
	lines    []string
	segments map[string]int64 // how much of each is durable
}

// segmentSync notes how much of a segment is durable. Until TestPowerLoss has
// put its own in, the log is synced by it too, which does no harm.
func (p *powerCut) segmentSync(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := datasync(f); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.segments[f.Name()] = max(p.segments[f.Name()], info.Size())
	return nil
}

type powerImage struct {
	dir         string
	acks, tries int // how many of the lines count as such
}

func (p *powerCut) hear(line string) {
	p.mu.Lock()
	p.lines = append(p.lines, line)
	p.mu.Unlock()
}

func (p *powerCut) said() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lines)
}

// watch is called before and after each sync of the log. An image wants two: the first
// tells what is durable, and just before the second the power fails.
func (p *powerCut) watch(synced bool) {
	if len(p.taken) == p.want {
		return
	}
	log := p.e.wal.synced.Name()
	if synced {
		p.durable = p.durable || p.log != nil
		return
	}
	if p.durable {
		if log != p.name {
			p.log = nil // of a new log nothing is durable
		}
		p.shoot()
		p.log, p.durable = nil, false
	}
	if p.syncs++; p.syncs >= p.next && p.log == nil {
		p.name, p.log, p.mark = log, p.read(log), p.read(filepath.Join(p.dir, markName))
	}
}

// shoot makes an image.
func (p *powerCut) shoot() {
	image := powerImage{dir: filepath.Join(p.images, strconv.Itoa(len(p.taken))), acks: p.said()}
	if !p.copy(image.dir) {
		return
	}
	image.tries = p.said()
	p.taken = append(p.taken, image)
	p.next = p.syncs + 20 + rand.IntN(100)
	if len(p.taken) == p.want {
		close(p.stop)
	}
}

func (p *powerCut) read(name string) []byte {
	b, err := os.ReadFile(name)
	if err != nil {
		p.t.Error(err)
	}
	return b
}

// copy makes an image, unless Badger changed its tables meanwhile.
func (p *powerCut) copy(to string) bool {
	if err := os.Mkdir(to, 0o700); err != nil {
		p.t.Error(err)
		return false
	}
	manifest := filepath.Join(p.dir, "MANIFEST")
	before := p.read(manifest)
	files, err := os.ReadDir(p.dir)
	if err != nil {
		p.t.Error(err)
		return false
	}
	for _, f := range files {
		name := filepath.Join(p.dir, f.Name())
		if f.IsDir() {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			os.RemoveAll(to)
			return false // a table that went
		}
		switch name {
		case p.e.wal.synced.Name():
			b = somePages(b, append(p.log, make([]byte, max(0, len(b)-len(p.log)))...))
		case filepath.Join(p.dir, markName):
			b = somePages(b, p.mark)
		}
		if err := writeSparse(filepath.Join(to, f.Name()), b); err != nil {
			p.t.Error(err)
		}
	}
	if string(before) != string(p.read(manifest)) || !p.copySegments(to) {
		os.RemoveAll(to)
		return false
	}
	return true
}

// copySegments comes after the log, so that the bodies are durable to which
// the log leads.
func (p *powerCut) copySegments(to string) bool {
	if err := os.Mkdir(filepath.Join(to, segmentsName), 0o700); err != nil {
		p.t.Error(err)
		return false
	}
	names, err := filepath.Glob(filepath.Join(p.dir, segmentsName, "*"))
	if err != nil {
		p.t.Error(err)
	}
	for _, name := range names {
		p.mu.Lock()
		durable := p.segments[name]
		p.mu.Unlock()
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it went; nothing leads to it
		}
		if durable < int64(len(b)) {
			copy(b[durable:], somePages(b[durable:], make([]byte, len(b))))
		}
		if err := writeSparse(filepath.Join(to, segmentsName, filepath.Base(name)), b); err != nil {
			p.t.Error(err)
		}
	}
	return true
}

const page = 4096

// somePages puts pages of how a file was before over how it is now.
func somePages(now, before []byte) []byte {
	for at := 0; at < min(len(now), len(before)); at += page {
		if rand.IntN(2) == 0 {
			copy(now[at:min(at+page, len(now))], before[at:])
		}
	}
	return now
}

// writeSparse writes a file that is mostly zeros.
func writeSparse(name string, b []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for at := 0; at < len(b); at += page {
		part := b[at:min(at+page, len(b))]
		if [page]byte(append(part[:len(part):len(part)], make([]byte, page-len(part))...)) == [page]byte{} {
			continue
		}
		if _, err := f.WriteAt(part, int64(at)); err != nil {
			return fmt.Errorf("image: %w", err)
		}
	}
	return f.Truncate(int64(len(b)))
}
