package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"restante/internal/config"
	"restante/internal/resend"
)

// fewMessages is how many a replay sends without being told --yes.
const fewMessages = 10

// moment is the value of --since and --until: a time, a day, or how long ago.
type moment time.Time

func (m *moment) String() string {
	if t := time.Time(*m); !t.IsZero() {
		return t.Format(time.RFC3339)
	}
	return ""
}

func (m *moment) Set(text string) error {
	var ago config.Duration
	if err := ago.UnmarshalText([]byte(text)); err == nil {
		*m = moment(time.Now().Add(-ago.Std()))
		return nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			*m = moment(t)
			return nil
		}
	}
	return fmt.Errorf(`%q is no time: "2026-11-30 09:00", "2026-11-30", or how long ago, "2h"`, text)
}

func replayCommand() *command {
	cmd := &command{
		name: "replay", args: "--mailbox ACCOUNT/MAILBOX [--since T] [--until T] [--sender A] [--recipient A] [--route R] [--to ADDRESS] [--name N] [--dry-run] [--yes] [--json]",
		short: "send archived mail again",
		long: `Mail that an [[archive]] rule kept in a mailbox, or in one for each month below
it, goes again as it was: from its own sender to its own recipients, hidden ones
too, or to those of --to. What a replay of the same name has sent is not sent
again, so that one that was broken off is started again as it was; for sending a
second time there is another --name. More than 10 messages need --yes.`,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var r resend.Replay
		var mailbox string
		var yes bool
		fs.StringVar(&mailbox, "mailbox", "", "the archive: `ACCOUNT/MAILBOX`, archive@example.org/Journal")
		fs.Var((*moment)(&r.Since), "since", "only what came at this `TIME` or later: \"2026-11-30 09:00\", \"2026-11-30\", or how long ago, \"2h\"")
		fs.Var((*moment)(&r.Until), "until", "only what came before this `TIME`")
		fs.StringVar((*string)(&r.Sender), "sender", "", "only from this `ADDRESS` or domain")
		fs.StringVar((*string)(&r.Recipient), "recipient", "", "only to this `ADDRESS` or domain")
		fs.StringVar(&r.Route, "route", "", "only to those whose mail took this `ROUTE`; local is delivery here")
		fs.Var((*addressList)(&r.To), "to", "send to this `ADDRESS` instead; may be repeated")
		fs.StringVar(&r.Name, "name", "", "the `NAME` under which nothing is sent twice")
		fs.BoolVar(&r.DryRun, "dry-run", false, "only show what would be sent")
		fs.BoolVar(&yes, "yes", false, "send, however many there are")
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				return usagef("no arguments are expected")
			}
			owner, box, ok := config.Archive{Mailbox: mailbox}.Target()
			if !ok {
				return usagef("--mailbox must be an account and a mailbox: archive@example.org/Journal")
			}
			r.Owner, r.Mailbox = owner, box
			r.Sender, r.Recipient = onePattern(string(r.Sender)), onePattern(string(r.Recipient))
			return c.replay(ctx, r, yes)
		}
	}
	return cmd
}

func (c *call) replay(ctx context.Context, r resend.Replay, yes bool) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	if !r.DryRun && !yes {
		dry := r
		dry.DryRun = true
		counts, err := client.Replay(ctx, dry, nil, nil)
		if err != nil {
			return err
		}
		if counts.Sent > fewMessages {
			return fmt.Errorf("%s would be sent; look at them with --dry-run, and give --yes to send them", plural(counts.Sent, "message"))
		}
	}
	progress := func(n resend.Counts) {
		fmt.Fprintf(c.err, "restante: %d looked at, %d sent, %d sent before, %d failed\n", n.Looked, n.Sent, n.Before, n.Failed)
	}
	counts, err := client.Replay(ctx, r, c.replayItem, progress)
	if err != nil {
		return err
	}
	return c.replayed(r, counts)
}

// replayItem tells of one message.
func (c *call) replayItem(i resend.Item) {
	if c.json {
		_ = c.printJSON(i)
		return
	}
	var to []string
	for _, a := range i.To {
		to = append(to, a.String())
	}
	line := fmt.Sprintf("%s  %s -> %s", clock(i.Arrived), sender(i.From), strings.Join(to, ", "))
	switch {
	case i.Error != "":
		fmt.Fprintf(c.err, "restante: %s/%d: %s: %s\n", visible(i.Mailbox), i.UID, visible(line), visible(i.Error))
		return
	case !i.ID.IsZero():
		line += "  as " + i.ID.String()
	}
	fmt.Fprintln(c.out, visible(line))
	for _, a := range i.Unknown {
		fmt.Fprintf(c.err, "restante: %s/%d: %s is not here any more\n", visible(i.Mailbox), i.UID, visible(a.String()))
	}
}

func (c *call) replayed(r resend.Replay, n resend.Counts) error {
	if !c.json {
		did := "sent again"
		if r.DryRun {
			did = "would be sent again"
		}
		if _, err := fmt.Fprintf(c.out, "%s %s; %d sent before, %d failed, of %d looked at\n", plural(n.Sent, "message"), did, n.Before, n.Failed, n.Looked); err != nil {
			return err
		}
	}
	if n.Failed > 0 {
		return errTold
	}
	return nil
}
