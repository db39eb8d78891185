package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"restante/internal/config"
	"restante/relay"
)

// TestConnectionsOfRoutes: what the file says of connections reaches the routes.
func TestConnectionsOfRoutes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "restante.toml")
	text := `
[[route]]
name = "one"
domains = "one.test"
next_hop = ["unix:/run/lmtp", "h.test"]
protocol = "lmtp"
source_address = ["127.0.0.1", "::1"]
chunking = false
max_messages_per_connection = 7
idle_connection = "9s"
[[route]]
name = "two"
domains = "two.test"
next_hop = "mx"
idle_connection = "0s"
[[route]]
name = "three"
domains = "three.test"
next_hop = "mx"
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	routes := relayRoutes(cfg)
	if _, err := relay.NewRoutes(routes); err != nil {
		t.Fatal(err)
	}
	one, two, three := routes[0], routes[1], routes[2]
	if one.Hosts[0].Path != "/run/lmtp" || one.Hosts[0].Name != "" || one.Hosts[1].Name != "h.test" || one.Hosts[1].Port != 24 {
		t.Errorf("hosts %+v", one.Hosts)
	}
	if !one.LMTP || !one.NoChunking || one.MaxMessages != 7 || one.Idle != 9*time.Second || fmt.Sprint(one.Source) != "[127.0.0.1 ::1]" {
		t.Errorf("one: %+v", one)
	}
	if two.Idle >= 0 {
		t.Errorf("two: connections are kept %v", two.Idle)
	}
	if three.LMTP || three.NoChunking || three.MaxMessages != 100 || three.Idle != 3*time.Second || three.Source != nil {
		t.Errorf("three: %+v", three)
	}
}
