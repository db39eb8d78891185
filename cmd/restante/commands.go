package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
)

// command is one thing that restante can do.
type command struct {
	// name is one word or two, "queue list"; args are its arguments, as the
	// usage shows them; short is one line, long the rest of its help.
	name, args, short, long string
	// setup declares the flags and returns what to do with the arguments.
	setup func(c *call, fs *flag.FlagSet) action
	// raw commands parse their own command line.
	raw func(ctx context.Context, std streams, args []string) int
}

type action func(ctx context.Context, args []string) error

// commands are all there are, in the order in which help shows them.
func commands() []*command {
	return []*command{
		serveCommand(),
		checkCommand(),
		explainCommand(),
		userAddCommand(),
		userPasswdCommand(),
		userListCommand(),
		userRemoveCommand(),
		userHashCommand(),
		secretAddCommand(),
		secretListCommand(),
		secretRevokeCommand(),
		queueListCommand(),
		queueCountCommand(),
		queueAgesCommand(),
		queueShowCommand(),
		queueRetryCommand(),
		queueHoldCommand(),
		queueReleaseCommand(),
		queueRerouteCommand(),
		queueUnpinCommand(),
		queueRemoveCommand(),
		queueExportCommand(),
		queueImportCommand(),
		queueDrainCommand(),
		importCommand(),
		exportCommand(),
		lettersListCommand(),
		lettersShowCommand(),
		lettersResendCommand(),
		lettersRemoveCommand(),
		replayCommand(),
		spoolCheckCommand(),
		spoolBackupCommand(),
		spoolRestoreCommand(),
		dkimKeygenCommand(),
		dkimRecordCommand(),
		dkimCheckCommand(),
		traceCommand(),
		statusCommand(),
		{
			name: "sendmail", args: "[-t] [-i] [-f SENDER] [-F NAME] [RECIPIENT...]",
			short: "hand over the message on standard input, as /usr/sbin/sendmail does",
			long:  sendmailHelp, raw: sendmail,
		},
		versionCommand(),
		helpCommand(),
	}
}

// find returns the command that args begin with, its words, and what follows.
func find(all []*command, args []string) (cmd *command, path string, rest []string) {
	for n := min(2, len(args)); n > 0; n-- {
		name := strings.Join(args[:n], " ")
		for _, c := range all {
			if c.name == name {
				return c, name, args[n:]
			}
			if n == 1 && strings.HasPrefix(c.name, name+" ") {
				path = name
			}
		}
	}
	if path != "" {
		return nil, path, args[1:]
	}
	return nil, "", args
}

func (cmd *command) line() string { return strings.TrimSpace("restante " + cmd.name + " " + cmd.args) }

// help prints all there is to know of one command.
func (cmd *command) help(w io.Writer) {
	fmt.Fprintf(w, "usage: %s\n\n%s.\n", cmd.line(), strings.ToUpper(cmd.short[:1])+cmd.short[1:])
	if cmd.long != "" {
		fmt.Fprintf(w, "\n%s\n", cmd.long)
	}
	if cmd.setup == nil {
		return
	}
	fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	c := new(call)
	cmd.setup(c, fs)
	c.flags(fs)
	fmt.Fprintln(w, "\nflags:")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fs.VisitAll(func(f *flag.Flag) {
		name, text := flag.UnquoteUsage(f)
		fmt.Fprintf(tw, "  --%s\t%s\n", strings.TrimSpace(f.Name+" "+name), text)
	})
	tw.Flush()
}

func helpCommand() *command {
	cmd := &command{name: "help", args: "[COMMAND]", short: "show the commands, or all about one of them"}
	cmd.setup = func(c *call, _ *flag.FlagSet) action {
		return func(_ context.Context, args []string) error {
			if len(args) == 0 {
				return c.overview()
			}
			name := strings.Join(args, " ")
			found, _, rest := find(commands(), args)
			if found == nil || len(rest) > 0 {
				return usagef("no command %q", name)
			}
			found.help(c.out)
			return nil
		}
	}
	return cmd
}

func (c *call) overview() error {
	fmt.Fprint(c.out, "restante keeps mail until it can go on, or is called for.\n\nusage: restante COMMAND [ARGUMENTS]\n\n")
	tw := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, cmd := range commands() {
		fmt.Fprintf(tw, "  %s\t%s\n", cmd.name, cmd.short)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(c.out, "\n"+commonHelp+"\n\nSee restante help COMMAND for the arguments of one of them.\n")
	return err
}

const commonHelp = `All commands take --config FILE and --state DIR. Without --config the file is
$XDG_CONFIG_HOME/restante/config.toml (XDG_CONFIG_HOME is ~/.config if it is not
set) or /etc/restante/config.toml, the first that is there; without any of them
the defaults hold. Without --state the directory is the configured one, or
$STATE_DIRECTORY, or $XDG_STATE_HOME/restante, or ~/.local/state/restante; all
commands but serve find the daemon of /var/lib/restante too.`

func versionCommand() *command {
	cmd := &command{name: "version", short: "print the version"}
	cmd.setup = func(c *call, _ *flag.FlagSet) action {
		return func(_ context.Context, args []string) error {
			if len(args) > 0 {
				return usagef("no arguments are expected")
			}
			_, err := fmt.Fprintf(c.out, "restante %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		}
	}
	return cmd
}
