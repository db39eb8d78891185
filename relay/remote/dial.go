package remote

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"restante/relay"
)

// stagger is how long one address has before the next is tried beside it (RFC
// 8305 section 5).
const stagger = 250 * time.Millisecond

// Dialer opens a connection: to "host:port" with the network "tcp", from an
// address of ours if source is valid, or to a path with "unix".
type Dialer func(ctx context.Context, source netip.Addr, network, address string) (net.Conn, error)

func dial(ctx context.Context, source netip.Addr, network, address string) (net.Conn, error) {
	var d net.Dialer
	if source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	return d.DialContext(ctx, network, address)
}

// line is an open connection to one of the addresses of a target.
type line struct {
	conn net.Conn
	// t is the target with the address that answered.
	t target
}

// attempt is one address that is dialled.
type attempt struct {
	n     int
	conn  net.Conn
	err   error
	began time.Time
	took  time.Duration
}

// dial connects to the first of some addresses that answers, and returns those
// that are left: neither failed nor connected to. They are tried in order; one
// that does not answer within stagger, or fails, has the next beside it. Each
// failure is a contact, the connection is the last.
func (c *Courier) dial(ctx context.Context, d *delivery, t target, addrs []netip.Addr) (*line, []netip.Addr, error) {
	won, failed := c.race(ctx, d.job.Route, t, addrs)
	done := make([]bool, len(addrs))
	var last error
	for _, a := range failed {
		t.addr, done[a.n] = addrs[a.n], true
		s := session{remote: t.remote()}
		last = s.fault(transient(4, 1, "connecting: "+reason(a.err)))
		d.turn(t.host(), t.address())
		d.contacts[len(d.contacts)-1].Began = a.began
		d.leave(nil, last)
		d.contacts[len(d.contacts)-1].Took = a.took
		c.opt.Logger.Debug("no connection", "id", d.job.Task.Message, "task", d.job.Task, "remote", s.remote, "error", a.err)
	}
	if won.conn == nil {
		return nil, nil, last
	}
	t.addr, done[won.n] = addrs[won.n], true
	d.turn(t.host(), t.address())
	d.contacts[len(d.contacts)-1].Began = won.began
	var left []netip.Addr
	for i, addr := range addrs {
		if !done[i] {
			left = append(left, addr)
		}
	}
	return &line{conn: won.conn, t: t}, left, nil
}

// race dials and returns the first connection, if there is one, and what
// failed before it. It ends the others and waits for their end.
func (c *Courier) race(ctx context.Context, route *relay.Route, t target, addrs []netip.Addr) (won attempt, failed []attempt) {
	if len(addrs) == 1 {
		a := c.dialOne(ctx, route, t, addrs, 0)
		if a.err != nil {
			return attempt{}, []attempt{a}
		}
		return a, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan attempt, len(addrs))
	next, running := 0, 0
	timer := time.NewTimer(stagger)
	defer timer.Stop()
	start := func() {
		if next == len(addrs) {
			return
		}
		n := next
		next++
		running++
		go func() { results <- c.dialOne(ctx, route, t, addrs, n) }()
		timer.Reset(stagger)
	}
	for start(); running > 0; {
		select {
		case <-timer.C:
			start()
		case a := <-results:
			running--
			switch {
			case a.err != nil && won.conn == nil:
				failed = append(failed, a)
				if ctx.Err() == nil {
					start()
				}
			case a.err == nil && won.conn == nil:
				won, next = a, len(addrs)
				cancel()
			case a.err == nil:
				a.conn.Close() // it came second
			}
		}
	}
	return won, failed
}

func (c *Courier) dialOne(ctx context.Context, route *relay.Route, t target, addrs []netip.Addr, n int) attempt {
	a := attempt{n: n, began: time.Now()}
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeouts.Dial)
	defer cancel()
	t.addr = addrs[n]
	network, source := "unix", netip.Addr{}
	if t.path == "" {
		network = "tcp"
		source, _ = sourceFor(route, t.addr)
	}
	a.conn, a.err = c.opt.Dial(ctx, source, network, t.address())
	if a.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		a.err = os.ErrDeadlineExceeded
	}
	a.took = time.Since(a.began)
	return a
}

// sourceFor returns the address of ours that a route has for connections to an
// address. It is not ok if the route has some, but none of that family.
func sourceFor(route *relay.Route, to netip.Addr) (source netip.Addr, ok bool) {
	for _, a := range route.Source {
		if a.Is4() == to.Unmap().Is4() {
			return a, true
		}
	}
	return netip.Addr{}, len(route.Source) == 0
}

// interleave orders addresses so that the families take turns (RFC 8305
// section 4), that of the first address first; inside a family the order stays.
func interleave(addrs []netip.Addr) []netip.Addr {
	if len(addrs) < 3 {
		return addrs
	}
	var same, other []netip.Addr
	for _, a := range addrs {
		if a.Is4() == addrs[0].Is4() {
			same = append(same, a)
		} else {
			other = append(other, a)
		}
	}
	list := make([]netip.Addr, 0, len(addrs))
	for i := range max(len(same), len(other)) {
		if i < len(same) {
			list = append(list, same[i])
		}
		if i < len(other) {
			list = append(list, other[i])
		}
	}
	return list
}
