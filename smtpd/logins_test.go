package smtpd

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/ratelimit"
	"restante/spool/spooltest"
)

// from returns the session of a new connection from an address.
func (h *pipeHouse) from(addr string) *session {
	client, server := net.Pipe()
	h.t.Cleanup(func() { client.Close() })
	return newConn(h.srv, server, netip.MustParseAddr(addr)).session
}

// timed tells how long f takes, in the bubble's time.
func timed(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin)
}

// try is one attempt to log in; it tells how long it took to be looked at.
func (s *session) try(t *testing.T, name string, good bool) time.Duration {
	t.Helper()
	var err error
	d := timed(func() { err = s.mayLogIn(name) })
	switch {
	case err != nil:
		t.Errorf("%s from %s: %v", name, s.addr, err)
	case good:
		s.loggedIn(name)
	default:
		s.failedLogin(name)
	}
	return d
}

// Each failed login delays the next one, over connections and names.
func TestLoginDelayGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		defer h.close()
		for i, want := range []int{0, 1, 2, 4, 8, 16, 30, 30} {
			// A new connection and another name for each; the same /64.
			s := h.from("2001:db8::" + string(rune('a'+i%6)))
			if d := s.try(t, "name"+string(rune('a'+i)), false); d.Round(time.Second) != time.Duration(want)*time.Second {
				t.Errorf("login %d was looked at after %v, want %ds", i, d, want)
			}
		}
		if d := h.from("2001:db8:0:1::a").try(t, "carol", false); d != 0 {
			t.Errorf("another network waits %v", d)
		}
		time.Sleep(3 * time.Hour)
		if d := h.from("2001:db8::a").try(t, "dave", false); d != 0 {
			t.Errorf("hours later the network still waits %v", d)
		}
	})
}

// Whoever attacks an account, from wherever, delays its owner not at all where
// the account is known, and a little elsewhere.
func TestLoginOfTheRightfulUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		defer h.close()
		h.from("192.0.2.1").try(t, "alice", true)
		for i := range 50 {
			h.from("198.51.100."+string(rune('1'+i%9))).try(t, "alice", false)
		}
		if d := h.from("192.0.2.1").try(t, "alice", true); d != 0 {
			t.Errorf("at home alice waits %v", d)
		}
		if d := h.from("203.0.113.1").try(t, "alice", true); d != maxNameDelay {
			t.Errorf("elsewhere alice waits %v, want %v", d, maxNameDelay)
		}
		if d := h.from("203.0.113.1").try(t, "alice", true); d != 0 {
			t.Errorf("there again alice waits %v", d)
		}
		if d := h.from("192.0.2.1").try(t, "bob", true); d != 0 {
			t.Errorf("bob waits %v for what was done to alice", d)
		}
		// At a known place a wrong password is a failure like others.
		h.from("192.0.2.1").try(t, "alice", false)
		if d := h.from("192.0.2.1").try(t, "alice", false); d == 0 {
			t.Error("a known place may guess without a delay")
		}
	})
}

// Many connections do not make many guesses: those that would wait are few.
func TestLoginsWaitingAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		defer h.close()
		for range 6 {
			h.from("192.0.2.1").try(t, "x", false)
		}
		var waiting sync.WaitGroup
		for range maxWaiting {
			s := h.from("192.0.2.1")
			waiting.Go(func() { s.try(t, "alice", true) })
		}
		synctest.Wait()
		var err error
		d := timed(func() { err = h.from("192.0.2.1").mayLogIn("bob") })
		if err != errLogins || d != 0 {
			t.Errorf("one more was answered %v after %v", err, d)
		}
		if err := h.from("192.0.2.2").mayLogIn("bob"); err != nil {
			t.Errorf("another network was answered %v", err)
		}
		waiting.Wait()
		if len(h.srv.gate.waiting) != 0 {
			t.Error("who has waited still counts")
		}
		if err := h.from("192.0.2.1").mayLogIn("bob"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// A shutdown ends the waiting.
func TestLoginDelayEndsWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		for range 7 {
			h.from("192.0.2.1").try(t, "x", false)
		}
		var waited time.Duration
		var wg sync.WaitGroup
		s := h.from("192.0.2.1")
		wg.Go(func() { waited = timed(func() { s.mayLogIn("x") }) })
		synctest.Wait()
		h.close()
		wg.Wait()
		if waited != 0 {
			t.Errorf("waited %v", waited)
		}
	})
}

// Names, networks and accounts cost bounded memory, however many and long.
func TestGateIsBounded(t *testing.T) {
	srv := New(testOptions(spooltest.NewMemory(spooltest.MemoryOptions{})))
	srv.limits.AuthDelay = time.Nanosecond
	srv.limits.StrangerRates = Rates{Rate{Count: 1, Per: time.Hour}, Rate{Count: 1, Per: time.Hour}}
	g := srv.gate
	const places = 100
	g.messages, g.recipients = ratelimit.NewBuckets[subject](places), ratelimit.NewBuckets[subject](places)
	g.failedNet = ratelimit.NewFailures[netip.Prefix](places, time.Hour)
	g.failedName = ratelimit.NewFailures[uint64](places, time.Hour)
	g.known = ratelimit.NewSet[place](places, time.Hour)
	client, server := net.Pipe()
	defer client.Close()
	long := strings.Repeat("x", 10000)
	for i := range 10 * places {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		s := newConn(srv, server, a).session
		s.failedLogin(long + a.String())
		s.loggedIn(a.String())
		s.takeMessage()
		s.takeRecipient()
	}
	for what, n := range map[string]int{
		"networks": g.failedNet.Len(), "names": g.failedName.Len(), "places": g.known.Len(),
		"messages": g.messages.Len(), "recipients": g.recipients.Len(),
	} {
		if n > places || n < places/2 {
			t.Errorf("%d %s are remembered", n, what)
		}
	}
	if len(g.waiting) != 0 || len(g.perNet) != 0 {
		t.Error("who is gone still counts")
	}
}

// Two servers that share a gate share its limits.
func TestSharedGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := NewGate()
		share := func(o *Options) {
			o.Gate = gate
			o.Limits.MaxConnections = 2
			o.Limits.StrangerRates.Messages = Rate{Count: 2, Per: time.Minute}
		}
		one, two := openPipe(t, share), openPipe(t, share)
		defer one.close()
		defer two.close()
		a, b := one.dial(), two.dial()
		a.transaction()
		b.transaction()
		third := two.dial()
		third.want("421 4.3.2 *")
		a.ask("RSET", "250 *")
		a.ask("MAIL FROM:<>", "450 4.7.1 *")
		time.Sleep(30 * time.Second)
		a.ask("MAIL FROM:<>", "250 *")
		b.ask("RSET", "250 *")
		b.ask("MAIL FROM:<>", "450 4.7.1 *")
		a.ask("QUIT", "221 *")
		a.want("")
		synctest.Wait()
		two.dial().want("220 *")
	})
}

// A connection whose client turns out to be behind a proxy counts as the
// client's.
func TestRecount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, func(o *Options) { o.Limits.MaxPerAddress = 2 })
		defer h.close()
		client := netip.MustParseAddr("192.0.2.1")
		for i := range 3 {
			h.dial().want("220 *")
			synctest.Wait()
			var last *conn
			for c, net := range h.srv.conns {
				if net != h.srv.network(client) {
					last = c
				}
			}
			err := h.srv.recount(last, client)
			if (err != nil) != (i == 2) {
				t.Errorf("connection %d: %v", i, err)
			}
		}
		if n := h.srv.gate.perNet[h.srv.network(client)]; n != 2 {
			t.Errorf("%d connections are counted for the client", n)
		}
	})
}
