package directory

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"restante/internal/accept"
	"restante/internal/mail"
)

func groups(o *Options) {
	o.Groups = []Group{
		{Name: "Crew@example.org", Members: []string{"alice@example.org", "far@else.where", "inner@example.org"}, Owner: "bob@example.org", Closed: true},
		{Name: "inner@example.org", Members: []string{"near@else.where", "crew@example.org", "owned@example.org"}},
		{Name: "owned@example.org", Members: []string{"deep@else.where"}, Owner: "Own@else.where"},
	}
}

func TestGroups(t *testing.T) {
	opt := options(t)
	groups(&opt)
	d := open(t, opt)
	for to, want := range map[string]string{
		"crew@example.org":     "alice@example.org | far@else.where by bob@example.org, near@else.where by bob@example.org, deep@else.where by Own@else.where | crew@example.org",
		"crew+tag@example.org": "alice@example.org | far@else.where by bob@example.org, near@else.where by bob@example.org, deep@else.where by Own@else.where | crew@example.org",
		"inner@example.org":    "alice@example.org | near@else.where by , far@else.where by bob@example.org, deep@else.where by Own@else.where | crew@example.org",
		"owned@example.org":    " | deep@else.where by Own@else.where | ",
	} {
		targets, err := d.Resolve(mail.MustParseAddress(to), nil)
		if err != nil {
			t.Errorf("%s: %v", to, err)
		}
		var forwards, closed []string
		for _, f := range targets.Forwards {
			forwards = append(forwards, f.To.String()+" by "+f.Sender.String())
		}
		for _, c := range targets.Closed {
			closed = append(closed, c.Name.String())
		}
		if got := strings.Join(targets.Accounts, " ") + " | " + strings.Join(forwards, ", ") + " | " + strings.Join(closed, " "); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", to, got, want)
		}
	}
	targets, err := d.Resolve(mail.MustParseAddress("crew@example.org"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]bool{"far@else.where": true, "FAR@else.where": true, "bob@example.org": true, "near@else.where": false, "x@else.where": false} {
		if got := targets.Closed[0].Admits(mail.MustParseAddress(from)); got != want {
			t.Errorf("%s is admitted: %v", from, got)
		}
	}
	if !d.MaySendAs("alice@example.org", mail.MustParseAddress("crew@example.org")) {
		t.Error("a member may not send as the group")
	}
}

func TestGroupsRefused(t *testing.T) {
	for name, g := range map[string]Group{
		"an alias too":       {Name: "Sales@example.org", Members: []string{"a@b.c"}},
		"in another domain":  {Name: "crew@else.where", Members: []string{"a@b.c"}},
		"a malformed name":   {Name: "crew", Members: []string{"a@b.c"}},
		"a malformed member": {Name: "crew@example.org", Members: []string{"a"}},
		"a malformed owner":  {Name: "crew@example.org", Members: []string{"a@b.c"}, Owner: "a"},
	} {
		opt := options(t)
		opt.Groups = []Group{g}
		if _, err := openCost(opt, phc{memory: 8, time: 1, lanes: 1}, 4096); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestTooManyTargets(t *testing.T) {
	opt := options(t)
	var all []string
	for i := range maxTargets + 1 {
		all = append(all, fmt.Sprintf("m%d@else.where", i))
	}
	opt.Aliases = map[string][]string{"half@example.org": all[:maxTargets], "all@example.org": all, "both@example.org": {"half@example.org", "all@example.org"}}
	d := open(t, opt)
	if targets, err := d.Resolve(mail.MustParseAddress("half@example.org"), nil); err != nil || len(targets.Forwards) != maxTargets {
		t.Errorf("%d, %v", len(targets.Forwards), err)
	}
	for _, to := range []string{"all@example.org", "both@example.org"} {
		if _, err := d.Resolve(mail.MustParseAddress(to), nil); err == nil || errors.Is(err, mail.ErrNoSuchUser) {
			t.Errorf("%s: %v", to, err)
		}
	}
}

func TestTrace(t *testing.T) {
	opt := options(t)
	groups(&opt)
	d := open(t, opt)
	for to, want := range map[string]string{
		"sales+x@example.org":    "tag sales+x sales, alias sales team Carl, alias team alice bob, account alice alice, alias bob bob bob, account bob bob",
		"owned@example.org":      "group owned deep",
		"any@caught.org":         "catch-all any bob far, alias bob bob bob, account bob bob",
		"postmaster@example.org": "postmaster postmaster alice, account alice alice",
		"nobody@example.org":     "nobody nobody",
		"loop1@example.org":      "alias loop1 loop2, alias loop2 loop1",
	} {
		var steps []string
		d.Resolve(mail.MustParseAddress(to), func(s accept.Step) {
			words := []string{strings.TrimPrefix(string(s.Rule), "without its +"), s.Address.Local}
			for _, a := range s.To {
				words = append(words, a.Local)
			}
			steps = append(steps, strings.Join(words, " "))
		})
		if got := strings.Join(steps, ", "); got != want {
			t.Errorf("%s: %s\nwant %s", to, got, want)
		}
	}
}
