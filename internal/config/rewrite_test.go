package config

import (
	"strings"
	"testing"
)

const rewriteHead = `
[[domain]]
name = "example.org"
[aliases]
"sales@example.org" = ["team@example.org"]
`

func TestRewriting(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/secret", "0123456789abcdef\nfedcba9876543210\n")
	c, err := parse(dir+"/config.toml", rewriteHead+`
[[group]]
name = "Team@example.org"
members = ["alice@example.org", "carol@example.net"]
owner = "alice@example.org"
closed = true
[masquerade]
"*.Internal.example.org" = "example.org"
gateway = ["example.org"]
[srs]
domain = "bounce.example.org"
secret_file = "secret"
max_age = "7d"
[[route]]
name = "isp"
domains = ["*"]
next_hop = "smtp.example.net"
rewrite_sender = "relay@example.net"
rewrite_from = "relay@example.net"
[smtp]
hide_clients = true
`)
	if err != nil {
		t.Fatal(err)
	}
	c.resolvePaths(dir)
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	secrets, err := c.SRS.Secrets()
	if err != nil || len(secrets) != 2 || secrets[0] != "0123456789abcdef" {
		t.Errorf("secrets %q, %v", secrets, err)
	}
	if d := c.SRSDomain(); d != "bounce.example.org" {
		t.Errorf("domain %q", d)
	}
	if len(c.Groups) != 1 || !c.Groups[0].Closed || len(c.Groups[0].Members) != 2 || len(c.Masquerade) != 2 || !c.SMTP.HideClients {
		t.Errorf("%+v", c)
	}
	c.SRS.Domain = ""
	if d := c.SRSDomain(); d != "example.org" {
		t.Errorf("domain by default %q", d)
	}
	c.SRS.Enabled = false
	if d := c.SRSDomain(); d != "" {
		t.Errorf("domain when it is off %q", d)
	}
}

func TestRewritingProblems(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/short", "secret\n")
	write(t, dir+"/empty", "\n")
	for _, c := range []struct{ text, want string }{
		{"[[group]]\nmembers = \"a@b.example\"", "this group has no name"},
		{"[[group]]\nname = \"team\"\nmembers = \"a@b.example\"", "must be a full address"},
		{"[[group]]\nname = \"team@example.com\"\nmembers = \"a@b.example\"", "in no local domain"},
		{"[[group]]\nname = \"SALES@example.org\"\nmembers = \"a@b.example\"", "the same address as"},
		{"[[group]]\nname = \"team@example.org\"", "no members"},
		{"[[group]]\nname = \"team@example.org\"\nmembers = \"x\"", "members has a bad address"},
		{"[[group]]\nname = \"team@example.org\"\nmembers = \"a@b.example\"\nowner = \"x\"", "owner of group"},
		{"[[group]]\nname = \"team@example.org\"\nmembers = \"sales@example.org\"", "go round in a loop"},
		{"[masquerade]\n\"*\" = \"example.org\"", "masquerade"},
		{"[masquerade]\n\"*.internal\" = []", "needs the one domain"},
		{"[masquerade]\n\"*.internal\" = \"a b\"", "is not a domain name"},
		{"[masquerade]\n\"*.internal\" = \"a\"\n\"*.INTERNAL\" = \"b\"", "is the same as"},
		{"[srs]\ndomain = \"a b\"", "domain \"a b\" of srs"},
		{"[srs]\nmax_age = \"1h\"", "max_age must be"},
		{"[srs]\nsecret_file = \"short\"", "shorter than 16"},
		{"[srs]\nsecret_file = \"empty\"", "is empty"},
		{"[srs]\nsecret_file = \"missing\"", "no such file"},
		{"[[route]]\nname = \"r\"\ndomains = \"*\"\nnext_hop = \"x\"\nrewrite_from = \"relay\"", "rewrite_from of route"},
		{"[[route]]\nname = \"r\"\ndomains = \"*\"\nnext_hop = \"x\"\nrewrite_sender = \"postmaster\"", "rewrite_sender of route"},
	} {
		cfg, err := parse(dir+"/config.toml", rewriteHead+c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		cfg.resolvePaths(dir)
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n%v\nwant %q", c.text, err, c.want)
		}
	}
}
