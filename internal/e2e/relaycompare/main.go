// Command relaycompare measures restante and Postfix as relays, end to end, on
// one machine in one run, by turns: how many messages in a second go through,
// what CPU time that costs, and how long a message is on its way. It needs
// Debian's postfix package (no instance of it need run, none is touched) and
// root, since Postfix does not start without.
//
//	go run ./internal/e2e/relaycompare
//	go run ./internal/e2e/relaycompare -rounds 5 -destinations 1 -delays 0s
//	TMPDIR=/srv/disk go run ./internal/e2e/relaycompare    the disk in question
//
// # What is compared
//
// Throughput: smtp-source hands mail to the relay, the relay makes it durable,
// answers 250 and passes it on to smtp-sink, both of the postfix package. The
// clock runs from the first message until the sinks have counted all of them.
// With one destination there is one sink; with more, each has a sink, an address
// (127.0.0.2 and on) and a domain of its own, and one smtp-source sends to it.
// A delay is that of a link: what a sink says arrives so much later.
//
// Latency: a load of half of what went through before (of each relay its own),
// from the 250 to the client until the next hop gives its 250; both are in this
// program then, so that one clock measures. And that of the first message that a
// relay is given after its start, before it knows the next hop.
//
// Limits that would only get in the way are off on both sides: connections of
// one client, Postfix's in_flow_delay and process limit, the back-off of
// destinations, which have none here. All else is as it comes. Both log each
// message to a file and keep their data below TMPDIR.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"restante/internal/e2e/bench"
)

type options struct {
	rounds, sessions, size, most int
	seconds                      time.Duration
	destinations                 []int
	delays                       []time.Duration
}

// point is one line of the table.
type point struct {
	destinations int
	delay        time.Duration
}

func (p point) String() string { return fmt.Sprintf("%d destinations, %v", p.destinations, p.delay) }

// figure is what one run gave.
type figure struct {
	rate          float64 // messages a second
	cpu           float64 // seconds for 1,000 messages
	first         time.Duration
	median, worst time.Duration // of the latency at half of the rate; worst is the 99th percentile
}

// relay is a mail server under measurement.
type relay interface {
	// Start runs it in an empty folder, for sinks by domain, and returns where
	// it listens and the process that all its others come from.
	Start(ctx context.Context, dir string, hops []hop) (addr string, pid int, err error)
	Stop()
}

// hop is where mail of a domain goes.
type hop struct{ domain, addr string }

func main() { bench.Main("relaycompare", flags, run) }

func run(ctx context.Context, opt options, dir, binary string) error {
	create := map[string]func() relay{
		"restante": func() relay { return &restante{bench.Restante{Binary: binary}} },
		"Postfix":  func() relay { return &postfix{} },
	}
	figures, err := bench.Rounds(opt.rounds, opt.points(), []string{"restante", "Postfix"}, func(round int, p point, name string) (figure, error) {
		f, err := measure(ctx, create[name], dir, p, opt)
		if err == nil {
			fmt.Fprintf(os.Stderr, "round %d: %3d destinations, %4v: %-8s %6.0f messages/s, %5.2f s CPU per 1,000, first after %v, half load: median %v, 99 %% %v\n",
				round, p.destinations, p.delay, name, f.rate, f.cpu, f.first.Round(time.Millisecond), f.median.Round(time.Millisecond), f.worst.Round(time.Millisecond))
		}
		return f, err
	})
	if err == nil {
		report(opt, figures)
	}
	return err
}

func flags() (options, error) {
	opt := options{}
	destinations := flag.String("destinations", "1,50", "numbers of destinations")
	delays := flag.String("delays", "0s,20ms", "delays of the next hop's answers")
	flag.IntVar(&opt.rounds, "rounds", 3, "runs of each, of which the median counts")
	flag.IntVar(&opt.sessions, "sessions", 32, "sessions that hand mail over at a time")
	flag.IntVar(&opt.size, "size", 4096, "`octets` of a message")
	flag.DurationVar(&opt.seconds, "for", 5*time.Second, "how `LONG` a run shall take about")
	flag.IntVar(&opt.most, "most", 30000, "most messages of a run")
	flag.Parse()
	if flag.NArg() > 0 || opt.rounds < 1 || opt.sessions < 1 || opt.most < 1000 {
		return opt, fmt.Errorf("no arguments are expected, at least one round and session, and 1000 messages")
	}
	var err error
	if opt.destinations, err = bench.Numbers(*destinations); err != nil {
		return opt, err
	}
	opt.delays, err = bench.Durations(*delays)
	return opt, err
}

func (o options) points() []point {
	var out []point
	for _, n := range o.destinations {
		for _, d := range o.delays {
			out = append(out, point{n, d})
		}
	}
	return out
}

// report prints the table of medians.
func report(opt options, figures map[point]map[string][]figure) {
	fmt.Printf("Relayed messages of %d octets, %d sessions in; medians of %d rounds; latencies at half of each rate.\n\n", opt.size, opt.sessions, opt.rounds)
	fmt.Println("| destinations | delay | relay | messages/s | ratio | CPU s per 1,000 | first message | median | 99 % |")
	fmt.Println("|---:|---:|---|---:|---:|---:|---:|---:|---:|")
	for _, p := range opt.points() {
		theirs := bench.MedianOf(figures[p]["Postfix"], func(f figure) float64 { return f.rate })
		for _, name := range []string{"restante", "Postfix"} {
			list := figures[p][name]
			ms := func(of func(figure) time.Duration) float64 {
				return bench.MedianOf(list, func(f figure) float64 { return of(f).Seconds() * 1000 })
			}
			rate := bench.MedianOf(list, func(f figure) float64 { return f.rate })
			fmt.Printf("| %d | %v | %s | %.0f | %.1f | %.2f | %.0f ms | %.1f ms | %.0f ms |\n", p.destinations, p.delay, name, rate, rate/theirs,
				bench.MedianOf(list, func(f figure) float64 { return f.cpu }),
				ms(func(f figure) time.Duration { return f.first }), ms(func(f figure) time.Duration { return f.median }), ms(func(f figure) time.Duration { return f.worst }))
		}
	}
}
