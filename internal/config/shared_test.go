package config

import (
	"slices"
	"strings"
	"testing"
)

func TestShared(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"name = \"Support\"\naddresses = \"support@a.org\"\nreaders = \"anyone\"\nmembers = \"bob@a.org\"\nquota = \"1GB\"", ""},
		{"members = \"anyone\"", "this shared mailbox has no name"},
		{"name = \"a/b\"\nmembers = \"anyone\"", "a name has at most 200 octets, none of / * %"},
		{"name = \"a*\"\nmembers = \"anyone\"", "none of / * %"},
		{"name = \"a\\tb\"\nmembers = \"anyone\"", "no control characters"},
		{"name = \"A\"\nmembers = \"anyone\"\n[[shared]]\nname = \"a\"\nmembers = \"anyone\"", "is there twice"},
		{"name = \"A\"\nmembers = \"anyone\"\naddresses = \"support\"", "must be a full address"},
		{"name = \"A\"\nmembers = \"anyone\"\naddresses = \"support@b.org\"", "is in no local domain"},
		{"name = \"A\"\nmembers = \"anyone\"\naddresses = \"alice@a.org\"", "already belongs to the account alice@a.org"},
		{"name = \"A\"\nmembers = \"anyone\"\naddresses = [\"s@a.org\", \"S@a.org\"]", "already belongs to the shared mailbox A"},
		{"name = \"A\"\nmanagers = \"bob\"", `managers of the shared mailbox "A": "bob" must be`},
		{"name = \"A\"\naddresses = \"s@a.org\"", "nobody may read"},
	} {
		cfg, err := parse("x", "[[domain]]\nname = \"a.org\"\n[[account]]\nname = \"alice@a.org\"\npassword_hash = \"$argon2id$v=19$m=19456,t=2,p=1$a$b\"\n[[shared]]\n"+c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if err := cfg.Check(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestPeople(t *testing.T) {
	cfg := &Config{Groups: []Group{
		{Name: "Team@a.org", Members: Strings{"bob@a.org", "inner@a.org", "far@b.org"}},
		{Name: "inner@a.org", Members: Strings{"Carol@a.org", "team@a.org", "bob@a.org"}},
	}}
	got := cfg.People(Strings{"Alice@a.org", "team@a.org", "anyone", "alice@a.org"})
	if want := []string{"alice@a.org", "bob@a.org", "carol@a.org", "far@b.org", "anyone"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
