package remote

import (
	"cmp"
	"container/list"
	"sync"
	"time"

	"restante/relay"
)

const (
	// idleTime is how long a connection is kept for the next delivery, and
	// maxUses how many transactions it has, where the route does not say.
	idleTime = 3 * time.Second
	maxUses  = 100
	// maxIdle bounds the connections that are kept, to all destinations.
	maxIdle = 200
	// quitTime bounds the good-bye.
	quitTime = 2 * time.Second
)

// poolKey is a destination, and the host if its route has several. Routes are
// never changed, only replaced, so that the same pointer means the same
// credentials and TLS policy.
type poolKey struct {
	route  *relay.Route
	domain string
	host   string
}

// pool keeps sessions that are between two deliveries: each for the idle time
// of its route, and no more than max of them; the one that was kept longest
// goes first.
type pool struct {
	max int // maxIdle if 0

	mu     sync.Mutex
	idle   map[poolKey][]*idler
	order  list.List // of *idler, the longest kept first
	closed bool
	ending sync.WaitGroup
}

// idler is a session's place in the pool. It is made once for each session.
type idler struct {
	s     *session
	key   poolKey
	timer *time.Timer
	at    *list.Element // in order, nil if it is not kept
}

// take returns a session that was put and still has a next hop, or nil.
func (p *pool) take(key poolKey) *session {
	for {
		s := p.last(key)
		if s == nil || alive(s.wire) {
			return s
		}
		s.close()
	}
}

// last takes the session out that was put last, which is the most likely to be
// alive, and leaves the others to end if there is no need for them.
func (p *pool) last(key poolKey) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.idle[key]
	if len(kept) == 0 {
		return nil
	}
	i := kept[len(kept)-1]
	p.drop(i)
	// If its time has just run out the timer finds that it is not kept.
	i.timer.Stop()
	return i.s
}

// drop takes a session out.
func (p *pool) drop(i *idler) {
	p.order.Remove(i.at)
	i.at = nil
	kept := p.idle[i.key]
	for n := range kept {
		if kept[n] == i {
			kept = append(kept[:n], kept[n+1:]...)
			break
		}
	}
	if len(kept) == 0 {
		delete(p.idle, i.key)
		return
	}
	p.idle[i.key] = kept
}

// put keeps a session, until it is taken or its time is over.
func (p *pool) put(key poolKey, s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		p.end(s)
		return
	}
	if p.order.Len() >= cmp.Or(p.max, maxIdle) {
		oldest := p.order.Front().Value.(*idler)
		p.drop(oldest)
		oldest.timer.Stop()
		p.end(oldest.s)
	}
	i := s.place
	if i == nil {
		i = &idler{s: s, key: key}
		s.place = i
	}
	i.at = p.order.PushBack(i)
	if p.idle == nil {
		p.idle = make(map[poolKey][]*idler)
	}
	p.idle[key] = append(p.idle[key], i)
	idle := cmp.Or(key.route.Idle, idleTime)
	if i.timer == nil {
		i.timer = time.AfterFunc(idle, func() { p.expire(i) })
	} else {
		i.timer.Reset(idle)
	}
}

// expire ends a session whose time is over. One that was taken and put again
// since the timer ran out has a new one, and is ended a little early.
func (p *pool) expire(i *idler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i.at != nil && !p.closed {
		p.drop(i)
		p.end(i.s)
	}
}

// leave ends a session that is not to be kept.
func (p *pool) leave(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(s)
}

// end says good-bye beside everything else.
func (p *pool) end(s *session) { p.ending.Go(func() { s.quit(quitTime) }) }

// close ends all sessions and waits for it; a put from then on ends its own.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for p.order.Len() > 0 {
		i := p.order.Front().Value.(*idler)
		p.drop(i)
		i.timer.Stop()
		p.end(i.s)
	}
	p.mu.Unlock()
	p.ending.Wait()
}
