package main

import (
	"os"
	"slices"
	"testing"

	"restante/internal/config"
	"restante/relay"
	"restante/spool"
)

// What a [[route.host]] says reaches the relay, and explain tells it.
func TestRelayRoutesHosts(t *testing.T) {
	cfg := config.Default()
	cfg.Routes = []config.Route{{
		Name: "isp", Domains: config.Strings{"*"}, TLS: config.TLSRequired, Username: "all", Password: "p",
		Smarthosts: []config.Smarthost{
			{Address: "a.example", Weight: 3, DailyQuota: 7},
			{Address: "[::1]:26", Order: 1, Username: "one", Password: "q", TLS: config.TLSImplicit},
		},
	}}
	routes := relayRoutes(cfg)
	if _, err := relay.NewRoutes(routes); err != nil || routes[0].Kind != relay.Smarthost || len(routes[0].Hosts) != 2 {
		t.Fatalf("%+v: %v", routes, err)
	}
	a, b := routes[0].Hosts[0], routes[0].Hosts[1]
	if a.Name != "a.example" || a.Port != 0 || a.Weight != 3 || a.Limits.Daily != 7 || a.Username != "" || a.TLS != nil {
		t.Errorf("a: %+v", a)
	}
	password, err := b.Password()
	if b.Name != "::1" || b.Port != 26 || b.Order != 1 || b.Username != "one" || password != "q" || err != nil || *b.TLS != relay.TLSImplicit {
		t.Errorf("b: %+v", b)
	}
	got := []string{hostOf(a), hostOf(b)}
	if want := []string{"a.example (weight 3, 7 recipients a day)", "[::1]:26 (order 1, login as one, TLS implicit)"}; !slices.Equal(got, want) {
		t.Errorf("explained as %q", got)
	}
}

// A webhook's files are read when they are needed.
func TestRelayRoutesWebhook(t *testing.T) {
	file := t.TempDir() + "/secret"
	cfg := config.Default()
	cfg.Routes = []config.Route{{
		Name: "app", Domains: config.Strings{"app.example"}, NextHop: config.Strings{"https://a.example/in"},
		WebhookFormat: config.WebhookJSON, WebhookSecretFile: file, WebhookTokenFile: file, TLSMinVersion: "1.3",
	}}
	routes := relayRoutes(cfg)
	if _, err := relay.NewRoutes(routes); err != nil || routes[0].Kind != relay.HTTP || routes[0].Hook.Format != relay.HookJSON || routes[0].MinTLS == 0 {
		t.Fatalf("%+v: %v", routes, err)
	}
	if err := os.WriteFile(file, []byte("a secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, read := range []func() (string, error){routes[0].Hook.Secret, routes[0].Hook.Token} {
		if s, err := read(); s != "a secret" || err != nil {
			t.Errorf("%q, %v", s, err)
		}
	}
	if got, want := way(&routes[0], spool.Destination{}), "route app, posted to https://a.example/in as JSON, signed"; got != want {
		t.Errorf("explained as %q", got)
	}
}
