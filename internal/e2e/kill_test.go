package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"restante/internal/standin"
)

// senders is how many clients send at a time in the kill -9 test.
const senders = 6

// ledger is what the clients of the kill -9 test know of their messages.
type ledger struct {
	mu    sync.Mutex
	next  int
	tried map[int]bool // whether it was acknowledged
	acked int
	grew  chan struct{} // holds at most one signal
}

func (l *ledger) begin() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	l.tried[l.next] = false
	return l.next
}

func (l *ledger) acknowledged(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tried[n] = true
	l.acked++
	select {
	case l.grew <- struct{}{}:
	default:
	}
}

// numbered is the message of a number: up to 200 KiB, so that some bodies have
// several chunks, and all of it determined by the number.
func numbered(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 0))
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: alice@example.org\r\nSubject: number %d\r\n\r\n", n)
	size := r.IntN(4 << 10)
	if n%20 == 0 {
		size = r.IntN(200 << 10)
	}
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%x\r\n", sha256.Sum256(fmt.Append(nil, n, i)))
	}
	return b.Bytes()
}

// recipients are those of a number: a mailbox, the next hop, or both.
func recipients(n int) (deposit, relay bool, to []string) {
	deposit, relay = n%3 != 1, n%3 != 2
	if deposit {
		to = append(to, bob)
	}
	if relay {
		to = append(to, "carol@example.net")
	}
	return deposit, relay, to
}

// TestKill kills the daemon in the middle of its work, again and again, and
// then looks for every message that it acknowledged.
func TestKill(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	d := newDaemon(t, away(hop), quick(""))
	validity := d.validity(bob)
	book := &ledger{tried: make(map[int]bool), grew: make(chan struct{}, 1)}

	// The clients learn of each daemon through a channel: its ports are new.
	ctx, stop := context.WithCancel(context.Background())
	addrs := make(chan string)
	var clients sync.WaitGroup
	for range senders {
		clients.Go(func() {
			for {
				select {
				case addr := <-addrs:
					sendNumbers(ctx, addr, book)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	defer func() { stop(); clients.Wait() }()
	for range senders {
		addrs <- d.addr("smtp")
	}
	for turn := range *kills {
		progress(t, book)
		// At a random moment, mostly in the thick of it.
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		d.kill()
		d.start()
		t.Logf("kill %d: %d acknowledged so far", turn+1, book.acknowledgements())
		for range senders {
			addrs <- d.addr("smtp")
		}
	}
	progress(t, book)
	stop()
	clients.Wait()
	d.emptied()
	d.restart() // in order, to see that the spool is sound
	if now := d.validity(bob); now != validity {
		t.Errorf("UIDVALIDITY was %d and is %d", validity, now)
	}
	// Being killed is no reason to complain of anything at the next start.
	for line := range strings.Lines(d.log.String()) {
		if strings.Contains(line, "level=ERROR") {
			t.Errorf("logged: %s", line)
		}
	}
	judge(t, d, hop, book)
}

// dated are the fields in front of a message that came without a Date and a
// Message-ID.
func dated(fields []string) []string { return append(slices.Clone(fields), "Date", "Message-ID") }

func (l *ledger) acknowledgements() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

// progress waits until some more messages have been acknowledged.
func progress(t *testing.T, book *ledger) {
	t.Helper()
	for range 5 {
		select {
		case <-book.grew:
		case <-time.After(patience):
			t.Fatal("no message is acknowledged")
		}
	}
}

// sendNumbers sends one message after the other to one daemon, until it dies
// or ctx ends. No number is ever tried twice.
func sendNumbers(ctx context.Context, addr string, book *ledger) {
	c, err := dialSMTP(addr, nil)
	if err != nil {
		return
	}
	defer c.close()
	for ctx.Err() == nil {
		n := book.begin()
		_, _, to := recipients(n)
		if _, err := c.mail(numbered(n), alice, to...); err != nil {
			return
		}
		book.acknowledged(n)
	}
}

// judge compares the book with the mailbox and with the next hop.
func judge(t *testing.T, d *daemon, hop *standin.Server, book *ledger) {
	t.Helper()
	deposited, last := make(map[int]int), imap.UID(0)
	for _, m := range d.fetch(bob) {
		n := number(m.body)
		if m.uid <= last {
			t.Errorf("UID %d comes after UID %d", m.uid, last)
		}
		last = m.uid
		deposited[n]++
		sameButTrace(t, m.body, numbered(n), dated(local)...)
	}
	relays, twice := make(map[int]int), 0
	for _, m := range hop.Messages() {
		n := number(m.Data)
		if relays[n]++; relays[n] > 1 {
			twice++
		}
		sameButTrace(t, m.Data, numbered(n), dated(relayed)...)
	}
	for n, acked := range book.tried {
		deposit, relay, _ := recipients(n)
		switch got := deposited[n]; {
		case deposit && acked && got != 1:
			t.Errorf("message %d was acknowledged and is %d times in the mailbox", n, got)
		case got > 1:
			t.Errorf("message %d was not acknowledged and is %d times in the mailbox", n, got)
		case !deposit && got > 0:
			t.Errorf("message %d is in a mailbox that it was not for", n)
		}
		if relay && acked && relays[n] == 0 {
			t.Errorf("message %d was acknowledged and did not reach the next hop", n)
		}
		delete(deposited, n)
		delete(relays, n)
	}
	if len(deposited)+len(relays) > 0 {
		t.Errorf("messages that nobody sent: %v %v", deposited, relays)
	}
	// Twice only if the daemon died between the next hop's 250 and the record
	// of it: at most the deliveries of one moment for each kill.
	const perDestination = 5
	if twice > *kills*perDestination {
		t.Errorf("%d deliveries were made twice, with %d kills", twice, *kills)
	}
	t.Logf("%d tried, %d acknowledged, %d relayed twice, %d kills", len(book.tried), book.acked, twice, *kills)
}

// number is which message it is, 0 if it is none of them.
func number(message []byte) (n int) {
	_, rest, _ := bytes.Cut(message, []byte("\r\nSubject: number "))
	_, _ = fmt.Sscanf(string(rest[:min(len(rest), 20)]), "%d", &n)
	return n
}
