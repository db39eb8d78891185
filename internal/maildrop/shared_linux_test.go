package maildrop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"restante/internal/needs"
)

// The users of the test below: the daemon's, and two who send.
const daemonUser, sender, stranger = 61001, 61002, 61003

// TestMain lets the test run itself as another user: MAILDROP_AS names what to
// do, in the directory MAILDROP_DIR.
func TestMain(m *testing.M) {
	dir := os.Getenv("MAILDROP_DIR")
	var err error
	switch os.Getenv("MAILDROP_AS") {
	case "":
		os.Exit(m.Run())
	case "put":
		_, err = Put(PutOptions{Dir: dir}, []byte("e"), strings.NewReader("b"))
	case "collect":
		// It prints who sent what it takes.
		c := NewCollector(Options{Dir: dir, Take: func(_ context.Context, i *Item) error {
			fmt.Printf("%d %s\n", i.Owner, i.Envelope)
			return nil
		}})
		err = c.Collect(context.Background())
	case "list":
		_, err = os.ReadDir(filepath.Join(dir, newDir))
	case "read":
		_, err = os.ReadFile(os.Getenv("MAILDROP_FILE"))
	case "remove":
		err = os.Remove(os.Getenv("MAILDROP_FILE"))
	case "rename":
		err = os.Rename(os.Getenv("MAILDROP_FILE"), filepath.Join(dir, newDir, "x"))
	case "link":
		err = os.Link(os.Getenv("MAILDROP_FILE"), filepath.Join(dir, newDir, "m"+newName()))
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		os.Exit(77)
	case err != nil:
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

// TestSharedDirectory is the maildrop of a daemon with a user of its own: what
// others may do in it, and what not.
func TestSharedDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		needs.Lacking(t, "only root can play several users")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The test's own directories are closed to others.
	base, err := os.MkdirTemp("", "maildrop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	program := filepath.Join(base, "program")
	if err := errors.Join(os.Chmod(base, 0o755), exec.Command("cp", self, program).Run()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, "drop")
	drop := filepath.Join(dir, newDir)
	if err := Make(dir); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, drop, filepath.Join(dir, badDir)} {
		if err := os.Chown(d, daemonUser, daemonUser); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(drop, 0o733|fs.ModeSticky|fs.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	as := func(uid uint32, what, file string) int {
		t.Helper()
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), "MAILDROP_AS="+what, "MAILDROP_DIR="+dir, "MAILDROP_FILE="+file)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if len(out) > 0 {
			t.Logf("%d %s: %s", uid, what, out)
		}
		return cmd.ProcessState.ExitCode()
	}
	if code := as(sender, "put", ""); code != 0 {
		t.Fatalf("put: %d", code)
	}
	entries, err := os.ReadDir(drop)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	file := filepath.Join(drop, entries[0].Name())
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if s := info.Sys().(*syscall.Stat_t); s.Uid != sender || s.Gid != daemonUser || info.Mode().Perm() != 0o640 {
		t.Errorf("the file is %d:%d %v", s.Uid, s.Gid, info.Mode())
	}
	for _, c := range []struct {
		uid  uint32
		what string
		code int
	}{
		{stranger, "list", 77}, {stranger, "read", 77}, {stranger, "remove", 77}, {stranger, "rename", 77},
		{sender, "list", 77}, {sender, "read", 0},
		{daemonUser, "list", 0}, {daemonUser, "read", 0},
	} {
		if got := as(c.uid, c.what, file); got != c.code {
			t.Errorf("%d %s: %d, want %d", c.uid, c.what, got, c.code)
		}
	}
	// The daemon takes it, from a user namespace of its own too, as with
	// PrivateUsers= of systemd; there it does not learn from whom.
	as(sender, "put", "")
	for _, c := range []struct {
		want  string
		flags uintptr
	}{{fmt.Sprintf("%d e\n%d e\n", sender, sender), 0}, {"65534 e\n", syscall.CLONE_NEWUSER}} {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), "MAILDROP_AS=collect", "MAILDROP_DIR="+dir)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: daemonUser, Gid: daemonUser}, Cloneflags: c.flags}
		if c.flags != 0 {
			own := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: daemonUser, HostID: daemonUser, Size: 1}}
			cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = own, own
			cmd.SysProcAttr.GidMappingsEnableSetgroups = true
		}
		out, err := cmd.Output()
		if c.flags != 0 && errors.Is(err, fs.ErrPermission) {
			t.Log("no user namespaces here")
			continue
		}
		if err != nil || string(out) != c.want {
			t.Errorf("taken %q, want %q: %v", out, c.want, err)
		}
		as(sender, "put", "")
	}
	entries, err = os.ReadDir(drop)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	file = filepath.Join(drop, entries[0].Name())
	// Whatever the kernel lets a stranger link there, it is not taken.
	secret := filepath.Join(base, "secret")
	if err := os.WriteFile(secret, encoded("e", "a secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	as(stranger, "link", secret)
	if code := as(daemonUser, "remove", file); code != 0 {
		t.Errorf("the daemon cannot remove: %d", code)
	}
}
