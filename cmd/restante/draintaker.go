package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"restante/internal/control"
)

// taker finds who takes what is drained to a place, and how to let go of it.
// from is the daemon that is drained.
func (c *call) taker(ctx context.Context, place string, from control.DaemonStatus) (control.Taker, func(), error) {
	kind, rest, _ := strings.Cut(place, ":")
	if rest == "" {
		kind = ""
	}
	nothing := func() {}
	switch kind {
	case "dir":
		return folder{rest}, nothing, os.MkdirAll(rest, 0o700)
	case "unix":
		client := control.NewClient(rest)
		return client, client.Close, other(ctx, client, from)
	case "ssh":
		t, err := c.tunnel(ctx, rest)
		if err != nil {
			return nil, nothing, err
		}
		client := control.NewClient(t.socket)
		err = t.wait(ctx, client, from)
		if err != nil {
			err = errors.Join(err, t.close())
		}
		return client, func() { client.Close(); _ = t.close() }, err
	}
	return nil, nothing, usagef("--to %s: unix:SOCKET, ssh:HOST and dir:DIR are places", place)
}

// other makes sure that a daemon is there, is another, and takes parcels of us.
func other(ctx context.Context, client *control.Client, from control.DaemonStatus) error {
	s, err := client.Status(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("the other daemon: %w", err)
	case s.PID == from.PID && s.Started.Equal(from.Started):
		return errors.New("the other daemon is the same daemon")
	case s.Queue == nil:
		return errors.New("the other daemon takes nothing of you: that needs its root or its own user")
	}
	return nil
}

// tunnel is an ssh that leads a socket of ours to one of another machine.
type tunnel struct {
	cmd         *exec.Cmd
	dir, socket string
	ended       chan error
}

// tunnelPatience bounds the wait for ssh, which may ask for a password.
const tunnelPatience = 2 * time.Minute

func (c *call) tunnel(ctx context.Context, to string) (*tunnel, error) {
	host, remote, _ := strings.Cut(to, ":")
	if remote == "" {
		remote = serviceSocket
	}
	if host == "" || strings.HasPrefix(host, "-") || !strings.HasPrefix(remote, "/") {
		return nil, usagef("--to ssh:%s: ssh:HOST or ssh:HOST:/PATH/OF/THE/SOCKET is expected", to)
	}
	dir, err := os.MkdirTemp("", "restante")
	if err != nil {
		return nil, err
	}
	t := &tunnel{dir: dir, socket: filepath.Join(dir, control.SocketName), ended: make(chan error, 1)}
	// Ctrl-C must not cut the tunnel off under the messages in hand.
	t.cmd = exec.CommandContext(context.WithoutCancel(ctx), "sh", "-c", `trap "" INT; exec ssh "$@"`, "ssh",
		"-N", "-o", "ExitOnForwardFailure=yes", "-L", t.socket+":"+remote, host)
	t.cmd.Stderr = c.err
	if err := t.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() { t.ended <- t.cmd.Wait() }()
	return t, nil
}

// wait waits until the other daemon answers through the tunnel.
func (t *tunnel) wait(ctx context.Context, client *control.Client, from control.DaemonStatus) error {
	ctx, cancel := context.WithTimeout(ctx, tunnelPatience)
	defer cancel()
	for {
		if _, err := os.Stat(t.socket); err == nil {
			return other(ctx, client, from)
		}
		select {
		case err := <-t.ended:
			t.ended <- err
			return fmt.Errorf("ssh has ended: %w", errors.Join(err, control.ErrNotRunning))
		case <-ctx.Done():
			return fmt.Errorf("ssh: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// close ends ssh and waits for it.
func (t *tunnel) close() error {
	_ = t.cmd.Process.Kill() // it may have ended
	<-t.ended
	return os.RemoveAll(t.dir)
}
