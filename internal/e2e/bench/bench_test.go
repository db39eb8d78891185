package bench

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestText: what is sent has the size that the table says.
func TestText(t *testing.T) {
	for _, size := range []int{200, 4096, 65536} {
		b := Text(size)
		wire := bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
		if len(wire) < size || len(wire) > size+2 {
			t.Errorf("%d octets, want %d", len(wire), size)
		}
		for line := range bytes.Lines(b) {
			if len(line) > 100 {
				t.Errorf("a line of %d octets", len(line))
			}
		}
	}
}

// TestCPUTime counts a child that runs, and one that has ended.
func TestCPUTime(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc here")
	}
	const work = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
	before, err := CPUTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("sh", "-c", work).Run(); err != nil {
		t.Fatal(err)
	}
	after, err := CPUTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after-before < 10*time.Millisecond {
		t.Errorf("a child that ended after long work counts %v", after-before)
	}
	running := exec.Command("sh", "-c", work+"; read wait")
	stdin, err := running.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	defer running.Wait()
	defer stdin.Close()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		now, err := CPUTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now-after >= 10*time.Millisecond {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a child at work does not count")
		}
	}
}
