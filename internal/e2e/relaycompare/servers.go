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
type restante struct{ bench.Restante }

const restanteRoute = `
[[route]]
name = "to-%[1]s"
domains = ["%[1]s"]
next_hop = ["%[2]s"]
tls = "none"
`

// Start implements relay.
func (r *restante) Start(_ context.Context, dir string, hops []hop) (string, int, error) {
	config := "[authentication]\nevaluate = false\n"
	for _, h := range hops {
		config += fmt.Sprintf(restanteRoute, h.domain, h.addr)
	}
	return r.Restante.Start(dir, config)
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
