package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"time"

	"restante/internal/control"
)

// censusFlags are those of queue count and queue ages.
type censusFlags struct {
	filter control.Filter
	by     string
	top    int
}

func (f *censusFlags) check(args []string) error {
	switch {
	case len(args) > 0:
		return usagef("no arguments are expected")
	case f.top < 0:
		return usagef("--top must not be below 0")
	}
	return checkFilter(f.filter)
}

func queueCountCommand() *command {
	cmd := &command{
		name: "queue count", args: filterUsage + " [--by destination|route] [--top N] [--json]",
		short: "count what is waiting, by destination",
		long: `Destinations in back-off are shown even if nothing waits for them. Without a filter,
or by destination, route and state only, no task is read, however many there are.
` + filterHelp,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var f censusFlags
		filterFlags(fs, &f.filter)
		fs.StringVar(&f.by, "by", "destination", "count by `GROUP`: destination or route")
		fs.IntVar(&f.top, "top", 0, "only the `N` with the most tasks; 0 is all")
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			if err := f.check(args); err != nil {
				return err
			}
			by := control.By(f.by)
			return answer(c,
				func(client *control.Client) (control.Count, error) { return client.Count(ctx, f.filter, by, f.top) },
				func(n control.Count) error { return c.showCount(n, by) })
		}
	}
	return cmd
}

var countedStates = []string{"queued", "leased", "held", "dead"}

func (c *call) showCount(n control.Count, by control.By) error {
	now := time.Now()
	head := []string{"DESTINATION", "TASKS", "QUEUED", "LEASED", "HELD", "DEAD", "NEXT TRY", "LAST STATUS"}
	if by == control.ByRoute {
		head = []string{"ROUTE", "TASKS", "QUEUED", "LEASED", "HELD", "DEAD", "NEXT TRY", "IN BACK-OFF"}
	}
	t := newTable(c.out, head...).numbers(1, 2, 3, 4, 5)
	row := func(name string, tasks int, states map[string]int, next, last string) {
		cells := []string{name, strconv.Itoa(tasks)}
		for _, s := range countedStates {
			text := ""
			if states[s] > 0 {
				text = strconv.Itoa(states[s])
			}
			cells = append(cells, text)
		}
		t.row(append(cells, next, last)...)
	}
	for _, g := range n.Groups {
		next, last := "", ""
		if !g.NextTry.IsZero() {
			next = until(g.NextTry, now)
		}
		if g.Backoff != nil {
			last = g.Backoff.Last.String()
		}
		if g.In > 0 {
			last = plural(g.In, "destination")
		}
		row(g.Name, g.Tasks, g.States, next, last)
	}
	row("total", n.Tasks, n.States, "", "")
	if err := t.end(); err != nil || n.Others == 0 {
		return err
	}
	_, err := fmt.Fprintf(c.out, "and %d more, which are in the total\n", n.Others)
	return err
}

func queueAgesCommand() *command {
	cmd := &command{
		name: "queue ages", args: filterUsage + " [--by GROUP] [--top N] [--json]",
		short: "show how old is what is waiting, by destination",
		long: `A column counts the tasks that are younger than so many minutes, and not as young
as the column before; the last one those that are older.
` + filterHelp,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var f censusFlags
		filterFlags(fs, &f.filter)
		fs.StringVar(&f.by, "by", "destination", "a row for each `GROUP`: destination, route, or the domain of the sender or recipient")
		fs.IntVar(&f.top, "top", 20, "the `N` rows with the most tasks")
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			if err := f.check(args); err != nil {
				return err
			}
			return answer(c, func(client *control.Client) (control.Ages, error) {
				return client.Ages(ctx, f.filter, control.By(f.by), f.top)
			}, c.showAges)
		}
	}
	return cmd
}

func (c *call) showAges(a control.Ages) error {
	head := []string{"", "TOTAL"}
	numbers := []int{1}
	minutes := func(s int64) string { return strconv.FormatInt(s/60, 10) }
	for i, b := range a.Bounds {
		head = append(head, minutes(b))
		numbers = append(numbers, i+2)
	}
	head = append(head, minutes(a.Bounds[len(a.Bounds)-1])+"+", "OLDEST")
	t := newTable(c.out, head...).numbers(append(numbers, len(numbers)+1)...)
	now := time.Now()
	row := func(r control.AgeRow, name string) {
		cells := []string{name, strconv.Itoa(r.Tasks)}
		for _, n := range r.Ages {
			cells = append(cells, strconv.Itoa(n))
		}
		oldest := ""
		if !r.Oldest.IsZero() {
			oldest = span(now.Sub(r.Oldest))
		}
		t.row(append(cells, oldest)...)
	}
	row(a.Total, "TOTAL")
	for _, r := range a.Groups {
		row(r, r.Name)
	}
	if a.Others != nil {
		row(*a.Others, "(others)")
	}
	return t.end()
}
