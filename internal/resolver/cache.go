package resolver

import (
	"container/list"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// question is what the cache is keyed by; the name is normalised.
type question struct {
	name  string
	qtype uint16
}

// answer is what a server said. It is shared and never changed.
type answer struct {
	// missing: the name does not exist.
	missing bool
	// secure: the server has validated it by DNSSEC, and its word is taken.
	secure bool
	text   []string // TXT and PTR
	mx     []net.MX
	addrs  []netip.Addr
	tlsa   []TLSA
	// alias is where the aliases of the name end, "" if it has none.
	alias string
}

func (a answer) err(name string) error {
	if a.missing {
		return notFound(name, "no such name")
	}
	return nil
}

// read takes the records of one type out of a reply: the resolver has followed
// the aliases, and what it found may stand under another name.
func read(msg *dns.Msg, qtype uint16) answer {
	a := answer{missing: msg.Rcode == dns.RcodeNameError, alias: alias(msg)}
	for _, rr := range msg.Answer {
		if rr.Header().Rrtype != qtype {
			continue
		}
		switch rr := rr.(type) {
		case *dns.TXT:
			a.text = append(a.text, unescape(strings.Join(rr.Txt, "")))
		case *dns.PTR:
			a.text = append(a.text, rr.Ptr)
		case *dns.MX:
			a.mx = append(a.mx, net.MX{Host: rr.Mx, Pref: rr.Preference})
		case *dns.A:
			if ip, ok := netip.AddrFromSlice(rr.A); ok {
				a.addrs = append(a.addrs, ip.Unmap())
			}
		case *dns.AAAA:
			if ip, ok := netip.AddrFromSlice(rr.AAAA); ok {
				a.addrs = append(a.addrs, ip)
			}
		case *dns.TLSA:
			if data, err := hex.DecodeString(rr.Certificate); err == nil {
				a.tlsa = append(a.tlsa, TLSA{rr.Usage, rr.Selector, rr.MatchingType, data})
			}
		}
	}
	return a
}

// alias follows the aliases in a reply from the name that was asked for. More
// than a resolver would follow are none.
func alias(msg *dns.Msg) string {
	next := make(map[string]string)
	for _, rr := range msg.Answer {
		if c, ok := rr.(*dns.CNAME); ok {
			next[strings.ToLower(c.Hdr.Name)] = strings.ToLower(c.Target)
		}
	}
	if len(next) == 0 || len(msg.Question) != 1 {
		return ""
	}
	name := strings.ToLower(msg.Question[0].Name)
	for range len(next) + 1 {
		target, ok := next[name]
		if !ok {
			return name
		}
		name = target
	}
	return ""
}

// unescape gives the octets of a TXT record, which the library holds in the
// presentation form of zone files: \DDD and \X.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if i+3 < len(s) && digit(s[i+1]) && digit(s[i+2]) && digit(s[i+3]) {
			b.WriteByte((s[i+1]-'0')*100 + (s[i+2]-'0')*10 + s[i+3] - '0')
			i += 3
			continue
		}
		i++
		b.WriteByte(s[i])
	}
	return b.String()
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// How long answers are believed, whatever they say themselves.
const (
	maxLife     = time.Hour
	maxNegative = 5 * time.Minute
)

// lifetime is how long a reply may be believed (RFC 2308 section 5 for one
// without records).
func lifetime(msg *dns.Msg) time.Duration {
	life := maxLife
	if len(msg.Answer) == 0 {
		life = 0
		for _, rr := range msg.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				life = min(maxNegative, seconds(soa.Hdr.Ttl), seconds(soa.Minttl))
			}
		}
	}
	for _, rr := range msg.Answer {
		life = min(life, seconds(rr.Header().Ttl))
	}
	if msg.Rcode == dns.RcodeNameError {
		life = min(life, maxNegative)
	}
	return life
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// cache holds answers until they are too old or, the ones not asked for longest
// first, until it is full.
type cache struct {
	limit int
	now   func() time.Time

	mu      sync.Mutex
	size    int
	entries map[question]*list.Element
	order   *list.List // of *entry, the last used first
}

type entry struct {
	question question
	answer   answer
	size     int
	until    time.Time
}

func newCache(limit int, now func() time.Time) *cache {
	return &cache{limit: limit, now: now, entries: make(map[question]*list.Element), order: list.New()}
}

func (c *cache) get(q question) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[q]
	if !ok {
		return answer{}, false
	}
	if found := e.Value.(*entry); c.now().Before(found.until) {
		c.order.MoveToFront(e)
		return found.answer, true
	}
	c.drop(e)
	return answer{}, false
}

func (c *cache) put(q question, a answer, life time.Duration) {
	size := sizeOf(q, a)
	if life <= 0 || size > c.limit/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[q]; ok {
		c.drop(e)
	}
	c.entries[q] = c.order.PushFront(&entry{q, a, size, c.now().Add(life)})
	for c.size += size; c.size > c.limit; {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(e *list.Element) {
	old := c.order.Remove(e).(*entry)
	delete(c.entries, old.question)
	c.size -= old.size
}

// sizeOf is about what an entry takes in memory, with its places in the map and
// the list.
func sizeOf(q question, a answer) int {
	n := 280 + len(q.name) + len(a.addrs)*24 + len(a.alias)
	for _, t := range a.tlsa {
		n += 32 + len(t.Data)
	}
	for _, s := range a.text {
		n += 16 + len(s)
	}
	for _, mx := range a.mx {
		n += 24 + len(mx.Host)
	}
	return n
}
