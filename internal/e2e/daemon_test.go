package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The accounts of every daemon here.
const (
	alice    = "alice@example.org"
	bob      = "bob@example.org"
	password = "correct horse battery"
)

// base is the configuration that every test extends.
const base = `
hostname = "mx.example.org"

[[listener]]
role = "smtp"
address = "127.0.0.1:0"
[[listener]]
role = "submission"
address = "127.0.0.1:0"
[[listener]]
role = "submissions"
address = "127.0.0.1:0"
[[listener]]
role = "imap"
address = "127.0.0.1:0"
[[listener]]
role = "imaps"
address = "127.0.0.1:0"

[tls]
certificate = "tls.crt"
key = "tls.key"

[[domain]]
name = "example.org"
[[account]]
name = "alice@example.org"
password_file = "password"
[[account]]
name = "bob@example.org"
password_file = "password"
`

// daemon is one restante with its folder; it runs unless it was stopped.
type daemon struct {
	t      testing.TB
	dir    string // the folder of everything below
	state  string
	config string
	cert   *certificate
	env    []string // besides that of the tests
	log    output   // of all runs

	cmd   *exec.Cmd
	ended chan struct{} // closed when the process is gone; its state is in cmd
	addrs map[string]string
}

// newDaemon starts a daemon with the base configuration and more of it. It is
// killed when the test ends.
func newDaemon(t testing.TB, more ...string) *daemon {
	t.Helper()
	d := prepare(t, more...)
	d.start()
	return d
}

// prepare is newDaemon without the start.
func prepare(t testing.TB, more ...string) *daemon {
	t.Helper()
	// Not t.TempDir: the name of a Unix socket must be short.
	dir, err := os.MkdirTemp("", "rst")
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, dir: dir, state: filepath.Join(dir, "state"), config: filepath.Join(dir, "config.toml")}
	t.Cleanup(func() {
		d.kill()
		if strings.Contains(d.log.String(), "WARNING: DATA RACE") {
			t.Error("the race detector found something in the daemon")
		}
		if t.Failed() {
			t.Logf("the daemon's log ends with:\n%s", d.log.tail(16<<10))
		}
		os.RemoveAll(dir)
	})
	d.cert = newCertificate(t)
	d.cert.write(t, dir)
	d.write("password", password+"\n")
	d.configure(more...)
	return d
}

// configure writes the configuration anew; a running daemon does not see it
// before a reload.
func (d *daemon) configure(more ...string) {
	d.t.Helper()
	text := base + strings.Join(more, "\n")
	if !strings.Contains(text, "[authentication]") {
		text += "\n[authentication]\nevaluate = false\n"
	}
	if !strings.Contains(text, "[dns]") {
		// No test asks the name servers of the machine it runs on.
		text += "\n[dns]\nresolver = \"127.0.0.1:1\"\n"
	}
	d.write("config.toml", text)
}

// write makes a file in the daemon's folder and returns its path.
func (d *daemon) write(name, text string) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// start runs the daemon and waits until it is ready.
func (d *daemon) start() {
	d.t.Helper()
	d.spawn("serve", "--state", d.state, "--config", d.config)
	d.ready()
}

// spawn runs the binary with its output going to the log.
func (d *daemon) spawn(args ...string) {
	d.t.Helper()
	if d.cmd != nil {
		select {
		case <-d.ended:
		default:
			d.t.Fatal("the daemon runs already")
		}
	}
	cmd := exec.Command(binary(d.t), args...)
	cmd.Stdout, cmd.Stderr = &d.log, &d.log
	cmd.Dir, cmd.Env = d.dir, append(os.Environ(), d.env...)
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // ProcessState has it
	}()
	d.cmd, d.ended = cmd, ended
}

// ready waits for the control socket to answer, and learns the addresses.
func (d *daemon) ready() {
	d.t.Helper()
	eventually(d.t, "the daemon is ready", func() bool {
		select {
		case <-d.ended:
			d.t.Fatalf("the daemon ended: %v", d.cmd.ProcessState)
		default:
		}
		addrs, err := d.status()
		if err != nil || len(addrs) == 0 {
			return false
		}
		d.addrs = addrs
		return true
	})
}

// status asks the control socket for the listeners.
func (d *daemon) status() (map[string]string, error) {
	var dialer net.Dialer
	client := http.Client{
		Timeout: patience,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", filepath.Join(d.state, "control.sock"))
			},
		},
	}
	resp, err := client.Get("http://restante/v1/status")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var status struct {
		PID       int `json:"pid"`
		Listeners []struct{ Name, Addr string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		return nil, err
	}
	if status.PID != d.cmd.Process.Pid {
		return nil, fmt.Errorf("process %d answers", status.PID)
	}
	addrs := make(map[string]string)
	for _, l := range status.Listeners {
		addrs[l.Name] = l.Addr
	}
	return addrs, nil
}

// addr is where a listener is.
func (d *daemon) addr(name string) string {
	d.t.Helper()
	if d.addrs[name] == "" {
		d.t.Fatalf("no listener %q in %v", name, d.addrs)
	}
	return d.addrs[name]
}

// port is the port of a listener.
func (d *daemon) port(name string) string {
	d.t.Helper()
	_, port, err := net.SplitHostPort(d.addr(name))
	if err != nil {
		d.t.Fatal(err)
	}
	return port
}

func (d *daemon) signal(sig syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.t.Fatal(err)
	}
}

// wait waits for the daemon to end and returns its exit code.
func (d *daemon) wait() int {
	d.t.Helper()
	select {
	case <-d.ended:
	case <-time.After(patience):
		d.t.Fatal("the daemon does not end")
	}
	return d.cmd.ProcessState.ExitCode()
}

// stop ends the daemon as an administrator would.
func (d *daemon) stop() {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	if code := d.wait(); code != 0 {
		d.t.Fatalf("exit code %d after SIGTERM", code)
	}
}

// kill ends the daemon with kill -9, if it runs.
func (d *daemon) kill() {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Kill() // it may have ended
	<-d.ended
}

// restart stops the daemon and starts it again, on other ports.
func (d *daemon) restart() {
	d.t.Helper()
	d.stop()
	d.start()
}

// result is what a command said.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a command of the binary on the daemon's state and returns its
// outcome, whatever it is.
func (d *daemon) run(stdin string, args ...string) result {
	d.t.Helper()
	args = append(args, "--state", d.state, "--config", d.config)
	return run(d.t, d.dir, d.env, stdin, append([]string{binary(d.t)}, args...)...)
}

// must is run for commands that must succeed; it returns their output.
func (d *daemon) must(stdin string, args ...string) string {
	d.t.Helper()
	r := d.run(stdin, args...)
	if r.code != 0 {
		d.t.Fatalf("restante %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// run runs a program in a folder. It has to end within patience.
func run(t testing.TB, dir string, env []string, stdin string, argv ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	// A grandchild may keep the pipes open.
	cmd.WaitDelay = patience
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", argv[0], err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// tail is the last n octets, from the beginning of a line.
func (o *output) tail(n int) string {
	s := o.String()
	if len(s) > n {
		_, s, _ = strings.Cut(s[len(s)-n:], "\n")
	}
	return s
}
