package main

import (
	"context"
	"time"

	"restante/internal/accept"
	"restante/internal/config"
	"restante/internal/mail"
	"restante/internal/resolver"
	"restante/relay/remote"
)

// refusalTime bounds what a client waits for while the DNS is asked about where
// an address of ours leads to. An answer that does not come refuses nothing.
const refusalTime = 5 * time.Second

// refusal tells what the DNS has against mail to elsewhere.
func (d *daemon) refusal(cfg *config.Config, dns *resolver.Resolver) func(accept.Way) (mail.Status, bool) {
	names, hostname := remote.NewDNS(dns), cfg.ServerName()
	return func(w accept.Way) (mail.Status, bool) {
		ctx, cancel := context.WithTimeout(d.ctx, refusalTime)
		defer cancel()
		route, _ := d.routes.Choose(w)
		return remote.Refusal(ctx, names, hostname, route, w.To.Domain)
	}
}
