package relay_test

import (
	"fmt"
	"slices"
	"testing"

	"restante/internal/standin"
	"restante/relay"
)

// TestBrokenAtEveryOctet breaks the connection after each octet of a
// transaction, in either direction, under the whole relay: each recipient is
// delivered to in the end, by a message that is whole, and twice only if the
// next hop had taken it before the connection broke.
func TestBrokenAtEveryOctet(t *testing.T) {
	const most = 600 // more octets than a transaction has
	for name, opt := range map[string]standin.Options{
		"BDAT":             {Extra: []string{"CHUNKING"}},
		"DATA, one by one": {Without: []string{"PIPELINING"}},
		"LMTP":             {LMTP: true},
	} {
		for _, at := range []standin.Point{standin.Received, standin.Sent} {
			t.Run(fmt.Sprintf("%s %s", name, at), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, opt, func(r *relay.Route) { r.LMTP, r.Idle = opt.LMTP, -1 })
				seen, whole := 0, false
				for n := 0; n < most && !whole; n++ {
					connections := h.srv.Connections()
					h.srv.Next(standin.Script{{At: at, Octets: n}})
					h.send("a@example.com", "b@example.com")
					h.empty()
					got := h.srv.Messages()[seen:]
					seen += len(got)
					for _, to := range []string{"a@example.com", "b@example.com"} {
						times, answered := 0, 0
						for _, m := range got {
							if string(m.Data) != letter+"\r\n" {
								t.Fatalf("%d octets: message %q", n, m.Data)
							}
							if slices.Contains(m.To, to) {
								times++
								if m.Answered {
									answered++
								}
							}
						}
						if times == 0 || times > 2 || times == 2 && at == standin.Received || answered != times {
							t.Fatalf("%d octets: %s was delivered to %d times, %d of them answered", n, to, times, answered)
						}
					}
					// Whole is when one connection did.
					whole = h.srv.Connections() == connections+1
				}
				if !whole {
					t.Errorf("no transaction was left whole by %d octets", most)
				}
				if r := h.reports(); len(r) != 0 {
					t.Errorf("%d reports, the first: %s", len(r), r[0])
				}
			})
		}
	}
}
