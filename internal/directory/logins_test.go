package directory

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/internal/ratelimit"
	"restante/internal/sasl"
)

// scram tells which account a password opens by SCRAM, with the keys that the
// verifier has for it.
func scram(t testing.TB, l Logins, user, password string) (string, error) {
	t.Helper()
	v := l.Verifier(user)
	got, err := sasl.Derive(password, v.Salt, v.Iterations)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range v.Keys {
		if k == got {
			return l.Proved(user, k)
		}
	}
	return "", mail.ErrBadCredentials
}

func plain(l Logins, user, password string) (string, error) {
	return l.Authenticate(context.Background(), user, password, netip.MustParseAddr("192.0.2.1"))
}

func applicationOptions(t testing.TB) Options {
	opt := options(t)
	opt.Static = append(opt.Static,
		Static{Name: "carl@example.org", Password: "pässword"},
		Static{Name: "printer", Password: "print", Addresses: []string{"scans@example.org", "*@devices.test"},
			Application: &Application{Rate: Rate{60, time.Minute}, Priority: -3}},
		Static{Name: "tickets", Password: "tickets", Application: &Application{Collects: "carl@example.org"}},
		Static{Name: "lost", Password: "lost", Application: &Application{Collects: "nobody@example.org"}},
	)
	return opt
}

func TestApplications(t *testing.T) {
	opt := applicationOptions(t)
	d := open(t, opt)
	if err := d.AddApplication("Invoices", "secret", []string{"billing@example.org", "*@invoices.test"}, Application{Rate: Rate{100, time.Hour}, Priority: 4}); err != nil {
		t.Fatal(err)
	}
	again := open(t, opt)
	for _, d := range []*Directory{d, again} {
		for _, test := range []struct {
			user, password, sending, collecting string
		}{
			{"printer", "print", "printer", ""},
			{"PRINTER", "print", "printer", ""},
			{"printer@example.org", "print", "", ""},
			{"printer", "x", "", ""},
			{"invoices", "secret", "invoices", ""},
			{"tickets", "tickets", "tickets", "carl@example.org"},
			{"lost", "lost", "lost", ""},
			{"carl", "pässword", "carl@example.org", "carl@example.org"},
			{"carl", "pa\u0308ssword", "carl@example.org", "carl@example.org"},
		} {
			for range 2 { // the second time from memory
				for service, want := range map[Service]string{Sending: test.sending, Collecting: test.collecting} {
					got, err := plain(d.For(service), test.user, test.password)
					if got != want || (want == "") != errors.Is(err, mail.ErrBadCredentials) {
						t.Errorf("%s for %d: %q %v", test.user, service, got, err)
					}
					if strings.Contains(test.password, "\u0308") {
						continue // the client's preparation is not played here
					}
					if got, err = scram(t, d.For(service), test.user, test.password); got != want || (want == "") != (err != nil) {
						t.Errorf("SCRAM of %s for %d: %q %v", test.user, service, got, err)
					}
				}
			}
		}
	}
	for _, test := range []struct {
		app, from string
		may       bool
	}{
		{"printer", "scans@example.org", true},
		{"printer", "scans+x@example.org", true},
		{"printer", "alice@example.org", false},
		{"printer", "any@devices.test", true},
		{"printer", "printer@example.org", false},
		{"tickets", "carl@example.org", false},
		{"invoices", "Billing@example.org", true},
		{"invoices", "x@invoices.test", true},
	} {
		if got := d.MaySendAs(test.app, mail.MustParseAddress(test.from)); got != test.may {
			t.Errorf("%s as %s: %v", test.app, test.from, got)
		}
	}
	if !d.MaySendAs("printer", mail.Address{}) {
		t.Error("no null sender")
	}
	for _, test := range []struct {
		account  string
		rate     ratelimit.Rate
		priority int
	}{
		{"printer", ratelimit.Rate{Count: 60, Per: time.Minute}, -3},
		{"invoices", ratelimit.Rate{Count: 100, Per: time.Hour}, 4},
		{"alice@example.org", ratelimit.Rate{}, 0},
		{"nobody", ratelimit.Rate{}, 0},
	} {
		if rate, priority := again.Allowance(test.account); rate != test.rate || priority != test.priority {
			t.Errorf("%s: %v, %d", test.account, rate, priority)
		}
	}
	// What it may send as is not delivered to it.
	if _, err := d.Resolve(mail.MustParseAddress("scans@example.org"), nil); !errors.Is(err, mail.ErrNoSuchUser) {
		t.Errorf("mail for an application: %v", err)
	}
	if err := d.Remove("invoices"); err != nil {
		t.Error(err)
	}
}

func TestNamesOfApplications(t *testing.T) {
	opt := applicationOptions(t)
	d := open(t, opt)
	for _, test := range []struct {
		name string
		app  Application
		want error
	}{
		{"printer", Application{}, ErrExists},
		{"alice", Application{}, ErrExists},
		{"ALICE", Application{}, ErrExists},
		{"a.liddell", Application{}, ErrExists},
		{"app", Application{}, nil}, // app@second.org is not in the first domain
		{"new@example.org", Application{}, ErrSecretName},
		{"", Application{}, ErrSecretName},
		{"-x", Application{}, ErrSecretName},
		{"a b", Application{}, ErrSecretName},
		{strings.Repeat("x", 65), Application{}, ErrSecretName},
		{"x", Application{Priority: 10}, ErrPriority},
		{"x", Application{Collects: "alice"}, mail.ErrAddress},
	} {
		if err := d.AddApplication(test.name, "secret", nil, test.app); !errors.Is(err, test.want) {
			t.Errorf("%q: got %v, want %v", test.name, err, test.want)
		}
	}
	if err := d.Add("printer@example.org", "secret"); !errors.Is(err, ErrExists) {
		t.Errorf("an account of an application's name: %v", err)
	}
	if err := d.Add("app@example.org", "secret"); !errors.Is(err, ErrExists) {
		t.Errorf("an account of a stored application's name: %v", err)
	}
	// A new static account takes the name from a stored application.
	opt.Static = append(opt.Static, Static{Name: "app@example.org", Password: "static"})
	if err := d.Reload(opt); err != nil {
		t.Fatal(err)
	}
	if got, err := login(d, "app", "static"); got != "app@example.org" {
		t.Errorf("got %q %v", got, err)
	}
	if _, err := login(d, "app", "secret"); err == nil {
		t.Error("the application is still there")
	}
	// A new static application takes the short name of a stored account, and
	// nothing else of it.
	if err := d.Add("dora@example.org", "secret"); err != nil {
		t.Fatal(err)
	}
	opt.Static = append(opt.Static, Static{Name: "dora", Password: "app", Application: &Application{}})
	if err := d.Reload(opt); err != nil {
		t.Fatal(err)
	}
	for _, test := range [][3]string{{"dora", "app", "dora"}, {"dora", "secret", ""}, {"dora@example.org", "secret", "dora@example.org"}} {
		if got, _ := login(d, test[0], test[1]); got != test[2] {
			t.Errorf("%s with %s: %q", test[0], test[1], got)
		}
	}
	if _, err := d.Resolve(mail.MustParseAddress("dora@example.org"), nil); err != nil {
		t.Errorf("its mail: %v", err)
	}
	opt.Static = append(opt.Static, Static{Name: "alice", Password: "x", Application: &Application{}})
	if err := d.Reload(opt); !errors.Is(err, ErrExists) {
		t.Errorf("two of one name in the configuration: %v", err)
	}
}

// TestUpgrade reads a file of version 1 and gives its accounts verifiers as they
// log in.
func TestUpgrade(t *testing.T) {
	opt := options(t)
	opt.Static = nil
	old := `{"version":1,"accounts":[
{"name":"x@example.org","password":"` + cheapHash(t) + `","created":"2024-02-03T12:00:00Z","changed":"2024-02-03T12:00:00Z"},
{"name":"y@example.org","password":"` + cheapHash(t) + `","addresses":["z@example.org"],"created":"2024-02-03T12:00:00Z","changed":"2024-02-03T12:00:00Z"}]}`
	if err := os.WriteFile(opt.Path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, opt)
	if d.For(Sending).Complete() || d.List()[0].SCRAM {
		t.Error("complete too early")
	}
	if _, err := scram(t, d.For(Sending), "x", "secret"); err == nil {
		t.Error("SCRAM before anybody knows the password")
	}
	if _, err := login(d, "x", "wrong"); err == nil || d.List()[0].SCRAM {
		t.Error("a wrong password makes a verifier")
	}
	if b, _ := os.ReadFile(opt.Path); string(b) != old {
		t.Error("the file was written too early")
	}
	for _, user := range []string{"x", "z", "y"} {
		if got, err := login(d, user, "secret"); (user != "z") != (err == nil) {
			t.Errorf("%s: %q %v", user, got, err)
		}
	}
	if !remembered(t, d, "x", "secret") || !remembered(t, d, "y", "secret") {
		t.Error("the upgrade forgets logins")
	}
	for _, d := range []*Directory{d, open(t, opt)} {
		if !d.For(Sending).Complete() || !d.For(Collecting).Complete() {
			t.Error("not complete")
		}
		for _, user := range []string{"x", "y"} {
			if got, err := scram(t, d.For(Collecting), user, "secret"); got != user+"@example.org" {
				t.Errorf("%q %v", got, err)
			}
		}
	}
	if i := d.List()[1]; i.Created.Year() != 2024 || len(i.Addresses) != 1 || i.Changed.Year() != 2024 {
		t.Errorf("the upgrade has changed %+v", i)
	}
}

// TestUpgradeFails logs in where the file cannot be written.
func TestUpgradeFails(t *testing.T) {
	opt := options(t)
	if err := os.WriteFile(opt.Path, []byte(`{"version":1,"accounts":[{"name":"x@example.org","password":"`+cheapHash(t)+`"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, opt)
	if err := os.MkdirAll(opt.Path+".new/x", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := login(d, "x", "secret"); err != nil {
		t.Error(err)
	}
}

func TestComplete(t *testing.T) {
	opt := options(t)
	opt.Static = []Static{{Name: "carl@example.org", Password: "x"}}
	check := func(what string, sending, collecting bool) {
		t.Helper()
		d := open(t, opt)
		if d.For(Sending).Complete() != sending || d.For(Collecting).Complete() != collecting {
			t.Errorf("%s: %v %v", what, !sending, !collecting)
		}
	}
	check("a plain password", true, true)
	opt.Static = append(opt.Static, Static{Name: "printer", Hash: cheapHash(t), Application: &Application{}})
	check("an application with a hash", false, true)
	hash, err := HashSCRAM("secret")
	if err != nil {
		t.Fatal(err)
	}
	opt.Static[1].SCRAM = hash
	check("with a verifier too", true, true)
	if got, err := scram(t, open(t, opt).For(Sending), "printer", "secret"); got != "printer" {
		t.Error(err)
	}
	opt.Static = append(opt.Static, Static{Name: "alice@example.org", Hash: cheapHash(t)})
	check("an account with a hash", false, false)
	opt.Static[2].SCRAM = "x"
	if _, err := Open(opt); err == nil {
		t.Error("a bad verifier is taken")
	}
	if _, err := HashSCRAM(""); !errors.Is(err, ErrPassword) {
		t.Error(err)
	}
}

// TestStrangerHasASalt asks for the salts of names that nobody has: the same each
// time, after a restart too, and in the form of real ones.
func TestStrangerHasASalt(t *testing.T) {
	opt := applicationOptions(t)
	d, again := open(t, opt), open(t, opt)
	seen := make(map[string]bool)
	for _, user := range []string{"nobody@example.org", "no body", "", "x", "carl@example.org", "printer"} {
		v, w := d.For(Sending).Verifier(user), again.For(Sending).Verifier(user)
		if string(v.Salt) != string(w.Salt) || len(v.Salt) != saltSize || v.Iterations != w.Iterations || v.Iterations != sasl.MinIterations {
			t.Errorf("%q: %x %d and %x %d", user, v.Salt, v.Iterations, w.Salt, w.Iterations)
		}
		if seen[string(v.Salt)] {
			t.Errorf("%q has the salt of another", user)
		}
		seen[string(v.Salt)] = true
		if known := user == "carl@example.org" || user == "printer"; known != (len(v.Keys) > 0) {
			t.Errorf("%q has %d keys", user, len(v.Keys))
		}
	}
	if a, b := d.For(Sending).Verifier("NoBody"), d.For(Sending).Verifier("nobody@Example.org"); string(a.Salt) != string(b.Salt) {
		t.Error("the forms of one name have different salts, those of an account's have not")
	}
	other := open(t, applicationOptions(t))
	if string(other.For(Sending).Verifier("x").Salt) == string(d.For(Sending).Verifier("x").Salt) {
		t.Error("two installations have the same salts")
	}
}
