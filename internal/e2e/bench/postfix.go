package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Postfix is an instance of its own in a folder of its own. It relays mail of
// this machine for everybody, and has no mail of its own.
type Postfix struct {
	// Listen is where it listens; without one it is a free port of 127.0.0.1.
	Listen string
	// Queue is the folder of its queues, Log the file of what it says.
	Queue, Log string

	config string
	*Process
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
smtpd_client_connection_count_limit = 0
default_process_limit = 1000
in_flow_delay = 0
`

const postfixMaster = `
%s inet n - n - - smtpd
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

// Start runs it, with more lines of main.cf, and returns where it listens and
// the process that all its others come from. It needs Debian's package and root.
func (p *Postfix) Start(ctx context.Context, dir, more string) (string, int, error) {
	if p.Listen == "" {
		port, err := FreePort()
		if err != nil {
			return "", 0, err
		}
		p.Listen = fmt.Sprintf("127.0.0.1:%d", port)
	}
	p.config = filepath.Join(dir, "postfix")
	p.Queue = filepath.Join(dir, "queue")
	for _, d := range []string{p.config, p.Queue, filepath.Join(dir, "data")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return "", 0, err
		}
	}
	for name, text := range map[string]string{
		"main.cf":   fmt.Sprintf(postfixMain, dir) + more,
		"master.cf": fmt.Sprintf(postfixMaster, p.Listen),
	} {
		if err := os.WriteFile(filepath.Join(p.config, name), []byte(text), 0o644); err != nil {
			return "", 0, err
		}
	}
	if out, err := exec.CommandContext(ctx, "chown", "postfix", filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		return "", 0, fmt.Errorf("is the postfix package installed, and are you root? %w: %s", err, out)
	}
	// It makes the folders of its queue itself.
	p.Log = filepath.Join(dir, "log")
	var err error
	if p.Process, err = StartProcess(p.Log, "postfix", "-c", p.config, "start-fg"); err != nil {
		return "", 0, err
	}
	return p.Listen, p.Cmd.Process.Pid, nil
}

// Stop asks for a stop as an administrator would: a signal to what was started
// would leave the master running.
func (p *Postfix) Stop() {
	if p.Process == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	// What it says is of no use: it complains when nothing runs any more.
	_ = exec.CommandContext(ctx, "postfix", "-c", p.config, "stop").Run()
	p.Process.Stop()
}
