package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"restante/internal/e2e/bench"
)

// restante is ours.
type restante struct{ bench.Restante }

func (r *restante) start(_ context.Context, dir string) (string, int, error) {
	refused, err := bench.FreePort()
	if err != nil {
		return "", 0, err
	}
	return r.Start(dir, fmt.Sprintf(`
[[route]]
name = "nowhere"
domains = ["*"]
next_hop = ["127.0.0.1:%d"]
tls = "none"
[queue]
retry_min = "1h"
`, refused))
}

func (r *restante) stop() { r.Stop() }

// queued asks the daemon for its status.
func (r *restante) queued(ctx context.Context) (int, error) {
	out, err := exec.CommandContext(ctx, r.Binary, append([]string{"status", "--json"}, r.Args()...)...).Output()
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
