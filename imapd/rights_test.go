package imapd

import (
	"testing"

	"restante/spool"
)

func TestParseRights(t *testing.T) {
	for _, c := range []struct {
		text, letters, shown string
		ok                   bool
	}{
		{"", "", "", true},
		{"lr", "lr", "lr", true},
		{"rl", "lr", "lr", true},
		{"c", "kx", "kxc", true},
		{"d", "te", "ted", true},
		{"k", "k", "kc", true},
		{"lrswipkxteacd", "lrswipkxtea", "lrswipkxteacd", true},
		{"LR", "", "", false},
		{"lr0", "", "", false},
		{"é", "", "", false},
	} {
		r, ok := parseRights(c.text)
		if ok != c.ok || r.letters() != c.letters || r.String() != c.shown {
			t.Errorf("%q: %q, %q, %v", c.text, r.letters(), r, ok)
		}
	}
}

func TestGranted(t *testing.T) {
	acl := map[string]string{aclPrefix + "bob": "lrs", aclPrefix + anyone: "lp", "other/bob": "a"}
	for account, want := range map[string]string{"bob": "lrsp", "Bob": "lrsp", "carol": "lp"} {
		if got := rightsFor(acl, account).letters(); got != want {
			t.Errorf("%s has %q, want %q", account, got, want)
		}
	}
}

func TestSettable(t *testing.T) {
	f := spool.Flags{System: spool.Seen | spool.Deleted | spool.Flagged, Keywords: []string{"x"}}
	for _, c := range []struct {
		rights   rights
		system   spool.SystemFlags
		keywords int
	}{
		{noRights, 0, 0},
		{rightSeen, spool.Seen, 0},
		{rightDeleted, spool.Deleted, 0},
		{rightWrite, spool.Flagged, 1},
		{allRights, f.System, 1},
	} {
		if got := f.Without(c.rights.fixed()); got.System != c.system || len(got.Keywords) != c.keywords {
			t.Errorf("%q: %+v", c.rights, got)
		}
	}
}
