package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"restante/internal/config"
	"restante/internal/control"
	"restante/internal/directory"
	"restante/internal/mail"
	"restante/spool/badger"
)

// keeper manages accounts: the daemon does while it runs, otherwise we do.
type keeper interface {
	add(ctx context.Context, name, password string, addresses []string) error
	addApplication(ctx context.Context, name, password string, senders []string, app directory.Application) error
	addSecret(ctx context.Context, account, name string, imap bool) (secret string, err error)
	revokeSecret(ctx context.Context, account, name string) error
	setPassword(ctx context.Context, name, password string) error
	remove(ctx context.Context, name string, keep control.Keep) error
	list(ctx context.Context) ([]control.Account, error)
}

// startPatience is how long to wait for a state directory that is in use by
// another command, or by a daemon that does not answer yet.
const startPatience = 10 * time.Second

// accounts has the daemon do something with accounts or, if none runs, does it
// with the daemon kept from starting meanwhile. ready sees to the state
// directory in that case.
func (c *call) accounts(ctx context.Context, ready func(dir string) error, do func(keeper) error) error {
	p, err := c.place()
	if err != nil {
		return err
	}
	client := control.NewClient(p.socket)
	defer client.Close()
	for end := time.Now().Add(startPatience); ; time.Sleep(100 * time.Millisecond) {
		err := do(daemonKeeper{client})
		if !errors.Is(err, control.ErrNotRunning) {
			return err
		}
		if err := ready(p.state); err != nil {
			return err
		}
		unlock, err := lockState(p.state)
		if err == nil {
			defer unlock()
			return p.offline(do)
		}
		if !errors.Is(err, errLocked) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s is in use, but no daemon answers at %s: is its control socket elsewhere (--config)?", p.state, p.socket)
		}
	}
}

// offline does something with accounts in the state directory, which is locked.
func (p place) offline(do func(keeper) error) error {
	opt, err := directoryOptions(p.cfg, p.state, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	dir, err := directory.Open(opt)
	if err != nil {
		return err
	}
	return do(offlineKeeper{dir, p.state})
}

type daemonKeeper struct{ *control.Client }

func (k daemonKeeper) add(ctx context.Context, name, password string, addresses []string) error {
	return k.AddAccount(ctx, name, password, addresses...)
}

func (k daemonKeeper) addApplication(ctx context.Context, name, password string, senders []string, app directory.Application) error {
	return k.AddApplication(ctx, name, password, senders, app)
}

func (k daemonKeeper) addSecret(ctx context.Context, account, name string, imap bool) (string, error) {
	return k.AddSecret(ctx, account, name, imap)
}

func (k daemonKeeper) revokeSecret(ctx context.Context, account, name string) error {
	return k.RevokeSecret(ctx, account, name)
}

func (k daemonKeeper) setPassword(ctx context.Context, name, password string) error {
	return k.SetPassword(ctx, name, password)
}

func (k daemonKeeper) remove(ctx context.Context, name string, keep control.Keep) error {
	return k.RemoveAccount(ctx, name, keep)
}

func (k daemonKeeper) list(ctx context.Context) ([]control.Account, error) { return k.Accounts(ctx) }

type offlineKeeper struct {
	*directory.Directory
	state string
}

func (k offlineKeeper) add(_ context.Context, name, password string, addresses []string) error {
	return k.Add(name, password, addresses...)
}

func (k offlineKeeper) addApplication(_ context.Context, name, password string, senders []string, app directory.Application) error {
	return k.AddApplication(name, password, senders, app)
}

func (k offlineKeeper) addSecret(_ context.Context, account, name string, imap bool) (string, error) {
	return k.AddSecret(account, name, imap)
}

func (k offlineKeeper) revokeSecret(_ context.Context, account, name string) error {
	return k.RevokeSecret(account, name)
}

func (k offlineKeeper) setPassword(_ context.Context, name, password string) error {
	return k.SetPassword(name, password)
}

func (k offlineKeeper) list(context.Context) ([]control.Account, error) { return k.List(), nil }

// remove looks for the mail first: an account must not be gone when its mail
// then cannot be.
func (k offlineKeeper) remove(_ context.Context, name string, keep control.Keep) error {
	full, err := k.Lookup(name)
	if keep == control.KeepMail {
		if err != nil {
			return err
		}
		return k.Remove(full)
	}
	there := err == nil
	if !there {
		// An account that is gone may have left mail, under its full name.
		full = name
		if !directory.IsShared(name) {
			a, err := mail.ParseAddress(name)
			if err != nil {
				return err
			}
			full = a.Key().String()
		}
	}
	return k.purge(full, there)
}

func (k offlineKeeper) purge(name string, there bool) (err error) {
	if err := ownState(k.state); err != nil {
		return err
	}
	engine, err := badger.Open(badger.Options{Dir: spoolDir(k.state)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	boxes, err := engine.ListMailboxes(name)
	if err != nil {
		return err
	}
	if !there && len(boxes) == 0 {
		return fmt.Errorf("%s: %w, and no mail of it", name, mail.ErrNoSuchUser)
	}
	if there {
		if err := k.Remove(name); err != nil {
			return err
		}
	}
	return engine.DeleteAccount(name)
}

// spoolDir is where in the state directory the spool is.
func spoolDir(state string) string { return filepath.Join(state, "spool") }

// makeState makes the state directory, for its owner's eyes only.
func makeState(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("state directory %s: %w", dir, cause(err))
	}
	return nil
}

// findState fails if the state directory is not there: most commands have no
// business in a new one.
func findState(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("no daemon is running, and state directory %s: %w", dir, cause(err))
	}
	return nil
}

// cause is an error of the file system without the path it names, for a
// message that names one already.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// directoryOptions is what the configuration says of what is local.
func directoryOptions(cfg *config.Config, state string, logger *slog.Logger) (directory.Options, error) {
	opt := directory.Options{
		Path:     filepath.Join(state, "accounts.json"),
		CatchAll: make(map[string][]string),
		Aliases:  make(map[string][]string),
		Logger:   logger,
	}
	for _, d := range cfg.Domains {
		opt.Domains = append(opt.Domains, d.Name)
		opt.CatchAll[d.Name] = d.CatchAll
	}
	for from, to := range cfg.Aliases {
		opt.Aliases[from] = to
	}
	for _, g := range cfg.Groups {
		opt.Groups = append(opt.Groups, directory.Group{Name: g.Name, Members: g.Members, Owner: g.Owner, Closed: g.Closed})
	}
	opt.Shared = sharedAddresses(cfg)
	for _, a := range cfg.Accounts {
		hash, password, err := a.Secret()
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w (only the daemon may read it?)", err)
		}
		if err != nil {
			return opt, fmt.Errorf("account %s: %w", a.Name, err)
		}
		opt.Static = append(opt.Static, directory.Static{Name: a.Name, Hash: hash, Password: password, SCRAM: a.ScramHash, Addresses: a.Addresses})
	}
	return opt, loginOptions(cfg, &opt)
}
