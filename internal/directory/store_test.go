package directory

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"restante/internal/mail"
)

func login(d *Directory, user, password string) (string, error) {
	return d.Authenticate(context.Background(), user, password, netip.MustParseAddr("192.0.2.1"))
}

func TestStoredAccounts(t *testing.T) {
	opt := options(t)
	d := open(t, opt)
	check := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
	}
	check("add", d.Add("New@Example.org", "secret", "extra@second.org"), nil)
	check("add again", d.Add("new@example.org", "secret"), ErrExists)
	check("add a static one", d.Add("alice@example.org", "secret"), ErrExists)
	check("add another's address", d.Add("a.liddell@example.org", "secret"), ErrExists)
	check("add with another's address", d.Add("x@example.org", "secret", "extra@second.org"), ErrExists)
	check("add elsewhere", d.Add("x@else.where", "secret"), ErrUnknownDomain)
	check("add without a domain", d.Add("x", "secret"), mail.ErrAddress)
	check("add without a password", d.Add("x@example.org", ""), ErrPassword)
	check("add with a long password", d.Add("x@example.org", strings.Repeat("x", 2000)), ErrPassword)
	check("add with a control character", d.Add("x@example.org", "a\x00b"), ErrPassword)
	check("passwd of nobody", d.SetPassword("x@example.org", "secret"), mail.ErrNoSuchUser)
	check("passwd of a static one", d.SetPassword("alice@example.org", "secret"), ErrStatic)
	check("empty passwd", d.SetPassword("new@example.org", ""), ErrPassword)
	check("remove nobody", d.Remove("x@example.org"), mail.ErrNoSuchUser)
	check("remove a static one", d.Remove("alice"), ErrStatic)

	if got, err := d.Resolve(mail.MustParseAddress("extra@second.org"), nil); err != nil || got.Accounts[0] != "new@example.org" {
		t.Errorf("got %v %v", got, err)
	}
	info, err := os.Stat(opt.Path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v %v", info, err)
	}
	if b, _ := os.ReadFile(opt.Path); strings.Contains(string(b), "secret") {
		t.Error("the password is in the file")
	}

	// Another process sees it, and this one what the other changes.
	other := open(t, opt)
	if _, err := login(other, "new@example.org", "secret"); err != nil {
		t.Error(err)
	}
	check("remove in the other", other.Remove("NEW@example.org"), nil)
	check("change what was removed meanwhile", d.SetPassword("new@example.org", "x"), mail.ErrNoSuchUser)
	check("reload", d.Reload(opt), nil)
	if _, err := d.Lookup("new@example.org"); !errors.Is(err, mail.ErrNoSuchUser) {
		t.Errorf("removed by the other: %v", err)
	}
	names, _ := filepath.Glob(filepath.Join(filepath.Dir(opt.Path), "*"))
	if len(names) != 3 { // the file, its lock, the key of salts
		t.Errorf("left behind: %q", names)
	}
}

// TestChangesFromSeveralProcesses loses no account to a race: each Directory
// has its own descriptor of the lock, as a process would.
func TestChangesFromSeveralProcesses(t *testing.T) {
	opt := options(t)
	const writers, each = 4, 3
	var wg sync.WaitGroup
	for w := range writers {
		d := open(t, opt)
		wg.Go(func() {
			for i := range each {
				if err := d.Add(fmt.Sprintf("w%d-%d@example.org", w, i), "secret"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(open(t, opt).List()) - len(opt.Static); n != writers*each {
		t.Errorf("%d accounts of %d are left", n, writers*each)
	}
}

func TestFaultyFile(t *testing.T) {
	for name, text := range map[string]string{
		"damaged":       `{"version":1,"accounts":[`,
		"empty":         "",
		"other version": `{"version":3,"accounts":[]}`,
		"no version":    `{"accounts":[]}`,
		"bad secret":    `{"version":2,"accounts":[],"secrets":[{"of":"alice@example.org","name":"x","scram":"x"}]}`,
		"bad verifier":  `{"version":2,"accounts":[{"name":"x@example.org","password":"` + cheapHash(t) + `","scram":"x"}]}`,
		"bad hash":      `{"version":1,"accounts":[{"name":"x@example.org","password":"x"}]}`,
		"bad name":      `{"version":1,"accounts":[{"name":"x","password":"` + cheapHash(t) + `"}]}`,
	} {
		opt := options(t)
		d := open(t, opt)
		if err := os.WriteFile(opt.Path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(opt); err == nil || !strings.Contains(err.Error(), opt.Path) {
			t.Errorf("%s: Open: %v", name, err)
		}
		if err := d.Add("y@example.org", "secret"); err == nil {
			t.Errorf("%s: Add wrote over it", name)
		}
		if b, _ := os.ReadFile(opt.Path); string(b) != text {
			t.Errorf("%s: the file was changed to %q", name, b)
		}
	}
}

// TestFailedWrite changes nothing that anybody sees.
func TestFailedWrite(t *testing.T) {
	opt := options(t)
	d := open(t, opt)
	// A folder with something in it stands where the new file would be.
	if err := os.MkdirAll(filepath.Join(opt.Path+".new", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Add("x@example.org", "secret"); err == nil {
		t.Fatal("no error")
	}
	if _, err := d.Lookup("x@example.org"); err == nil {
		t.Error("the account is there")
	}
	opt.Path = ""
	if err := open(t, opt).Add("x@example.org", "secret"); err == nil {
		t.Error("no error without a file")
	}
}
