package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"time"

	"restante/internal/control"
	"restante/spool"
	"restante/spool/badger"
)

// exitCode is a failure with an exit code of its own; err is nil if its reasons
// have been printed.
type exitCode struct {
	code int
	err  error
}

func (e exitCode) Error() string {
	if e.err == nil {
		return "failed"
	}
	return e.err.Error()
}

func (e exitCode) Unwrap() error { return e.err }

// The exit codes of spool check are fsck's in spirit: 1 tells of findings,
// mended or not, 2 that nothing can be said.
const (
	exitFindings   = 1
	exitNotChecked = 2
)

func spoolCheckCommand() *command {
	cmd := &command{
		name: "spool check", args: "[--repair] [--quick] [--json]",
		short: "compare everything stored with everything else, and mend it",
		long: `It reads the whole spool: every record and body with its checksum, messages with
the tasks and mailboxes that refer to them, the queue with its index, mailboxes
with their entries and counts. It works while the daemon runs, and without one.

With --repair it mends what can be mended, and moves what cannot into lost+found in
the spool directory: bodies as ID.eml, what is known of them (sender, recipients,
mailboxes) as ID.json, single records as lines of records.jsonl. Nothing that can
be read is deleted. Commits that were found missing when the spool was opened are
findings too, which --repair acknowledges.

The exit code is 0 if there is nothing to find, 1 if there was something (mended
or not), and 2 if the check could not be made.`,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var check control.SpoolCheck
		fs.BoolVar(&check.Repair, "repair", false, "mend what can be mended, move the rest aside")
		fs.BoolVar(&check.Quick, "quick", false, "do not read the bodies")
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				return usagef("no arguments are expected")
			}
			return c.checkSpool(ctx, check)
		}
	}
	return cmd
}

// checkSpool prints findings as they come, and the report.
func (c *call) checkSpool(ctx context.Context, check control.SpoolCheck) error {
	var list []spool.Finding // for JSON
	rep, err := c.runCheck(ctx, check, func(f spool.Finding) {
		if c.json {
			list = append(list, f)
			return
		}
		c.showFinding(f)
	})
	if err != nil {
		return exitCode{exitNotChecked, err}
	}
	if c.json {
		if list == nil {
			list = []spool.Finding{}
		}
		err = c.printJSON(struct {
			Findings []spool.Finding   `json:"findings"`
			Report   spool.CheckReport `json:"report"`
		}{list, rep})
	} else {
		err = c.showReport(rep, check)
	}
	if err != nil {
		return exitCode{exitNotChecked, err}
	}
	if rep.Findings > 0 {
		return exitCode{exitFindings, nil}
	}
	return nil
}

func (c *call) showFinding(f spool.Finding) {
	line := fmt.Sprintf("%s: %s: %s", f.Kind, f.Key, f.What)
	switch f.Action {
	case spool.ActionNone:
	case spool.ActionFailed:
		line += "; not mended: " + f.Error
	default:
		line += "; " + string(f.Action)
	}
	if f.File != "" {
		line += ", see " + f.File
	}
	fmt.Fprintln(c.out, visible(line))
}

func (c *call) showReport(rep spool.CheckReport, check control.SpoolCheck) error {
	var records int64
	for _, n := range rep.Records {
		records += n
	}
	fmt.Fprintf(c.out, "%d records", records)
	if !check.Quick {
		fmt.Fprintf(c.out, " and %d octets of bodies", rep.Octets)
	}
	fmt.Fprintf(c.out, " read in %s: ", rep.Took.Round(time.Millisecond))
	if rep.Findings == 0 {
		_, err := fmt.Fprintln(c.out, "all is as it should be")
		return err
	}
	fmt.Fprint(c.out, plural(rep.Findings, "finding"))
	if check.Repair {
		fmt.Fprintf(c.out, ", %d repaired, %d moved aside, %d remaining", rep.Repaired, rep.MovedAside, rep.Remaining)
	}
	fmt.Fprintln(c.out)
	kinds := make([]string, 0, len(rep.Kinds))
	for kind := range rep.Kinds {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		fmt.Fprintf(c.out, "  %-14s %d\n", kind, rep.Kinds[kind])
	}
	if rep.LostFound != "" {
		fmt.Fprintf(c.out, "what was moved aside is in %s\n", rep.LostFound)
	}
	return nil
}

// runCheck lets the daemon check its spool or, if none runs, does it.
func (c *call) runCheck(ctx context.Context, check control.SpoolCheck, found func(spool.Finding)) (rep spool.CheckReport, err error) {
	p, err := c.place()
	if err != nil {
		return rep, err
	}
	client := control.NewClient(p.socket)
	defer client.Close()
	for end := time.Now().Add(startPatience); ; time.Sleep(100 * time.Millisecond) {
		rep, err = client.CheckSpool(ctx, check, found)
		if !errors.Is(err, control.ErrNotRunning) {
			return rep, err
		}
		if err := errors.Join(findState(p.state), findState(spoolDir(p.state))); err != nil {
			return rep, err
		}
		if err := ownState(p.state); err != nil {
			return rep, err
		}
		unlock, err := lockState(p.state)
		if err == nil {
			defer unlock()
			return p.offlineCheck(ctx, check, found)
		}
		if !errors.Is(err, errLocked) {
			return rep, err
		}
		if time.Now().After(end) {
			return rep, fmt.Errorf("%s is in use, but no daemon answers at %s: is its control socket elsewhere (--config)?", p.state, p.socket)
		}
	}
}

func (p place) offlineCheck(ctx context.Context, check control.SpoolCheck, found func(spool.Finding)) (rep spool.CheckReport, err error) {
	engine, err := badger.Open(badger.Options{Dir: spoolDir(p.state)})
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	return engine.Check(ctx, check.Options(found))
}

// showLosses says on the status page what no administrator has acknowledged.
func (c *call) showLosses(list []spool.Loss) {
	for _, l := range list {
		from := "the beginning"
		if !l.From.IsZero() {
			from = clock(l.From)
		}
		fmt.Fprintf(c.out, "LOST: %d acknowledged commits (numbers %d to %d) between %s and %s are missing from the spool;\n"+
			"      found %s; restante spool check --repair acknowledges it\n", l.Commits(), l.First, l.Last, from, clock(l.To), clock(l.Found))
	}
}
