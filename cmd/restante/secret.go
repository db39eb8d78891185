package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"restante/internal/config"
	"restante/internal/control"
	"restante/internal/directory"
)

// applicationFlags are what user add takes for an application.
type applicationFlags struct {
	on       bool
	senders  list
	rate     config.Rate
	priority int
	collects string
}

func (a *applicationFlags) flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.on, "application", false, "make an application: a login that only sends, without a mailbox")
	fs.Var(&a.senders, "sender", "an `ADDRESS` that the application may send as; *@domain is any of the domain")
	fs.TextVar(&a.rate, "rate", config.Rate{}, "how many messages the application may send, `N/TIME` as in 100/1h")
	fs.IntVar(&a.priority, "priority", 0, "the priority of its messages, `N` from -9 to 9")
	fs.StringVar(&a.collects, "collects", "", "the `ACCOUNT` whose mail it may collect by IMAP")
}

// check tells whether the flags go together.
func (a *applicationFlags) check(addresses list) error {
	switch {
	case a.on && len(addresses) > 0:
		return usagef("an application has no addresses; --sender is what it may send as")
	case !a.on && (len(a.senders) > 0 || a.rate != (config.Rate{}) || a.priority != 0 || a.collects != ""):
		return usagef("--sender, --rate, --priority and --collects are for an --application")
	}
	return nil
}

func (a *applicationFlags) application() directory.Application {
	return directory.Application{
		Rate:     directory.Rate{Count: a.rate.Count, Per: a.rate.Per.Std()},
		Priority: a.priority, Collects: a.collects,
	}
}

func userHashCommand() *command {
	cmd := &command{
		name: "user hash", args: "[--password-stdin | --generate]",
		short: "print the hashes of a password, for the configuration file",
		long:  "They go into an [[account]] or an [[application]].",
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var pw passwordFlags
		pw.flags(fs)
		return func(_ context.Context, args []string) error {
			if len(args) > 0 {
				return usagef("no arguments are expected")
			}
			password, err := pw.read(c)
			if err != nil {
				return err
			}
			hash, err := directory.HashPassword(password)
			if err != nil {
				return err
			}
			scram, err := directory.HashSCRAM(password)
			if err != nil {
				return err
			}
			if pw.generate {
				fmt.Fprintf(c.out, "# the password is %s\n", password)
			}
			_, err = fmt.Fprintf(c.out, "password_hash = %q\nscram_hash = %q\n", hash, scram)
			return err
		}
	}
	return cmd
}

func secretAddCommand() *command {
	cmd := &command{
		name: "secret add", args: "ACCOUNT NAME [--imap]",
		short: "make a further password of an account or application, and print it",
		long: `Each client or device can have one of its own, under a NAME, and be locked out
without the others. It is for sending; with --imap for collecting mail too. The
account's own password stays good.`,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		imap := fs.Bool("imap", false, "allow it for IMAP too")
		return func(ctx context.Context, args []string) error {
			if len(args) != 2 {
				return usagef("an account and a name for the secret are expected")
			}
			var secret string
			err := c.accounts(ctx, findState, func(k keeper) (err error) {
				secret, err = k.addSecret(ctx, args[0], args[1], *imap)
				return err
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "secret %s of %s: %s\n", args[1], args[0], secret)
			return err
		}
	}
	return cmd
}

func secretListCommand() *command {
	cmd := &command{name: "secret list", args: "[ACCOUNT] [--json]", short: "show the secrets of an account, or of all, and when they were used"}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			if len(args) > 1 {
				return usagef("at most one account is expected")
			}
			var accounts []control.Account
			err := c.accounts(ctx, findState, func(k keeper) (err error) {
				accounts, err = k.list(ctx)
				return err
			})
			if err != nil {
				return err
			}
			return c.printSecrets(accounts, args)
		}
	}
	return cmd
}

// printSecrets prints the secrets of the accounts, or of the one that is named.
func (c *call) printSecrets(accounts []control.Account, only []string) error {
	type secret struct {
		Account string `json:"account"`
		directory.Secret
	}
	found, all := len(only) == 0, []secret{}
	for _, a := range accounts {
		if len(only) == 1 && a.Name != only[0] {
			continue
		}
		found = true
		for _, s := range a.Secrets {
			all = append(all, secret{a.Name, s})
		}
	}
	if !found {
		return fmt.Errorf("there is no account or application %s; give its full name", only[0])
	}
	if c.json {
		return c.printJSON(all)
	}
	t := newTable(c.out, "ACCOUNT", "NAME", "FOR", "CREATED", "USED")
	for _, s := range all {
		use, used := "SMTP", "never"
		if s.IMAP {
			use = "SMTP, IMAP"
		}
		if !s.Used.IsZero() {
			used = s.Used.Local().Format(time.DateTime)
		}
		t.row(s.Account, s.Name, use, s.Created.Local().Format(time.DateOnly), used)
	}
	return t.end()
}

func secretRevokeCommand() *command {
	cmd := &command{name: "secret revoke", args: "ACCOUNT NAME", short: "take a secret away; who is logged in with it stays"}
	cmd.setup = func(c *call, _ *flag.FlagSet) action {
		return func(ctx context.Context, args []string) error {
			if len(args) != 2 {
				return usagef("an account and the name of a secret are expected")
			}
			if err := c.accounts(ctx, findState, func(k keeper) error { return k.revokeSecret(ctx, args[0], args[1]) }); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.out, "secret %s of %s revoked\n", args[1], args[0])
			return err
		}
	}
	return cmd
}
