package badger

import (
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
