package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"restante/internal/control"
	"restante/internal/mail"
	"restante/spool"
)

// states is the value of --in: names with commas between them, or several flags.
type states []spool.State

func (s *states) String() string {
	var names []string
	for _, st := range *s {
		names = append(names, st.String())
	}
	return strings.Join(names, ",")
}

func (s *states) Set(text string) error {
	for name := range strings.SplitSeq(text, ",") {
		var st spool.State
		if err := st.UnmarshalText([]byte(strings.TrimSpace(name))); err != nil {
			return fmt.Errorf("%w: queued, leased, held and dead are", err)
		}
		*s = append(*s, st)
	}
	return nil
}

func filterFlags(fs *flag.FlagSet, f *control.Filter) {
	fs.Var((*states)(&f.States), "in", "only tasks in these `STATES`: queued, leased, held, dead")
	fs.StringVar(&f.Destination, "destination", "", "only tasks for this `DESTINATION`: route/domain, a route, or a domain")
	fs.StringVar(&f.Sender, "sender", "", "only tasks from this `ADDRESS` or domain; <> for reports")
	fs.StringVar(&f.Recipient, "recipient", "", "only tasks to this `ADDRESS` or domain")
}

func filtered(f control.Filter) bool {
	return len(f.States) > 0 || f.Destination+f.Sender+f.Recipient != ""
}

const filterUsage = "[--in STATES] [--destination D] [--sender A] [--recipient A]"

func queueListCommand() *command {
	cmd := &command{
		name: "queue list", args: filterUsage + " [--json]",
		short: "show what is waiting to go on",
		long: `One line is one task: the recipients of one message that share a destination.
The last column is the last thing that the next hop, or restante, said of it.`,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var f control.Filter
		filterFlags(fs, &f)
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				return usagef("no arguments are expected")
			}
			client, err := c.client()
			if err != nil {
				return err
			}
			defer client.Close()
			if c.json {
				return c.queueJSON(ctx, client, f)
			}
			return c.queueTable(ctx, client, f)
		}
	}
	return cmd
}

// queueJSON prints the list as it comes. If it breaks off the array stays
// open, so that no program takes it for the whole.
func (c *call) queueJSON(ctx context.Context, client *control.Client, f control.Filter) error {
	l := control.NewList(c.out)
	for t, err := range client.Queue(ctx, f) {
		if err != nil {
			return err
		}
		if err := l.Add(t); err != nil {
			return err
		}
	}
	return l.End()
}

func (c *call) queueTable(ctx context.Context, client *control.Client, f control.Filter) error {
	now := time.Now()
	var t *table
	for task, err := range client.Queue(ctx, f) {
		if err != nil {
			if t != nil {
				t.end()
			}
			return err
		}
		if t == nil {
			t = newTable(c.out, "ID", "STATE", "AGE", "SIZE", "SENDER", "RECIPIENTS", "NEXT TRY", "LAST STATUS")
		}
		t.row(task.ID.String(), task.State.String(), span(now.Sub(task.Queued)), octets(task.Size),
			sender(task.From), recipients(task.Recipients), nextTry(task, now), task.Last().String())
	}
	if t == nil {
		text := "The queue is empty."
		if filtered(f) {
			text = "No task in the queue is like that."
		}
		_, err := fmt.Fprintln(c.out, text)
		return err
	}
	return t.end()
}

func sender(a mail.Address) string {
	if a.IsNull() {
		return "<>"
	}
	return a.String()
}

// recipients shows the first and how many there are besides.
func recipients(list []control.Recipient) string {
	switch len(list) {
	case 0:
		return ""
	case 1:
		return list[0].To.String()
	}
	return fmt.Sprintf("%s +%d", list[0].To, len(list)-1)
}

func nextTry(t control.Task, now time.Time) string {
	switch {
	case t.State == spool.Leased:
		return "being tried"
	case t.NextTry.IsZero():
		return ""
	case !t.NextTry.After(now):
		return "now"
	}
	return "in " + span(t.NextTry.Sub(now))
}

// span is a length of time in its largest unit: 45s, 12m, 5h, 3d.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + "d"
}

// octets is a size in its largest unit.
func octets(n int64) string {
	const unit = 1024
	if n < unit {
		return strconv.FormatInt(n, 10) + "B"
	}
	f, i := float64(n)/unit, 0
	for ; f >= unit && i < 3; i++ {
		f /= unit
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + "KMGT"[i:i+1]
}

func verbCommand(v control.Verb, past, short, long string) *command {
	cmd := &command{
		name: "queue " + string(v), args: "ID... | --all " + filterUsage + " [--json]",
		short: short,
		long:  strings.TrimSpace(long + "\nAn ID is a message's, for all its tasks, or a task's, as queue list shows it."),
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var sel control.Selection
		fs.BoolVar(&sel.All, "all", false, "all tasks, or all those of the filters")
		filterFlags(fs, &sel.Filter)
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			switch {
			case sel.All == (len(args) > 0):
				return usagef("give either IDs or --all")
			case filtered(sel.Filter) && !sel.All:
				return usagef("the filters go with --all")
			}
			sel.IDs = args
			return c.do(ctx, v, past, sel)
		}
	}
	return cmd
}

// do has a verb done, and tells of every task that it could not be done to.
func (c *call) do(ctx context.Context, v control.Verb, past string, sel control.Selection) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	out, err := client.Do(ctx, v, sel)
	if err != nil {
		return err
	}
	if c.json {
		if err := c.printJSON(out); err != nil {
			return err
		}
	} else if out.Done > 0 || out.Failed == 0 {
		if _, err := fmt.Fprintf(c.out, "%s %s\n", plural(out.Done, "task"), past); err != nil {
			return err
		}
	}
	for _, f := range out.Failures {
		fmt.Fprintf(c.err, "restante: %s: %s\n", visible(f.ID), f.Message)
	}
	if more := out.Failed - len(out.Failures); more > 0 {
		fmt.Fprintf(c.err, "restante: and %d more\n", more)
	}
	if out.Failed > 0 {
		return errTold
	}
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func queueRetryCommand() *command {
	return verbCommand(control.VerbRetry, "to be tried now", "try tasks now, whatever they wait for",
		"Dead tasks are tried too.")
}

func queueHoldCommand() *command {
	return verbCommand(control.VerbHold, "held", "stop tasks until they are released", "")
}

func queueReleaseCommand() *command {
	return verbCommand(control.VerbRelease, "released", "let held tasks go on", "")
}

func queueRemoveCommand() *command {
	return verbCommand(control.VerbRemove, "removed", "remove tasks, without delivery and without a report to the sender",
		"The log records who removed what.")
}

func queueShowCommand() *command {
	cmd := &command{name: "queue show", args: "ID [--json]", short: "show all that is known of a message"}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			if len(args) != 1 {
				return usagef("one ID is expected")
			}
			// A task's ID shows its message.
			text, _, _ := strings.Cut(strings.ToUpper(args[0]), ".")
			id, err := mail.ParseID(text)
			if err != nil {
				return err
			}
			client, err := c.client()
			if err != nil {
				return err
			}
			defer client.Close()
			m, err := client.Message(ctx, id)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(m)
			}
			return errors.Join(c.showEnvelope(m), c.showTasks(m), c.showHeader(m))
		}
	}
	return cmd
}

func statusCommand() *command {
	cmd := &command{name: "status", args: "[--json]", short: "show the daemon, its listeners and its queue in numbers"}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				return usagef("no arguments are expected")
			}
			client, err := c.client()
			if err != nil {
				return err
			}
			defer client.Close()
			s, err := client.Status(ctx)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(s)
			}
			return c.showStatus(s)
		}
	}
	return cmd
}
