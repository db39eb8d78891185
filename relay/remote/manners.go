package remote

import (
	"sync"
	"time"
)

const (
	// mannersTime is how long it is remembered that a host does not do what it
	// offers, maxManners of how many hosts.
	mannersTime = time.Hour
	maxManners  = 1024
)

// manners are the hosts that offer an extension and cannot do it, by address,
// so that not every message has to find out. It is safe for concurrent use.
type manners struct {
	mu    sync.Mutex
	hosts map[string]manner
}

type manner struct {
	// without are EHLO keywords not to believe.
	without []string
	until   time.Time
}

// distrust notes that a host does not do what a keyword says.
func (m *manners) distrust(address, keyword string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hosts == nil {
		m.hosts = make(map[string]manner)
	}
	known, ok := m.hosts[address]
	if !ok && len(m.hosts) >= maxManners {
		m.forget(now)
	}
	known.without = append(known.without[:len(known.without):len(known.without)], keyword)
	known.until = now.Add(mannersTime)
	m.hosts[address] = known
}

// forget makes room: what is over goes, or else any one.
func (m *manners) forget(now time.Time) {
	for a, h := range m.hosts {
		if !now.Before(h.until) {
			delete(m.hosts, a)
		}
	}
	for a := range m.hosts {
		if len(m.hosts) < maxManners {
			return
		}
		delete(m.hosts, a)
	}
}

// mind takes out of what a host offers what it is known not to do.
func (m *manners) mind(address string, ext map[string]string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.hosts[address]
	if !ok {
		return
	}
	if !now.Before(known.until) {
		delete(m.hosts, address)
		return
	}
	for _, k := range known.without {
		delete(ext, k)
	}
}
