package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/internal/mail"
)

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
	wanted       bool // its key is worth asking for
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
