package badger

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"restante/spool"
)

const (
	damageListEnv  = "RESTANTE_DAMAGE_LIST"  // makes TestDamageWorker work: spools, one a line
	damageLinesEnv = "RESTANTE_DAMAGE_LINES" // what those hold, as crashLoad told it
)

// What becomes of a damaged spool.
const (
	damageNone     = "nothing lost"
	damageReported = "reported"
	damageSilent   = "SILENT"
	damagePanic    = "panic"
)

// TestDamageWorker is no test: it opens the damaged spools of TestBitFlips, in
// a process of its own, since goroutines of Badger's may panic.
func TestDamageWorker(t *testing.T) {
	list := os.Getenv(damageListEnv)
	if list == "" {
		t.Skip("the process of TestBitFlips")
	}
	lines, err := os.ReadFile(os.Getenv(damageLinesEnv))
	if err != nil {
		t.Fatal(err)
	}
	out := os.NewFile(3, "verdicts")
	for dir := range strings.Lines(list) {
		st := make(crashState)
		for line := range strings.Lines(string(lines)) {
			if err := st.hear(line, true); err != nil {
				t.Fatal(err)
			}
		}
		verdict, why := examine(strings.TrimSpace(dir), st)
		fmt.Fprintf(out, "%s\t%s\n", verdict, strings.ReplaceAll(fmt.Sprint(why), "\n", "; "))
	}
}

// examine opens a damaged spool as the daemon would, has it checked, and
// compares what is there with what was acknowledged.
func examine(dir string, st crashState) (verdict string, why error) {
	e, err := Open(Options{Dir: dir})
	if err != nil {
		return damageReported, fmt.Errorf("open: %w", err)
	}
	defer e.Close()
	if err := checked(e); err != nil {
		return damageReported, err
	}
	err = st.compare(e)
	switch {
	case err == nil:
		return damageNone, nil
	case errors.Is(err, spool.ErrCorrupt):
		return damageReported, err
	}
	return damageSilent, err
}

// TestBitFlips turns one random bit in a random file of a spool, closed or
// killed, and opens it. Nothing may be missing without a word: an error at
// opening, a loss that the commit counter shows, a finding of Check.
func TestBitFlips(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	closed, killed, lines := damageSpools(t)
	n := 2 * rounds(t, 10)
	var images, what []string
	for i := range n {
		from := closed
		if i%2 == 0 {
			from = killed
		}
		to := filepath.Join(t.TempDir(), "spool")
		copyDir(t, from, to)
		what = append(what, filepath.Base(from)+": "+flipBit(t, to))
		images = append(images, to)
	}
	seen := make(map[string]int)
	for i := 0; i < n; {
		verdicts := examineAll(t, self, images[i:], lines)
		if len(verdicts) == 0 {
			t.Fatal("the worker does not work")
		}
		for _, v := range verdicts {
			kind, why, _ := strings.Cut(v, "\t")
			seen[kind]++
			if kind == damageSilent || kind == damagePanic {
				t.Errorf("%s: %s: %.300s", what[i], kind, why)
			} else {
				t.Logf("%s: %s: %.120s", what[i], kind, why)
			}
			i++
		}
	}
	t.Log(seen)
}

// damageSpools makes a spool that was closed and the same one as a kill would
// leave it, and returns them with the lines of what they hold.
func damageSpools(t *testing.T) (closed, killed, lines string) {
	dir := t.TempDir()
	closed, killed, lines = filepath.Join(dir, "closed"), filepath.Join(dir, "killed"), filepath.Join(dir, "lines")
	var all bytes.Buffer
	var mu sync.Mutex
	for run := range 3 { // closed twice before: there are tables, and a log
		e := open(t, Options{Dir: closed})
		stop := make(chan struct{})
		told := 0
		l := &crashLoad{e: e, run: fmt.Sprintf("run%d", run), stop: stop, say: func(line string) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintln(&all, line)
			if told++; told == 300 {
				close(stop)
			}
		}}
		if err := l.wait(); err != nil {
			t.Fatal(err)
		}
		e.settled()
		if run == 2 {
			copyLive(t, closed, killed)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(lines, all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return closed, killed, lines
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := tryCopy(from, to); err != nil {
		t.Fatal(err)
	}
}

// copyLive copies the folder of an open spool, between two changes of Badger's
// tables.
func copyLive(t *testing.T, from, to string) {
	t.Helper()
	manifest := filepath.Join(from, "MANIFEST")
	for range 100 {
		before, err := os.ReadFile(manifest)
		if err == nil {
			err = tryCopy(from, to)
		}
		after, err2 := os.ReadFile(manifest)
		if err = errors.Join(err, err2); err == nil && bytes.Equal(before, after) {
			return
		}
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("Badger changes its tables all the time")
}

func tryCopy(from, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, f := range files {
		source, target := filepath.Join(from, f.Name()), filepath.Join(to, f.Name())
		switch {
		case f.IsDir():
			err = tryCopy(source, target)
		case f.Type().IsRegular():
			var b []byte
			if b, err = os.ReadFile(source); err == nil {
				err = writeSparse(target, b)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// flipBit turns a bit of a random file, in what is written of it, and tells
// which.
func flipBit(t *testing.T, dir string) string {
	var files []string
	for _, pattern := range []string{"*", segmentsName + "/*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if filepath.Base(name) != segmentsName {
				files = append(files, strings.TrimPrefix(name, dir+"/"))
			}
		}
	}
	for {
		name := files[rand.IntN(len(files))]
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		size := len(bytes.TrimRight(b, "\x00"))
		if size == 0 {
			continue
		}
		at, bit := rand.IntN(size), rand.IntN(8)
		b[at] ^= 1 << bit
		if err := writeSparse(filepath.Join(dir, name), b); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s, octet %d of %d, bit %d", name, at, size, bit)
	}
}

// examineAll has a worker look at spools, and returns the verdicts up to the
// first at which it died.
func examineAll(t *testing.T, self string, dirs []string, lines string) (verdicts []string) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(self, "-test.run=^TestDamageWorker$")
	cmd.Env = append(os.Environ(), damageListEnv+"="+strings.Join(dirs, "\n"), damageLinesEnv+"="+lines)
	cmd.ExtraFiles = []*os.File{w}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	for in := bufio.NewScanner(r); in.Scan(); {
		verdicts = append(verdicts, in.Text())
	}
	if err := cmd.Wait(); err != nil && len(verdicts) < len(dirs) {
		verdicts = append(verdicts, fmt.Sprintf("%s\t%v: %.2000s", damagePanic, err, output.String()))
	}
	return verdicts
}
