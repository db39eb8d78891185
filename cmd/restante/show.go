package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"restante/internal/control"
)

func (c *call) showEnvelope(m control.Message) error {
	tw := tabwriter.NewWriter(c.out, 0, 0, 1, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(tw, "%s:\t%s\n", name, visible(value))
		}
	}
	e := m.Envelope
	line("message", m.ID.String())
	line("arrived", clock(e.Arrived))
	line("size", fmt.Sprintf("%d octets", m.Size))
	line("hash", m.Hash)
	line("sender", sender(e.From))
	line("from host", strings.TrimSpace(e.Helo+" "+e.Addr))
	line("protocol", e.Protocol)
	line("account", e.Account)
	line("envelope id", e.EnvID)
	line("return", e.Ret)
	var marks []string
	mark := func(name string, on bool) {
		if on {
			marks = append(marks, name)
		}
	}
	mark("8bit", e.EightBit)
	mark("utf8", e.UTF8)
	mark("requiretls", e.RequireTLS)
	line("marks", strings.Join(marks, " "))
	if e.Priority != 0 {
		line("priority", fmt.Sprint(e.Priority))
	}
	if !e.HoldUntil.IsZero() {
		line("held until", clock(e.HoldUntil))
	}
	if !e.DeliverBy.IsZero() {
		end := "the sender is told"
		if e.OrReturn {
			end = "it is returned"
		}
		line("deliver by", clock(e.DeliverBy)+", or "+end)
	}
	return tw.Flush()
}

func (c *call) showTasks(m control.Message) error {
	if len(m.Tasks) == 0 {
		_, err := fmt.Fprintln(c.out, "\nIt waits in mailboxes only; nothing of it is in the queue.")
		return err
	}
	now := time.Now()
	for _, t := range m.Tasks {
		tw := tabwriter.NewWriter(c.out, 0, 0, 1, ' ', 0)
		fmt.Fprintf(tw, "\ntask %s\n", t.ID)
		fmt.Fprintf(tw, "  state:\t%s\n  destination:\t%s\n  attempts:\t%d\n", t.State, visible(t.Destination), t.Attempts)
		if next := nextTry(t, now); next != "" {
			fmt.Fprintf(tw, "  next try:\t%s\n", next)
		}
		if !t.Expires.IsZero() {
			fmt.Fprintf(tw, "  expires:\t%s\n", clock(t.Expires))
		}
		if b := t.Backoff; b != nil {
			fmt.Fprintf(tw, "  destination not reached:\t%s, tried again %s: %s\n", plural(b.Failures, "time"), clock(b.Until), visible(b.Last.String()))
		}
		for _, r := range t.Recipients {
			last := "not tried yet"
			if r.Last != nil {
				last = visible(r.Last.String())
			}
			fmt.Fprintf(tw, "  %s:\t%s\n", visible(r.To.String()), last)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) showHeader(m control.Message) error {
	fmt.Fprintln(c.out, "\nheader")
	for line := range strings.Lines(strings.TrimRight(m.Header, "\r\n")) {
		line = strings.TrimRight(line, "\r\n")
		fmt.Fprintf(c.out, "  %s\n", visible(strings.ReplaceAll(line, "\t", "    ")))
	}
	if m.HeaderCut {
		fmt.Fprintln(c.out, "  …")
	}
	return nil
}

func (c *call) showStatus(s control.DaemonStatus) error {
	fmt.Fprintf(c.out, "restante %s, process %d, up for %s, state in %s\n", s.Version, s.PID, span(time.Duration(s.Uptime)*time.Second), s.StateDir)
	for _, l := range s.Listeners {
		fmt.Fprintf(c.out, "  %-12s %s\n", l.Name, l.Addr)
	}
	c.showLosses(s.Losses)
	if s.Queue == nil {
		return nil
	}
	var parts []string
	for _, state := range []string{"queued", "leased", "held", "dead"} {
		if n := s.Queue.States[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	fmt.Fprintf(c.out, "queue: %s", plural(s.Queue.Tasks, "task"))
	if len(parts) > 0 {
		fmt.Fprintf(c.out, " (%s)", strings.Join(parts, ", "))
	}
	fmt.Fprintln(c.out)
	c.showSpool(s.Spool)
	spent := c.showQuotas(s.Quotas)
	if m := s.Maildrop; m != nil && m.Waiting+m.Bad > 0 {
		fmt.Fprintf(c.out, "maildrop: %d waiting, %d moved aside, in %s\n", m.Waiting, m.Bad, m.Dir)
	}
	if len(s.Queue.Destinations) == 0 {
		return nil
	}
	t := newTable(c.out, "DESTINATION", "TASKS", "BACK-OFF", "LAST STATUS")
	for _, d := range s.Queue.Destinations {
		var until, last string
		if b := d.Backoff; b != nil {
			until = "until " + clock(b.Until)
			last = b.Last.String()
		} else if route, _, _ := strings.Cut(d.Destination, "/"); spent[route] != "" {
			last = spent[route]
		}
		t.row(d.Destination, fmt.Sprint(d.Tasks), until, last)
	}
	return t.end()
}

func (c *call) showSpool(s *control.SpoolStatus) {
	if s == nil {
		return
	}
	fmt.Fprintf(c.out, "spool: %s on disk, %s free", octets(s.OnDisk), octets(s.Free))
	if s.Commits > 0 {
		fmt.Fprintf(c.out, ", %d changes in %s", s.Commits, plural(int(s.Batches), "sync"))
		fmt.Fprintf(c.out, " of %v (99 %%: %v)", time.Duration(s.Sync.Median)*time.Microsecond, time.Duration(s.Sync.P99)*time.Microsecond)
	}
	fmt.Fprintln(c.out)
	switch {
	case s.Fault != "":
		fmt.Fprintf(c.out, "NO MAIL IS TAKEN IN, NOTHING IS CHANGED: %s\n", s.Fault)
	case !s.Accepting:
		fmt.Fprintf(c.out, "NO MAIL IS TAKEN IN: less than %s free\n", octets(s.MinFree))
	}
}

func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 -0700") }

// showQuotas tells how much of each daily quota is used, and returns what is to
// be said of those that are used up.
func (c *call) showQuotas(quotas []control.QuotaStatus) map[string]string {
	spent := make(map[string]string)
	for _, q := range quotas {
		text := ""
		if !q.Until.IsZero() {
			spent[q.Name] = "daily quota used up until " + clock(q.Until)
			text = ", used up until " + clock(q.Until)
		}
		fmt.Fprintf(c.out, "quota of %s: %d of %s today%s\n", q.Name, q.Used, plural(q.Of, "recipient"), text)
	}
	return spent
}
