package smtpd

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"restante/internal/ratelimit"
)

// Rate is how many of something may come in a time; the zero Rate is no limit.
type Rate = ratelimit.Rate

// Rates bound what one client, or one account, may send.
type Rates struct {
	// Messages counts transactions (MAIL), Recipients what RCPT accepts.
	Messages, Recipients Rate
}

const (
	// forgetFailure is after what time one failed login of a network, or
	// into an account, is forgotten.
	forgetFailure = 10 * time.Minute
	// keepKnown is how long it is remembered from where an account logs in.
	keepKnown = 30 * 24 * time.Hour
	// maxWaiting is how many logins of a network may wait at one time for
	// what its failures have earned it.
	maxWaiting = 4
)

// Gate counts what the clients of several Servers do, so that the limits hold
// for all of them together: connections, messages and recipients, failed
// logins. It outlives the Servers, which bring the limits; a Server without
// one makes its own. Its memory is bounded however many clients there are.
type Gate struct {
	mu      sync.Mutex
	total   int
	perNet  map[netip.Prefix]int
	waiting map[netip.Prefix]int

	messages, recipients *ratelimit.Buckets[subject]
	// What failed is counted by the client's network and, apart from that,
	// by the account's name. known are the networks from which an account
	// has logged in: whoever attacks it from elsewhere does not delay it there.
	failedNet  *ratelimit.Failures[netip.Prefix]
	failedName *ratelimit.Failures[uint64]
	known      *ratelimit.Set[place]
	seed       maphash.Seed
}

// subject is whose messages are counted: an account, or else a network.
type subject struct {
	network netip.Prefix
	account uint64
}

// place is where an account logs in from.
type place struct {
	network netip.Prefix
	account uint64
}

// NewGate returns a Gate that has seen nobody yet.
func NewGate() *Gate {
	return &Gate{
		perNet:     make(map[netip.Prefix]int),
		waiting:    make(map[netip.Prefix]int),
		messages:   ratelimit.NewBuckets[subject](0),
		recipients: ratelimit.NewBuckets[subject](0),
		failedNet:  ratelimit.NewFailures[netip.Prefix](0, forgetFailure),
		failedName: ratelimit.NewFailures[uint64](0, forgetFailure),
		known:      ratelimit.NewSet[place](0, keepKnown),
		seed:       maphash.MakeSeed(),
	}
}

// name is a name from the network in bounded space. Nobody outside knows the
// seed, so nobody can choose names that collide.
func (g *Gate) name(s string) uint64 { return maphash.String(g.seed, s) | 1 }

// enter counts a connection, unless there are too many.
func (g *Gate) enter(network netip.Prefix, l Limits) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.total >= l.MaxConnections:
		return errCrowded
	case g.perNet[network] >= l.MaxPerAddress:
		return errCrowdedNet
	}
	g.total++
	g.perNet[network]++
	return nil
}

func (g *Gate) leave(network netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.perNet[network]--; g.perNet[network] == 0 {
		delete(g.perNet, network)
	}
}

// move counts a connection under another network, when it turns out that it
// is somebody else's: a proxy's client.
func (g *Gate) move(from, to netip.Prefix, l Limits) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.perNet[to] >= l.MaxPerAddress {
		return errCrowdedNet
	}
	g.perNet[to]++
	if g.perNet[from]--; g.perNet[from] == 0 {
		delete(g.perNet, from)
	}
	return nil
}

var (
	errCrowded    = reply{421, code{4, 3, 2}, "Too many connections, try again later"}
	errCrowdedNet = reply{421, code{4, 7, 0}, "Too many connections from your address"}
	errMessages   = reply{450, code{4, 7, 1}, "Too many messages in a short time, try again later"}
	errRecipients = reply{450, code{4, 7, 1}, "Too many recipients in a short time, try again later"}
	errLogins     = reply{454, code{4, 7, 0}, "Too many failed logins, try again later"}
)

// takeMessage counts a transaction that begins, and refuses it where there
// were too many lately.
func (s *session) takeMessage() error {
	who, rates := s.subject()
	if wait := s.srv.gate.messages.Take(who, 1, rates.Messages, time.Now()); wait > 0 {
		return errMessages
	}
	return nil
}

// takeRecipient does the same for one recipient.
func (s *session) takeRecipient() error {
	who, rates := s.subject()
	if wait := s.srv.gate.recipients.Take(who, 1, rates.Recipients, time.Now()); wait > 0 {
		return errRecipients
	}
	return nil
}

// subject is on whose account messages and recipients go, and the rates for it.
func (s *session) subject() (subject, Rates) {
	l := s.srv.limits
	switch {
	case s.account != "":
		rates := l.AccountRates
		if s.srv.opt.Allowances != nil {
			if own, _ := s.srv.opt.Allowances.Allowance(s.account); !own.Unlimited() {
				rates.Messages = own
			}
		}
		return subject{account: s.srv.gate.name(s.account)}, rates
	case s.srv.opt.Role == LMTP || s.srv.trusts(s.addr):
		return subject{network: s.srv.network(s.addr)}, l.TrustedRates
	}
	return subject{network: s.srv.network(s.addr)}, l.StrangerRates
}

// trusts tells whether an address may send without saying who it is; such
// clients are spared some of what strangers have to bear.
func (s *Server) trusts(a netip.Addr) bool {
	return s.opt.Role != Submission && within(a, s.opt.Trusted)
}

// normalizes tells whether messages from an address are made clean.
func (s *Server) normalizes(a netip.Addr) bool { return s.trusts(a) && within(a, s.opt.Normalize) }

func within(a netip.Addr, networks []netip.Prefix) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
