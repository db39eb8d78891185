package badger

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"restante/spool"
)

// fileHog takes the file descriptors of its process.
type fileHog struct {
	files []*os.File
	stop  chan struct{}
	ended sync.WaitGroup
}

// take takes all but some.
func (h *fileHog) take(leave int) {
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		h.files = append(h.files, f)
	}
	for range leave {
		h.files[len(h.files)-1].Close()
		h.files = h.files[:len(h.files)-1]
	}
}

// hunt takes all, and each that gets free.
func (h *fileHog) hunt() {
	stop := make(chan struct{})
	h.stop = stop
	h.ended.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				h.take(0)
			}
		}
	})
}

func (h *fileHog) free() {
	if h.stop != nil {
		close(h.stop)
		h.stop = nil
	}
	h.ended.Wait()
	for _, f := range h.files {
		f.Close()
	}
	h.files = nil
}

// A process that has no file descriptors left takes no mail in, but lives, can
// read, and goes on when there are some again. Without the spares Badger would
// be left without a memtable, and panic at the next read.
func TestNoFilesLeft(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	dir := filepath.Join(t.TempDir(), "spool")
	c := startChild(t, dir, -1)
	c.must("limit 200")
	if reason := c.must("take 40"); reason != "<nil>" {
		t.Fatalf("with files to spare: %s", reason)
	}
	for _, take := range []string{"records", "take", "records"} {
		c.must("hog 0")
		reason := c.must("%s 10000", take)
		if !strings.Contains(reason, spool.ErrFull.Error()) || !strings.Contains(reason, "too many open files") {
			t.Errorf("without files: %q, want ErrFull", reason)
		}
		if reason := c.must("read 0"); reason != "<nil>" {
			t.Errorf("reading without files: %s", reason)
		}
		c.must("free 0")
		c.resumes("there are files again")
	}
	c.kill()
	c.check(dir)
}

// When somebody snatches even the spares, the spool may turn read-only, and may
// have to be opened again to be read; it does not take the process with it.
func TestFilesAreSnatched(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	dir := filepath.Join(t.TempDir(), "spool")
	c := startChild(t, dir, -1)
	c.must("limit 200")
	c.must("take 40")
	c.must("hunt 0")
	reason := c.must("records 10000")
	if !strings.Contains(reason, spool.ErrFull.Error()) && !strings.Contains(reason, spool.ErrReadOnly.Error()) && !strings.Contains(reason, spool.ErrUncertain.Error()) {
		t.Errorf("refused with %q, want ErrFull, ErrReadOnly or ErrUncertain", reason)
	}
	t.Logf("refused: %s", reason)
	t.Logf("then read: %s", c.must("read 0"))
	c.must("free 0")
	c.must("take 4")
	c.must("read 0")
	c.kill()
	c.check(dir)
}
