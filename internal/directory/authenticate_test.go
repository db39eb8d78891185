package directory

import (
	"context"
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/mail"
)

func TestAuthenticate(t *testing.T) {
	opt := options(t)
	opt.Static = append(opt.Static, Static{Name: "plain@second.org", Password: "plain pass"})
	d := open(t, opt)
	if err := d.Add("stored@example.org", "pässword"); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		user, password, want string
	}{
		{"alice@example.org", "secret", "alice@example.org"},
		{"Alice@Example.ORG", "secret", "alice@example.org"},
		{"alice", "secret", "alice@example.org"},
		{"alice@example.org", "Secret", ""},
		{"alice@example.org", "", ""},
		{"alice@example.org", "secret\x00", ""},
		{"alice@example.org", strings.Repeat("x", 5000), ""},
		{"alice+x@example.org", "secret", ""},
		{"a.liddell@example.org", "secret", ""},
		{"sales@example.org", "secret", ""},
		{"nobody@example.org", "secret", ""},
		{"nobody@example.org", "", ""},
		{"", "", ""},
		{"a b", "secret", ""},
		{"stored@example.org", "pässword", "stored@example.org"},
		{"stored@example.org", "pa\u0308ssword", "stored@example.org"}, // typed with a combining mark
		{"stored", "password", ""},
		{"plain@second.org", "plain pass", "plain@second.org"},
		{"plain@second.org", "plain\u00a0pass", "plain@second.org"},
		{"plain@second.org", "plain", ""},
		{"plain@second.org", "", ""},
		{"plain", "plain pass", ""}, // not in the first domain
	}
	for range 2 { // the second time from memory
		for _, test := range tests {
			got, err := login(d, test.user, test.password)
			if got != test.want {
				t.Errorf("%q %q: got %q, want %q", test.user, test.password, got, test.want)
			}
			if test.want == "" && !errors.Is(err, mail.ErrBadCredentials) || test.want != "" && err != nil {
				t.Errorf("%q %q: %v", test.user, test.password, err)
			}
		}
	}
}

func TestNoAccounts(t *testing.T) {
	d := open(t, Options{})
	if _, err := login(d, "alice", "secret"); !errors.Is(err, mail.ErrBadCredentials) {
		t.Error(err)
	}
}

// stuff takes all places at the gate, so that only what is remembered can
// log in.
func stuff(t *testing.T, d *Directory) (release func()) {
	t.Helper()
	var leaves []func()
	for i := range cap(d.hashing.places) {
		leave, err := d.hashing.enter(t.Context(), netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	return func() {
		for _, leave := range leaves {
			leave()
		}
	}
}

// remembered tells whether a login succeeds without hashing.
func remembered(t *testing.T, d *Directory, user, password string) bool {
	t.Helper()
	defer stuff(t, d)()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.Authenticate(ctx, user, password, netip.MustParseAddr("192.0.2.1"))
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	return err == nil
}

func TestRecentLogins(t *testing.T) {
	opt := options(t)
	d := open(t, opt)
	if err := d.Add("stored@example.org", "secret"); err != nil {
		t.Fatal(err)
	}
	mustLogin := func(password string) {
		t.Helper()
		if _, err := login(d, "stored@example.org", password); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what, password string, want bool) {
		t.Helper()
		if remembered(t, d, "stored@example.org", password) != want {
			t.Errorf("%s: remembered is %v", what, !want)
		}
	}
	expect("before any login", "secret", false)
	mustLogin("secret")
	expect("after a login", "secret", true)
	expect("another password", "Secret", false)
	if _, err := login(d, "stored@example.org", "wrong"); err == nil {
		t.Error("wrong password taken")
	}
	expect("after a failed login", "secret", true)
	if err := d.SetPassword("stored@example.org", "changed"); err != nil {
		t.Fatal(err)
	}
	expect("after a change", "secret", false)
	if _, err := login(d, "stored@example.org", "secret"); err == nil {
		t.Error("the old password is taken")
	}
	mustLogin("changed")
	expect("after a login with the new one", "changed", true)
	if err := d.Reload(opt); err != nil {
		t.Fatal(err)
	}
	expect("after Reload", "changed", false)
	mustLogin("changed")
	if err := d.Remove("stored@example.org"); err != nil {
		t.Fatal(err)
	}
	expect("after Remove", "changed", false)
}

func TestRecentLoginsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(recents)
		known := func(n byte) bool {
			_, ok := r.find([32]byte{n})
			return ok
		}
		r.add(recentLogin{sum: [32]byte{1}, until: time.Now().Add(recentFor)})
		time.Sleep(recentFor - time.Second)
		if !known(1) || known(2) {
			t.Error("too early")
		}
		time.Sleep(time.Second)
		if known(1) {
			t.Error("not forgotten")
		}
		for i := range byte(100) {
			r.add(recentLogin{sum: [32]byte{i}, until: time.Now().Add(recentFor)})
		}
		if len(r.list) > maxRecent || !known(99) || known(1) {
			t.Errorf("%d are remembered", len(r.list))
		}
	})
}

// TestStrangerCostsTheSame compares the work, not the time: the cost done for
// an unknown name is that of some account, and always the same.
func TestStrangerCostsTheSame(t *testing.T) {
	d, err := Open(options(t)) // all accounts have cheap hashes
	if err != nil {
		t.Fatal(err)
	}
	p := d.picture.Load()
	for _, name := range []string{"", "nobody@example.org", "x@y"} {
		h := d.stranger(p, name)
		if h.memory != 8 || h.time != 1 || h.sum != nil {
			t.Errorf("%s: got %+v", name, h)
		}
		if h.matches("") {
			t.Error("a decoy matches")
		}
	}
	if h := d.stranger(&picture{}, "x"); h.memory != recipe().memory {
		t.Errorf("without accounts: %+v", h)
	}
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{places: make(chan struct{}, 4), lanes: make(map[netip.Prefix]*lane)}
		guesser, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")
		neighbour := netip.MustParseAddr("2001:db8::2") // in the same /64
		var leaves []func()
		enter := func(from netip.Addr) {
			leave, err := g.enter(t.Context(), from)
			if err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, leave)
		}
		enter(guesser)
		enter(neighbour)
		ctx, cancel := context.WithCancel(t.Context())
		waited := make(chan error)
		go func() {
			_, err := g.enter(ctx, guesser)
			waited <- err
		}()
		synctest.Wait()
		// The guesser's third attempt waits, and others are let in.
		enter(other)
		enter(netip.MustParseAddr("::ffff:192.0.2.1"))
		select {
		case err := <-waited:
			t.Fatalf("did not wait: %v", err)
		default:
		}
		cancel()
		if err := <-waited; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		// Now all places are taken, also for one who has none of them.
		go func() {
			leave, err := g.enter(t.Context(), netip.Addr{})
			if err == nil {
				leave()
			}
			waited <- err
		}()
		synctest.Wait()
		leaves[0]()
		if err := <-waited; err != nil {
			t.Error(err)
		}
		for _, leave := range leaves[1:] {
			leave()
		}
		if len(g.lanes) != 0 || len(g.places) != 0 {
			t.Errorf("left: %d lanes, %d places", len(g.lanes), len(g.places))
		}
	})
}

func TestHashPassword(t *testing.T) {
	a, err := HashPassword("secret")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := HashPassword("secret")
	if a == b {
		t.Error("no salt")
	}
	h, err := parsePHC(a)
	if err != nil || h.String() != a || !h.matches("secret") || h.matches("Secret") {
		t.Errorf("%s: %v", a, err)
	}
	if _, err := HashPassword(""); !errors.Is(err, ErrPassword) {
		t.Error(err)
	}
}

// TestForeignHash reads a hash that another program made: the reference
// implementation's own test, password "password", salt "somesalt".
func TestForeignHash(t *testing.T) {
	const s = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	h, err := parsePHC(s)
	if err != nil || !h.matches("password") {
		t.Errorf("%v", err)
	}
}

func TestCheckHash(t *testing.T) {
	good := cheapHash(t)
	if err := CheckHash(good); err != nil {
		t.Error(err)
	}
	for _, s := range []string{
		"", "secret", "$argon2i$" + good[len("$argon2id$"):], good + "$", good + "=",
		strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=8", "m=7", 1),
		strings.Replace(good, "m=8", "m=99999999", 1),
		strings.Replace(good, "m=8", "m=08", 1),
		strings.Replace(good, "t=1", "t=0", 1),
		strings.Replace(good, "t=1", "t=1000", 1),
		strings.Replace(good, "p=1", "p=0", 1),
		strings.Replace(good, "p=1", "p=300", 1),
		strings.Replace(good, "p=1", "p=1,x=1", 1),
		"$argon2id$v=19$m=8,t=1,p=1$$",
		"$argon2id$v=19$m=8,t=1,p=1$c2FsdA$c2FsdA",
	} {
		if err := CheckHash(s); err == nil || !strings.Contains(err.Error(), "$argon2id$v=19$") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzCheckHash(f *testing.F) {
	f.Add(cheapHash(f))
	f.Add("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$00000000000$0000000000000000000\r0000")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parsePHC(s)
		if err == nil && h.String() != s {
			t.Errorf("%q is read as %q", s, h)
		}
	})
}

func TestRandomPassword(t *testing.T) {
	form := regexp.MustCompile(`^([0-9a-hjkmnp-tv-z]{5}-){3}[0-9a-hjkmnp-tv-z]{5}$`)
	seen := make(map[string]bool)
	for range 100 {
		p := RandomPassword()
		if !form.MatchString(p) || seen[p] {
			t.Errorf("got %q", p)
		}
		seen[p] = true
	}
}

func BenchmarkHash(b *testing.B) {
	h := decoy(recipe())
	for b.Loop() {
		h.matches("secret")
	}
}
