package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"restante/internal/control"
	"restante/spool"
)

func traceCommand() *command {
	cmd := &command{
		name: "trace", args: "[ID | MESSAGE-ID | ADDRESS] [--since T] [--until T] [--in STATES] [--limit N] [--json]",
		short: "show what became of messages, from their arrival to their end",
		long: `ID is what the Received field, the log and the reply to DATA call a message. A
Message-ID is the header's, with or without angle brackets. An address is a
sender's or a recipient's; --sender and --recipient say which. One message is
shown as a timeline, several as a list, the newest first.

A time is an age (2h, 3d), a day (2026-11-30), a day and a time, or RFC 3339.

Messages are known while they are in the queue, and for a time after, which
[history] keep in the configuration sets. Nothing is known of older ones, nor of
those that a client put into a mailbox itself. It exits with 1 if nothing is found.`,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var t control.Trace
		moment := func(to *time.Time) func(string) error {
			return func(s string) (err error) {
				*to, err = control.ParseMoment(s, time.Now())
				return err
			}
		}
		fs.Func("since", "only what arrived at this `TIME` or after", moment(&t.Since))
		fs.Func("until", "only what arrived at this `TIME` or before", moment(&t.Until))
		fs.Func("in", "only where a recipient is in one of these `STATES`: "+stateList(), func(s string) error {
			for name := range strings.SplitSeq(s, ",") {
				t.States = append(t.States, spool.StoryState(strings.TrimSpace(name)))
			}
			return nil
		})
		fs.StringVar(&t.Sender, "sender", "", "only from this `ADDRESS`; <> for reports")
		fs.StringVar(&t.Recipient, "recipient", "", "only to this `ADDRESS`")
		fs.IntVar(&t.Limit, "limit", control.DefaultTraces, "no more than `N`; -1 for all there are")
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			if len(args) > 1 {
				return usagef("one ID, Message-ID or address is expected")
			}
			if len(args) == 1 {
				t.About = args[0]
			}
			return c.withClient(func(client *control.Client) error { return c.trace(ctx, client, t) })
		}
	}
	return cmd
}

func stateList() string {
	var names []string
	for _, s := range spool.StoryStates() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// trace shows what a trace finds: a timeline, or a list as it comes.
func (c *call) trace(ctx context.Context, client *control.Client, t control.Trace) error {
	list := control.NewList(c.out)
	var first *control.Story
	var tab *table
	found := 0
	for s, err := range client.Trace(ctx, t) {
		if err != nil {
			if tab != nil {
				err = errors.Join(tab.end(), err)
			}
			return err
		}
		found++
		switch {
		case c.json:
			if err := list.Add(s); err != nil {
				return err
			}
		case found == 1:
			first = &s
		default:
			if tab == nil {
				tab = newTable(c.out, "ID", "ARRIVED", "STATE", "SENDER", "RECIPIENTS")
				storyRow(tab, first)
			}
			storyRow(tab, &s)
		}
	}
	switch {
	case c.json:
		if err := list.End(); err != nil {
			return err
		}
	case tab != nil:
		if err := tab.end(); err != nil {
			return err
		}
		more := ""
		if found == t.Limit {
			more = " There may be more: see --limit."
		}
		if _, err := fmt.Fprintf(c.out, "\n%d messages; restante trace ID shows one.%s\n", found, more); err != nil {
			return err
		}
	case first != nil:
		return c.showStory(first)
	}
	if found == 0 {
		if !c.json {
			fmt.Fprintln(c.err, "restante: no such message is known, or none any more")
		}
		return errTold
	}
	return nil
}

func storyRow(t *table, s *control.Story) {
	t.row(s.ID.String(), clock(s.Arrived), standing(s), sender(s.From), storyRecipients(s))
}

// standing sums up where the recipients are: "queued", "3 delivered, 1 bounced".
func standing(s *control.Story) string {
	counts := make(map[spool.StoryState]int)
	n := 0
	for _, r := range s.Recipients {
		if r.State != spool.StateExpanded {
			counts[r.State]++
			n++
		}
	}
	var parts []string
	for _, state := range spool.StoryStates() {
		switch k := counts[state]; {
		case k > 0 && n == 1:
			return string(state)
		case k > 0:
			parts = append(parts, fmt.Sprintf("%d %s", k, state))
		}
	}
	return strings.Join(parts, ", ")
}

func storyRecipients(s *control.Story) string {
	if len(s.Recipients) == 0 {
		return ""
	}
	text := s.Recipients[0].To.String()
	if n := len(s.Recipients) - 1; n > 0 {
		text += fmt.Sprintf(" +%d", n)
	}
	return text
}

// showStory prints one message: its head, where its recipients are, and what
// happened.
func (c *call) showStory(s *control.Story) error {
	fmt.Fprintf(c.out, "%s from %s, %s, arrived %s\n", s.ID, visible(sender(s.From)), octets(s.Size), clock(s.Arrived))
	if s.MessageID != "" {
		fmt.Fprintf(c.out, "Message-ID <%s>\n", visible(s.MessageID))
	}
	fmt.Fprintln(c.out)
	tab := newTable(c.out, "RECIPIENT", "STATE", "SINCE", "AS", "LAST STATUS")
	for _, r := range s.Recipients {
		since := ""
		if !r.At.IsZero() {
			since = clock(r.At)
		}
		as := r.QueueID
		if as == "" && s.Open {
			as = r.Task
		}
		tab.row(r.To.String(), string(r.State), since, as, r.Last.String())
	}
	if err := tab.end(); err != nil {
		return err
	}
	fmt.Fprintln(c.out)
	c.showEvents(s)
	return nil
}

// showEvents prints what happened to a message, by time.
func (c *call) showEvents(s *control.Story) {
	many := severalTasks(s)
	day := ""
	width := 0
	for _, e := range s.Events {
		width = max(width, len(e.Kind))
	}
	for _, e := range s.Events {
		at := e.At.Local()
		if d := at.Format("2006-01-02"); d != day {
			day = d
			fmt.Fprintln(c.out, d)
		}
		task := ""
		if _, n, ok := strings.Cut(e.Task, "."); ok && many {
			task = "." + n + " "
		}
		fmt.Fprintf(c.out, "  %s  %9s  %-*s  %s\n", at.Format("15:04:05.000"), offset(e.At.Sub(s.Arrived)), width, e.Kind, task+visible(eventText(&e)))
	}
}

func severalTasks(s *control.Story) bool {
	tasks := make(map[string]bool)
	for _, e := range s.Events {
		if e.Task != "" {
			tasks[e.Task] = true
		}
	}
	return len(tasks) > 1
}

// offset is how long after the arrival something was: +1.2s, +2h5m.
func offset(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + offset(-d)[1:]
	case d < time.Second:
		return "+" + d.Round(time.Millisecond).String()
	case d < time.Minute:
		return "+" + d.Round(100*time.Millisecond).String()
	case d < 24*time.Hour:
		text := d.Round(time.Second).String()
		if d >= time.Hour {
			text = strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
		}
		return "+" + text
	}
	return fmt.Sprintf("+%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

// eventText says an event in one line.
func eventText(e *control.Event) string {
	var parts []string
	add := func(text string) {
		if text != "" {
			parts = append(parts, text)
		}
	}
	switch e.Kind {
	case spool.EventAccepted:
		add(prefixed("from ", hostText(e)))
		add(prefixed("by ", e.By))
		add(e.Text)
		add(e.TLS)
		add(prefixed("for ", addresses(e)))
	case spool.EventQueued:
		add(prefixed("for ", e.Text))
		add(addresses(e))
		if !e.Due.IsZero() {
			add("not before " + clock(e.Due))
		}
	case spool.EventOmitted:
		add(fmt.Sprintf("%d events are not kept", e.Count))
	default:
		add(addresses(e))
		add(e.Text)
		add(e.Status.String())
		add(prefixed("as ", e.QueueID))
		if e.Status == nil || e.Status.Remote == "" || !strings.Contains(e.Status.Remote, e.Host) || e.Host == "" {
			add(hostText(e))
		}
		add(tlsText(e))
		if e.Seconds > 0 {
			add(time.Duration(e.Seconds * float64(time.Second)).Round(time.Millisecond).String())
		}
		if e.Attempt > 0 {
			add(fmt.Sprintf("attempt %d", e.Attempt))
		}
		if !e.Due.IsZero() {
			add("next at " + clock(e.Due))
		}
		add(prefixed("by ", e.By))
	}
	add(prefixed("see ", e.Ref))
	return strings.Join(parts, "; ")
}

func prefixed(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

func hostText(e *control.Event) string {
	if e.Addr == "" || e.Host == "" {
		return e.Host + e.Addr
	}
	return e.Host + " [" + e.Addr + "]"
}

func tlsText(e *control.Event) string {
	switch {
	case e.TLS != "" && e.Verified != "":
		return e.TLS + ", verified by " + e.Verified
	case e.TLS != "":
		return e.TLS + ", not verified"
	case slices.Contains([]spool.EventKind{spool.EventDelivered, spool.EventDeferred, spool.EventBounced}, e.Kind) && e.Host != "":
		return "no TLS"
	}
	return ""
}

// maxShown is how many recipients of one event are named.
const maxShown = 3

func addresses(e *control.Event) string {
	more := e.More
	list := e.To
	if n := len(list) - maxShown; n > 0 {
		list, more = list[:maxShown], more+n
	}
	names := make([]string, len(list))
	for i, to := range list {
		names[i] = sender(to)
	}
	text := strings.Join(names, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
