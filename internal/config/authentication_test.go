package config

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestAuthentication(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "key.pem"), "x")
	for _, c := range []struct{ text, want string }{
		{"[authentication]\ndmarc = \"reject\"\nspf = \"quarantine\"\non_failure = \"tempfail\"\ntimeout = \"5s\"\nauthserv_id = \"example.org\"", ""},
		{"[authentication]\ndmarc = \"yes\"", "dmarc must be one of"},
		{"[authentication]\nspf = \"fail\"", "spf must be one of"},
		{"[authentication]\non_failure = \"x\"", "on_failure must be one of"},
		{"[authentication]\ntimeout = \"5m\"", "timeout must be from"},
		{"[authentication]\nauthserv_id = \"a b\"", `authserv_id "a b" is not a domain name`},
		{"[[domain]]\nname = \"example.org\"\ndkim_keys = [\"2026a\", \"2026b=key.pem\"]", ""},
		{"[[domain]]\nname = \"example.org\"\ndkim_keys = \"a/b\"", `selector "a/b"`},
		{"[[domain]]\nname = \"example.org\"\ndkim_keys = \"=key.pem\"", `selector ""`},
		{"[[domain]]\nname = \"example.org\"\ndkim_keys = [\"a\", \"A\"]", "is there twice"},
		{"[[domain]]\nname = \"example.org\"\ndkim_keys = \"a=missing.pem\"", "cannot be read"},
		{"[[domain]]\nname = \"example.org\"\ndkim_keys = \"a=credential:k\"", "needs the service manager"},
	} {
		cfg, err := parse(filepath.Join(dir, "config.toml"), c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if err := cfg.Check(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestDKIMKeys(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
	cfg, err := parse("/etc/restante/config.toml", "[[domain]]\nname = \"example.org\"\ndkim_keys = [\"a\", \"b=k.pem\", \"c=/k.pem\", \"d=credential:x\"]")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := cfg.Domains[0].Keys()
	want := []DKIMKey{{"a", ""}, {"b", "/etc/restante/k.pem"}, {"c", "/k.pem"}, {"d", "/run/credentials/x"}}
	if err != nil || !slices.Equal(keys, want) {
		t.Errorf("%+v, %v", keys, err)
	}
}

func TestAuthservID(t *testing.T) {
	for _, c := range []struct{ id, want string }{{"", "mx.example.org"}, {"Example.ORG.", "example.org"}} {
		cfg := &Config{Hostname: "mx.example.org", Authentication: Authentication{ID: c.id}}
		if got := cfg.AuthservID(); got != c.want {
			t.Errorf("%q: %q", c.id, got)
		}
	}
}
