package mtasts

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"restante/internal/mail"
	"restante/internal/wholefile"
)

// Bounds of a Store.
const (
	maxPolicies = 10_000
	maxOctets   = 16 << 20 // of all patterns together
	// pause is the least time between two questions to a domain that fails
	// (RFC 8461 section 3.3).
	pause = 5 * time.Minute
	// refreshAfter is when a policy is fetched anew, at the latest.
	refreshAfter = 24 * time.Hour
	// idle is after what time without mail for a domain its policy is let run
	// out.
	idle = 30 * 24 * time.Hour
	tick = 15 * time.Minute
	// perTick bounds the policies that are fetched anew at a time.
	perTick = 200
)

// Options are those of Open. Dir and LookupTXT are required.
type Options struct {
	// Dir is where policies are kept. It is made if it is missing.
	Dir string
	// LookupTXT asks the DNS. A name that does not exist is a *net.DNSError
	// with IsNotFound.
	LookupTXT func(ctx context.Context, name string) ([]string, error)
	// Transport makes the requests; nil is one without proxies, that checks
	// certificates against the system's authorities.
	Transport http.RoundTripper
	// Logger is told of policies that cannot be kept or had; nil is none.
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Store knows the policies of domains. It is safe for concurrent use.
type Store struct {
	opt    Options
	client *http.Client

	mu    sync.Mutex
	known map[string]*entry
	size  int
	// failed is until when a domain is not asked again, and why.
	failed map[string]failure
	// busy has the domains that are asked just now.
	busy map[string]chan struct{}

	disk sync.Mutex // one file is written at a time
}

// entry is what is known of a domain, and how it is stored.
type entry struct {
	Domain  string    `json:"domain"`
	ID      string    `json:"id"`
	Policy  Policy    `json:"policy"`
	Fetched time.Time `json:"fetched"`
	// Used is when mail was last sent by it, about.
	Used time.Time `json:"used"`
}

type failure struct {
	err   error
	until time.Time
}

func (e *entry) ends() time.Time { return e.Fetched.Add(e.Policy.MaxAge) }

func (e *entry) size() int {
	n := 256 + len(e.Domain)
	for _, mx := range e.Policy.MX {
		n += 16 + len(mx)
	}
	return n
}

// Open reads the policies that are kept. A file that cannot be understood is
// taken away: the policy will be fetched again.
func Open(opt Options) (*Store, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	s := &Store{
		opt: opt, client: newClient(opt.Transport),
		known: make(map[string]*entry), failed: make(map[string]failure), busy: make(map[string]chan struct{}),
	}
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("MTA-STS policies: %w", err)
	}
	files, err := os.ReadDir(opt.Dir)
	if err != nil {
		return nil, fmt.Errorf("MTA-STS policies: %w", err)
	}
	for _, f := range files {
		if err := s.load(f.Name()); err != nil {
			opt.Logger.Warn("a stored MTA-STS policy is not usable and is removed", "file", f.Name(), "error", err)
			os.Remove(filepath.Join(opt.Dir, f.Name()))
		}
	}
	return s, nil
}

const suffix = ".json"

func (s *Store) load(name string) error {
	b, err := os.ReadFile(filepath.Join(s.opt.Dir, name))
	if err != nil {
		return err
	}
	var e entry
	if err := json.Unmarshal(b, &e); err != nil {
		return err
	}
	if domain, err := mail.ParseDomain(e.Domain); err != nil || domain+suffix != name {
		return errors.New("it is of another domain")
	}
	if !s.opt.Now().Before(e.ends()) {
		return errors.New("it has run out")
	}
	s.put(&e)
	return nil
}

// Policy returns the policy that holds for a domain (RFC 8461 section 5.1), as
// mail.Address has domains; it is not ok if there is none. An error tells that
// the domain says that it has one, or another, which cannot be had.
func (s *Store) Policy(ctx context.Context, domain string) (p Policy, ok bool, err error) {
	id, published := s.record(ctx, domain)
	known, ok := s.use(domain)
	if !published || ok && known.ID == id {
		return known.Policy, ok, nil
	}
	err = s.fetchOnce(ctx, domain, id)
	known, ok = s.use(domain)
	return known.Policy, ok, err
}

// record asks for the id of the domain's policy. Where there is none, or none
// can be had, what is known holds on.
func (s *Store) record(ctx context.Context, domain string) (id string, published bool) {
	texts, err := s.opt.LookupTXT(ctx, "_mta-sts."+domain)
	if missing := (*net.DNSError)(nil); err != nil && !(errors.As(err, &missing) && missing.IsNotFound) {
		s.opt.Logger.Debug("MTA-STS record cannot be looked up", "domain", domain, "error", err)
	}
	return parseRecord(texts)
}

// use returns what is known and has not run out.
func (s *Store) use(domain string) (entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.known[domain]
	if e == nil || !s.opt.Now().Before(e.ends()) {
		return entry{}, false
	}
	e.Used = s.opt.Now()
	return *e, true
}

// fetchOnce fetches the policy of a domain, unless another does, or it has
// failed lately. It waits for the other one.
func (s *Store) fetchOnce(ctx context.Context, domain, id string) error {
	s.mu.Lock()
	if f, ok := s.failed[domain]; ok && s.opt.Now().Before(f.until) {
		s.mu.Unlock()
		return f.err
	}
	if other, ok := s.busy[domain]; ok {
		s.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.failed[domain].err
	}
	done := make(chan struct{})
	s.busy[domain] = done
	s.mu.Unlock()

	p, err := fetch(ctx, s.client, domain)
	gone := ctx.Err() != nil // of no fault of the domain's
	e := s.learn(domain, id, p, err, gone)
	if e != nil {
		s.store(e)
	} else if !gone {
		s.opt.Logger.Info("MTA-STS policy cannot be had", "domain", domain, "error", err)
	}
	return err
}

// learn takes up what was fetched, and wakes those who wait for it. It returns
// what is known of the domain now, or nil after an error.
func (s *Store) learn(domain, id string, p Policy, err error, gone bool) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.busy[domain])
	delete(s.busy, domain)
	delete(s.failed, domain)
	if err != nil {
		if !gone {
			s.fail(domain, err)
		}
		return nil
	}
	now := s.opt.Now()
	e := &entry{Domain: domain, ID: id, Policy: p, Fetched: now, Used: now}
	if old := s.known[domain]; old != nil {
		e.Used = old.Used
	}
	s.put(e)
	stored := *e // Used changes
	return &stored
}

// fail remembers a failure. mu is held.
func (s *Store) fail(domain string, err error) {
	now := s.opt.Now()
	if len(s.failed) >= maxPolicies {
		for d, f := range s.failed {
			if !now.Before(f.until) {
				delete(s.failed, d)
			}
		}
	}
	if len(s.failed) < maxPolicies {
		s.failed[domain] = failure{err, now.Add(pause)}
	}
}

// put keeps an entry in memory, and drops those not used for longest where there
// are too many. mu is held, or nobody else knows the Store.
func (s *Store) put(e *entry) {
	if old := s.known[e.Domain]; old != nil {
		s.size -= old.size()
	}
	s.known[e.Domain] = e
	if s.size += e.size(); len(s.known) <= maxPolicies && s.size <= maxOctets {
		return
	}
	list := make([]*entry, 0, len(s.known))
	for _, e := range s.known {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *entry) int {
		return cmp.Or(a.Used.Compare(b.Used), strings.Compare(a.Domain, b.Domain))
	})
	// A tenth at a time, for sorting them all takes its time.
	for i, old := range list {
		if i >= maxPolicies/10 && len(s.known) <= maxPolicies && s.size <= maxOctets || old == e {
			break
		}
		s.forget(old)
	}
}

// forget drops an entry and its file. mu is held.
func (s *Store) forget(e *entry) {
	delete(s.known, e.Domain)
	s.size -= e.size()
	if err := os.Remove(s.path(e.Domain)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.opt.Logger.Warn("an old MTA-STS policy cannot be removed", "error", err)
	}
}

func (s *Store) path(domain string) string { return filepath.Join(s.opt.Dir, domain+suffix) }

// store writes the file of an entry. A policy that cannot be written holds until
// the next start. If it is forgotten meanwhile the file may stay, and is found
// to have run out at a later start.
func (s *Store) store(e *entry) {
	s.disk.Lock()
	defer s.disk.Unlock()
	b, err := json.Marshal(e)
	if err == nil {
		err = wholefile.Write(s.path(e.Domain), b)
	}
	if err != nil {
		s.opt.Logger.Warn("MTA-STS policy cannot be kept", "domain", e.Domain, "error", err)
	}
}

// Run fetches policies anew before they run out, and forgets those that have,
// until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.refresh(ctx)
		}
	}
}

// refresh fetches what is due. A domain that has no record any more, or whose
// policy nobody used lately, is left to run out.
func (s *Store) refresh(ctx context.Context) {
	for _, domain := range s.due() {
		if ctx.Err() != nil {
			return
		}
		if id, ok := s.record(ctx, domain); ok {
			if err := s.fetchOnce(ctx, domain, id); err != nil && ctx.Err() == nil {
				s.opt.Logger.Warn("MTA-STS policy cannot be fetched anew; the one that is known holds on", "domain", domain, "error", err)
			}
		}
	}
}

// due returns the domains to ask again, the oldest first, and forgets what has
// run out.
func (s *Store) due() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Now()
	var list []*entry
	for _, e := range s.known {
		switch age := now.Sub(e.Fetched); {
		case !now.Before(e.ends()):
			s.forget(e)
		case age >= min(e.Policy.MaxAge/2, refreshAfter) && now.Sub(e.Used) < idle:
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *entry) int {
		return cmp.Or(a.Fetched.Compare(b.Fetched), strings.Compare(a.Domain, b.Domain))
	})
	var domains []string
	for _, e := range list[:min(len(list), perTick)] {
		domains = append(domains, e.Domain)
	}
	return domains
}
