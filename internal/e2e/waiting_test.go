package e2e

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"restante/internal/e2e/bench"
	"restante/internal/standin"
)

// What TestWaiting measures with.
const (
	waiting    = 10_000
	measured   = time.Minute
	closed     = "127.0.0.1:1" // nobody listens there
	fewPercent = 2.0           // of one core
)

// TestWaiting measures what a daemon does while 10,000 messages wait for a next
// hop that puts each of them off, that says nothing, or that is not there. It
// takes some minutes, and runs with RESTANTE_HEAVY=1 alone.
func TestWaiting(t *testing.T) {
	if os.Getenv("RESTANTE_HEAVY") != "1" {
		t.Skip("takes minutes; set RESTANTE_HEAVY=1")
	}
	for _, c := range []struct {
		name, addr string
		hop        *standin.Server
		script     standin.Script
		none       bool
	}{
		{name: "451 to each recipient", hop: nextHop(t, standin.Options{}), script: later},
		{name: "451 in the place of a greeting", hop: nextHop(t, standin.Options{}), script: standin.Script{{At: standin.Connect, Code: 451, Text: "4.3.2 not now"}}},
		{name: "no word", hop: nextHop(t, standin.Options{}), script: standin.Script{{At: standin.Connect, Wait: make(chan struct{})}}},
		{name: "nobody there", addr: closed},
		{name: "an empty queue, to compare", addr: closed, none: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			busy := func() int { return 0 }
			if c.hop != nil {
				c.hop.Always(c.script)
				c.addr = c.hop.Addr()
				busy = func() int { return c.hop.Connections() + len(c.hop.Commands()) }
			}
			d := newDaemon(t, toward(c.addr), "[queue]\nretry_min = \"10m\"\n", "[log]\nlevel = \"warn\"\n")
			messages := waiting
			if c.none {
				messages = 0
			}
			d.many(messages)
			quiet(t, busy)
			before := d.cpu()
			begun := busy()
			time.Sleep(measured)
			used := d.cpu() - before
			percent := 100 * used.Seconds() / measured.Seconds()
			n := len(d.queue())
			t.Logf("%d messages wait, %d commands and connections so far: %.2f %% of a core in %v", n, begun, percent, measured)
			if n != messages {
				t.Errorf("%d messages are queued, want %d", n, messages)
			}
			if again := busy(); again != begun {
				t.Errorf("%d commands or connections while it was measured", again-begun)
			}
			if percent > fewPercent && !raceEnabled {
				t.Errorf("%.2f %% of a core is used, want %.2f at most", percent, fewPercent)
			}
		})
	}
}

// many has n messages accepted, by several clients at a time.
func (d *daemon) many(n int) {
	d.t.Helper()
	const clients = 8
	var work sync.WaitGroup
	for i := range clients {
		c := d.smtp()
		work.Go(func() {
			for k := i; k < n; k += clients {
				text := fmt.Sprintf("From: %s\r\nSubject: number %d\r\nMessage-ID: <%d@example.org>\r\n\r\nHello.\r\n", alice, k, k)
				if _, err := c.mail([]byte(text), alice, "carol@example.net"); err != nil {
					d.t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	if d.t.Failed() {
		d.t.FailNow()
	}
}

// cpu is what the daemon has used so far.
func (d *daemon) cpu() time.Duration {
	d.t.Helper()
	used, err := bench.CPUTime(d.cmd.Process.Pid)
	if err != nil {
		d.t.Fatal(err)
	}
	return used
}

// quiet waits until a count has been the same for a while.
func quiet(t *testing.T, count func() int) {
	t.Helper()
	const while, atMost = 20, 600 // seconds
	last, since := count(), 0
	for range atMost {
		time.Sleep(time.Second)
		if now := count(); now != last {
			last, since = now, 0
		} else if since++; since == while {
			return
		}
	}
	t.Fatalf("it is not quiet after %d s: %d", atMost, last)
}
