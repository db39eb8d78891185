package imapd

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// penaltyDoublings bounds the delay of failed logins, forget is when they
	// are forgotten, and maxPenalties how many addresses are remembered.
	penaltyDoublings = 4
	forget           = 15 * time.Minute
	maxPenalties     = 10000
)

// gate counts connections and failed logins by address, and sessions by account.
type gate struct {
	max, maxPerAddress, maxPerAccount int
	delay                             time.Duration
	now                               func() time.Time

	mu        sync.Mutex
	total     int
	open      map[netip.Prefix]int
	sessions  map[string]int
	penalties map[netip.Prefix]penalty
}

type penalty struct {
	failures int
	last     time.Time
}

func newGate(opt Options) *gate {
	return &gate{
		max:           opt.MaxConnections,
		maxPerAddress: opt.MaxPerAddress,
		maxPerAccount: opt.MaxPerAccount,
		delay:         opt.LoginDelay,
		now:           opt.Now,
		open:          make(map[netip.Prefix]int),
		sessions:      make(map[string]int),
		penalties:     make(map[netip.Prefix]penalty),
	}
}

// origin is what counts as one address: with IPv6 a /64, which one customer
// commonly has.
func origin(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// enter tells whether another connection may be served, and counts it.
func (g *gate) enter(a netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := origin(a)
	if g.total >= g.max || g.open[o] >= g.maxPerAddress {
		return false
	}
	g.total++
	g.open[o]++
	return true
}

func (g *gate) leave(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := origin(a)
	g.total--
	if g.open[o]--; g.open[o] == 0 {
		delete(g.open, o)
	}
}

// login tells whether another session of an account may begin, and counts it.
func (g *gate) login(account string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sessions[account] >= g.maxPerAccount {
		return false
	}
	g.sessions[account]++
	return true
}

func (g *gate) logout(account string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sessions[account]--; g.sessions[account] <= 0 {
		delete(g.sessions, account)
	}
}

// failed counts a failed login and returns how long its answer shall take. A
// good login does not make up for it: an attacker may have an account.
func (g *gate) failed(a netip.Addr) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, o := g.now(), origin(a)
	if len(g.penalties) >= maxPenalties {
		g.prune(now)
	}
	p := g.penalties[o]
	if now.Sub(p.last) > forget {
		p.failures = 0
	}
	d := g.delay << min(p.failures, penaltyDoublings)
	p.failures++
	p.last = now
	g.penalties[o] = p
	return d
}

// prune forgets what is old, or if nothing is, anything.
func (g *gate) prune(now time.Time) {
	for o, p := range g.penalties {
		if now.Sub(p.last) > forget {
			delete(g.penalties, o)
		}
	}
	for o := range g.penalties {
		if len(g.penalties) < maxPenalties {
			return
		}
		delete(g.penalties, o)
	}
}
