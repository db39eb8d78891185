package main

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"restante/internal/config"
	"restante/internal/control"
	"restante/internal/ratelimit"
	"restante/relay"
	"restante/spool"
)

// How often and how fast mail goes out, and how long it is held back before:
// from the configuration to the rooms that keep to it.

// retrySchedule is that of the queue, or of a route. It has been checked.
func retrySchedule(q config.Queue) relay.Schedule {
	jitter := q.RetryJitter
	if jitter == 0 {
		jitter = -1 // none; to the relay 0 means its default
	}
	return relay.Schedule{
		Waits: q.Waits(), Min: q.RetryMin.Std(), Max: q.RetryMax.Std(), Factor: q.RetryFactor, Jitter: jitter,
	}
}

// paced fills in how much a route is given, and how often it is tried.
func paced(to *relay.Route, q config.Queue, r config.Route) {
	rate := func(r config.Rate) ratelimit.Rate { return ratelimit.Rate{Count: r.Count, Per: r.Per.Std()} }
	to.Limits = relay.Limits{Messages: rate(r.Rate), Recipients: rate(r.RecipientRate), Daily: r.DailyQuota}
	to.MaxDeliveries = r.MaxDeliveries
	if r.OwnSchedule() {
		schedule := retrySchedule(r.Schedule(q))
		to.Schedule = &schedule
	}
	to.Warn, to.Expire = r.WarnAfter.Std(), r.ExpireAfter.Std()
}

// queueTimes tells when tasks warn and expire: as their route says, or else the
// queue.
func queueTimes(q config.Queue, routes *relay.Routes) func(spool.Destination) (warn, expire time.Duration) {
	return func(d spool.Destination) (warn, expire time.Duration) {
		warn, expire = q.WarnAfter.Std(), q.ExpireAfter.Std()
		r, ok := routes.Lookup(d.Route)
		if !ok {
			return warn, expire
		}
		if r.Warn > 0 {
			warn = r.Warn
		}
		if r.Expire > 0 {
			expire = r.Expire
		}
		return warn, expire
	}
}

// holds are the accounts and applications whose mail is held back for a time of
// their own, or, with 0, not at all.
func holds(cfg *config.Config) map[string]time.Duration {
	own := make(map[string]time.Duration)
	for _, a := range cfg.Accounts {
		if a.Hold > 0 {
			own[strings.ToLower(a.Name)] = a.Hold.Std()
		}
	}
	for _, a := range cfg.Applications {
		own[strings.ToLower(a.Name)] = a.Hold.Std()
	}
	return own
}

// holdOf returns how long the mail of an account is held back. An application
// that is not in the configuration has no "@" in its name, and no default: what
// machines send is not taken back.
func holdOf(own map[string]time.Duration, general time.Duration) func(account string) time.Duration {
	return func(account string) time.Duration {
		account = strings.ToLower(account)
		if d, ok := own[account]; ok {
			return d
		}
		if !strings.Contains(account, "@") {
			return 0
		}
		return general
	}
}

// quotaFile is where daily quotas are remembered.
func quotaFile(state string) string { return filepath.Join(state, "quotas.json") }

// keepQuotas has the quotas written to their file while run runs.
func (d *daemon) keepQuotas(run func() error) error {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	failed := func(err error) { d.log.Error("daily quotas cannot be written", "error", err) }
	go func() {
		defer close(done)
		if err := d.budgets.Keep(ctx, failed); err != nil {
			failed(err)
		}
	}()
	defer func() { cancel(); <-done }()
	return run()
}

// quotas tells what the routes and hosts with a daily quota were given today.
func (d *daemon) quotas() (list []control.QuotaStatus) {
	add := func(name string, l relay.Limits) {
		if l.Daily > 0 {
			list = append(list, control.QuotaStatus{
				Name: name, Used: d.budgets.Used(name), Of: l.Daily, Until: d.budgets.Short(name, l).Until,
			})
		}
	}
	for _, r := range d.routes.All() {
		add(r.Name, r.Limits)
		for _, h := range r.Hosts {
			add(r.BudgetOf(h), h.Limits)
		}
	}
	return list
}
