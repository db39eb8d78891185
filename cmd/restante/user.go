package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"restante/internal/control"
	"restante/internal/directory"
	"restante/internal/quota"

	"golang.org/x/term"
)

// passwordFlags say where a password comes from.
type passwordFlags struct {
	stdin, generate bool
}

func (p *passwordFlags) flags(fs *flag.FlagSet) {
	fs.BoolVar(&p.stdin, "password-stdin", false, "read the password from the first line of standard input")
	fs.BoolVar(&p.generate, "generate", false, "make a random password and print it")
}

// read returns the password: one of the flags', or asked for twice.
func (p *passwordFlags) read(c *call) (string, error) {
	switch {
	case p.stdin && p.generate:
		return "", usagef("--password-stdin and --generate exclude each other")
	case p.generate:
		return directory.RandomPassword(), nil
	case p.stdin:
		line, err := bufio.NewReader(io.LimitReader(c.in, 64<<10)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", fmt.Errorf("read password: %w", err)
		}
		return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
	}
	tty, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(tty.Fd())) {
		return "", usagef("there is no terminal to ask for the password: use --password-stdin or --generate")
	}
	first, err := c.ask(tty, "Password: ")
	if err != nil {
		return "", err
	}
	second, err := c.ask(tty, "Password again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ")
	}
	return first, nil
}

// ask reads a line from the terminal without showing it.
func (c *call) ask(tty *os.File, prompt string) (string, error) {
	fmt.Fprint(c.err, prompt)
	b, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(c.err)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	return string(b), nil
}

// list collects a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, " ") }

func (l *list) Set(s string) error {
	*l = append(*l, s)
	return nil
}

func oneName(args []string) (string, error) {
	if len(args) != 1 {
		return "", usagef("one account name is expected")
	}
	return args[0], nil
}

func userAddCommand() *command {
	cmd := &command{
		name: "user add", args: "NAME [--password-stdin | --generate] [--address ADDRESS]... [--application ...]",
		short: "make an account or an application",
		long: `NAME is the account's address, alice@example.org. Its domain must be a local one.
With --application it is a name of its own, "invoices", that is no address.`,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var pw passwordFlags
		var addresses list
		pw.flags(fs)
		var app applicationFlags
		app.flags(fs)
		fs.Var(&addresses, "address", "a further `ADDRESS` of the account; *@domain allows to send as any of the domain")
		return func(ctx context.Context, args []string) error {
			name, err := oneName(args)
			if err != nil {
				return err
			}
			if err := app.check(addresses); err != nil {
				return err
			}
			password, err := pw.read(c)
			if err != nil {
				return err
			}
			what := "account"
			err = c.accounts(ctx, makeState, func(k keeper) error {
				if app.on {
					what = "application"
					return k.addApplication(ctx, name, password, app.senders, app.application())
				}
				return k.add(ctx, name, password, addresses)
			})
			if err != nil {
				return err
			}
			return c.done(pw, password, "%s %s added", what, name)
		}
	}
	return cmd
}

func userPasswdCommand() *command {
	cmd := &command{
		name: "user passwd", args: "NAME [--password-stdin | --generate]",
		short: "change an account's password",
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var pw passwordFlags
		pw.flags(fs)
		return func(ctx context.Context, args []string) error {
			name, err := oneName(args)
			if err != nil {
				return err
			}
			password, err := pw.read(c)
			if err != nil {
				return err
			}
			err = c.accounts(ctx, findState, func(k keeper) error { return k.setPassword(ctx, name, password) })
			if err != nil {
				return err
			}
			return c.done(pw, password, "password of %s changed", name)
		}
	}
	return cmd
}

// done says what was done, and the password if nobody knows it yet.
func (c *call) done(pw passwordFlags, password, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if pw.generate {
		text += ", password: " + password
	}
	_, err := fmt.Fprintln(c.out, text)
	return err
}

func userRemoveCommand() *command {
	cmd := &command{
		name: "user remove", args: "NAME [--purge]",
		short: "remove an account",
		long: `Its mail stays, and is there again if an account of that name is made again.
With --purge the mail goes too; that can be done later as well.`,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		purge := fs.Bool("purge", false, "remove the account's mail too")
		return func(ctx context.Context, args []string) error {
			name, err := oneName(args)
			if err != nil {
				return err
			}
			keep := control.KeepMail
			what := "; its mail is kept"
			if *purge {
				keep = control.PurgeMail
				what = ", with its mail"
			}
			if err := c.accounts(ctx, findState, func(k keeper) error { return k.remove(ctx, name, keep) }); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "account %s removed%s\n", name, what)
			return err
		}
	}
	return cmd
}

func userListCommand() *command {
	cmd := &command{name: "user list", args: "[--json]", short: "show the accounts"}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				return usagef("no arguments are expected")
			}
			var accounts []control.Account
			err := c.accounts(ctx, findState, func(k keeper) (err error) {
				accounts, err = k.list(ctx)
				return err
			})
			if err != nil {
				return err
			}
			if c.json {
				if accounts == nil {
					accounts = []control.Account{} // an empty list, not null
				}
				return c.printJSON(accounts)
			}
			t := newTable(c.out, "NAME", "ADDRESSES", "KEPT IN", "CREATED", "KEEPS", "LOGIN")
			for _, a := range accounts {
				where, created := "state directory", a.Created.Local().Format("2006-01-02")
				if a.Static {
					where, created = "configuration", ""
				}
				t.row(a.Name, strings.Join(a.Addresses, " "), where, created, usageText(a.Usage), loginText(a))
			}
			return t.end()
		}
	}
	return cmd
}

// usageText says what an account keeps, and what of it is limited: "" if nobody
// has counted.
func usageText(u *quota.Usage) string {
	if u == nil {
		return ""
	}
	text := fmt.Sprintf("%d messages", u.Messages)
	if u.Limit.Messages > 0 {
		text = fmt.Sprintf("%d of %d messages", u.Messages, u.Limit.Messages)
	}
	text += ", " + octets(u.Octets)
	if u.Limit.Octets > 0 {
		text += " of " + octets(u.Limit.Octets)
	}
	return text
}

// loginText says what there is to log in with, and what is an application.
func loginText(a control.Account) string {
	if a.Shared {
		return "nobody: shared mailbox"
	}
	text := "password"
	if a.SCRAM {
		text += ", SCRAM"
	}
	switch n := len(a.Secrets); n {
	case 0:
	case 1:
		text += ", 1 secret"
	default:
		text += fmt.Sprintf(", %d secrets", n)
	}
	if a.Application != nil {
		text = "application: " + text
	}
	return text
}
