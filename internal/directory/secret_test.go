package directory

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
)

func TestSecrets(t *testing.T) {
	opt := applicationOptions(t)
	d := open(t, opt)
	if err := d.Add("stored@example.org", "main"); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"stored@example.org", "carl", "alice@example.org", "printer"} {
		phone, err := d.AddSecret(user, "Phone", true)
		if err != nil {
			t.Fatal(err)
		}
		script, err := d.AddSecret(user, "script", false)
		if err != nil || script == phone {
			t.Fatal(err)
		}
		if _, err := d.AddSecret(user, "phone", false); !errors.Is(err, ErrExists) {
			t.Errorf("two of one name: %v", err)
		}
		full, _ := d.Lookup(user)
		collects := full
		if user == "printer" {
			collects = ""
		}
		for _, d := range []*Directory{d, open(t, opt)} {
			for range 2 {
				for _, test := range []struct {
					service        Service
					password, want string
				}{
					{Sending, phone, full}, {Collecting, phone, collects}, {Sending, script, full}, {Collecting, script, ""},
				} {
					got, err := plain(d.For(test.service), user, test.password)
					if got != test.want || (got == "") != errors.Is(err, mail.ErrBadCredentials) {
						t.Errorf("%s for %d: %q %v, want %q", user, test.service, got, err, test.want)
					}
					if got, err := scram(t, d.For(test.service), user, test.password); got != test.want || (got == "") != (err != nil) {
						t.Errorf("SCRAM of %s for %d: %q %v, want %q", user, test.service, got, err, test.want)
					}
				}
			}
		}
		if err := d.RevokeSecret(user, "PHONE"); err != nil {
			t.Error(err)
		}
		if _, err := login(d, user, phone); !errors.Is(err, mail.ErrBadCredentials) {
			t.Errorf("revoked: %v", err)
		}
		if _, err := scram(t, d.For(Sending), user, phone); err == nil {
			t.Error("revoked, by SCRAM")
		}
		if _, err := login(d, user, script); err != nil {
			t.Errorf("the other one: %v", err)
		}
		if err := d.RevokeSecret(user, "phone"); !errors.Is(err, ErrNoSecret) {
			t.Errorf("revoked twice: %v", err)
		}
	}
	// A new password does not touch the secrets, nor what SCRAM makes of them.
	script, err := d.AddSecret("stored", "other", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.SetPassword("stored", "changed"); err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"changed", script} {
		if _, err := scram(t, d.For(Sending), "stored", password); err != nil {
			t.Errorf("after a new password: %v", err)
		}
	}
	if _, err := scram(t, d.For(Sending), "stored", "main"); err == nil {
		t.Error("the old password works by SCRAM")
	}
	// They go with the account.
	if err := d.Remove("stored"); err != nil {
		t.Fatal(err)
	}
	if err := d.Add("stored@example.org", "anew"); err != nil {
		t.Fatal(err)
	}
	if _, err := login(d, "stored", script); err == nil {
		t.Error("a new account has the secrets of the old one")
	}
	if _, err := d.AddSecret("nobody", "x", false); !errors.Is(err, mail.ErrNoSuchUser) {
		t.Error(err)
	}
	if _, err := d.AddSecret("carl", "x y", false); !errors.Is(err, ErrSecretName) {
		t.Error(err)
	}
	b, err := os.ReadFile(opt.Path)
	if err != nil || strings.Contains(string(b), script) {
		t.Errorf("the secret is in the file: %v", err)
	}
}

func TestSecretsAreBounded(t *testing.T) {
	opt := options(t)
	d := open(t, opt)
	for i := range maxSecrets {
		if _, err := d.AddSecret("alice", fmt.Sprint(i), false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.AddSecret("alice", "more", false); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
}

func TestLastUse(t *testing.T) {
	opt := options(t)
	d := open(t, opt)
	secret, err := d.AddSecret("alice", "phone", false)
	if err != nil {
		t.Fatal(err)
	}
	use := func(d *Directory) time.Time { return d.List()[0].Secrets[0].Used }
	if !use(d).IsZero() || d.List()[0].Secrets[0].Created.IsZero() {
		t.Error("used before it was")
	}
	if _, err := login(d, "alice", secret); err != nil {
		t.Fatal(err)
	}
	if time.Since(use(d)) > time.Minute {
		t.Errorf("used %v", use(d))
	}
	if got := use(open(t, opt)); !got.Equal(use(d)) {
		t.Errorf("after a restart: %v", got)
	}
	if err := d.RevokeSecret("alice", "phone"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.AddSecret("alice", "phone", false); err != nil || !use(d).IsZero() {
		t.Errorf("the use of the one before is remembered: %v", err)
	}
}
