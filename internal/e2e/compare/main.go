// Command compare measures how many messages in a second restante and Postfix
// take in durably, and what CPU time that costs, on one machine in one run, by
// turns. It needs Debian's postfix package (no instance of it need run, none is
// touched) and root, since Postfix does not start without.
//
//	go run ./internal/e2e/compare
//	go run ./internal/e2e/compare -rounds 5 -sessions 32 -sizes 4096
//	TMPDIR=/srv/disk go run ./internal/e2e/compare    the disk in question
//
// # What is compared
//
// Both are asked the same by smtp-source: accept mail of a trusted client for
// another domain, make it durable, answer 250. Neither delivers anything
// meanwhile, since that would measure the receiving end and the scheduler too:
//
//   - Postfix puts every message on hold (check_client_access static:HOLD).
//     That is the cheapest it can do with mail it has accepted: cleanup writes
//     and syncs the file in the hold queue, the queue manager never sees it.
//   - restante queues for a next hop that refuses connections. One probe fails,
//     then the destination is in its back-off and nothing is tried.
//
// Limits that would only get in the way are off on both sides: the number of
// connections of one client, and Postfix's in_flow_delay and process limit. Both
// log each message to a file. Both keep their data below TMPDIR, so on the same
// file system. What smtp-source sends is random text, so that compression gains
// little. Each message has a recipient of its own.
//
// Each figure is from a fresh instance with an empty queue that has taken 100
// messages to warm up. Afterwards the queue is counted: every 250 must be there. CPU time
// is that of the server's processes, those that have ended included, and counts
// on until two seconds after the last message, for what is done in the background.
// The sessions are kept open for many messages, or with -reconnect for one each.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"restante/internal/e2e/bench"
)

// options are the flags.
type options struct {
	rounds    int
	seconds   time.Duration
	most      int
	sessions  []int
	sizes     []int
	reconnect bool
}

// point is one line of the table.
type point struct{ size, sessions int }

func (p point) String() string { return fmt.Sprintf("%d octets, %d sessions", p.size, p.sessions) }

// figure is what one run gave.
type figure struct {
	rate float64 // messages a second
	cpu  float64 // seconds for 1,000 messages
}

// system is a mail server under measurement.
type system interface {
	// start runs it in an empty folder and returns where it listens, and the
	// process that all its others come from.
	start(ctx context.Context, dir string) (addr string, pid int, err error)
	// queued counts the messages in its queue.
	queued(ctx context.Context) (int, error)
	// stop ends it and waits for its end.
	stop()
}

func main() { bench.Main("compare", flags, run) }

func run(ctx context.Context, opt options, dir, binary string) error {
	create := map[string]func() system{
		"restante": func() system { return &restante{bench.Restante{Binary: binary}} },
		"Postfix":  func() system { return &postfix{} },
	}
	points := opt.points()
	figures, err := bench.Rounds(opt.rounds, points, []string{"restante", "Postfix"}, func(round int, p point, name string) (figure, error) {
		f, err := measure(ctx, create[name](), dir, p, opt)
		if err == nil {
			fmt.Fprintf(os.Stderr, "round %d: %6d octets %4d sessions  %-8s %8.0f messages/s %7.2f s CPU per 1,000\n",
				round, p.size, p.sessions, name, f.rate, f.cpu)
		}
		return f, err
	})
	if err == nil {
		report(points, figures, opt)
	}
	return err
}

func flags() (options, error) {
	var opt options
	sessions := flag.String("sessions", "1,8,32,128", "sessions at a time")
	sizes := flag.String("sizes", "4096,65536", "`octets` of a message")
	flag.IntVar(&opt.rounds, "rounds", 3, "runs of each, of which the median counts")
	flag.DurationVar(&opt.seconds, "for", 5*time.Second, "how `LONG` a run shall take about")
	flag.IntVar(&opt.most, "most", 30000, "most messages of a run")
	flag.BoolVar(&opt.reconnect, "reconnect", false, "a connection for each message")
	flag.Parse()
	if flag.NArg() > 0 || opt.rounds < 1 || opt.most < 200 {
		return opt, fmt.Errorf("no arguments are expected, at least one round and 200 messages")
	}
	var err error
	if opt.sessions, err = bench.Numbers(*sessions); err != nil {
		return opt, err
	}
	opt.sizes, err = bench.Numbers(*sizes)
	return opt, err
}

func (o options) points() []point {
	var out []point
	for _, size := range o.sizes {
		for _, n := range o.sessions {
			out = append(out, point{size, n})
		}
	}
	return out
}

// report prints the table of medians.
func report(points []point, figures map[point]map[string][]figure, opt options) {
	kept := "kept open"
	if opt.reconnect {
		kept = "one for each message"
	}
	fmt.Printf("Durable accepts; medians of %d rounds; sessions %s.\n\n", opt.rounds, kept)
	fmt.Println("| octets | sessions | restante, messages/s | Postfix, messages/s | ratio | restante, CPU s per 1,000 | Postfix, CPU s per 1,000 |")
	fmt.Println("|---:|---:|---:|---:|---:|---:|---:|")
	for _, p := range points {
		ours, theirs := figures[p]["restante"], figures[p]["Postfix"]
		rate := func(f figure) float64 { return f.rate }
		cpu := func(f figure) float64 { return f.cpu }
		fmt.Printf("| %d | %d | %.0f | %.0f | %.1f | %.2f | %.2f |\n", p.size, p.sessions,
			bench.MedianOf(ours, rate), bench.MedianOf(theirs, rate), bench.MedianOf(ours, rate)/bench.MedianOf(theirs, rate), bench.MedianOf(ours, cpu), bench.MedianOf(theirs, cpu))
	}
}
