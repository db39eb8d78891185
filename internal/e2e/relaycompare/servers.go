package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"restante/internal/e2e/bench"
)

// restante is ours.
type restante struct {
	binary string
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
[authentication]
evaluate = false
`

const restanteRoute = `
[[route]]
name = "to-%[1]s"
domains = ["%[1]s"]
next_hop = ["%[2]s"]
tls = "none"
`

// Start implements relay.
func (r *restante) Start(_ context.Context, dir string, hops []hop) (string, int, error) {
	port, err := bench.FreePort()
	if err != nil {
		return "", 0, err
	}
	var config strings.Builder
	fmt.Fprintf(&config, restanteConfig, port)
	for _, h := range hops {
		fmt.Fprintf(&config, restanteRoute, h.domain, h.addr)
	}
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		return "", 0, err
	}
	r.Process, err = bench.StartProcess(filepath.Join(dir, "log"), r.binary, "serve", "--config", file, "--state", filepath.Join(dir, "state"))
	if err != nil {
		return "", 0, err
	}
	return fmt.Sprintf("127.0.0.1:%d", port), r.Cmd.Process.Pid, nil
}

// postfix is theirs.
type postfix struct{ bench.Postfix }

// Start implements relay.
func (p *postfix) Start(ctx context.Context, dir string, hops []hop) (string, int, error) {
	var transports strings.Builder
	for _, h := range hops {
		host, port, err := net.SplitHostPort(h.addr)
		if err != nil {
			return "", 0, err
		}
		fmt.Fprintf(&transports, "%s smtp:[%s]:%s\n", h.domain, host, port)
	}
	// A texthash is read as it is, without postmap.
	file := filepath.Join(dir, "transport")
	if err := os.WriteFile(file, []byte(transports.String()), 0o644); err != nil {
		return "", 0, err
	}
	return p.Postfix.Start(ctx, dir, "transport_maps = texthash:"+file+"\nsmtp_tls_security_level = none\n")
}
