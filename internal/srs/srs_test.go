package srs

import (
	"errors"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
)

// secrets are those of three forwarders.
func secret(s string) []byte { return []byte(s + "-0123456789abcdef") }

type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func rewriter(t testing.TB, domain string, c *clock) *Rewriter {
	t.Helper()
	r, err := New(Options{Secrets: [][]byte{secret(domain)}, Domain: domain, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newClock() *clock { return &clock{time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)} }

func addr(s string) mail.Address { return mail.MustParseAddress(s) }

func TestForwardAndBack(t *testing.T) {
	c := newClock()
	one := rewriter(t, "one.example", c)
	for _, s := range []string{
		"alice@a.example", "Alice.Liddell+x@a.example", "a=b=c@a.example", `"a b"@a.example`, "x@[192.0.2.1]",
		"jörg@bücher.example", "SRS2=x@a.example", "srs@a.example", "SRS0@a.example", "SRS1=x@a.example", "SRS1=x=y@a.example",
	} {
		from := addr(s)
		got, err := one.Forward(from)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if got.Domain != "one.example" || !strings.HasPrefix(got.Local, "SRS0=") || !one.Is(got) {
			t.Errorf("%s becomes %s", s, got)
		}
		if back, err := one.Reverse(got); err != nil || back != from {
			t.Errorf("%s becomes %s becomes %s, %v", s, got, back, err)
		}
		// On the way the case may change.
		lower := got
		lower.Local = strings.ToLower(got.Local)
		if back, err := one.Reverse(lower); err != nil || back.Domain != from.Domain || !strings.EqualFold(back.Local, from.Local) {
			t.Errorf("%s comes back as %s, %v", lower, back, err)
		}
	}
}

// The parts of an SRS0 address are a hash, the time and the sender, its domain
// first.
func TestFormOfSRS0(t *testing.T) {
	c := newClock()
	c.now = time.Unix(0, 0).Add(33 * day) // day 33 is "BB"
	got, err := rewriter(t, "one.example", c).Forward(addr("alice@a.example"))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(got.Local, "=")
	if len(parts) != 5 || parts[0] != "SRS0" || len(parts[1]) != hashLen || parts[2] != "BB" || parts[3] != "a.example" || parts[4] != "alice" {
		t.Errorf("got %s", got)
	}
}

// Three forwarders in a row: the second makes an SRS1 address that names the
// first, the third only changes the hash, and bounces take the short way back.
func TestChainOfForwarders(t *testing.T) {
	c := newClock()
	one, two, three := rewriter(t, "one.example", c), rewriter(t, "two.example", c), rewriter(t, "three.example", c)
	from := addr("alice@a.example")
	first, err1 := one.Forward(from)
	second, err2 := two.Forward(first)
	third, err3 := three.Forward(second)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	tail := "one.example=" + strings.TrimPrefix(first.Local, "SRS0")
	for _, a := range []mail.Address{second, third} {
		if !strings.HasPrefix(a.Local, "SRS1=") || !strings.HasSuffix(a.Local, "="+tail) {
			t.Errorf("%s does not end in %s", a, tail)
		}
	}
	if len(second.Local) != len(third.Local) || second.Local == third.Local {
		t.Errorf("%s becomes %s", second, third)
	}
	for _, hop := range []struct {
		r *Rewriter
		a mail.Address
	}{{three, third}, {two, second}} {
		if back, err := hop.r.Reverse(hop.a); err != nil || back != first {
			t.Errorf("%s leads to %s, %v; want %s", hop.a, back, err, first)
		}
	}
	if back, err := one.Reverse(first); err != nil || back != from {
		t.Errorf("%s leads to %s, %v", first, back, err)
	}
}

// Other forwarders may use "+" and "-" behind SRS0 and SRS1; what is theirs
// goes back to them untouched.
func TestOtherSeparators(t *testing.T) {
	one := rewriter(t, "one.example", newClock())
	for _, s := range []string{"SRS0+aaaa=zz=x.example=alice@two.example", "srs0-aaaa=zz=x.example=alice@two.example"} {
		got, err := one.Forward(addr(s))
		if err != nil || !strings.HasSuffix(got.Local, "=two.example="+s[4:strings.Index(s, "@")]) {
			t.Errorf("%s becomes %s, %v", s, got, err)
		}
		want := "SRS0" + s[4:]
		if back, err := one.Reverse(got); err != nil || back.String() != want {
			t.Errorf("%s leads to %s, %v; want %s", got, back, err, want)
		}
	}
}

func TestNothingToRewrite(t *testing.T) {
	one := rewriter(t, "one.example", newClock())
	for _, from := range []mail.Address{{}, addr("alice@one.example")} {
		if got, err := one.Forward(from); err != nil || got != from {
			t.Errorf("%s becomes %s, %v", from, got, err)
		}
	}
}

func TestTooLong(t *testing.T) {
	one := rewriter(t, "one.example", newClock())
	for _, from := range []mail.Address{
		{Local: strings.Repeat("x", 64), Domain: "a.example"},
		{Local: "x", Domain: strings.Repeat("a.", 100) + "example"},
	} {
		if got, err := one.Forward(from); !errors.Is(err, ErrTooLong) || got != from {
			t.Errorf("%s becomes %s, %v", from, got, err)
		}
	}
}

func TestAge(t *testing.T) {
	c := newClock()
	one := rewriter(t, "one.example", c)
	made := c.now
	for start := range 40 { // over the end of the count too
		c.now = made.Add(time.Duration(start) * 30 * day)
		begin := c.now
		a, err := one.Forward(addr("alice@a.example"))
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []struct {
			days int
			want error
		}{{-2, ErrExpired}, {-1, nil}, {0, nil}, {1, nil}, {21, nil}, {22, ErrExpired}, {300, ErrExpired}, {900, ErrExpired}} {
			c.now = begin.Add(time.Duration(x.days) * day)
			if _, err := one.Reverse(a); !errors.Is(err, x.want) {
				t.Errorf("after %d days: %v, want %v", x.days, err, x.want)
			}
		}
	}
}

func TestForged(t *testing.T) {
	c := newClock()
	one := rewriter(t, "one.example", c)
	good, err := one.Forward(addr("alice@a.example"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range good.Local {
		b := []byte(good.Local)
		for _, to := range []byte{'x', 'Q', '='} {
			if strings.EqualFold(good.Local[i:i+1], string(to)) {
				continue
			}
			b[i] = to
			if got, err := one.Reverse(mail.Address{Local: string(b), Domain: good.Domain}); err == nil {
				t.Errorf("%s leads to %s", b, got)
			}
		}
	}
	for _, s := range []string{
		"SRS0==@one.example", "SRS0=x@one.example", "SRS0=xxxxxx=AA=a.example=bob@one.example", "SRS1=x==y@one.example",
		"SRS1=xxxxxx=b.example==x=AA=a.example=bob@one.example", "alice@one.example", good.Local + "@two.example",
	} {
		a := addr(s)
		if got, err := one.Reverse(a); !errors.Is(err, ErrForged) {
			t.Errorf("%s leads to %s, %v", a, got, err)
		}
	}
}

// A secret that was replaced still verifies what it made.
func TestReplacedSecret(t *testing.T) {
	c := newClock()
	old, err := New(Options{Secrets: [][]byte{secret("old")}, Domain: "one.example", Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	a, err := old.Forward(addr("alice@a.example"))
	if err != nil {
		t.Fatal(err)
	}
	both, err := New(Options{Secrets: [][]byte{secret("new"), secret("old")}, Domain: "one.example", Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	if back, err := both.Reverse(a); err != nil || back.String() != "alice@a.example" {
		t.Errorf("%s, %v", back, err)
	}
	if b, err := both.Forward(addr("alice@a.example")); err != nil || b == a {
		t.Errorf("the old secret made %s, %v", b, err)
	}
}

func TestOptions(t *testing.T) {
	for name, opt := range map[string]Options{
		"no secret":    {Domain: "a.example"},
		"short secret": {Domain: "a.example", Secrets: [][]byte{[]byte("x")}},
		"no domain":    {Secrets: [][]byte{secret("a")}},
		"too long":     {Domain: "a.example", Secrets: [][]byte{secret("a")}, MaxAge: 1023 * day},
	} {
		if _, err := New(opt); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// Nothing that Reverse lets through may be another address than one that
// Forward was given, and neither may fail on anything.
func FuzzReverse(f *testing.F) {
	r := rewriter(f, "one.example", newClock())
	for _, s := range []string{"alice@a.example", "SRS0=x=y@b.example", "SRS1=x=b.example==y@c.example", `"a b"@a.example`, "SRS1=@x.example"} {
		f.Add(s)
		if a, err := r.Forward(addr(s)); err == nil {
			f.Add(a.String())
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return
		}
		if to, err := r.Reverse(a); err == nil {
			if _, err := mail.ParseAddress(to.String()); err != nil {
				t.Fatalf("%s leads to %q: %v", a, to, err)
			}
		}
		b, err := r.Forward(a)
		if err != nil || b == a {
			return
		}
		back, err := r.Reverse(b)
		if err != nil {
			t.Fatalf("%s becomes %s: %v", a, b, err)
		}
		if kind, _ := split(a.Local); kind < 0 && back != a {
			t.Fatalf("%s becomes %s becomes %s", a, b, back)
		}
	})
}
