package authres

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"restante/internal/author"
	"restante/internal/dkim"
	"restante/internal/header"
	"restante/internal/screen"
)

// Action is the most that is done with a message that fails.
type Action string

// The actions, from the mildest on.
const (
	None       Action = "none"       // it is noted
	Quarantine Action = "quarantine" // it goes to Junk
	Reject     Action = "reject"     // it is refused
)

// strictness orders the actions; what is no action is none.
func (a Action) strictness() int {
	switch a {
	case Quarantine:
		return 1
	case Reject:
		return 2
	}
	return 0
}

// atMost is a, but no stricter than limit.
func (a Action) atMost(limit Action) Action {
	if a.strictness() > limit.strictness() {
		return limit
	}
	return a
}

// Resolver is what is asked about names; see package resolver for its errors.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIPv4(ctx context.Context, name string) ([]netip.Addr, error)
	LookupIPv6(ctx context.Context, name string) ([]netip.Addr, error)
	LookupAddr(ctx context.Context, addr netip.Addr) ([]string, error)
}

// Options is what a Screen works with. ID and Resolver are required.
type Options struct {
	// ID is our authserv-id: a domain name.
	ID string
	// Resolver asks the DNS.
	Resolver Resolver
	// DMARC is the most that an author domain's policy is followed to.
	DMARC Action
	// SPF is what is done with a message whose sender's domain says that it
	// must not come from there (fail), unless it passes DMARC.
	SPF Action
	// Defer refuses for now (451) what cannot be evaluated for now, where the
	// result could have made a difference; otherwise it is taken in.
	Defer bool
	// Timeout bounds the evaluation of a message; 10 seconds.
	Timeout time.Duration
	// Questions bounds what SPF makes us ask for one identity; 100.
	Questions int
	// Logger is told what was found; nil is none.
	Logger *slog.Logger
	// Now is the clock of signatures that expire; time.Now.
	Now func() time.Time
}

// Screen authenticates messages. It is safe for concurrent use.
type Screen struct{ opt Options }

var _ screen.Screen = (*Screen)(nil)

// New returns a Screen.
func New(opt Options) *Screen {
	if opt.Timeout <= 0 {
		opt.Timeout = 10 * time.Second
	}
	if opt.Questions <= 0 {
		opt.Questions = 100
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	return &Screen{opt}
}

// Begin implements screen.Screen. It never fails. Mail by LMTP is not
// evaluated: whoever hands it over was the one to do that.
func (s *Screen) Begin(ctx context.Context, m *screen.Message) (screen.Judge, error) {
	if m.Trusted {
		return nil, nil
	}
	head := header.Parse(m.Header)
	j := &judge{opt: &s.opt, id: m.ID, edits: claims(head, s.opt.ID)}
	if lmtp := strings.HasPrefix(m.Envelope.Client.Protocol, "LMTP"); lmtp || !m.Outside() {
		if len(j.edits) == 0 {
			return nil, nil
		}
		return j, nil
	}
	a := author.Of(head)
	j.evaluation = &evaluation{
		client: m.Envelope.Client, from: m.Envelope.From, author: a, resolver: s.opt.Resolver,
		questions: s.opt.Questions,
		dkim: dkim.Verify(head, dkim.VerifyOptions{
			LookupTXT: s.opt.Resolver.LookupTXT, Prefer: related(a), Now: s.opt.Now,
		}),
	}
	j.start(ctx)
	return j, nil
}

// related tells which domains could authenticate the author.
func related(a author.Author) func(domain string) bool {
	orgs := make(map[string]bool)
	for _, d := range a.Domains {
		orgs[author.Organisational(d)] = true
	}
	return func(domain string) bool { return orgs[author.Organisational(domain)] }
}
