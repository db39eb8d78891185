// Command restante is the whole of it: the daemon, and the commands to run it.
// This package only wires: what happens is in the rooms it puts together.
//
// Every command talks to the daemon through its control socket; those that
// manage accounts work on the state directory itself when no daemon runs.
// Answers go to standard output, and what is wrong, one line for each fault, to
// standard error. The exit code is 0 when all went well, 1 when something
// failed, 2 when the command line made no sense; spool check ends
// with 2 when it could not look, and sendmail has the codes of sysexits.h.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

func main() {
	std := streams{os.Stdin, os.Stdout, os.Stderr}
	if mode, ok := classicName(filepath.Base(os.Args[0])); ok {
		os.Exit(classic(context.Background(), std, mode, os.Args[1:]))
	}
	os.Exit(run(context.Background(), std, os.Args[1:]))
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a command line that makes no sense.
type usageError string

func (e usageError) Error() string { return string(e) }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// errTold is a failure whose reasons have been printed.
var errTold = errors.New("failed")

// run finds the command, does it, and returns the exit code.
func run(ctx context.Context, std streams, args []string) int {
	cmd, path, rest := find(commands(), args)
	if cmd == nil {
		if len(args) > 0 && path == "" && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
			args = []string{"help"}
			return run(ctx, std, args)
		}
		said := strings.TrimSpace("restante " + path)
		if len(rest) > 0 {
			fmt.Fprintf(std.err, "%s: unknown command %q; see restante help\n", said, rest[0])
		} else {
			fmt.Fprintf(std.err, "%s: a command is missing; see restante help\n", said)
		}
		return exitUsage
	}
	if cmd.raw != nil {
		return cmd.raw(ctx, std, rest)
	}
	return cmd.execute(ctx, std, rest)
}

// execute parses the flags of a command and runs it.
func (cmd *command) execute(ctx context.Context, std streams, args []string) int {
	c := &call{streams: std}
	fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	action := cmd.setup(c, fs)
	c.flags(fs)
	positional, err := parseFlags(fs, args)
	if errors.Is(err, flag.ErrHelp) {
		cmd.help(std.out)
		return exitOK
	}
	if err == nil {
		err = action(ctx, positional)
	} else {
		err = usageError(err.Error())
	}
	var usage usageError
	var code exitCode
	if errors.As(err, &code) && code.err == nil {
		return code.code
	}
	failed := exitFailed
	if code.code != 0 {
		failed = code.code
	}
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(std.err, "restante %s: %s\nusage: %s\n", cmd.name, usage, cmd.line())
		return exitUsage
	case errors.Is(err, errTold):
		return exitFailed
	}
	fmt.Fprintf(std.err, "restante: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nrestante: "))
	return failed
}

// parseFlags lets flags stand before and after the other arguments. After
// "--" there are no more flags.
func parseFlags(fs *flag.FlagSet, args []string) (positional []string, err error) {
	for len(args) > 0 {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		left := fs.Args()
		if used := len(args) - len(left); used > 0 && args[used-1] == "--" {
			return append(positional, left...), nil
		}
		if len(left) > 0 {
			positional = append(positional, left[0])
			left = left[1:]
		}
		args = left
	}
	return positional, nil
}

// version is what the build knows of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
