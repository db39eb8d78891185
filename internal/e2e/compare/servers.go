package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a server that was started, with its output in a file.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

func startProcess(log string, argv ...string) (*process, error) {
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
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // ended is what counts
	}()
	return p, nil
}

// stop asks the process to end, and makes it after a while.
func (p *process) stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// build makes the binary.
func build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "restante")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "restante/cmd/restante").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// restante is ours.
type restante struct {
	binary string
	dir    string
	*process
}

const restanteConfig = `
hostname = "mx.example.org"
[[listener]]
role = "smtp"
address = "127.0.0.1:%d"
[smtp]
max_connections = 2000
max_connections_per_address = 2000
[[domain]]
name = "example.org"
[[route]]
name = "nowhere"
domains = ["*"]
next_hop = ["%s"]
tls = "none"
[queue]
retry_min = "1h"
`

func (r *restante) start(ctx context.Context, dir string) (string, int, error) {
	r.dir = dir
	port, err := freePort()
	if err != nil {
		return "", 0, err
	}
	refused, err := freePort()
	if err != nil {
		return "", 0, err
	}
	config := fmt.Sprintf(restanteConfig, port, net.JoinHostPort("127.0.0.1", fmt.Sprint(refused)))
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600); err != nil {
		return "", 0, err
	}
	r.process, err = startProcess(filepath.Join(dir, "log"), append([]string{r.binary, "serve"}, r.args()...)...)
	if err != nil {
		return "", 0, err
	}
	return fmt.Sprintf("127.0.0.1:%d", port), r.cmd.Process.Pid, nil
}

func (r *restante) args() []string {
	return []string{"--config", filepath.Join(r.dir, "config.toml"), "--state", filepath.Join(r.dir, "state")}
}

// queued asks the daemon for its status.
func (r *restante) queued(ctx context.Context) (int, error) {
	out, err := exec.CommandContext(ctx, r.binary, append([]string{"status", "--json"}, r.args()...)...).Output()
	if err != nil {
		return 0, fmt.Errorf("restante status: %w", err)
	}
	var status struct{ Queue struct{ Tasks int } }
	if err := json.Unmarshal(out, &status); err != nil {
		return 0, fmt.Errorf("restante status: %w", err)
	}
	return status.Queue.Tasks, nil
}

// postfix is an instance of its own in a folder of its own.
type postfix struct {
	config, queue string
	*process
}

const postfixMain = `
compatibility_level = 3.6
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = /dev/stdout
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.example.org
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_restrictions = check_client_access static:HOLD
smtpd_client_connection_count_limit = 0
default_process_limit = 1000
in_flow_delay = 0
`

const postfixMaster = `
127.0.0.1:%d inet n - n - - smtpd
pickup    unix  n - n 60   1 pickup
cleanup   unix  n - n -    0 cleanup
qmgr      unix  n - n 300  1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n -    - trivial-rewrite
bounce    unix  - - n -    0 bounce
defer     unix  - - n -    0 bounce
trace     unix  - - n -    0 bounce
verify    unix  - - n -    1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -    - proxymap
proxywrite unix - - n -    1 proxymap
smtp      unix  - - n -    - smtp
relay     unix  - - n -    - smtp
showq     unix  n - n -    - showq
error     unix  - - n -    - error
retry     unix  - - n -    - error
discard   unix  - - n -    - discard
local     unix  - n n -    - local
virtual   unix  - n n -    - virtual
lmtp      unix  - - n -    - lmtp
anvil     unix  - - n -    1 anvil
scache    unix  - - n -    1 scache
postlog   unix-dgram n - n - 1 postlogd
`

func (p *postfix) start(ctx context.Context, dir string) (string, int, error) {
	port, err := freePort()
	if err != nil {
		return "", 0, err
	}
	p.config = filepath.Join(dir, "postfix")
	p.queue = filepath.Join(dir, "queue")
	for _, d := range []string{p.config, p.queue, filepath.Join(dir, "data")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return "", 0, err
		}
	}
	for name, text := range map[string]string{
		"main.cf":   fmt.Sprintf(postfixMain, dir),
		"master.cf": fmt.Sprintf(postfixMaster, port),
	} {
		if err := os.WriteFile(filepath.Join(p.config, name), []byte(text), 0o644); err != nil {
			return "", 0, err
		}
	}
	if out, err := exec.CommandContext(ctx, "chown", "postfix", filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		return "", 0, fmt.Errorf("is the postfix package installed, and are you root? %w: %s", err, out)
	}
	// It makes the folders of its queue itself.
	p.process, err = startProcess(filepath.Join(dir, "log"), "postfix", "-c", p.config, "start-fg")
	if err != nil {
		return "", 0, err
	}
	return fmt.Sprintf("127.0.0.1:%d", port), p.cmd.Process.Pid, nil
}

// queued counts the files on hold; that nothing is elsewhere is looked at too.
func (p *postfix) queued(context.Context) (int, error) {
	n := 0
	for _, name := range []string{"hold", "incoming", "active", "deferred", "maildrop", "corrupt"} {
		err := filepath.WalkDir(filepath.Join(p.queue, name), func(path string, d os.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case !d.Type().IsRegular():
			case name == "hold":
				n++
			default:
				return errors.New("a message is in " + strings.TrimPrefix(path, p.queue))
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// stop asks for a stop as an administrator would: a signal to what was started
// would leave the master running.
func (p *postfix) stop() {
	if p.process == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	// What it says is of no use: it complains when nothing runs any more.
	_ = exec.CommandContext(ctx, "postfix", "-c", p.config, "stop").Run()
	p.process.stop()
}
