package directory

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"restante/internal/accept"
	"restante/internal/mail"
)

func TestShared(t *testing.T) {
	opt := options(t)
	opt.Shared = []Shared{
		{Name: "Support", Addresses: []string{"Support@example.org", "help@example.org"}, Senders: []string{"Alice@example.org"}},
		{Name: "Notes", Senders: []string{"anyone"}},
	}
	opt.Aliases["hilfe@example.org"] = []string{"support@example.org"}
	d := open(t, opt)
	for _, to := range []string{"support@example.org", "HELP+ticket@example.org", "hilfe@example.org"} {
		var last accept.Step
		targets, err := d.Resolve(mail.MustParseAddress(to), func(s accept.Step) { last = s })
		if err != nil || !slices.Equal(targets.Accounts, []string{"shared/Support"}) {
			t.Errorf("%s leads to %v, %v", to, targets.Accounts, err)
		}
		if last.Rule != accept.RuleAccount || len(last.To) != 1 || last.To[0].String() != "shared/Support" {
			t.Errorf("%s: the last step is %+v", to, last)
		}
	}
	for account, want := range map[string]bool{"alice@example.org": true, "bob@example.org": false} {
		for _, from := range []string{"support@example.org", "help+x@example.org", "hilfe@example.org"} {
			if got := d.MaySendAs(account, mail.MustParseAddress(from)); got != want {
				t.Errorf("%s may send as %s: %v", account, from, got)
			}
		}
	}
	if name, err := d.Lookup("shared/Support"); err != nil || name != SharedAccount("Support") || !IsShared(name) {
		t.Errorf("%q, %v", name, err)
	}
	if _, err := d.Lookup("shared/Other"); !errors.Is(err, mail.ErrNoSuchUser) {
		t.Error(err)
	}
	if err := d.Remove("shared/Support"); !errors.Is(err, ErrStatic) {
		t.Errorf("removed: %v", err)
	}
	if err := d.Add("support@example.org", "secret"); !errors.Is(err, ErrExists) {
		t.Errorf("an account has the address of a shared mailbox: %v", err)
	}
	list := d.List()
	list = list[len(list)-2:]
	if list[0].Name != "shared/Support" || !list[0].Shared || len(list[0].Addresses) != 2 || list[1].Name != "shared/Notes" {
		t.Errorf("%+v", list)
	}
}

// TestSharedCollected: an application may have a shared mailbox as its INBOX.
func TestSharedCollected(t *testing.T) {
	opt := options(t)
	opt.Shared = []Shared{{Name: "Support"}}
	opt.Static = append(opt.Static,
		Static{Name: "tickets", Password: "tickets", Application: &Application{Collects: "shared/Support"}},
		Static{Name: "lost", Password: "lost", Application: &Application{Collects: "shared/Other"}})
	logins := open(t, opt).For(Collecting)
	if got, err := logins.Authenticate(t.Context(), "tickets", "tickets", netip.Addr{}); err != nil || got != "shared/Support" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := logins.Authenticate(t.Context(), "lost", "lost", netip.Addr{}); err == nil {
		t.Errorf("collects from %q, which is not there", got)
	}
}

func TestSharedRefused(t *testing.T) {
	for name, list := range map[string][]Shared{
		"no name":                  {{}},
		"there twice":              {{Name: "A"}, {Name: "A"}},
		"an address twice":         {{Name: "A", Addresses: []string{"a@example.org"}}, {Name: "B", Addresses: []string{"a@example.org"}}},
		"an account's address":     {{Name: "A", Addresses: []string{"alice@example.org"}}},
		"an address elsewhere":     {{Name: "A", Addresses: []string{"a@else.where"}}},
		"a malformed address":      {{Name: "A", Addresses: []string{"@"}}},
		"a pattern for an address": {{Name: "A", Addresses: []string{"*@example.org"}}},
	} {
		opt := options(t)
		opt.Shared = list
		opt.Static = []Static{{Name: "alice@example.org", Password: "secret"}}
		if _, err := openCost(opt, phc{memory: 8, time: 1, lanes: 1}, 4096); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
