package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"testing"
	"time"

	"restante/internal/standin"
)

// backlog is how many messages wait for the next hop whenever a daemon is killed
// in TestRelayKill: more than it can deliver until then.
const backlog = 60

// shipment is what TestRelayKill knows of its messages.
type shipment struct {
	sent  int // all of them were acknowledged
	kills []time.Time
}

// addressees are those of a number, in one transaction.
func addressees(n int) []string {
	if n%3 == 0 {
		return []string{"carol@example.net", "dave@example.net"}
	}
	return []string{"carol@example.net"}
}

// fill sends messages until so many are on the way.
func (s *shipment) fill(t *testing.T, d *daemon, hop *standin.Server) {
	t.Helper()
	arrived := make(map[int]bool)
	for _, m := range hop.Messages() {
		arrived[number(m.Data)] = true
	}
	c, err := dialSMTP(d.addr("smtp"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for s.sent-len(arrived) < backlog {
		if _, err := c.mail(numbered(s.sent+1), alice, addressees(s.sent+1)...); err != nil {
			t.Fatal(err)
		}
		s.sent++
	}
}

// TestRelayKill kills the daemon while it delivers a backlog to a next hop that
// takes its time over each message. Nothing may be lost, and nothing delivered
// twice but what was in flight.
func TestRelayKill(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{Extra: []string{"CHUNKING"}})
	gate := hold(hop)
	d := newDaemon(t, away(hop), quick("per_destination = 8\n"), "[log]\nlevel = \"debug\"\n")
	var all shipment
	for range *kills {
		all.fill(t, d, hop)
		some := 1 + rand.IntN(backlog/3)
		for range some {
			hop.Next(standin.Script{pause()})
		}
		close(gate)
		arrived(t, hop, len(hop.Messages())+some)
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		all.kills = append(all.kills, time.Now())
		d.kill()
		gate = hold(hop)
		d.start()
	}
	close(gate)
	d.emptied()
	all.judge(t, d, hop)
}

// pause is a while that the next hop takes over a message.
func pause() standin.Fault {
	return standin.Fault{At: standin.EndOfData, Delay: time.Duration(rand.IntN(40)) * time.Millisecond}
}

// hold has the next hop say nothing of any message before the gate is closed.
func hold(hop *standin.Server) (gate chan struct{}) {
	gate = make(chan struct{})
	hop.Always(standin.Script{{At: standin.EndOfData, Wait: gate}, pause()})
	return gate
}

// arrived waits until the next hop has so many messages, or more.
func arrived(t *testing.T, hop *standin.Server, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := hop.Wait(ctx, n); err != nil {
		t.Fatal(err)
	}
}

// judge looks for each recipient of each message at the next hop. A transaction
// may have been made again only if the record of its outcome was not yet durable,
// that is, if no daemon said that it had settled the task.
func (s *shipment) judge(t *testing.T, d *daemon, hop *standin.Server) {
	t.Helper()
	messages := hop.Messages()
	seen := make(map[string][]standin.Message)
	for _, m := range messages {
		n := number(m.Data)
		sameButTrace(t, m.Data, numbered(n), dated(relayed)...)
		for _, to := range m.To {
			key := fmt.Sprint(n, " ", to)
			seen[key] = append(seen[key], m)
		}
	}
	repeated := make(map[[2]int]standin.Message)
	for n := 1; n <= s.sent; n++ {
		for _, to := range addressees(n) {
			key := fmt.Sprint(n, " ", to)
			copies := seen[key]
			delete(seen, key)
			if len(copies) == 0 {
				t.Errorf("message %d did not reach %s", n, to)
				continue
			}
			for _, m := range copies[:len(copies)-1] {
				repeated[[2]int{m.Session, m.Turn}] = m
			}
		}
	}
	for key := range seen {
		t.Errorf("nobody sent %s", key)
	}
	settled := make(map[string]int)
	for _, m := range regexp.MustCompile(`msg=settled .*task=(\S+)`).FindAllStringSubmatch(d.log.String(), -1) {
		if settled[m[1]]++; settled[m[1]] == 2 {
			t.Errorf("task %s was delivered again, though it was settled", m[1])
		}
	}
	if len(settled) == 0 {
		t.Error("the log tells of no task that was settled")
	}
	answered, longest := 0, time.Duration(0)
	for _, m := range repeated {
		if gap := s.since(m.Done); gap > 0 {
			answered++
			longest = max(longest, gap)
		}
	}
	t.Logf("%d messages in %d transactions, none lost, %d transactions twice (%d whose reply had not been sent, %d at most %v after it), %d kills",
		s.sent, len(messages), len(repeated), len(repeated)-answered, answered, longest.Round(100*time.Microsecond), len(s.kills))
}

// since is how long before the kill that ended its connection a reply was sent;
// it is negative if the kill was first.
func (s *shipment) since(reply time.Time) time.Duration {
	var gap time.Duration
	for i, k := range s.kills {
		if d := k.Sub(reply); i == 0 || d.Abs() < gap.Abs() {
			gap = d
		}
	}
	return gap
}
