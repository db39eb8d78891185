package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/internal/control"
)

// verbFlags are those of a command that does something to tasks.
type verbFlags struct {
	all, dryRun, yes bool
	filter           control.Filter
	to, reason       string
}

func (v *verbFlags) flags(fs *flag.FlagSet) {
	fs.BoolVar(&v.all, "all", false, "all tasks, or all those of the filters")
	fs.BoolVar(&v.dryRun, "dry-run", false, "only tell what would be done")
	fs.BoolVar(&v.yes, "yes", false, "do not ask, however many tasks it is")
	filterFlags(fs, &v.filter)
}

// selection is what the command line means.
func (v *verbFlags) selection(args []string) (control.Selection, error) {
	filtered := !v.filter.IsZero()
	switch {
	case len(args) > 0 && (v.all || filtered):
		return control.Selection{}, usagef("give either IDs, or filters or --all")
	case len(args) == 0 && !v.all && !filtered:
		return control.Selection{}, usagef("either IDs or filters or --all are expected")
	}
	return control.Selection{
		IDs: args, All: len(args) == 0, Filter: v.filter,
		DryRun: v.dryRun, To: v.to, Reason: v.reason,
	}, checkFilter(v.filter)
}

const verbUsage = "ID... | - | FILTER... | --all [--dry-run] [--yes] [--json]"

const verbHelp = `An ID is a message's, for all its tasks, or a task's, as queue list shows it;
"-" reads IDs from standard input, one on a line. --dry-run tells what would be
done, and does nothing. More than 20 tasks chosen by filters or --all are told
first: on a terminal you are asked, elsewhere it needs --yes. It can be stopped
with Ctrl-C and run again: what was done stays done.
` + filterHelp

func verbCommand(v control.Verb, past, short, long string) *command {
	cmd := &command{
		name: "queue " + string(v), args: verbUsage, short: short,
		long: strings.TrimSpace(long + "\n" + verbHelp),
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var flags verbFlags
		flags.flags(fs)
		c.jsonFlag(fs)
		fs.StringVar(&flags.reason, "reason", "", "`WHY`, for the story of the messages")
		if v == control.VerbReroute {
			fs.StringVar(&flags.to, "to", "", "the `DESTINATION`: a route, or route/domain")
		}
		return func(ctx context.Context, args []string) error {
			if v == control.VerbReroute && flags.to == "" {
				return usagef("--to is missing")
			}
			args, err := c.listed(args)
			if err != nil {
				return err
			}
			if args == nil {
				return nil // nothing was listed, nothing is to be done
			}
			sel, err := flags.selection(args)
			if err != nil {
				return err
			}
			return c.interruptible(ctx, func(ctx context.Context, client *control.Client) error {
				b := &bulk{call: c, client: client, verb: v, past: past, yes: flags.yes}
				return b.run(ctx, sel)
			})
		}
	}
	return cmd
}

// listed are the IDs of a command: its arguments, or, for "-", the lines of the
// standard input, nil if there are none.
func (c *call) listed(args []string) (ids []string, err error) {
	if len(args) != 1 || args[0] != "-" {
		return append([]string{}, args...), nil
	}
	in := bufio.NewScanner(c.in)
	for in.Scan() {
		if id := strings.TrimSpace(in.Text()); id != "" {
			ids = append(ids, id)
		}
	}
	return ids, in.Err()
}

// bulk is one verb being done.
type bulk struct {
	*call
	client *control.Client
	verb   control.Verb
	past   string
	yes    bool
	total  int // tasks expected, 0 if that is not known
}

const (
	// few is how many tasks are chosen by a filter without a question.
	few = 20
	// perRequest bounds the IDs of one request.
	perRequest = 5000
)

func (b *bulk) run(ctx context.Context, sel control.Selection) error {
	if sel.DryRun {
		out, err := b.do(ctx, sel, nil)
		if err != nil {
			return err
		}
		if b.json {
			if err := b.printJSON(out); err != nil {
				return err
			}
		} else if err := b.showPlan(out.Plan, "would be "+b.past); err != nil {
			return err
		}
		return b.failures(out)
	}
	if sel.All {
		if ok, err := b.agreed(ctx, sel); err != nil || !ok {
			return err
		}
	}
	p := newProgress(b.call.err, string(b.verb), b.total)
	out, err := b.do(ctx, sel, p.tell)
	p.end()
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted; %s at least. What was done stays done: run it again to go on", b.sum(out.Done))
		}
		return err
	}
	if b.json {
		if err := b.printJSON(out); err != nil {
			return err
		}
	} else if out.Done > 0 || out.Failed == 0 {
		if _, err := fmt.Fprintln(b.out, b.sum(out.Done)); err != nil {
			return err
		}
	}
	return b.failures(out)
}

func (b *bulk) sum(done int) string { return plural(done, "task") + " " + b.past }

// do asks the daemon, with no more IDs at a time than a request holds.
func (b *bulk) do(ctx context.Context, sel control.Selection, tell func(control.Progress)) (control.Outcome, error) {
	if len(sel.IDs) <= perRequest {
		return b.client.Do(ctx, b.verb, sel, tell)
	}
	if sel.DryRun {
		return control.Outcome{}, usagef("no more than %d IDs with --dry-run", perRequest)
	}
	var sum control.Outcome
	for ids := range slices.Chunk(sel.IDs, perRequest) {
		part := sel
		part.IDs = ids
		before := sum
		out, err := b.client.Do(ctx, b.verb, part, func(p control.Progress) {
			if tell != nil {
				tell(control.Progress{Done: before.Done + p.Done, Failed: before.Failed + p.Failed})
			}
		})
		sum.Done, sum.Failed = sum.Done+out.Done, sum.Failed+out.Failed
		sum.Failures = append(sum.Failures, out.Failures...)
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// agreed tells what a filter chooses, and asks if it is much.
func (b *bulk) agreed(ctx context.Context, sel control.Selection) (bool, error) {
	dry := sel
	dry.DryRun = true
	out, err := b.client.Do(ctx, b.verb, dry, nil)
	if err != nil {
		return false, err
	}
	b.total = out.Plan.Tasks
	if b.total <= few {
		return true, nil
	}
	told := *b.call
	told.out = b.call.err
	if err := (&bulk{call: &told}).showPlan(out.Plan, "will be "+b.past); err != nil {
		return false, err
	}
	if b.yes {
		return true, nil
	}
	if !isTerminal(b.in) {
		return false, fmt.Errorf("nothing was done: %s need --yes", plural(b.total, "task"))
	}
	return b.ask(ctx)
}

// ask waits for an answer on the terminal, or for Ctrl-C.
func (b *bulk) ask(ctx context.Context) (bool, error) {
	fmt.Fprint(b.call.err, "Go on? [y/N] ")
	answer := make(chan string, 1)
	go func() { // it ends with the process if nobody answers
		text, _ := bufio.NewReader(b.in).ReadString('\n')
		answer <- text
	}()
	select {
	case text := <-answer:
		if a := strings.ToLower(strings.TrimSpace(text)); a == "y" || a == "yes" {
			return true, nil
		}
	case <-ctx.Done():
		fmt.Fprintln(b.call.err)
	}
	fmt.Fprintln(b.call.err, "Nothing was done.")
	return false, errTold
}

// showPlan tells what a verb would be done to.
func (b *bulk) showPlan(p *control.Plan, what string) error {
	fmt.Fprintf(b.out, "%s of %s (%s) %s.\n", plural(p.Tasks, "task"), plural(p.Messages, "message"), octets(p.Octets), what)
	if p.Leased > 0 {
		fmt.Fprintf(b.out, "%s more: being delivered at this moment, which ends first.\n", plural(p.Leased, "task"))
	}
	if p.Backoffs > 0 {
		fmt.Fprintf(b.out, "%s will be tried at once, whether anything waits or not.\n", plural(p.Backoffs, "destination"))
	}
	if len(p.Destinations) == 0 {
		return nil
	}
	t := newTable(b.out, "DESTINATION", "TASKS", "SIZE").numbers(1, 2)
	for _, d := range p.Destinations {
		t.row(d.Destination, strconv.Itoa(d.Tasks), octets(d.Octets))
	}
	if err := t.end(); err != nil {
		return err
	}
	if p.Others > 0 {
		fmt.Fprintf(b.out, "and %s more\n", plural(p.Others, "destination"))
	}
	return nil
}

// failures tells of every task that something could not be done to.
func (c *call) failures(out control.Outcome) error {
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

func queueRetryCommand() *command {
	return verbCommand(control.VerbRetry, "to be tried now", "try tasks now, whatever they wait for",
		`Dead tasks are tried too. The back-off of the tasks' destinations ends; chosen by
--destination, --route or --all, also that of destinations without tasks.`)
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

func queueRerouteCommand() *command {
	cmd := verbCommand(control.VerbReroute, "rerouted", "send tasks another way than the routes say",
		`With --to ROUTE that route finds the next hop as usual, with --to ROUTE/DOMAIN it is
asked for the next hop of that domain. The tasks stay with it, whatever the routes
of the configuration say, and are tried at once; held ones stay held.`)
	cmd.args = "--to DESTINATION " + cmd.args
	return cmd
}

func queueUnpinCommand() *command {
	return verbCommand(control.VerbUnpin, "given back to the rules", "undo reroute: the routes say again where tasks go",
		`The tasks are tried at once where the routes of the configuration lead today; held
ones stay held. Chosen by filters or --all it is those that were rerouted.`)
}

// progress tells how far long work has come: on a terminal in one line that is
// written anew, elsewhere in a line now and then.
type progress struct {
	w        io.Writer
	what     string
	total    int
	terminal bool
	started  time.Time
	last     time.Time
	shown    bool
}

// logEvery is how often a line is written where there is no terminal.
const logEvery = 10 * time.Second

func newProgress(w io.Writer, what string, total int) *progress {
	now := time.Now()
	return &progress{w: w, what: what, total: total, terminal: isTerminal(w), started: now, last: now}
}

func (p *progress) tell(n control.Progress) {
	now := time.Now()
	if !p.terminal && now.Sub(p.last) < logEvery {
		return
	}
	p.last = now
	text := p.line(n, now.Sub(p.started))
	if !p.terminal {
		fmt.Fprintln(p.w, text)
		return
	}
	p.shown = true
	fmt.Fprintf(p.w, "\r\x1b[K%s", text)
}

// line is "hold: 1200 of 34000 done, 3 failed, 410/s".
func (p *progress) line(n control.Progress, since time.Duration) string {
	text := fmt.Sprintf("%s: %d done", p.what, n.Done)
	if p.total > 0 {
		text = fmt.Sprintf("%s: %d of %d done", p.what, n.Done, p.total)
	}
	if n.Failed > 0 {
		text += fmt.Sprintf(", %d failed", n.Failed)
	}
	if s := since.Seconds(); s >= 1 {
		text += fmt.Sprintf(", %.0f/s", float64(n.Done+n.Failed)/s)
	}
	return text
}

// end leaves the line free for what comes.
func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
