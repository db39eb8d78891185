package directory

import (
	"context"
	"net/netip"
	"runtime"
	"sync"
)

// gate bounds how many passwords are hashed at a time. Each address waits in
// a lane of its own that has half of the places, so that one which guesses
// passwords cannot keep all others waiting.
type gate struct {
	places chan struct{}

	mu    sync.Mutex
	lanes map[netip.Prefix]*lane
}

type lane struct {
	places chan struct{}
	users  int // inside or waiting; the lane goes with the last
}

// maxHashes bounds the memory: so many times the cost of a hash.
const maxHashes = 8

func newGate() *gate {
	return &gate{
		places: make(chan struct{}, min(max(runtime.GOMAXPROCS(0), 2), maxHashes)),
		lanes:  make(map[netip.Prefix]*lane),
	}
}

// enter waits for a place; leave gives it back. It fails with the context's
// error.
func (g *gate) enter(ctx context.Context, from netip.Addr) (leave func(), err error) {
	key := network(from)
	l := g.join(key)
	if err := take(ctx, l.places); err != nil {
		g.part(key, l)
		return nil, err
	}
	if err := take(ctx, g.places); err != nil {
		<-l.places
		g.part(key, l)
		return nil, err
	}
	return func() {
		<-g.places
		<-l.places
		g.part(key, l)
	}, nil
}

func take(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) join(key netip.Prefix) *lane {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.lanes[key]
	if l == nil {
		l = &lane{places: make(chan struct{}, cap(g.places)/2)}
		g.lanes[key] = l
	}
	l.users++
	return l
}

func (g *gate) part(key netip.Prefix, l *lane) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(g.lanes, key)
	}
}

// network is what counts as one client: an IPv4 address or an IPv6 /64. The
// zero Addr, of clients without one, is a network of its own.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
