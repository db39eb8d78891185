package badger

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"restante/internal/mail"
	"restante/spool"
)

// The tests of a full disk run the engine in a process of its own, on a tmpfs
// of their own: what they look for is that the process survives.

const (
	envDisk    = "RESTANTE_DISK"     // the spool of TestDiskChild
	envMinFree = "RESTANTE_MIN_FREE" // its Options.MinFree
	diskBody   = 64 << 10
)

// TestDiskChild is that process. It reads orders and writes, a line each, what
// became of them: "ack ID" and "end ID" as soon as they are, and "done" with a
// reason when the order is carried out.
func TestDiskChild(t *testing.T) {
	dir := os.Getenv(envDisk)
	if dir == "" {
		t.Skip("the other tests of a full disk run it")
	}
	minFree, err := strconv.ParseInt(os.Getenv(envMinFree), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	e, err := Open(Options{Dir: dir, MinFree: minFree})
	if err != nil {
		t.Fatal(err)
	}
	var out sync.Mutex
	say := func(format string, a ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf(format+"\n", a...)
	}
	var hog fileHog
	defer hog.free()
	say("done open")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		f := strings.Fields(in.Text())
		n, _ := strconv.Atoi(f[1])
		switch f[0] {
		case "take", "records": // so many, by four, until one is refused
			size := diskBody
			if f[0] == "records" { // short enough for Badger
				size = inlineSize
			}
			var wg sync.WaitGroup
			var reason error
			var once sync.Once
			for range 4 {
				wg.Go(func() {
					for range n / 4 {
						if id, err := diskAccept(e, size); err != nil {
							once.Do(func() { reason = err })
							return
						} else {
							say("ack %s", id)
						}
					}
				})
			}
			wg.Wait()
			say("done %v", reason)
		case "limit":
			lim := unix.Rlimit{Cur: uint64(n), Max: uint64(n)}
			say("done %v", unix.Setrlimit(unix.RLIMIT_NOFILE, &lim))
		case "hog": // all files but so many
			hog.take(n)
			say("done %v", nil)
		case "hunt": // every file that gets free, until let go
			hog.hunt()
			say("done %v", nil)
		case "free":
			hog.free()
			say("done %v", nil)
		case "health":
			say("done %v", e.Healthy())
		case "close":
			say("done %v", e.Close())
		case "open":
			again, err := Open(Options{Dir: dir, MinFree: minFree})
			if err == nil {
				e = again
			}
			say("done %v", err)
		case "read":
			var reason error
			for _, err := range e.Tasks(spool.TaskID{}) {
				reason = err
			}
			say("done %v", reason)
		case "end":
			var reason error
			for range n {
				leases, _, err := e.Lease(spool.Claim{Max: 1, Lifetime: time.Minute})
				if err == nil && len(leases) == 1 {
					err = e.Settle(context.Background(), leases[0], delivered)
				}
				if err != nil || len(leases) == 0 {
					reason = err
					break
				}
				say("end %s", leases[0].Task.ID.Message)
			}
			say("done %v", reason)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// diskAccept takes in a message that cannot be compressed and whose first
// octets are the hash of the others.
func diskAccept(e *Engine, size int) (mail.ID, error) {
	s, err := e.Create()
	if err != nil {
		return mail.ID{}, err
	}
	defer s.Abort()
	body := make([]byte, size)
	for i := sha256.Size; i < len(body); i++ {
		body[i] = byte(rand.Uint32())
	}
	sum := sha256.Sum256(body[sha256.Size:])
	copy(body, sum[:])
	if _, err := s.Write(body); err != nil {
		return mail.ID{}, err
	}
	r, err := s.Commit(context.Background(), forBob)
	return r.ID, err
}

// child drives a TestDiskChild.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	log   strings.Builder
	acked map[string]bool // true until ended
}

func startChild(t *testing.T, dir string, minFree int64) *child {
	return launchChild(t, os.Args[0], dir, minFree, nil)
}

func launchChild(t *testing.T, program, dir string, minFree int64, attr *syscall.SysProcAttr) *child {
	c := &child{t: t, acked: make(map[string]bool)}
	c.cmd = exec.Command(program, "-test.run=^TestDiskChild$", "-test.count=1")
	if attr != nil {
		c.cmd.SysProcAttr, c.cmd.Dir = attr, "/" // which anybody may enter
	}
	c.cmd.Env = append(os.Environ(), envDisk+"="+dir, fmt.Sprintf("%s=%d", envMinFree, minFree))
	c.cmd.Stderr = &c.log
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in, c.out = in, bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.kill() })
	if reason, alive := c.wait(); !alive || reason != "open" {
		t.Fatalf("the child did not open the spool: %s\n%s", reason, c.log.String())
	}
	return c
}

// order has something done and returns the reason why it ended.
func (c *child) order(format string, a ...any) (reason string, alive bool) {
	fmt.Fprintf(c.in, format+"\n", a...)
	return c.wait()
}

func (c *child) wait() (string, bool) {
	for c.out.Scan() {
		switch kind, rest, _ := strings.Cut(c.out.Text(), " "); kind {
		case "ack":
			c.acked[rest] = true
		case "end":
			c.acked[rest] = false
		case "done":
			return rest, true
		}
	}
	return "", false
}

// must is order for a child that has to survive it.
func (c *child) must(format string, a ...any) string {
	c.t.Helper()
	reason, alive := c.order(format, a...)
	if !alive {
		c.cmd.Wait()
		c.t.Fatalf("the child died at %q: %.2000s", fmt.Sprintf(format, a...), c.log.String())
	}
	return reason
}

func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// tmpfs mounts one, or skips the test.
func tmpfs(t *testing.T, size int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("no file system of its own (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillDisk writes a file until the file system has only so much left.
func fillDisk(t *testing.T, name string, leave int64) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 1<<20); len(chunk) >= 4096; {
		free, err := statfs(filepath.Dir(name))
		if err != nil {
			t.Fatal(err)
		}
		if free-int64(len(chunk)) < leave {
			chunk = chunk[:len(chunk)/2]
			continue
		}
		if _, err := f.Write(chunk); err != nil {
			return // full
		}
	}
}

// settle waits until the free space of a file system stands still.
func settle(t *testing.T, dir string) {
	t.Helper()
	last, since := int64(-1), time.Now()
	for end := time.Now().Add(time.Minute); time.Since(since) < 2*time.Second; time.Sleep(50 * time.Millisecond) {
		free, err := statfs(dir)
		if err != nil {
			t.Fatal(err)
		}
		if free != last {
			last, since = free, time.Now()
		}
		if time.Now().After(end) {
			t.Fatal("the free space does not come to rest")
		}
	}
}

// check opens the spool that the child left and finds every message that was
// acknowledged and not ended, whole.
func (c *child) check(dir string) {
	c.t.Helper()
	e := open(c.t, Options{Dir: dir, MinFree: -1})
	for text, there := range c.acked {
		id, err := mail.ParseID(text)
		if err != nil {
			c.t.Fatal(err)
		}
		body, err := readBody(e, id)
		switch {
		case !there && !errors.Is(err, spool.ErrNotFound):
			c.t.Errorf("%s has ended and is there again (%v)", id, err)
		case there && err != nil:
			c.t.Errorf("%s was acknowledged: %v", id, err)
		case there:
			if sum := sha256.Sum256(body[sha256.Size:]); string(sum[:]) != string(body[:sha256.Size]) {
				c.t.Errorf("%s is not what was sent", id)
			}
		}
	}
}

func TestFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	dir := tmpfs(t, 256<<20)
	c := startChild(t, filepath.Join(dir, "spool"), DefaultMinFree)
	full := func(when, reason string) {
		t.Helper()
		if !strings.Contains(reason, spool.ErrFull.Error()) {
			t.Errorf("%s: refused with %q, want ErrFull", when, reason)
		}
	}
	// Mail fills it, is refused, goes out, and comes in again.
	full("filled by mail", c.must("take 10000"))
	n := len(c.acked)
	t.Logf("%d messages of %d KiB fill it", n, diskBody>>10)
	if reason := c.must("end %d", n-50); reason != "<nil>" {
		t.Errorf("deliveries with little space: %s", reason)
	}
	c.resumes("mail has gone out")
	// Somebody else fills it while mail comes in: past the hard floor, and
	// once Badger has ended the work it was at, to the last octet. All of it
	// within one compaction is what the floors cannot help against.
	foreign := filepath.Join(dir, "foreign")
	filled := make(chan struct{})
	go func() {
		defer close(filled)
		fillDisk(t, foreign, DefaultMinFree/2-1<<20)
	}()
	full("filled by others", c.must("take 10000"))
	<-filled
	settle(t, dir)
	fillDisk(t, foreign+"2", 0)
	time.Sleep(freeCheck)
	full("without a free octet", c.must("take 100"))
	full("without a free octet", c.must("end 100"))
	if err := errors.Join(os.Remove(foreign), os.Remove(foreign+"2")); err != nil {
		t.Fatal(err)
	}
	c.resumes("the others have gone")
	c.kill()
	c.check(filepath.Join(dir, "spool"))
}

// resumes waits until mail is taken in again; space comes back in the
// background.
func (c *child) resumes(when string) {
	c.t.Helper()
	before := len(c.acked)
	for end := time.Now().Add(time.Minute); len(c.acked) == before; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("no mail is taken in though %s", when)
		}
		c.must("take 8")
		c.must("end 8")
	}
}

// Without our floors a full disk kills the process: the reason for them. If
// this fails since the child lives, Badger has learnt it and they may go.
func TestFullDiskWithoutFloors(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	dir := tmpfs(t, 64<<20)
	c := startChild(t, filepath.Join(dir, "spool"), -1)
	reason, alive := c.order("records 10000")
	if alive {
		t.Fatalf("the child lives: %s", reason)
	}
	if err := c.cmd.Wait(); err == nil || !strings.Contains(c.log.String(), "SIGBUS") {
		t.Errorf("the child ended with %v, want SIGBUS: %.2000s", err, c.log.String())
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	dir := tmpfs(t, 256<<20)
	e := open(t, Options{Dir: filepath.Join(dir, "spool")})
	commit(t, e, []byte("kept"), forAlice)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Skipf("cannot be made read-only: %v", err)
	}
	if _, err := Open(e.opt); err == nil || !strings.Contains(err.Error(), "read-only file system") {
		t.Errorf("open: %v, want EROFS", err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	e = open(t, e.opt)
	commit(t, e, []byte("more"), forAlice)
}

// The directory turns read-only under the engine, as file systems do that met
// an error: new files cannot be made, though those that are open still work.
func TestDirectoryTurnsReadOnly(t *testing.T) {
	dir := filepath.Join(tmpfs(t, 512<<20), "spool")
	e := open(t, Options{Dir: dir})
	at := commit(t, e, []byte("kept"), forAlice).Deposited[0]
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("cannot be mounted again: %v", err)
	}
	mounted := true
	unmount := func() {
		if mounted {
			mounted = false
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}
	}
	defer unmount()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Skipf("cannot be made read-only: %v", err)
	}
	if s, err := e.Create(); err == nil {
		if _, err := s.Commit(context.Background(), forAlice); !errors.Is(err, spool.ErrReadOnly) {
			t.Errorf("commit: %v, want ErrReadOnly", err)
		}
	}
	readOnly(t, e, at)
	if err := e.Healthy(); !errors.Is(err, unix.EROFS) {
		t.Errorf("healthy: %v, want EROFS for its cause", err)
	}
	if s := e.Stats(); s.Accepting || s.Fault == "" {
		t.Errorf("figures: %+v", s)
	}
	unmount()
	e = reopen(t, e)
	if n, err := e.Entry(at.Mailbox, at.UID); err != nil {
		t.Error(err)
	} else if got, err := readBody(e, n.Message); err != nil || string(got) != "kept" {
		t.Errorf("body %q, %v", got, err)
	}
	commit(t, e, []byte("more"), forAlice)
}
