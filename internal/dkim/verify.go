package dkim

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"time"

	"restante/internal/header"
)

// Limits of what is verified.
const (
	// MaxHeader is the largest header whose signatures are looked at, in octets.
	MaxHeader = 64 << 10
	// MaxSignatures is how many of a message's signatures are looked at.
	MaxSignatures = 5
	maxField      = 16 << 10 // octets of one signature's field
	maxNames      = 300      // names in h=
)

// State is the outcome for one signature, in the words of RFC 8601 section
// 2.7.1.
type State string

// The states.
const (
	Pass      State = "pass"
	Fail      State = "fail"      // it does not fit the message
	Policy    State = "policy"    // it might fit, but is not acceptable here
	TempError State = "temperror" // the key could not be asked for
	PermError State = "permerror" // it or its key makes no sense
)

// Result is what became of one signature.
type Result struct {
	State State
	// Reason says more unless State is Pass; it is our own words.
	Reason string
	// Domain is d= as mail.ParseDomain gives it, "" if it is malformed.
	Domain string
	// Selector is s=, Algorithm a=; both "" if malformed. They are domain
	// names and words, nothing that would need quoting.
	Selector, Algorithm string
	// Signature is the beginning of b=, which tells signatures apart (RFC 6008).
	Signature string
	// Testing: the key is marked as one for tests (t=y).
	Testing bool
}

// LookupTXT returns the TXT records of a name. A name that does not exist is no
// records, or a *net.DNSError with IsNotFound; other errors are temporary.
type LookupTXT func(ctx context.Context, name string) ([]string, error)

// VerifyOptions is what a Verification works with.
type VerifyOptions struct {
	// LookupTXT is required.
	LookupTXT LookupTXT
	// Prefer, if there are more than MaxSignatures, tells which domains'
	// signatures are looked at first. nil: those at the top.
	Prefer func(domain string) bool
	// Now is the clock for x=; time.Now.
	Now func() time.Time
}

// Verification verifies the signatures of one message:
//
//	v := dkim.Verify(header, options)
//	v.LookupKeys(ctx)           // may run beside Write
//	v.Write(body…)
//	results := v.Results(ctx)
type Verification struct {
	opt        VerifyOptions
	signatures []*signature
	byName     map[string][]header.Field
	bodies     map[string]*body // by canonicalisation
	looked     bool
}

// Verify begins the verification of a message with that header.
func Verify(head *header.Block, opt VerifyOptions) *Verification {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	v := &Verification{opt: opt, bodies: make(map[string]*body)}
	for _, f := range head.Fields() {
		if strings.EqualFold(f.Name, "DKIM-Signature") {
			v.signatures = append(v.signatures, &signature{raw: f.Raw, limit: -1})
			if len(v.signatures) == 20*MaxSignatures {
				break // more were never looked at by anybody
			}
		}
	}
	if len(v.signatures) == 0 {
		return v
	}
	if len(head.Raw()) > MaxHeader {
		v.signatures = v.signatures[:1]
		v.signatures[0].end(Policy, "header too large")
		return v
	}
	for _, s := range v.signatures {
		s.parse(opt.Now())
	}
	if opt.Prefer != nil && len(v.signatures) > MaxSignatures {
		slices.SortStableFunc(v.signatures, func(a, b *signature) int {
			return cmp.Compare(rank(opt.Prefer, a), rank(opt.Prefer, b))
		})
	}
	v.signatures = v.signatures[:min(len(v.signatures), MaxSignatures)]
	v.index(head)
	for _, s := range v.signatures {
		if s.wanted = s.State == ""; s.wanted {
			s.headerHash = v.hashHeader(s)
			if v.bodies[s.body] == nil {
				v.bodies[s.body] = newBody(s.body)
			}
		}
	}
	return v
}

func rank(prefer func(string) bool, s *signature) int {
	if s.State == "" && prefer(s.Domain) {
		return 0
	}
	return 1
}

// index finds the fields by their names, so that h= costs a step for each name.
func (v *Verification) index(head *header.Block) {
	v.byName = make(map[string][]header.Field)
	for _, f := range head.Fields() {
		name := strings.ToLower(f.Name)
		v.byName[name] = append(v.byName[name], f)
	}
}

// hashHeader hashes what h= names, and the signature itself.
func (v *Verification) hashHeader(s *signature) []byte {
	hash := sha256.New()
	used := make(map[string]int)
	var canonical []byte
	for _, name := range s.names {
		have := v.byName[name]
		used[name]++
		if n := used[name]; n <= len(have) {
			canonical = appendField(canonical[:0], s.header, have[len(have)-n].Raw)
			hash.Write(canonical)
		}
	}
	hash.Write(appendSignature(canonical[:0], s.header, s.raw))
	return hash.Sum(nil)
}

// Signed tells whether the message has signatures at all.
func (v *Verification) Signed() bool { return len(v.signatures) > 0 }

// Write takes the next piece of the body. It never fails.
func (v *Verification) Write(p []byte) (int, error) {
	for _, b := range v.bodies {
		b.Write(p)
	}
	return len(p), nil
}

// LookupKeys asks for the keys of all signatures, at a time: a name server that
// does not answer must not use up the time for another's key. Unless it was
// called, Results does it. It may run beside Write, but not beside anything else.
func (v *Verification) LookupKeys(ctx context.Context) {
	v.looked = true
	var work sync.WaitGroup
	defer work.Wait()
	for _, s := range v.signatures {
		if s.wanted {
			work.Go(func() { s.lookupKey(ctx, v.opt.LookupTXT) })
		}
	}
}

// Results is called once, after the body and LookupKeys. The results are in the
// order of the fields, unless there are too many.
func (v *Verification) Results(ctx context.Context) []Result {
	if !v.looked {
		v.LookupKeys(ctx)
	}
	sums := make(map[string][]byte)
	for name, b := range v.bodies {
		sums[name] = b.sum()
	}
	var out []Result
	for _, s := range v.signatures {
		if s.State == "" {
			s.conclude(sums[s.body], v.bodies[s.body].size)
		}
		out = append(out, s.Result)
	}
	return out
}
