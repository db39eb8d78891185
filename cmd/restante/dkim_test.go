package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/internal/standin"
)

// TestDKIMCheck publishes what keygen prints, and then something else.
func TestDKIMCheck(t *testing.T) {
	dns, err := standin.NewDNS()
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte("[dns]\nresolver = \""+dns.Addr()+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	restante := func(want int, args ...string) string {
		t.Helper()
		var out, fault bytes.Buffer
		args = append(args, "--state", filepath.Join(dir, "state"), "--config", file)
		if code := run(context.Background(), streams{strings.NewReader(""), &out, &fault}, args); code != want {
			t.Fatalf("%q: exit code %d, want %d: %s", args, code, want, fault.String())
		}
		return out.String()
	}
	first := restante(0, "dkim", "keygen", "example.org", "--selector", "a")
	if got := restante(1, "dkim", "check"); got != "a._domainkey.example.org  rsa  missing: no key\n" {
		t.Errorf("before: %q", got)
	}
	if err := dns.Set(first); err != nil {
		t.Fatal(err)
	}
	if got := restante(0, "dkim", "check", "example.org"); got != "a._domainkey.example.org  rsa  published\n" {
		t.Errorf("published: %q", got)
	}
	second := restante(0, "dkim", "keygen", "example.org", "--selector", "b")
	if err := dns.Set(first, strings.Replace(first, "a._domainkey", "b._domainkey", 1)); err != nil {
		t.Fatal(err)
	}
	want := "a._domainkey.example.org  rsa  published\nb._domainkey.example.org  rsa  different: it is another key\n"
	if got := restante(1, "dkim", "check"); got != want {
		t.Errorf("another key: %q", got)
	}
	if err := dns.Set(first, second); err != nil {
		t.Fatal(err)
	}
	restante(0, "dkim", "check")
}
