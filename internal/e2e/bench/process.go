package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Process is a server that was started, with its output in a file.
type Process struct {
	Cmd   *exec.Cmd
	ended chan struct{}
}

// StartProcess starts one, with its output in the file log.
func StartProcess(log string, argv ...string) (*Process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{Cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // ended is what counts
	}()
	return p, nil
}

// Stop asks the process to end, and makes it after a while.
func (p *Process) Stop() {
	if p == nil {
		return
	}
	_ = p.Cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		_ = p.Cmd.Process.Kill()
		<-p.ended
	}
}

// Build makes the binary.
func Build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "restante")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "restante/cmd/restante").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}
