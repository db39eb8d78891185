package smtpd

import (
	"net/netip"
	"time"
)

const (
	// maxAuthDelay bounds the delay before a login from a network that has
	// failed before, however often.
	maxAuthDelay = 30 * time.Second
	// maxNameDelay bounds it where only others have failed, elsewhere: whoever
	// owns the account waits a little at a place where it is not known, and
	// is never locked out.
	maxNameDelay = 5 * time.Second
)

// mayLogIn is called when the name is known and before the secret is looked
// at. It waits, longer after each failure of the client's network or into the
// account, whichever is longer; a client that does not wait for the answer has
// not learned it. Failures are counted over all connections, and forgotten one
// by one. Where an account has logged in from before it need not wait.
//
// A mechanism of several steps may call it at any step before the one that
// tells right from wrong.
func (s *session) mayLogIn(name string) error {
	g, network, now := s.srv.gate, s.srv.network(s.addr), time.Now()
	key := g.name(name)
	if g.known.Has(place{network, key}, now) {
		return nil
	}
	base := s.srv.limits.AuthDelay
	delay := max(
		growing(base, g.failedNet.Count(network, now), maxAuthDelay),
		growing(base, g.failedName.Count(key, now), maxNameDelay),
	)
	if delay == 0 {
		return nil
	}
	if !g.queue(network) {
		s.srv.log.Warn("login refused", "remote", s.conn.remote(), "account", name, "status", errLogins.String())
		return errLogins
	}
	defer g.unqueue(network)
	s.wait(delay)
	return nil
}

// failedLogin is called after each wrong secret or name. It returns the reply,
// which ends the connection after too many.
func (s *session) failedLogin(name string) error {
	g, network, now := s.srv.gate, s.srv.network(s.addr), time.Now()
	key := g.name(name)
	s.authFailures++
	g.known.Remove(place{network, key})
	n, m := g.failedNet.Add(network, now), g.failedName.Add(key, now)
	s.srv.log.Warn("authentication failed", "remote", s.conn.remote(), "account", name,
		"failures", s.authFailures, "network_failures", n, "account_failures", m)
	s.wait(s.srv.limits.AuthDelay)
	if s.authFailures >= s.srv.limits.AuthFailures {
		return reply{421, code{4, 7, 0}, "Too many failed logins, closing the connection"}
	}
	return errCredentials
}

// loggedIn is called after each login, with the name that was given.
func (s *session) loggedIn(name string) {
	g := s.srv.gate
	g.known.Add(place{s.srv.network(s.addr), g.name(name)}, time.Now())
}

// growing is the delay after n failures: it doubles with each.
func growing(base time.Duration, n int, most time.Duration) time.Duration {
	if n == 0 {
		return 0
	}
	d := min(base, most)
	for i := 1; i < n && d < most; i++ {
		d = min(2*d, most)
	}
	return d
}

// wait waits, unless the server shuts down.
func (s *session) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.srv.draining:
	}
}

// queue lets one more login of a network wait, if there are not too many.
func (g *Gate) queue(network netip.Prefix) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting[network] >= maxWaiting {
		return false
	}
	g.waiting[network]++
	return true
}

func (g *Gate) unqueue(network netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting[network]--; g.waiting[network] == 0 {
		delete(g.waiting, network)
	}
}
