package remote

import (
	"sync"
	"time"

	"restante/relay"
)

const (
	// idleTime is how long a connection is kept for the next delivery.
	idleTime = 3 * time.Second
	// maxUses bounds the transactions of one connection.
	maxUses = 100
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

// pool keeps sessions that are between two deliveries. There are never more
// than deliveries were in progress in the last idleTime.
type pool struct {
	mu     sync.Mutex
	idle   map[poolKey][]*idler
	closed bool
	ending sync.WaitGroup
}

type idler struct {
	s     *session
	timer *time.Timer
}

// take returns a session that was put, or nil.
func (p *pool) take(key poolKey) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[key]
	for len(list) > 0 {
		i := list[len(list)-1]
		list = list[:len(list)-1]
		p.set(key, list)
		if i.timer.Stop() {
			p.ending.Done()
			return i.s
		}
		// Its time has just run out, and the timer ends it.
	}
	return nil
}

func (p *pool) set(key poolKey, list []*idler) {
	if len(list) == 0 {
		delete(p.idle, key)
		return
	}
	p.idle[key] = list
}

// put keeps a session, until it is taken or its time is over.
func (p *pool) put(key poolKey, s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending.Add(1)
	if p.closed {
		go func() {
			defer p.ending.Done()
			s.quit(quitTime)
		}()
		return
	}
	i := &idler{s: s}
	i.timer = time.AfterFunc(idleTime, func() {
		defer p.ending.Done()
		p.drop(key, i)
		s.quit(quitTime)
	})
	if p.idle == nil {
		p.idle = make(map[poolKey][]*idler)
	}
	p.idle[key] = append(p.idle[key], i)
}

func (p *pool) drop(key poolKey, gone *idler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var left []*idler
	for _, i := range p.idle[key] {
		if i != gone {
			left = append(left, i)
		}
	}
	p.set(key, left)
}

// close ends all sessions and waits for it; a put from then on ends its own.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for key, list := range p.idle {
		for _, i := range list {
			if i.timer.Stop() {
				go func() {
					defer p.ending.Done()
					i.s.quit(quitTime)
				}()
			}
		}
		delete(p.idle, key)
	}
	p.mu.Unlock()
	p.ending.Wait()
}
