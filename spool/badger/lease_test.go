package badger

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// to is a message with one task, for a domain.
func to(domain string) spool.Message {
	return spool.Message{Tasks: []spool.Task{{
		Destination: spool.Destination{Route: "mx", Domain: domain},
		Recipients:  []mail.Recipient{{To: mail.Address{Local: "bob", Domain: domain}}},
	}}}
}

// A Lease works on what was stored when it began. What is stored while it looks
// at a destination where nothing is left, or before it comes there, is for the
// next Lease: none may take the destination for empty on the word of the other.
func TestStoredDuringALease(t *testing.T) {
	const here, there = "here.example", "there.example"
	for _, c := range []struct{ name, into string }{
		{"for the destination that is looked at", here},
		{"for one that is looked at later", there},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := open(t, Options{})
			// Both have had tasks, and are looked at once more.
			for _, domain := range []string{here, there} {
				commit(t, e, []byte("before"), to(domain))
			}
			if n := len(settleAll(t, e, 10)); n != 2 {
				t.Fatalf("%d tasks were settled", n)
			}
			stored := 0
			claim := spool.Claim{Max: 10, Lifetime: time.Minute}
			claim.Allow = func(d spool.DestinationInfo) int {
				into := d.Destination.Domain
				if c.into == there {
					into = map[string]string{here: there, there: here}[into]
				}
				if stored++; stored == 1 {
					commit(t, e, []byte("meanwhile"), to(into))
				}
				return 10
			}
			if _, _, err := e.Lease(claim); err != nil {
				t.Fatal(err)
			}
			if stored != 2 {
				t.Fatalf("%d destinations were looked at", stored)
			}
			commit(t, e, []byte("after"), to(here))
			commit(t, e, []byte("after"), to(there))
			if n := len(settleAll(t, e, 10)); n != 3 {
				t.Errorf("%d tasks are leased, want 3", n)
			}
		})
	}
}

// Whatever comes in while a runner leases and settles, all of it is leased: what
// is due, and what is not and expires. Each client waits for its message to be
// settled before it brings another: nothing that comes later makes up for one
// that was overlooked.
func TestNothingIsOverlooked(t *testing.T) {
	const clients, each = 4, 200
	e := open(t, Options{})
	var mu sync.Mutex
	ends := make(map[mail.ID]chan struct{})
	end := func(id mail.ID) chan struct{} {
		mu.Lock()
		defer mu.Unlock()
		if ends[id] == nil {
			ends[id] = make(chan struct{})
		}
		return ends[id]
	}
	ctx, cancel := context.WithCancel(context.Background())
	var coming sync.WaitGroup
	defer coming.Wait()
	defer cancel()
	for c := range clients {
		coming.Go(func() {
			for i := range each {
				m := to(fmt.Sprintf("d%d.example", c%2))
				if (c+i)%4 == 0 {
					m.Tasks[0].Delay, m.Tasks[0].Expire = time.Hour, time.Duration(i%3)*time.Millisecond+1
				}
				r, err := stage(t, e, []byte("x")).Commit(context.Background(), m)
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case <-end(r.ID):
				case <-ctx.Done():
					return
				}
			}
		})
	}
	claim := spool.Claim{Max: 3, Timers: 3, Lifetime: time.Hour}
	claim.Allow = func(spool.DestinationInfo) int {
		time.Sleep(100 * time.Microsecond) // in which something may come in
		return 3
	}
	settled := 0
	for quiet := time.Now(); settled < clients*each; {
		leases, _, err := e.Lease(claim)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range leases {
			if err := e.Settle(context.Background(), l, spool.Settlement{Results: []spool.Result{{Ended: true}}}); err != nil {
				t.Fatal(err)
			}
			close(end(l.Task.ID.Message))
			settled++
			quiet = time.Now()
		}
		if time.Since(quiet) > time.Minute {
			t.Fatalf("%d tasks are settled, and those that wait are not leased", settled)
		}
	}
}
