package dkim

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"restante/internal/header"
	"restante/internal/mail"
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

// signature is one DKIM-Signature field.
type signature struct {
	Result
	raw          []byte
	header, body string // canonicalisations
	names        []string
	bodyHash, b  []byte
	identity     string // domain of i=
	limit        int64  // l=, -1 without
	keyType      KeyType
	key          publicKey
	headerHash   []byte
	wanted       bool
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

func (s *signature) end(state State, reason string) { s.State, s.Reason = state, reason }

// conclude compares hashes and checks the signature, for which everything has
// been found.
func (s *signature) conclude(sum []byte, size int64) {
	switch {
	case s.limit > size:
		s.end(PermError, "l= beyond the body")
	case s.limit >= 0 && s.limit < size:
		// Anybody could have added the rest (RFC 6376 section 8.2).
		s.end(Policy, "part of the body is not signed")
	case subtle.ConstantTimeCompare(sum, s.bodyHash) != 1:
		s.end(Fail, "body hash did not verify")
	case !s.fits():
		s.end(Fail, "signature did not verify")
	default:
		s.State = Pass
	}
}

func (s *signature) fits() bool {
	switch key := s.key.key.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, s.headerHash, s.b) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(key, s.headerHash, s.b)
	}
	return false
}

// parse reads the tags (RFC 6376 section 3.5).
func (s *signature) parse(now time.Time) {
	if len(s.raw) > maxField {
		s.end(PermError, "signature too long")
		return
	}
	_, value, _ := strings.Cut(string(s.raw), ":")
	tags, err := parseTags(value)
	if err != nil {
		s.end(PermError, err.Error())
		return
	}
	s.describe(tags)
	for _, name := range []string{"v", "a", "b", "bh", "d", "h", "s"} {
		if tags[name] == "" {
			s.end(PermError, "no "+name+"=")
			return
		}
	}
	switch {
	case tags["v"] != "1":
		s.end(PermError, "unknown version")
	case s.Domain == "" || s.Selector == "":
		s.end(PermError, "malformed d= or s=")
	case !s.algorithm(stripSpace(tags["a"])):
	case !s.canonicalisations(stripSpace(tags["c"])):
		s.end(PermError, "unknown canonicalisation")
	case !s.fieldNames(tags["h"]):
	case !s.numbers(tags, now):
	case !s.hashes(tags):
		s.end(PermError, "malformed b= or bh=")
	case !s.identified(tags):
		s.end(PermError, "i= is not in d=")
	case tags["q"] != "" && !slices.Contains(list(tags["q"]), "dns/txt"):
		s.end(PermError, "unknown query method")
	}
}

// describe fills in what the result says of the signature, good or bad.
func (s *signature) describe(tags map[string]string) {
	if d, err := mail.ParseDomain(stripSpace(tags["d"])); err == nil && !strings.HasPrefix(d, "[") {
		s.Domain = d
	}
	if d, err := ParseSelector(stripSpace(tags["s"])); err == nil {
		s.Selector = d
	}
	if a := stripSpace(tags["a"]); isWord(a) {
		s.Algorithm = a
	}
	b := stripSpace(tags["b"])
	b = b[:min(8, len(b))]
	if strings.Trim(b, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") == "" {
		s.Signature = b
	}
}

// isWord tells whether an algorithm's name can stand in a field of ours.
func isWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(s) <= 32
}

func (s *signature) algorithm(a string) bool {
	switch a {
	case "rsa-sha256":
		s.keyType = RSA
	case "ed25519-sha256":
		s.keyType = Ed25519
	case "rsa-sha1":
		s.end(Policy, "algorithm too weak") // RFC 8301 section 3.1
		return false
	default:
		s.end(PermError, "unknown algorithm")
		return false
	}
	return true
}

func (s *signature) canonicalisations(c string) bool {
	head, body, both := strings.Cut(c, "/")
	if head == "" {
		head = simple
	}
	if !both {
		body = simple
	}
	s.header, s.body = head, body
	return (head == simple || head == relaxed) && (body == simple || body == relaxed)
}

func (s *signature) fieldNames(h string) bool {
	s.names = list(strings.ToLower(h))
	switch {
	case len(s.names) > maxNames:
		s.end(PermError, "too many names in h=")
	case !slices.Contains(s.names, "from"):
		s.end(PermError, "From is not signed")
	default:
		return true
	}
	return false
}

func (s *signature) numbers(tags map[string]string, now time.Time) bool {
	number := func(name string) (int64, bool) {
		text, given := tags[name]
		if !given {
			return -1, true
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || text[0] == '+' {
			s.end(PermError, "malformed "+name+"=")
			return 0, false
		}
		return n, true
	}
	made, ok1 := number("t")
	expires, ok2 := number("x")
	limit, ok3 := number("l")
	if !ok1 || !ok2 || !ok3 {
		return false
	}
	s.limit = limit
	switch {
	case expires >= 0 && made > expires:
		s.end(PermError, "x= before t=")
	case expires >= 0 && now.Unix() > expires:
		s.end(Policy, "signature expired")
	default:
		return true
	}
	return false
}

func (s *signature) hashes(tags map[string]string) bool {
	var err1, err2 error
	s.b, err1 = base64.StdEncoding.DecodeString(stripSpace(tags["b"]))
	s.bodyHash, err2 = base64.StdEncoding.DecodeString(stripSpace(tags["bh"]))
	return err1 == nil && err2 == nil
}

// identified checks that i= is in the domain or below it.
func (s *signature) identified(tags map[string]string) bool {
	i, given := tags["i"]
	if !given {
		s.identity = s.Domain
		return true
	}
	i = stripSpace(i)
	at := strings.LastIndexByte(i, '@')
	d, err := mail.ParseDomain(i[at+1:])
	if at < 0 || err != nil {
		return false
	}
	s.identity = d
	return d == s.Domain || strings.HasSuffix(d, "."+s.Domain)
}

func (s *signature) lookupKey(ctx context.Context, lookup LookupTXT) {
	texts, err := lookup(ctx, s.Selector+"._domainkey."+s.Domain)
	if err != nil && !isNotFound(err) {
		s.end(TempError, "key could not be asked for")
		return
	}
	key, err := onlyKey(texts)
	s.Testing = key.testing
	switch {
	case err != nil:
		s.end(PermError, err.Error())
	case key.keyType != s.keyType:
		s.end(PermError, "key is of another type")
	case key.strict && s.identity != s.Domain:
		s.end(PermError, "key is not for subdomains")
	default:
		s.key = key
	}
}

var errNoRecord = errors.New("no key")

// onlyKey finds the one key among the TXT records of a name. What several would
// mean is undefined (RFC 6376 section 3.6.2.2); other records, such as those a
// wildcard gives, do not count.
func onlyKey(texts []string) (publicKey, error) {
	var found publicKey
	var reason error = errNoRecord
	n := 0
	for _, text := range texts {
		key, err := parsePublic(text)
		if errors.Is(err, errNoKey) {
			continue
		}
		if n++; n > 1 {
			return publicKey{}, errors.New("several keys")
		}
		found, reason = key, err
	}
	return found, reason
}

func isNotFound(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}
