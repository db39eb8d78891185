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

	"restante/internal/e2e/bench"
)

// restante is ours.
type restante struct {
	binary string
	dir    string
	*bench.Process
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
	port, err := bench.FreePort()
	if err != nil {
		return "", 0, err
	}
	refused, err := bench.FreePort()
	if err != nil {
		return "", 0, err
	}
	config := fmt.Sprintf(restanteConfig, port, net.JoinHostPort("127.0.0.1", fmt.Sprint(refused)))
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600); err != nil {
		return "", 0, err
	}
	r.Process, err = bench.StartProcess(filepath.Join(dir, "log"), append([]string{r.binary, "serve"}, r.args()...)...)
	if err != nil {
		return "", 0, err
	}
	return fmt.Sprintf("127.0.0.1:%d", port), r.Cmd.Process.Pid, nil
}

func (r *restante) stop() { r.Stop() }

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

// postfix is an instance that puts all mail on hold.
type postfix struct{ bench.Postfix }

func (p *postfix) start(ctx context.Context, dir string) (string, int, error) {
	return p.Start(ctx, dir, "smtpd_client_restrictions = check_client_access static:HOLD\n")
}

func (p *postfix) stop() { p.Stop() }

// queued counts the files on hold; that nothing is elsewhere is looked at too.
func (p *postfix) queued(context.Context) (int, error) {
	n := 0
	for _, name := range []string{"hold", "incoming", "active", "deferred", "maildrop", "corrupt"} {
		err := filepath.WalkDir(filepath.Join(p.Queue, name), func(path string, d os.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case !d.Type().IsRegular():
			case name == "hold":
				n++
			default:
				return errors.New("a message is in " + strings.TrimPrefix(path, p.Queue))
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}
