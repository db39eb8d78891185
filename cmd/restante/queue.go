package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
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
	for _, p := range []struct {
		name  string
		value *string
		usage string
	}{
		{"destination", &f.Destination, "only tasks for this `DESTINATION`: route/domain, a route, or a domain"},
		{"route", &f.Route, "only tasks for this `ROUTE`"},
		{"domain", &f.Domain, "only tasks for this `DOMAIN`, by whatever route"},
		{"sender", &f.Sender, "only tasks from this `ADDRESS` or domain; <> for reports"},
		{"recipient", &f.Recipient, "only tasks to this `ADDRESS` or domain"},
		{"older", &f.Older, "only tasks of messages that came this `LONG` ago or earlier: 90s, 2h30m, 3d"},
		{"newer", &f.Newer, "only tasks of messages that came this `LONG` ago or later"},
		{"attempts", &f.Attempts, "only tasks that were tried so often: `N`, or a range as in 3.. or 0..2"},
		{"size", &f.Size, "only messages of so many octets: `N`, or a range as in 10M.. or ..64k"},
		{"priority", &f.Priority, "only tasks of this priority: `N`, or a range as in 1.. or -9..-1"},
		{"status", &f.Status, "only tasks whose last status has this `TEXT` in it, as in 451"},
		{"account", &f.Account, "only tasks of messages that this `ACCOUNT` sent"},
		{"client", &f.Client, "only tasks of messages from this `ADDRESS`, network, or EHLO name"},
		{"message-id", &f.MessageID, "only tasks of the message with this Message-`ID` field; slow, since headers are read"},
	} {
		fs.StringVar(p.value, p.name, "", p.usage)
	}
}

// checkFilter says what of a filter makes no sense.
func checkFilter(f control.Filter) error {
	if err := f.Check(); err != nil {
		return usageError(err.Error())
	}
	return nil
}

const filterUsage = "[FILTER...]"

const filterHelp = `Filters are the flags from --account to --status; a task must pass all that
are given.`

// listFlags are those of queue list.
type listFlags struct {
	control.Listing
	order string
	ids   bool
}

func (l *listFlags) flags(fs *flag.FlagSet) {
	filterFlags(fs, &l.Filter)
	fs.StringVar(&l.order, "sort", "", "the `ORDER`: age (the oldest first, as without it), size, due, destination, attempts")
	fs.IntVar(&l.Limit, "limit", 0, "no more than `N` tasks")
	fs.BoolVar(&l.ids, "ids", false, "print the IDs of the tasks only, one on a line")
}

func (l *listFlags) check(asJSON bool) error {
	l.Sort = control.Sort(l.order)
	switch {
	case l.order != "" && !slices.Contains(control.Sorts(), l.Sort):
		return usagef("--sort %s: age, size, due, destination and attempts are the orders", l.order)
	case l.Limit < 0:
		return usagef("--limit must be above 0")
	case l.ids && asJSON:
		return usagef("give either --ids or --json")
	}
	return checkFilter(l.Filter)
}

func queueListCommand() *command {
	cmd := &command{
		name: "queue list", args: filterUsage + " [--sort ORDER] [--limit N] [--json | --ids]",
		short: "show what is waiting to go on",
		long: `One line is one task: the recipients of one message that share a destination.
The last column is the last thing that the next hop, or restante, said of it.
` + filterHelp,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var l listFlags
		l.flags(fs)
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				return usagef("no arguments are expected")
			}
			if err := l.check(c.json); err != nil {
				return err
			}
			return c.withClient(func(client *control.Client) error {
				switch {
				case c.json:
					return c.queueJSON(ctx, client, l.Listing)
				case l.ids:
					return c.queueIDs(ctx, client, l.Listing)
				}
				return c.queueTable(ctx, client, l.Listing)
			})
		}
	}
	return cmd
}

// queueJSON prints the list as it comes. If it breaks off the array stays
// open, so that no program takes it for the whole.
func (c *call) queueJSON(ctx context.Context, client *control.Client, q control.Listing) error {
	l := control.NewList(c.out)
	for t, err := range client.List(ctx, q) {
		if err != nil {
			return err
		}
		if err := l.Add(t); err != nil {
			return err
		}
	}
	return l.End()
}

func (c *call) queueIDs(ctx context.Context, client *control.Client, q control.Listing) error {
	out := bufio.NewWriter(c.out)
	for t, err := range client.List(ctx, q) {
		if err != nil {
			return errors.Join(out.Flush(), err)
		}
		if _, err := fmt.Fprintln(out, t.ID); err != nil {
			return err
		}
	}
	return out.Flush()
}

func (c *call) queueTable(ctx context.Context, client *control.Client, q control.Listing) error {
	now := time.Now()
	var t *table
	for task, err := range client.List(ctx, q) {
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
		if !q.Filter.IsZero() {
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
	}
	return until(t.NextTry, now)
}

func until(t, now time.Time) string {
	if !t.After(now) {
		return "now"
	}
	return "in " + span(t.Sub(now))
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

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func statusCommand() *command {
	cmd := &command{name: "status", args: "[--json]", short: "show the daemon, its listeners and its queue in numbers"}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				return usagef("no arguments are expected")
			}
			return answer(c, func(client *control.Client) (control.DaemonStatus, error) { return client.Status(ctx) }, c.showStatus)
		}
	}
	return cmd
}
