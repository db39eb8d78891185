package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"restante/internal/config"
)

func checkCommand() *command {
	cmd := &command{
		name: "check", args: "[FILE]",
		short: "say what is wrong with the configuration, line by line",
		long:  "It reads certificates and secrets too: run it as the user that the daemon runs as.",
	}
	cmd.setup = func(c *call, _ *flag.FlagSet) action {
		return func(_ context.Context, args []string) error {
			switch {
			case len(args) > 1 || len(args) == 1 && c.config != "":
				return usagef("one file is enough")
			case len(args) == 1:
				c.config = args[0]
			}
			path := c.configPath()
			if path == "" {
				_, err := fmt.Fprintln(c.out, "There is no configuration file; the defaults hold.")
				return err
			}
			return c.check(path)
		}
	}
	return cmd
}

// check prints every problem of a file.
func (c *call) check(path string) error {
	cfg, err := config.Load(path)
	if cfg != nil {
		err = cfg.Check()
	}
	var problems config.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			fmt.Fprintln(c.err, p)
		}
		return errTold
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s: no problems found\n", path)
	return err
}
