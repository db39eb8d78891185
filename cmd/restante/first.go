package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"restante/internal/config"
	"restante/internal/directory"
	"restante/internal/mail"
)

// firstAccount is the account made at the very first start.
type firstAccount struct{ name, password string }

// firstAccount makes an account when there has never been one: without a
// configuration, and not as a service, whose output everybody may read.
func (d *daemon) firstAccount(file string) (*firstAccount, error) {
	_, err := os.Stat(file)
	if !errors.Is(err, fs.ErrNotExist) || d.call.configPath() != "" || os.Getenv("NOTIFY_SOCKET") != "" {
		return nil, nil
	}
	a := &firstAccount{name: "me@" + d.cfg.Domains[0].Name, password: directory.RandomPassword()}
	if who, err := user.Current(); err == nil {
		if own, err := mail.ParseAddress(strings.ToLower(who.Username) + "@" + d.cfg.Domains[0].Name); err == nil {
			a.name = own.String()
		}
	}
	if err := d.accounts.Add(a.name, a.password); err != nil {
		return nil, err
	}
	return a, nil
}

// announce says where the daemon is and, at the first start, how to try it.
func (d *daemon) announce() {
	out := d.call.out
	fmt.Fprintf(out, "restante %s is running, with its state in %s\n", version(), d.state)
	for _, e := range d.entrances {
		fmt.Fprintf(out, "  %-12s %s\n", e.role, e.l.Addr())
	}
	if d.certs.SelfSigned() {
		fmt.Fprintf(out, "  %-12s self-signed for %s, SHA-256 %X\n", "certificate", d.cfg.ServerName(), sha256.Sum256(d.certs.Leaf().Raw))
	}
	if d.first == nil {
		if !slices.ContainsFunc(d.accounts.List(), func(a directory.Info) bool { return !a.Shared }) {
			fmt.Fprintf(out, "There are no accounts yet: %s user add NAME@%s\n", self(), d.cfg.Domains[0].Name)
		}
		return
	}
	fmt.Fprintf(out, "\nThis is the first start: made the account %s with the password %s\n", d.first.name, d.first.password)
	d.tryIt()
}

// tryIt prints three lines that work on this machine as they stand.
func (d *daemon) tryIt() {
	out := d.call.out
	fmt.Fprintln(out, "\nTry it:")
	if addr := d.address(config.RoleSMTP); addr != "" {
		fmt.Fprintf(out, "  printf 'Subject: hello\\r\\n\\r\\nIt works.\\r\\n' | curl -sS smtp://%s --mail-from %s --mail-rcpt %s -T -\n", addr, d.first.name, d.first.name)
	}
	if addr := d.address(config.RoleIMAPS); addr != "" {
		fmt.Fprintf(out, "  curl -sSk -u '%s:%s' 'imaps://%s/INBOX;MAILINDEX=1'\n", d.first.name, d.first.password, addr)
	}
	fmt.Fprintf(out, "  %s queue list --state %s\n", self(), shellQuote(d.state))
}

// address is where a client on this machine reaches a role; "" if nowhere.
func (d *daemon) address(role config.Role) string {
	for _, e := range d.entrances {
		if e.role != role {
			continue
		}
		addr, ok := e.l.Addr().(*net.TCPAddr)
		if !ok {
			continue
		}
		if addr.IP.IsUnspecified() {
			return net.JoinHostPort("localhost", fmt.Sprint(addr.Port))
		}
		return addr.String()
	}
	return ""
}

// self is how this program is called from the shell it was started in.
func self() string {
	path, err := os.Executable()
	if err != nil {
		return "restante"
	}
	if found, err := exec.LookPath("restante"); err == nil {
		if a, err := filepath.EvalSymlinks(found); err == nil {
			if b, err := filepath.EvalSymlinks(path); err == nil && a == b {
				return "restante"
			}
		}
	}
	if strings.Contains(path, "go-build") {
		return "go run ./cmd/restante"
	}
	return shellQuote(path)
}

// shellQuote quotes a word where a shell would take it for something else.
func shellQuote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@:,") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
