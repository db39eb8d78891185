package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"restante/internal/control"
	"restante/internal/header"
	"restante/internal/mail"
)

func queueShowCommand() *command {
	cmd := &command{
		name: "queue show", args: "ID [--header | --body | --raw] [--json]", short: "show all that is known of a message",
		long: `--header, --body and --raw print the message itself, or that part of it. On a
terminal what would steer it is shown as an escape; elsewhere every octet is as
it is stored.`,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var part struct{ header, body, raw bool }
		fs.BoolVar(&part.header, "header", false, "print the whole header of the message")
		fs.BoolVar(&part.body, "body", false, "print its body")
		fs.BoolVar(&part.raw, "raw", false, "print it all")
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			id, err := messageArg(args)
			if err != nil {
				return err
			}
			asked := 0
			for _, on := range []bool{part.header, part.body, part.raw, c.json} {
				if on {
					asked++
				}
			}
			if asked > 1 {
				return usagef("give one of --header, --body, --raw and --json")
			}
			client, err := c.client()
			if err != nil {
				return err
			}
			defer client.Close()
			if asked == 1 && !c.json {
				return c.showContent(ctx, client, id, part.header || part.raw, part.body || part.raw)
			}
			m, err := client.Message(ctx, id)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(m)
			}
			return errors.Join(c.showEnvelope(m), c.showTasks(m), c.showPast(ctx, client, id), c.showHeader(m))
		}
	}
	return cmd
}

// showPast prints what has happened to a message so far, as trace does.
func (c *call) showPast(ctx context.Context, client *control.Client, id mail.ID) error {
	for story, err := range client.Trace(ctx, control.Trace{About: id.String()}) {
		if gone(err) {
			return nil // it came when nothing was written down yet
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(c.out, "\ntimeline")
		c.showEvents(&story)
	}
	return nil
}

// messageArg reads the one argument: the ID of a message, or of one of its tasks.
func messageArg(args []string) (mail.ID, error) {
	if len(args) != 1 {
		return mail.ID{}, usagef("one ID is expected")
	}
	text, _, _ := strings.Cut(strings.ToUpper(args[0]), ".")
	return mail.ParseID(text)
}

// showContent prints the message as it is stored.
func (c *call) showContent(ctx context.Context, client *control.Client, id mail.ID, head, body bool) error {
	content, err := client.Content(ctx, id)
	if err != nil {
		return err
	}
	defer content.Close()
	block, rest, err := header.Read(content, maxShownHeader)
	if err != nil {
		return fmt.Errorf("message %s: %w", id, err)
	}
	switch {
	case head && body:
		rest = io.MultiReader(strings.NewReader(string(block.Raw())), rest)
	case head:
		rest = strings.NewReader(string(block.Raw()))
	}
	if isTerminal(c.out) {
		return copyVisible(c.out, rest)
	}
	_, err = io.Copy(c.out, rest)
	return err
}

// maxShownHeader is more than any stored header has, in octets.
const maxShownHeader = 1 << 20
