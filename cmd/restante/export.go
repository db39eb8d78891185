package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"

	"restante/internal/migrate"
)

func exportCommand() *command {
	cmd := &command{
		name: "export", args: "maildir DIR | mbox DIR --account ACCOUNT [--dry-run]",
		short: "write an account's mail into a Maildir or mbox files",
		long: `Nothing is removed. A Maildir is Maildir++, as Dovecot and Courier have it; run again, it
gets what is missing. Of mbox files there is one for each mailbox; one that is there
already is left as it is. docs/import.md says more.`,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var account string
		var dry bool
		fs.StringVar(&account, "account", "", "`ACCOUNT` whose mail it is")
		fs.BoolVar(&dry, "dry-run", false, "say what would be written")
		return func(ctx context.Context, args []string) error {
			if account == "" {
				return usagef("--account is missing")
			}
			if len(args) != 2 || args[0] != "maildir" && args[0] != "mbox" {
				return usagef("maildir or mbox and a directory are expected")
			}
			sink := migrate.NewMaildir(args[1])
			if args[0] == "mbox" {
				sink = migrate.NewMbox(args[1])
			}
			client, err := c.client()
			if err != nil {
				return err
			}
			defer client.Close()
			ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if !dry {
				if err := os.MkdirAll(args[1], 0o700); err != nil {
					return err
				}
			}
			shown := newProgress(c.err, "export", 0)
			e := &migrate.Export{
				Store: client, Sink: sink, Account: account, DryRun: dry,
				Tell: c.teller(shown), Progress: shown.counts,
			}
			n, err := e.Run(ctx)
			shown.end()
			done := "written"
			if dry {
				done = "would be written"
			}
			return c.migrated(ctx, err, n, done)
		}
	}
	return cmd
}
