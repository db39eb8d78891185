package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

var kills = flag.Int("kills", 3, "how often the kill -9 test kills the daemon")

// patience is how long a test waits for what must happen. Nothing is measured
// by it: it is only so long in order that a busy machine fails no test.
const patience = 60 * time.Second

// buildDir is where the binary is built, once, by the first test that asks.
var buildDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "restante-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "restante")
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "restante/cmd/restante")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// binary returns the path of the built binary.
func binary(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// eventually waits until ok is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end, pause := time.Now().Add(patience), 5*time.Millisecond
	for ; !ok(); pause = min(2*pause, 200*time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not after %v: %s", patience, what)
		}
		time.Sleep(pause)
	}
}
