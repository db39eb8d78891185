package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"restante/imapd"
	"restante/internal/accept"
	"restante/internal/config"
	"restante/internal/control"
	"restante/internal/resolver"
	"restante/relay"
	"restante/smtpd"
)

// newResolver is who asks the DNS, for all rooms.
func newResolver(cfg *config.Config) (*resolver.Resolver, error) {
	trust := map[config.Choice]resolver.Trust{
		config.Auto: resolver.TrustLoopback, config.Yes: resolver.TrustAll, config.No: resolver.TrustNone,
	}
	return resolver.New(resolver.Options{Server: cfg.DNS.Server(), Trust: trust[cfg.DNS.TrustAD]})
}

// plan returns the rooms of a configuration. Each says what of it it is made
// from, by which a reload knows whether to replace it.
func (d *daemon) plan(cfg *config.Config) ([]room, error) {
	sender, err := newRewriting(cfg, func() ([]byte, error) { return srsSecret(d.state) })
	if err != nil {
		return nil, err
	}
	dns, err := newResolver(cfg)
	if err != nil {
		return nil, err
	}
	screens := authentication(cfg, dns, d)
	acceptor := accept.New(accept.Options{
		Masquerade: sender.masquerade, SRS: sender.srs,
		Intake: d.spool, Directory: d.accounts, Route: d.routes.Destination, Archive: archiveRules(cfg),
		Refusal:   d.refusal(cfg, dns),
		Full:      d.full,
		Times:     queueTimes(cfg.Queue, d.routes),
		Mailboxes: d.spool, Hostname: cfg.ServerName(), Logger: d.log,
		Screens: append(screens, d.milters(cfg)...), Signers: []accept.Signer{d.signer},
	})
	runner, err := d.relayRoom(cfg, dns, acceptor)
	if err != nil {
		return nil, err
	}
	rooms := []room{runner}
	for _, e := range d.entrances {
		name := fmt.Sprintf("%s %s", e.role, e.l.Addr())
		if e.role == config.RoleIMAP || e.role == config.RoleIMAPS {
			rooms = append(rooms, d.imapRoom(name, e, cfg))
		} else {
			rooms = append(rooms, d.smtpRoom(name, e, cfg, acceptor))
		}
	}
	return withTaken(cfg, append(rooms, d.controlRoom(cfg, acceptor), d.maildropRoom(cfg, acceptor), d.certsRoom(), d.historyRoom(), d.retentionRoom(cfg))), nil
}

func (d *daemon) smtpRoom(name string, e *entrance, cfg *config.Config, acceptor *accept.Acceptor) room {
	type made struct {
		hostname string
		smtp     config.SMTP
		queue    config.Queue // what is promised to accepted mail
		milters  []config.Milter
		archives []config.Archive
		// Who authenticates mail, and by which name servers.
		authservID     string
		authentication config.Authentication
		dns            config.DNS
		certificates   bool
		holds          map[string]time.Duration
	}
	l, held := cfg.SMTP, holds(cfg)
	opt := smtpd.Options{
		Role:        smtpd.Submission,
		Hostname:    cfg.ServerName(),
		TLS:         d.certs.Config(),
		ImplicitTLS: e.role == config.RoleSubmissions,
		Accept:      acceptor,
		HideClients: l.HideClients,
		Senders:     d.accounts,
		Logger:      d.log,
		Limits: smtpd.Limits{
			MaxSize: int64(l.MaxMessageSize), MaxHeader: int(l.MaxHeaderSize), MaxHops: l.MaxHops,
			MaxRecipients:  l.MaxRecipients,
			MaxConnections: l.MaxConnections, MaxPerAddress: l.MaxConnectionsPerAddress,
			MaxErrors: l.MaxErrors, AuthFailures: l.MaxAuthFailures,
			CommandTimeout: l.CommandTimeout.Std(), DataTimeout: l.DataTimeout.Std(),
		},
		Gate: d.gate,
	}
	wireLimits(&opt.Limits, l)
	d.smtpLogins(&opt, cfg)
	opt.Extensions = smtpd.Extensions{
		XClient: l.XClientPrefixes(), Proxy: l.ProxyPrefixes(),
		QuietToStrangers: !l.DSNForStrangers,
		MaxHold:          l.MaxHold.Std(), Hold: holdOf(held, l.DefaultHold.Std()), Once: l.AcceptOnce.Std(), Repeaters: l.RepeatPrefixes(),
	}
	if e.role == config.RoleLMTP {
		opt.Role, opt.Trusted, opt.Auth = smtpd.LMTP, l.Prefixes(), nil
	}
	if e.role == config.RoleSMTP {
		opt.Role, opt.Trusted = smtpd.Relay, l.Prefixes()
		opt.Normalize = l.NormalizePrefixes()
		opt.GreetDelay, opt.RefuseEarly = l.GreetDelay.Std(), l.RefuseEarlyTalkers
	}
	return serverRoom(name, e, made{
		cfg.ServerName(), cfg.SMTP, cfg.Queue, cfg.Milters, cfg.Archives, cfg.AuthservID(), cfg.Authentication, cfg.DNS, cfg.ClientCerts(), held,
	}, func() server { return smtpd.New(opt) })
}

// wireLimits fills in how often and how slowly clients may send.
func wireLimits(to *smtpd.Limits, l config.SMTP) {
	rate := func(r config.Rate) smtpd.Rate { return smtpd.Rate{Count: r.Count, Per: r.Per.Std()} }
	to.MaxRefused, to.AuthDelay, to.ErrorDelay = l.MaxRefusedRecipients, l.AuthDelay.Std(), l.ErrorDelay.Std()
	to.NetworkIPv4, to.NetworkIPv6 = l.ClientNetworkIPv4, l.ClientNetworkIPv6
	to.StrangerRates = smtpd.Rates{Messages: rate(l.MessageRate), Recipients: rate(l.RecipientRate)}
	to.TrustedRates = smtpd.Rates{Messages: rate(l.TrustedMessageRate), Recipients: rate(l.TrustedRecipientRate)}
	to.AccountRates = smtpd.Rates{Messages: rate(l.AccountMessageRate), Recipients: rate(l.AccountRecipientRate)}
	to.EnvelopeTimeout, to.TransferTimeout = l.EnvelopeTimeout.Std(), l.TransferTimeout.Std()
	to.WriteTimeout = l.WriteTimeout.Std()
	to.MinRate = int(l.MinDataRate)
	if to.MinRate == 0 {
		to.MinRate = -1 // none; to smtpd 0 means its default
	}
}

func (d *daemon) imapRoom(name string, e *entrance, cfg *config.Config) room {
	l, shared := cfg.IMAP, sharedMailboxes(cfg)
	opt := imapd.Options{
		Mailboxes: d.spool, Bodies: d.spool, Intake: d.spool,
		Keywords: &d.keywords,
		Quota:    d.room, Shared: sharedMailboxes(cfg),
		Story: d.history.Note,
		TLS:   d.certs.Config(), ImplicitTLS: e.role == config.RoleIMAPS,
		MaxAppend: int64(l.MaxMessageSize), MaxMessages: l.MaxMessages, MaxConnections: l.MaxConnections, MaxPerAddress: l.MaxConnectionsPerAddress,
		MaxPerAccount: l.MaxConnectionsPerAccount, IdleTimeout: l.IdleTimeout.Std(), Logger: d.log,
	}
	d.imapLogins(&opt, cfg)
	made := []any{cfg.IMAP, cfg.ClientCerts(), shared}
	return serverRoom(name, e, made, func() server { return imapd.New(opt) })
}

func (d *daemon) controlRoom(cfg *config.Config, acceptor *accept.Acceptor) room {
	opt := d.controlOptions(cfg, acceptor)
	return serverRoom("control", d.socket, controlMade(cfg), func() server { return control.New(opt) })
}

// controlMade is what of the configuration the way of handed-over mail is made
// from.
func controlMade(cfg *config.Config) any {
	return []any{cfg.ServerName(), origin(cfg), cfg.SMTP, cfg.Queue, cfg.Archives}
}

func (d *daemon) controlOptions(cfg *config.Config, acceptor *accept.Acceptor) control.Options {
	return control.Options{
		Queue: d.spool, Bodies: d.spool, Stories: d.spool, Mailboxes: d.spool, Spool: d.spool,
		Accept: acceptor, Accounts: d.accounts, Listeners: d.listeners, Backup: d.backup, Resend: d.resender(cfg, acceptor),
		Intake: d.spool, Provision: d.provision,
		Explain: (&explainer{cfg: cfg, accounts: d.accounts, routes: d.routes, acceptor: acceptor}).explain,
		Version: version(), Started: d.started, StateDir: d.state, Hostname: cfg.ServerName(), Origin: origin(cfg),
		MaxSize: int64(cfg.SMTP.MaxMessageSize), MaxHeader: int(cfg.SMTP.MaxHeaderSize),
		MaxRecipients: cfg.SMTP.MaxRecipients, MaxHops: cfg.SMTP.MaxHops,
		HasRoute: func(name string) bool { _, ok := d.routes.Lookup(name); return ok },
		Stats:    d.spool.Stats, Maildrop: d.maildropStatus, Quotas: d.quotas, Usage: d.room.Usage, Logger: d.log,
	}
}

// relayRoom is the queue runner with its courier.
func (d *daemon) relayRoom(cfg *config.Config, dns *resolver.Resolver, acceptor *accept.Acceptor) (room, error) {
	type made struct {
		hostname string
		queue    config.Queue
		dns      config.DNS
		reports  config.TLSReports
	}
	q := cfg.Queue
	start := func() (run, stop func(context.Context) error) {
		opt := relay.Options{
			Queue: d.spool, Bodies: d.spool, Reports: acceptor, Routes: d.routes,
			Schedule:    retrySchedule(q),
			Signers:     []accept.Signer{d.signer},
			Concurrency: q.Concurrency, Slow: q.SlowConcurrency, PerDestination: q.PerDestination,
			Budgets:  d.budgets,
			Hostname: cfg.ServerName(), Grace: d.grace, Logger: d.log,
			DeadLetters: cfg.Queue.Dead(),
		}
		stopping := make(chan struct{})
		run = func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			go func() {
				select {
				case <-stopping:
					cancel()
				case <-ctx.Done():
				}
			}()
			return d.keepQuotas(func() error { return d.deliver(ctx, cfg, dns, opt) })
		}
		// The runner keeps to the grace by itself.
		stop = func(context.Context) error {
			close(stopping)
			return nil
		}
		return run, stop
	}
	return room{name: "relay", made: made{cfg.ServerName(), cfg.Queue, cfg.DNS, cfg.TLSReports}, alone: true, start: start}, nil
}

// relayRoutes is what the configuration says of the ways out. It has been
// checked.
func relayRoutes(cfg *config.Config) []relay.Route {
	modes := map[config.TLSMode]relay.TLSMode{
		config.TLSNone: relay.TLSNone, config.TLSOpportunistic: relay.TLSOpportunistic,
		config.TLSRequired: relay.TLSRequired, config.TLSImplicit: relay.TLSImplicit,
		config.TLSVerified: relay.TLSVerified,
	}
	var routes []relay.Route
	for _, r := range cfg.Routes {
		route := relay.Route{
			Name: r.Name, Domains: r.Domains, TLS: modes[r.TLS], Verify: r.Verify,
			Username: r.Username, Helo: r.Helo, MaxConnections: r.MaxConnections,
			Rewrite: outgoing(r), Senders: r.Senders, Accounts: r.Accounts, Headers: r.Headers, SpillTo: r.SpillTo,
		}
		route.LMTP, route.Source = r.Protocol == config.ProtocolLMTP, r.Sources()
		route.NoChunking, route.MaxMessages = !r.Chunking, r.MaxMessagesPerConnection
		if route.Idle = r.IdleConnection.Std(); route.Idle == 0 {
			route.Idle = -1 // not kept
		}
		paced(&route, cfg.Queue, r)
		if r.Username != "" {
			route.Password = r.Secret
		}
		secure(&route, r)
		if r.Webhook() {
			post(&route, r)
			routes = append(routes, route)
			continue
		}
		for _, hop := range r.Hosts() {
			route.Kind = relay.Smarthost
			route.Hosts = append(route.Hosts, hostAt(hop))
		}
		for _, h := range r.Smarthosts {
			route.Kind = relay.Smarthost
			route.Hosts = append(route.Hosts, smarthost(h, modes))
		}
		routes = append(routes, route)
	}
	return routes
}

// post makes a route one that posts its mail. It has been checked.
func post(route *relay.Route, r config.Route) {
	route.Kind, route.Hook = relay.HTTP, &relay.Hook{URLs: r.NextHop}
	if r.WebhookFormat == config.WebhookJSON {
		route.Hook.Format = relay.HookJSON
	}
	if r.WebhookSecretFile != "" {
		route.Hook.Secret = r.WebhookSecret
	}
	if r.WebhookTokenFile != "" {
		route.Hook.Token = r.WebhookToken
	}
}

// smarthost is what a [[route.host]] says. It has been checked.
func smarthost(h config.Smarthost, modes map[config.TLSMode]relay.TLSMode) relay.Host {
	host := hostAt(h.Address)
	host.Order, host.Weight, host.Username = h.Order, h.Weight, h.Username
	host.Limits = relay.Limits{Daily: h.DailyQuota}
	switch {
	case h.OAuth():
		host.Token = tokens(h.Tokens, h.Username).Token
	case h.Username != "":
		host.Password = h.Secret
	}
	if h.TLS != "" {
		mode := modes[h.TLS]
		host.TLS = &mode
	}
	return host
}

// hostAt reads "host", "host:port" or "unix:/path", which have been checked.
func hostAt(address string) relay.Host {
	if path, ok := strings.CutPrefix(address, config.UnixPrefix); ok {
		return relay.Host{Path: path}
	}
	if name, port, err := net.SplitHostPort(address); err == nil {
		n, _ := strconv.Atoi(port) // checked; 0 is the usual port
		return relay.Host{Name: name, Port: n}
	}
	return relay.Host{Name: strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")}
}
