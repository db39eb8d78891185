package badger

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"restante/spool"
)

// nobody is the user that the tests become who are root.
const nobody = 65534

// startNobody is startChild for a child that is not root, in a directory that
// is its own.
func startNobody(t *testing.T) (c *child, dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		top := t.TempDir()
		dir = filepath.Join(top, "spool")
		return startChild(t, dir, -1), dir
	}
	// A directory of the test's own is closed to others, as is its program.
	top, err := os.MkdirTemp("", "restante")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	program := filepath.Join(top, "program")
	if err := errors.Join(os.Chmod(top, 0o755), copyFile(program, os.Args[0]), os.Mkdir(filepath.Join(top, "state"), 0o700),
		os.Chown(filepath.Join(top, "state"), nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(top, "state", "spool")
	try := exec.Command(program, "-test.run=^$")
	try.Dir, try.SysProcAttr = "/", asNobody()
	if out, err := try.CombinedOutput(); err != nil {
		t.Skipf("nobody but root can run a program here: %v: %s", err, out)
	}
	return launchChild(t, program, dir, -1, asNobody()), dir
}

func asNobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// The spool's directory is taken away from its user while mail comes in: files
// that are open still work, others cannot be made.
func TestLostPermission(t *testing.T) {
	c, dir := startNobody(t)
	if reason := c.must("take 40"); reason != "<nil>" {
		t.Fatalf("with all permissions: %s", reason)
	}
	for _, mode := range []os.FileMode{0o500, 0} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		before := len(c.acked)
		if reason := c.must("take 10000"); !strings.Contains(reason, spool.ErrReadOnly.Error()) {
			t.Errorf("mode %o: refused with %q, want ErrReadOnly", mode, reason)
		}
		if n := len(c.acked) - before; n > 0 {
			t.Errorf("mode %o: %d messages were taken in", mode, n)
		}
		if reason := c.must("end 4"); !strings.Contains(reason, spool.ErrReadOnly.Error()) {
			t.Errorf("mode %o: deliveries end with %q, want ErrReadOnly", mode, reason)
		}
		if reason := c.must("read 0"); reason != "<nil>" {
			t.Errorf("mode %o: reading: %s", mode, reason)
		}
	}
	if reason := c.must("health 0"); !strings.Contains(reason, "permission denied") {
		t.Errorf("the alarm says %q, want a permission", reason)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c.kill()
	c.check(dir)
}

// A spool whose files its user may not write is refused when it is opened, and
// as it was when they have been given back.
func TestOpenWithoutPermission(t *testing.T) {
	c, dir := startNobody(t)
	c.must("take 40")
	c.must("close 0")
	acked := c.acked
	for _, name := range []string{dir, filepath.Join(dir, "MANIFEST"), filepath.Join(dir, "00001.mem")} {
		st, err := os.Stat(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := errors.Join(err, os.Chmod(name, 0o400)); err != nil {
			t.Fatal(err)
		}
		if reason := c.must("open 0"); !strings.Contains(reason, "permission denied") {
			t.Errorf("%s: opening ends with %q", name, reason)
		}
		if err := os.Chmod(name, st.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	if reason := c.must("open 0"); reason != "<nil>" {
		t.Errorf("with all permissions again: %s", reason)
	}
	c.kill()
	c.acked = acked
	c.check(dir)
}
