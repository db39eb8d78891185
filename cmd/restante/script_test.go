package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"restante/internal/control"
	"restante/spool"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"restante": main, "sendmail": main, "mailq": main, "newaliases": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"up":    up,
			"send":  send,
			"empty": empty,
			"rest":  rest,
		},
	})
}

// exits CODE PROGRAM ARGS... runs a program that must end with an exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// up DIR waits until the daemon of a state directory answers.
func up(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: up DIR")
	}
	waitUp(ts.MkAbs(args[0]), func(err error) { ts.Fatalf("the daemon does not answer: %v", err) })
}

func waitUp(state string, fail func(error)) control.DaemonStatus {
	client := control.NewClient(control.SocketPath(state))
	defer client.Close()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		s, err := client.Status(context.Background())
		if err == nil {
			return s
		}
		if time.Now().After(end) || !errors.Is(err, control.ErrNotRunning) && !os.IsTimeout(err) {
			fail(err)
			return s
		}
	}
}

// send SIGNAL DIR sends a signal to the daemon of a state directory.
func send(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}
	if neg || len(args) != 2 || signals[args[0]] == 0 {
		ts.Fatalf("usage: send TERM|HUP DIR")
	}
	s := waitUp(ts.MkAbs(args[1]), func(err error) { ts.Fatalf("the daemon does not answer: %v", err) })
	ts.Check(syscall.Kill(s.PID, signals[args[0]]))
}

// rest DIR waits until no task is being tried, nor about to be: then the verbs of
// the queue meet none that somebody has.
func rest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: rest DIR")
	}
	client := control.NewClient(control.SocketPath(ts.MkAbs(args[0])))
	defer client.Close()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		busy := 0
		for task, err := range client.Queue(context.Background(), control.Filter{}) {
			ts.Check(err)
			if task.State == spool.Leased || task.State == spool.Queued && time.Until(task.NextTry) < time.Second {
				busy++
			}
		}
		if busy == 0 {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%d tasks are still being tried", busy)
		}
	}
}

// empty DIR waits until there is nothing in a directory.
func empty(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: empty DIR")
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		entries, err := os.ReadDir(ts.MkAbs(args[0]))
		ts.Check(err)
		if len(entries) == 0 {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s still holds %d files", args[0], len(entries))
		}
	}
}
