// Command imapcompare measures restante and Dovecot as IMAP servers on one
// machine in one run, by turns. It needs Debian's dovecot-imapd package (no
// instance of it need run, none is touched) and root, since Dovecot does not start
// without.
//
//	go run ./internal/e2e/imapcompare
//	go run ./internal/e2e/imapcompare -messages 1000 -rounds 1
//	go run ./internal/e2e/imapcompare -idle 5000       memory of idle connections
//	TMPDIR=/srv/disk go run ./internal/e2e/imapcompare    the disk in question
//
// # What is compared
//
// One client of ours, over TLS, says the same to both and only counts octets: it
// parses nothing but the tagged reply. The mailbox is filled with APPEND, so that
// both have the same messages: short ones of text, some with two parts and some
// with an attachment. Dovecot keeps them in its default format (Maildir), with its
// indexes and caches as they come, and has everything cached that it wants to:
// each measurement is made once before it counts.
//
// CPU time is that of all processes of a server. Idle memory is what the server's
// processes have more, for each connection that has logged in, selected INBOX and
// sits in IDLE: proportional set size (PSS), so that shared pages count once.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"restante/internal/e2e/bench"
)

type options struct{ messages, rounds, idle int }

// figure is what one measurement gave.
type figure struct{ took, cpu time.Duration }

// server is an IMAP server under measurement.
type server interface {
	// Start runs it in an empty folder and returns where it speaks IMAP over
	// TLS, and the process that all its others come from.
	Start(ctx context.Context, dir string) (addr string, pid int, err error)
	Stop()
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "imapcompare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var opt options
	flag.IntVar(&opt.messages, "messages", 10_000, "messages in the mailbox")
	flag.IntVar(&opt.rounds, "rounds", 3, "runs of each, of which the median counts")
	flag.IntVar(&opt.idle, "idle", 0, "measure the memory of so many idle connections, and nothing else")
	flag.Parse()
	if flag.NArg() > 0 || opt.messages < 100 || opt.rounds < 1 || opt.idle < 0 {
		return fmt.Errorf("no arguments are expected, at least 100 messages and one round")
	}
	dir, err := bench.TempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := bench.Build(ctx, dir)
	if err != nil {
		return err
	}
	names := []string{"restante", "Dovecot"}
	servers := map[string]*running{}
	for _, name := range names {
		var s server = &restante{binary: binary}
		if name == "Dovecot" {
			s = new(dovecot)
		}
		r, err := begin(ctx, s, dir)
		if r != nil {
			defer r.Stop()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		servers[name] = r
	}
	if opt.idle > 0 {
		return idle(ctx, names, servers, opt.idle)
	}
	return compare(ctx, names, servers, opt)
}

// compare goes through all measurements, by turns.
func compare(ctx context.Context, names []string, servers map[string]*running, opt options) error {
	for _, name := range names {
		if err := servers[name].fill(opt.messages); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	tests := tests(opt.messages)
	figures := make(map[string]map[string][]figure)
	for _, t := range tests {
		figures[t.name] = make(map[string][]figure)
		for round := range opt.rounds + 1 {
			for _, name := range names {
				f, err := servers[name].measure(ctx, t)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", name, t.name, err)
				}
				if round > 0 { // the first one only warms up
					figures[t.name][name] = append(figures[t.name][name], f)
				}
			}
			slices.Reverse(names)
		}
		fmt.Fprintln(os.Stderr, t.name, figures[t.name])
	}
	fmt.Printf("%d messages, medians of %d rounds, one connection over TLS.\n\n", opt.messages, opt.rounds)
	fmt.Println("| | restante, ms | Dovecot, ms | Dovecot/restante | restante, CPU ms | Dovecot, CPU ms |")
	fmt.Println("|---|---:|---:|---:|---:|---:|")
	for _, t := range tests {
		ms := func(name string, of func(figure) time.Duration) float64 {
			var values []float64
			for _, f := range figures[t.name][name] {
				values = append(values, of(f).Seconds()*1000)
			}
			return bench.Median(values)
		}
		took, cpu := func(f figure) time.Duration { return f.took }, func(f figure) time.Duration { return f.cpu }
		fmt.Printf("| %s | %.0f | %.0f | %.1f | %.0f | %.0f |\n", t.name, ms("restante", took), ms("Dovecot", took),
			ms("Dovecot", took)/ms("restante", took), ms("restante", cpu), ms("Dovecot", cpu))
	}
	return nil
}
