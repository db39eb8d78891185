package directory

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"restante/internal/mail"
	"restante/internal/sasl"
)

// cheapHash is argon2id of "secret" at the least cost.
func cheapHash(t testing.TB) string {
	t.Helper()
	h := phc{memory: 8, time: 1, lanes: 1, salt: []byte("saltsalt")}
	h.sum = h.compute("secret", 16)
	return h.String()
}

func options(t testing.TB) Options {
	hash := cheapHash(t)
	return Options{
		Path:     filepath.Join(t.TempDir(), "accounts.json"),
		Domains:  []string{"example.org", "Second.org", "caught.org"},
		CatchAll: map[string][]string{"caught.org": {"bob@example.org", "far@else.where"}},
		Aliases: map[string][]string{
			"sales@example.org":   {"team@example.org", "Carl@else.where"},
			"team@example.org":    {"alice@example.org", "bob@example.org"},
			"bob@example.org":     {"bob@example.org", "bob@phone.net"},
			"moved@example.org":   {"alice@example.org"},
			"alice2@second.org":   {"alice+two@example.org"},
			"loop1@example.org":   {"loop2@example.org"},
			"loop2@example.org":   {"loop1@example.org"},
			"lost@example.org":    {"nobody@example.org"},
			"Upper@example.org":   {"alice@example.org"},
			"catch@caught.org":    {"unknown@caught.org"},
			"x+tagged@second.org": {"bob@example.org"},
		},
		Static: []Static{
			{Name: "alice@example.org", Hash: hash, Addresses: []string{"a.liddell@example.org", "alice@gmail.test", "*@lists.test"}},
			{Name: "Bob@Example.org", Hash: hash},
			{Name: "moved@example.org", Hash: hash, Addresses: []string{"alice+bobs@example.org"}},
			{Name: "app@second.org", Hash: hash, Addresses: []string{"*"}},
		},
	}
}

func open(t testing.TB, opt Options) *Directory {
	t.Helper()
	d, err := openCost(opt, phc{memory: 8, time: 1, lanes: 1}, sasl.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestResolve(t *testing.T) {
	d := open(t, options(t))
	tests := []struct {
		to                 string
		accounts, forwards string
	}{
		{"alice@example.org", "alice@example.org", ""},
		{"ALICE@example.org", "alice@example.org", ""},
		{"a.liddell@example.org", "alice@example.org", ""},
		{"alice+tag@example.org", "alice@example.org", ""},
		{"alice+bobs@example.org", "moved@example.org", ""},
		{"moved@example.org", "alice@example.org", ""}, // the alias goes before the account
		{"bob@example.org", "bob@example.org", "bob@phone.net"},
		{"bob+x@example.org", "bob@example.org", "bob@phone.net"},
		{"sales@example.org", "alice@example.org bob@example.org", "bob@phone.net Carl@else.where"},
		{"sales+2026@example.org", "alice@example.org bob@example.org", "bob@phone.net Carl@else.where"},
		{"alice2@second.org", "alice@example.org", ""},
		{"upper@example.org", "alice@example.org", ""},
		{"anything@caught.org", "bob@example.org", "bob@phone.net far@else.where"},
		{"catch@caught.org", "bob@example.org", "bob@phone.net far@else.where"},
		{"x+tagged@second.org", "bob@example.org", "bob@phone.net"},
		{"x@second.org", "", ""},
		{"+@second.org", "", ""},
		{"nobody@example.org", "", ""},
		{"lost@example.org", "", ""},
		{"loop1@example.org", "", ""},
		{"alice@second.org", "", ""},
		{"postmaster", "alice@example.org", ""},
		{"Postmaster@example.org", "alice@example.org", ""},
		{"postmaster@second.org", "alice@example.org", ""},
		{"postmaster@caught.org", "bob@example.org", "bob@phone.net far@else.where"},
	}
	for _, test := range tests {
		targets, err := d.Resolve(mail.MustParseAddress(test.to), nil)
		var forwards []string
		for _, f := range targets.Forwards {
			forwards = append(forwards, f.To.String())
		}
		accounts, forward := strings.Join(targets.Accounts, " "), strings.Join(forwards, " ")
		if accounts != test.accounts || forward != test.forwards {
			t.Errorf("%s: got %q and %q, want %q and %q", test.to, accounts, forward, test.accounts, test.forwards)
		}
		if leads := test.accounts+test.forwards != ""; leads != (err == nil) || err != nil && !errors.Is(err, mail.ErrNoSuchUser) {
			t.Errorf("%s: %v", test.to, err)
		}
	}
}

func TestPostmaster(t *testing.T) {
	post, bare := mail.MustParseAddress("postmaster@second.org"), mail.MustParseAddress("postmaster")
	account := func(d *Directory, a mail.Address) string {
		targets, err := d.Resolve(a, nil)
		if err != nil {
			return err.Error()
		}
		return strings.Join(targets.Accounts, " ")
	}
	opt := options(t)
	opt.Aliases = map[string][]string{"postmaster@example.org": {"bob@example.org"}}
	if d := open(t, opt); account(d, post) != "bob@example.org" || account(d, bare) != "bob@example.org" {
		t.Errorf("not the first domain's: %s, %s", account(d, post), account(d, bare))
	}
	opt.Aliases = map[string][]string{"postmaster": {"app@second.org"}}
	if d := open(t, opt); account(d, post) != "app@second.org" || account(d, bare) != "app@second.org" {
		t.Errorf("not the bare alias: %s, %s", account(d, post), account(d, bare))
	}
	opt.Aliases, opt.Static, opt.CatchAll = nil, nil, nil
	d := open(t, opt)
	for _, a := range []mail.Address{post, bare} {
		if _, err := d.Resolve(a, nil); !errors.Is(err, mail.ErrNoSuchUser) {
			t.Errorf("%s without accounts: %v", a, err)
		}
	}
}

func TestIsLocal(t *testing.T) {
	d := open(t, options(t))
	for domain, want := range map[string]bool{"example.org": true, "second.org": true, "sub.example.org": false, "": false, "lists.test": false} {
		if d.IsLocal(domain) != want {
			t.Errorf("%q: got %v", domain, !want)
		}
	}
	if got := strings.Join(d.Domains(), " "); got != "example.org second.org caught.org" {
		t.Errorf("got %s", got)
	}
}

func TestMaySendAs(t *testing.T) {
	d := open(t, options(t))
	const alice, bob, moved, app = "alice@example.org", "bob@example.org", "moved@example.org", "app@second.org"
	tests := []struct {
		account, from string
		want          bool
	}{
		{alice, "alice@example.org", true},
		{alice, "Alice+news@example.org", true},
		{alice, "a.liddell@example.org", true},
		{alice, "alice@gmail.test", true},
		{alice, "alice+x@gmail.test", true},
		{alice, "anybody@lists.test", true},
		{alice, "anybody@sub.lists.test", false},
		{alice, "sales@example.org", true},
		{alice, "team+x@example.org", true},
		{alice, "moved@example.org", true},
		{alice, "bob@example.org", false},
		{alice, "alice+bobs@example.org", false}, // somebody else's own address
		{alice, "alice@second.org", false},
		{alice, "postmaster@example.org", false},
		{bob, "team@example.org", true},
		{bob, "anything@caught.org", false}, // a catch-all gives no name
		{bob, "bob@phone.net", false},       // nor does forwarding to it
		{moved, "moved@example.org", true},  // its name, even if an alias takes its mail
		{app, "anybody@any.where", true},
		{app, "alice@example.org", true},
		{"nobody@example.org", "nobody@example.org", false},
		{"", "alice@example.org", false},
	}
	for _, test := range tests {
		if got := d.MaySendAs(test.account, mail.MustParseAddress(test.from)); got != test.want {
			t.Errorf("%s as %s: got %v", test.account, test.from, got)
		}
	}
	if !d.MaySendAs(alice, mail.Address{}) || d.MaySendAs("nobody@example.org", mail.Address{}) {
		t.Error("null sender")
	}
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Options)
		is     error // nil: any
	}{
		{"bad domain", func(o *Options) { o.Domains = append(o.Domains, "a b") }, nil},
		{"catch-all of a foreign domain", func(o *Options) { o.CatchAll["x.net"] = nil }, ErrUnknownDomain},
		{"bad catch-all", func(o *Options) { o.CatchAll["second.org"] = []string{"x"} }, mail.ErrAddress},
		{"alias in a foreign domain", func(o *Options) { o.Aliases["a@x.net"] = nil }, ErrUnknownDomain},
		{"bad alias", func(o *Options) { o.Aliases["a"] = nil }, mail.ErrAddress},
		{"bad target", func(o *Options) { o.Aliases["a@second.org"] = []string{"<a@b>"} }, mail.ErrAddress},
		{"alias twice", func(o *Options) { o.Aliases["SALES@example.org"] = nil }, nil},
		{"account in a foreign domain", func(o *Options) { o.Static[0].Name = "a@x.net" }, ErrUnknownDomain},
		{"account twice", func(o *Options) { o.Static[0].Name = "bob@example.org" }, ErrExists},
		{"address twice", func(o *Options) { o.Static[1].Addresses = []string{"A.Liddell@example.org"} }, ErrExists},
		{"bare account", func(o *Options) { o.Static[0].Name = "postmaster" }, mail.ErrAddress},
		{"bad hash", func(o *Options) { o.Static[0].Hash = "$argon2i$" }, nil},
		{"no password", func(o *Options) { o.Static[0].Hash = "" }, ErrPassword},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opt := options(t)
			test.change(&opt)
			d, err := Open(opt)
			if err == nil || d != nil || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("got %v, want %v", err, test.is)
			}
			// The same at Reload leaves the old as it was.
			good := open(t, options(t))
			if err := good.Reload(opt); err == nil {
				t.Error("Reload took it")
			}
			if _, err := good.Resolve(mail.MustParseAddress("alice@example.org"), nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReload(t *testing.T) {
	opt := options(t)
	d := open(t, opt)
	if err := d.Add("new@example.org", "secret"); err != nil {
		t.Fatal(err)
	}
	opt.Domains = []string{"only.org"}
	opt.Static, opt.Aliases, opt.CatchAll = nil, nil, nil
	var log bytes.Buffer
	opt.Logger = slog.New(slog.NewTextHandler(&log, nil))
	if err := d.Reload(opt); err != nil {
		t.Fatal(err)
	}
	if d.IsLocal("example.org") || !d.IsLocal("only.org") {
		t.Error("domains are the old ones")
	}
	// An account whose domain has gone is still there to collect its mail.
	if _, err := d.Lookup("new@example.org"); err != nil || !strings.Contains(log.String(), "new@example.org") {
		t.Errorf("%v, log %q", err, &log)
	}
	if _, err := d.Resolve(mail.MustParseAddress("postmaster@only.org"), nil); !errors.Is(err, mail.ErrNoSuchUser) {
		t.Errorf("postmaster goes to an account that is not local: %v", err)
	}
	if !d.MaySendAs("new@example.org", mail.MustParseAddress("new+x@example.org")) {
		t.Error("may not send as itself")
	}
}

func TestLookup(t *testing.T) {
	d := open(t, options(t))
	for user, want := range map[string]string{"alice": "alice@example.org", "ALICE@EXAMPLE.ORG": "alice@example.org", "app@second.org": "app@second.org", "app": "", "": "", "a b": "", "alice+x@example.org": ""} {
		got, err := d.Lookup(user)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q %v", user, got, err)
		}
	}
}

func TestList(t *testing.T) {
	d := open(t, options(t))
	for _, name := range []string{"zoe@example.org", "adam@example.org"} {
		if err := d.Add(name, "secret", "x-"+name); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, i := range d.List() {
		names = append(names, i.Name)
		if i.Static == !i.Created.IsZero() {
			t.Errorf("%+v", i)
		}
	}
	if got := strings.Join(names, " "); got != "alice@example.org bob@example.org moved@example.org app@second.org zoe@example.org adam@example.org" {
		t.Errorf("got %s", got)
	}
	if got := d.List()[0].Addresses; !slices.Equal(got, []string{"a.liddell@example.org", "alice@gmail.test", "*@lists.test"}) {
		t.Errorf("got %q", got)
	}
}
