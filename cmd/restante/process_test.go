package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"restante/internal/logbuffer"
)

// process is a daemon in a folder of its own, which is its home.
type process struct {
	t           *testing.T
	dir         string
	cmd         *exec.Cmd
	out, err    logbuffer.Buffer
	ended       chan struct{}
	notified    chan string // what the service manager was told
	environment []string
}

func newProcess(t *testing.T) *process {
	dir, err := os.MkdirTemp("", "serve") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &process{t: t, dir: dir, ended: make(chan struct{})}
	p.environment = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	return p
}

func (p *process) state() string { return filepath.Join(p.dir, "s") }

// listenNotify plays the service manager's part of sd_notify.
func (p *process) listenNotify() {
	path := filepath.Join(p.dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	p.environment = append(p.environment, "NOTIFY_SOCKET="+path)
	p.notified = make(chan string, 1000)
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			p.notified <- string(b[:n])
		}
	}()
}

// told waits until the service manager is told something.
func (p *process) told(what string) {
	p.t.Helper()
	for {
		select {
		case got := <-p.notified:
			if strings.Contains(got, what) {
				return
			}
		case <-p.ended:
			p.t.Fatalf("ended before it told %q: %s", what, &p.err)
		case <-time.After(time.Minute):
			p.t.Fatalf("not told %q: %s", what, &p.err)
		}
	}
}

// start runs "restante serve"; sockets are passed as systemd does.
func (p *process) start(names string, sockets []*os.File, args ...string) {
	p.t.Helper()
	args = append([]string{"serve", "--state", p.state()}, args...)
	p.cmd = exec.Command("restante", args...)
	p.cmd.Env = p.environment
	if len(sockets) > 0 {
		// LISTEN_PID is the process's own, which only it can know.
		p.cmd = exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$; export LISTEN_PID; exec restante "$@"`, "sh"}, args...)...)
		p.cmd.Env = append(p.environment, fmt.Sprintf("LISTEN_FDS=%d", len(sockets)), "LISTEN_FDNAMES="+names)
		p.cmd.ExtraFiles = sockets
	}
	p.cmd.Dir = p.dir
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // ProcessState has it
	}()
	p.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
	})
}

// waitFor waits until something is in an output, which comes by a pipe.
func (p *process) waitFor(o *logbuffer.Buffer, what string) {
	p.t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(o.String(), what); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("%q is missing in:\n%s%s", what, &p.out, &p.err)
		}
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits for the end and returns the code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		p.t.Fatalf("does not end: %s", &p.err)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) write(name, text string) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}
