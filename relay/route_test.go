package relay

import (
	"strings"
	"testing"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/spool"
)

func secret() (string, error) { return "secret", nil }

func TestRoutes(t *testing.T) {
	smart := []Host{{Name: "smart.test"}}
	r, err := NewRoutes([]Route{
		{Name: "direct", Domains: []string{"*"}},
		{Name: "partner", Domains: []string{"Partner.TEST", "*.partner.test"}, Kind: Smarthost, Hosts: smart},
		{Name: "branch", Domains: []string{"*.branch.partner.test"}, Kind: Smarthost, Hosts: smart},
		{Name: "tls", Domains: []string{"secure.test"}, TLS: TLSRequired},
	})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]spool.Destination{
		"a@partner.test":          {Route: "partner"},
		"a@x.partner.test":        {Route: "partner"},
		"a@branch.partner.test":   {Route: "partner"},
		"a@x.branch.partner.test": {Route: "branch"},
		"a@notpartner.test":       {Route: "direct", Domain: "notpartner.test"},
		"a@secure.test":           {Route: "tls", Domain: "secure.test"},
		"a@sub.secure.test":       {Route: "direct", Domain: "sub.secure.test"},
		"a@[127.0.0.1]":           {Route: "direct", Domain: "[127.0.0.1]"},
	} {
		got := r.Destination(accept.Way{To: mail.MustParseAddress(address)})
		if got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
	if _, ok := r.Lookup("branch"); !ok {
		t.Error("branch not found")
	}
	if _, ok := r.Lookup("nothing"); ok {
		t.Error("nothing found")
	}
}

func TestDefaultRoute(t *testing.T) {
	r, err := NewRoutes(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Destination(accept.Way{To: mail.MustParseAddress("a@b.test")}); got != (spool.Destination{Route: DefaultRoute, Domain: "b.test"}) {
		t.Errorf("got %v", got)
	}
}

func TestReplaceRefuses(t *testing.T) {
	smart := []Host{{Name: "smart.test"}}
	r, err := NewRoutes([]Route{{Name: "old", Domains: []string{"*"}}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		want   string
		routes []Route
	}{
		{"empty or has a slash", []Route{{}}},
		{"empty or has a slash", []Route{{Name: "a/b"}}},
		{"taken twice", []Route{{Name: "a"}, {Name: "a"}}},
		{"served by", []Route{{Name: "a", Domains: []string{"x.test"}}, {Name: "b", Domains: []string{"X.test"}}}},
		{"served by", []Route{{Name: "a", Domains: []string{"*"}}, {Name: "b", Domains: []string{"*"}}}},
		{"label", []Route{{Name: "a", Domains: []string{"x..test"}}}},
		{"needs a host", []Route{{Name: "a", Kind: Smarthost}}},
		{"MX finds its own", []Route{{Name: "a", Hosts: smart}}},
		{"bad host", []Route{{Name: "a", Kind: Smarthost, Hosts: []Host{{}}}}},
		{"bad host", []Route{{Name: "a", Kind: Smarthost, Hosts: []Host{{Name: "x", Port: 70000}}}}},
		{"without a password", []Route{{Name: "a", Kind: Smarthost, Hosts: smart, Username: "u"}}},
		{"sender", []Route{{Name: "a", Senders: []string{"a b@x.test"}}}},
		{"sender", []Route{{Name: "a", Senders: []string{"@x.test"}}}},
		{"account", []Route{{Name: "a", Accounts: []string{""}}}},
		{"header", []Route{{Name: "a", Headers: []string{"X Y: z"}}}},
		{"header", []Route{{Name: "a", Headers: []string{": z"}}}},
		{"label", []Route{{Name: "a", Accounts: []string{"x"}, Domains: []string{"x..test"}}}},
		{"out of range", []Route{{Name: "a", MaxConnections: -1}}},
		{"all other domains", []Route{{Name: DefaultRoute, Kind: Smarthost, Hosts: smart, Username: "u", Password: secret}}},
	}
	for _, tt := range tests {
		if err := r.Replace(tt.routes); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.routes, err, tt.want)
		}
	}
	if _, ok := r.Lookup("old"); !ok {
		t.Error("a refused set has replaced the old")
	}
}
