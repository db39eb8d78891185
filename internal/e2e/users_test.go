package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

const dave = "dave@example.org"

// users lists the accounts' names.
func (d *daemon) users() []string {
	d.t.Helper()
	out := d.must("", "user", "list", "--json")
	var accounts []struct{ Name string }
	if err := json.Unmarshal([]byte(out), &accounts); err != nil {
		d.t.Fatalf("user list --json: %v\n%s", err, out)
	}
	var names []string
	for _, a := range accounts {
		names = append(names, a.Name)
	}
	return names
}

// mayLogIn tells whether a password is right.
func (d *daemon) mayLogIn(user, password string) bool {
	d.t.Helper()
	c, err := d.login(user, password, nil)
	if err != nil {
		if !strings.Contains(err.Error(), "NO") && !strings.Contains(err.Error(), "AUTHENTICATIONFAILED") {
			d.t.Fatalf("login: %v", err)
		}
		return false
	}
	c.Close()
	return true
}

// TestUsersOnline manages accounts through the running daemon.
func TestUsersOnline(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	if d.mayLogIn(dave, password) {
		t.Fatal("an account that is not there can log in")
	}
	d.must(password+"\n", "user", "add", dave, "--password-stdin")
	if r := d.run(password+"\n", "user", "add", dave, "--password-stdin"); r.code == 0 {
		t.Error("an account was added twice")
	}
	if !d.mayLogIn(dave, password) {
		t.Error("the new account cannot log in")
	}
	d.send(letter("for dave"), alice, dave)
	d.inbox(dave, 1)

	d.must("another long password\n", "user", "passwd", dave, "--password-stdin")
	if d.mayLogIn(dave, password) || !d.mayLogIn(dave, "another long password") {
		t.Error("the password was not changed")
	}
	if got := d.users(); !slices.Contains(got, dave) || !slices.Contains(got, alice) {
		t.Errorf("the accounts are %s", got)
	}
	d.must("", "user", "remove", dave)
	if d.mayLogIn(dave, "another long password") {
		t.Error("a removed account can log in")
	}
	if r := d.run("", "user", "remove", alice); r.code == 0 {
		t.Error("an account of the configuration was removed")
	}
	if r := d.run(password+"\n", "user", "add", "eve@example.com", "--password-stdin"); r.code == 0 {
		t.Error("an account in a foreign domain was added")
	}
}

// TestUsersOffline does so without one.
func TestUsersOffline(t *testing.T) {
	t.Parallel()
	d := prepare(t)
	d.must(password+"\n", "user", "add", dave, "--password-stdin")
	if got := d.users(); !slices.Contains(got, dave) {
		t.Errorf("the accounts are %s", got)
	}
	d.start()
	d.send(letter("for dave"), alice, dave)
	d.inbox(dave, 1)
	d.stop()
	d.must("another long password\n", "user", "passwd", dave, "--password-stdin")
	d.start()
	if d.mayLogIn(dave, password) || !d.mayLogIn(dave, "another long password") {
		t.Error("the password was not changed")
	}
	d.stop()
	d.must("", "user", "remove", dave)
	d.start()
	if d.mayLogIn(dave, "another long password") {
		t.Error("a removed account can log in")
	}
}
