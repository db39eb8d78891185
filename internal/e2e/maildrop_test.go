package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"restante/internal/needs"
)

func (d *daemon) maildrop(sub string) []string {
	d.t.Helper()
	entries, err := os.ReadDir(filepath.Join(d.state, "maildrop", sub))
	if err != nil {
		d.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestMaildrop leaves mail while no daemon runs.
func TestMaildrop(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	if r := d.asSendmail("Subject: one\n\none\n", bob); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	d.stop()
	for _, c := range []struct {
		args []string
		in   string
		code int
	}{
		{[]string{"-f", alice, bob}, "Subject: two\n\ntwo\n", 0},
		{[]string{"-t", "-f", alice}, "To: bob@example.org, nobody@example.org\nSubject: three\n\nthree\n", 0},
		{[]string{"-f", "<>", "nobody@example.org"}, "Subject: for nobody from nobody\n\nhello\n", 0},
		{[]string{"not an address@"}, "Subject: x\n\nx\n", 64},
	} {
		if r := d.asSendmail(c.in, c.args...); r.code != c.code {
			t.Errorf("%v: exit code %d, want %d: %s", c.args, r.code, c.code, r.stderr)
		}
	}
	if got := d.maildrop("new"); len(got) != 3 {
		t.Errorf("the maildrop has %q", got)
	}
	if r := d.asSendmail("", "-bp"); r.code != 69 || !strings.Contains(r.stderr, "3 messages in the maildrop") {
		t.Errorf("-bp: %d %q", r.code, r.stderr)
	}
	damaged := filepath.Join(d.state, "maildrop", "new", "m0000000000000000-00000000000000000000000000000000")
	if err := os.WriteFile(damaged, []byte("restante maildrop 1\n00000002\n{}Subject: damaged\n\n"+strings.Repeat("x", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	d.start()
	d.inbox(bob, 3)
	// What could not be refused to its caller has returned to its sender.
	has(t, string(d.inbox(alice, 1)[0].body), "nobody@example.org", "550 5.1.1")
	eventually(t, "the maildrop is empty", func() bool { return len(d.maildrop("new")) == 0 })
	if got := d.maildrop("bad"); len(got) != 2 {
		t.Errorf("moved aside: %q", got)
	}
	has(t, d.must("", "status"), "maildrop: 0 waiting, 2 moved aside, in "+filepath.Join(d.state, "maildrop"))
	has(t, d.log.String(), "moved aside from the maildrop", "it does not match its hash", "it has no sender")

	// What comes while it runs, from who did not find it, is picked up too.
	elsewhere := d.write("elsewhere.toml", base+"\n[spool]\n")
	text, err := os.ReadFile(elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	d.write("elsewhere.toml", "control_socket = \"none.sock\"\nmaildrop = \"state/maildrop\"\n"+string(text))
	if r := run(t, d.dir, nil, "Subject: four\n\nfour\n", binary(t), "sendmail", "-v", "--config", elsewhere, "--state", d.state, bob); r.code != 0 || !strings.Contains(r.stderr, "waits in the maildrop") {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	d.inbox(bob, 4)
}

// numberIn finds "number N" in the body of a message, 0 if it is not there.
var numberIn = regexp.MustCompile(`\r\nnumber (\d+)\r\n`)

// TestMaildropKill kills senders and the daemon, and counts: what sendmail said
// it has is there once, and nothing twice.
func TestMaildropKill(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	mta := d.mta()
	var mu sync.Mutex
	accepted, begun := make(map[int]bool), 0
	ctx, stop := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	for range 3 {
		senders.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				begun++
				n := begun
				mu.Unlock()
				cmd := exec.Command(mta, "-f", alice, bob)
				cmd.Stdin = strings.NewReader(fmt.Sprintf("Subject: x\n\nnumber %d\n%s", n, strings.Repeat("more of it\n", rand.IntN(20000))))
				// All of them, or the shell would be killed alone.
				cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				var killer *time.Timer
				if n%4 == 0 {
					killer = time.AfterFunc(time.Duration(rand.IntN(60))*time.Millisecond, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
				}
				err := cmd.Wait()
				var exit *exec.ExitError
				switch {
				case err == nil:
					mu.Lock()
					accepted[n] = true
					mu.Unlock()
				case killer == nil && errors.As(err, &exit):
					t.Errorf("sendmail: exit code %d", exit.ExitCode())
				}
				if killer != nil {
					killer.Stop()
				}
			}
		})
	}
	for range *kills {
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		d.kill()
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		d.start()
	}
	d.kill()
	stop()
	senders.Wait()
	d.start()
	eventually(t, "the maildrop is empty", func() bool {
		for _, name := range d.maildrop("new") {
			if name[0] == 'm' {
				return false
			}
		}
		return true
	})
	if bad := d.maildrop("bad"); len(bad) > 0 {
		t.Errorf("moved aside: %v", bad)
	}
	seen := make(map[int]int)
	for _, m := range d.fetch(bob) {
		found := numberIn.FindSubmatch(m.body)
		if found == nil {
			t.Errorf("a message without a number: %q", clip(m.body))
			continue
		}
		n, _ := strconv.Atoi(string(found[1]))
		seen[n]++
	}
	for n := 1; n <= begun; n++ {
		if accepted[n] && seen[n] != 1 || seen[n] > 1 {
			t.Errorf("message %d: accepted is %v, and it is there %d times", n, accepted[n], seen[n])
		}
	}
	if len(accepted) == 0 {
		t.Error("nothing was accepted")
	}
	waited := strings.Count(d.log.String(), "service=maildrop")
	again := strings.Count(d.log.String(), "taken before")
	t.Logf("%d begun, %d accepted, %d by the maildrop, %d came again, %d kills", begun, len(accepted), waited, again, *kills)
}

// TestMaildropOfTheService is the maildrop of a daemon with a user of its own,
// as systemd-tmpfiles makes it: every user may leave mail in it.
func TestMaildropOfTheService(t *testing.T) {
	if os.Geteuid() != 0 {
		needs.Lacking(t, "only root can play several users")
	}
	const sender = 61002 // without a name
	t.Parallel()
	d := prepare(t)
	program := filepath.Join(d.dir, "sendmail")
	drop := filepath.Join(d.dir, "drop")
	if err := errors.Join(
		os.Chmod(d.dir, 0o711),
		exec.Command("cp", binary(t), program).Run(),
		os.Mkdir(drop, 0o755), os.Mkdir(filepath.Join(drop, "bad"), 0o700), os.Mkdir(filepath.Join(drop, "new"), 0o700),
		os.Chmod(filepath.Join(drop, "new"), 0o733|fs.ModeSticky|fs.ModeSetgid),
	); err != nil {
		t.Fatal(err)
	}
	d.write("config.toml", fmt.Sprintf("maildrop = %q\n%s", drop, base))
	theirs := d.write("theirs.toml", fmt.Sprintf("maildrop = %q\ncontrol_socket = \"none.sock\"\nhostname = \"mx.example.org\"\n", drop))
	if err := os.Chmod(theirs, 0o644); err != nil {
		t.Fatal(err)
	}
	send := func() string {
		t.Helper()
		cmd := exec.Command(program, "--config", theirs, "--state", d.state, "-v", bob)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: sender, Gid: sender}}
		cmd.Stdin = strings.NewReader("Subject: from another user\n\nhello\n")
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	has(t, send(), "waits in the maildrop as m")
	d.start()
	m := d.inbox(bob, 1)[0]
	has(t, string(m.body), fmt.Sprintf("Return-Path: <uid-%d@example.org>", sender))
	send()
	d.inbox(bob, 2)
}
