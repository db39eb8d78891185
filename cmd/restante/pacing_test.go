package main

import (
	"strings"
	"testing"
	"time"

	"restante/internal/config"
	"restante/internal/ratelimit"
	"restante/relay"
	"restante/spool"
)

func TestHolds(t *testing.T) {
	cfg := config.Default()
	cfg.Accounts = []config.Account{{Name: "Alice@example.org", Hold: config.Duration(10 * time.Second)}, {Name: "bob@example.org"}}
	cfg.Applications = []config.Application{{Name: "invoices"}, {Name: "newsletter", Hold: config.Minute}}
	hold := holdOf(holds(cfg), 5*time.Second)
	for account, want := range map[string]time.Duration{
		"alice@example.org": 10 * time.Second,
		"bob@example.org":   5 * time.Second,
		"eve@example.org":   5 * time.Second, // made by "user add"
		"invoices":          0,
		"newsletter":        time.Minute,
		"monitoring":        0, // likewise
	} {
		if got := hold(account); got != want {
			t.Errorf("%s: %v, want %v", account, got, want)
		}
	}
}

func TestPacingOfRoutes(t *testing.T) {
	cfg := config.Default()
	cfg.Routes = []config.Route{{
		Name: "slow", Domains: config.Strings{"slow.example"}, NextHop: config.Strings{"mx"},
		Rate: config.Rate{Count: 10, Per: config.Minute}, RecipientRate: config.Rate{Count: 100, Per: config.Hour},
		DailyQuota: 500, MaxDeliveries: 3, Retry: config.Strings{"1m", "1h"}, ExpireAfter: config.Day,
	}, {
		Name: "other", Domains: config.Strings{"other.example"}, NextHop: config.Strings{"mx"},
	}}
	all := relayRoutes(cfg)
	want := relay.Limits{Messages: ratelimit.Rate{Count: 10, Per: time.Minute}, Recipients: ratelimit.Rate{Count: 100, Per: time.Hour}, Daily: 500}
	if r := all[0]; r.Limits != want || r.MaxDeliveries != 3 || r.Schedule == nil || r.Schedule.NextAttempt(2, 0.5) != time.Hour {
		t.Errorf("%+v", r)
	}
	if r := all[1]; !r.Limits.IsZero() || r.Schedule != nil {
		t.Errorf("%+v", r)
	}
	routes, err := relay.NewRoutes(all)
	if err != nil {
		t.Fatal(err)
	}
	times := queueTimes(cfg.Queue, routes)
	for route, expire := range map[string]time.Duration{"slow": 24 * time.Hour, "other": 5 * 24 * time.Hour, "local delivery": 5 * 24 * time.Hour} {
		if w, e := times(spool.Destination{Route: route}); w != 4*time.Hour || e != expire {
			t.Errorf("%s: warns after %v, expires after %v", route, w, e)
		}
	}
}

// What a quota has left is told in the status.
func TestQuotasInStatus(t *testing.T) {
	routes, err := relay.NewRoutes([]relay.Route{
		{Name: "small", Domains: []string{"a.example"}, Limits: relay.Limits{Daily: 2}},
		{Name: "none", Domains: []string{"b.example"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{routes: routes, budgets: relay.NewBudgets(nil)}
	d.budgets.Take("small", relay.Limits{Daily: 2}, 5)
	list := d.quotas()
	if len(list) != 1 || list[0].Name != "small" || list[0].Used != 2 || list[0].Of != 2 || list[0].Until.IsZero() {
		t.Fatalf("%+v", list)
	}
	var out strings.Builder
	spent := (&call{streams: streams{out: &out}}).showQuotas(list)
	if !strings.Contains(out.String(), "quota of small: 2 of 2 recipients today, used up until") || spent["small"] == "" {
		t.Errorf("%q, %v", out.String(), spent)
	}
}
