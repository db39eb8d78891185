// Package srs is the Sender Rewriting Scheme: it gives mail that is forwarded
// to elsewhere a sender in a domain of ours, since the next hop would refuse
// the original one as forged (SPF, RFC 7208), and leads bounces that come back
// to that sender on to the original one.
//
//	alice@a.example        SRS0=hash=tt=a.example=alice@ours.example
//	SRS0=…=…@b.example     SRS1=hash=b.example==…=…@ours.example
//
// A sender that another forwarder has rewritten already becomes an SRS1
// address, which leads straight back to the first forwarder however many come
// between: what that one wrote is kept as it stands. The hash is made with a
// secret, so that nobody can make us send mail to an address of his choice,
// and the time stamp ends that after Options.MaxAge. Neither depends on the
// case of letters, which some systems change on the way.
//
// Everything here is a function of its arguments; nothing is kept.
package srs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"restante/internal/mail"
)

// Errors of Forward and Reverse.
var (
	// ErrTooLong: the rewritten address would not be a legal one (RFC 5321
	// section 4.5.3.1).
	ErrTooLong = errors.New("sender is too long to be rewritten")
	// ErrForged: the address is not one that we made.
	ErrForged = errors.New("not a rewritten sender of ours")
	// ErrExpired: it was made too long ago.
	ErrExpired = errors.New("rewritten sender has expired")
)

const (
	// hashLen is the length of a hash, in characters of 5 bits.
	hashLen = 6
	// A time stamp counts days, modulo stampDays, in two characters.
	stampDays = 1 << 10
	day       = 24 * time.Hour
	// ahead is how far the clock that made a stamp may be ahead of ours.
	ahead = 1
)

// DefaultMaxAge is how long a bounce may take: longer than any queue waits.
const DefaultMaxAge = 21 * day

// Options is what a Rewriter works with. Secrets and Domain are required.
type Options struct {
	// Secrets: the first makes addresses, all of them verify, so that a secret
	// can be replaced.
	Secrets [][]byte
	// Domain is the domain of rewritten senders; their bounces must reach us.
	Domain string
	// MaxAge is how long rewritten senders are good for; 0 is DefaultMaxAge.
	// It is counted in whole days.
	MaxAge time.Duration
	// Now is time.Now if nil.
	Now func() time.Time
}

// Rewriter rewrites senders and back. It is safe for concurrent use.
type Rewriter struct{ opt Options }

// New returns a Rewriter. It fails if the secrets or the domain are of no use.
func New(opt Options) (*Rewriter, error) {
	for _, s := range opt.Secrets {
		if len(s) < 16 {
			return nil, errors.New("srs: a secret is shorter than 16 octets")
		}
	}
	if len(opt.Secrets) == 0 {
		return nil, errors.New("srs: no secret")
	}
	domain, err := mail.ParseDomain(opt.Domain)
	if err != nil {
		return nil, fmt.Errorf("srs: domain %q: %w", opt.Domain, err)
	}
	opt.Domain = domain
	if opt.MaxAge <= 0 {
		opt.MaxAge = DefaultMaxAge
	}
	if opt.MaxAge >= (stampDays-ahead-1)*day {
		return nil, errors.New("srs: time stamps do not last that long")
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	return &Rewriter{opt}, nil
}

// Domain is that of rewritten senders.
func (r *Rewriter) Domain() string { return r.opt.Domain }

// Forward returns the sender to forward with. The null sender, and one of our
// own making, are returned as they are. It fails with ErrTooLong.
func (r *Rewriter) Forward(from mail.Address) (mail.Address, error) {
	if from.IsNull() || from.Domain == r.opt.Domain {
		return from, nil
	}
	var hashed, local string
	switch kind, rest := split(from.Local); kind {
	case 0:
		// A forwarder's: it has the way back to the sender.
		hashed = from.Domain + "=" + rest
		local = "SRS1=" + r.hash(0, hashed) + "=" + hashed
	case 1:
		// The first forwarder is in it, behind a hash that is not ours.
		if _, first, ok := strings.Cut(rest[1:], "="); ok && validFirst(first) {
			local = "SRS1=" + r.hash(0, first) + "=" + first
			break
		}
		fallthrough // somebody's name happens to look like that
	default:
		hashed = stamp(r.opt.Now()) + "=" + from.Domain + "=" + from.Local
		local = "SRS0=" + r.hash(0, hashed) + "=" + hashed
	}
	to := mail.Address{Local: local, Domain: r.opt.Domain}
	if back, err := mail.ParseAddress(to.String()); err != nil || back != to {
		return from, fmt.Errorf("%w: <%s>", ErrTooLong, from)
	}
	return to, nil
}

// Is tells whether an address is in the form of our rewritten senders, so that
// Reverse is the one to ask what it stands for.
func (r *Rewriter) Is(to mail.Address) bool {
	if to.Domain != r.opt.Domain {
		return false
	}
	kind, _ := split(to.Local)
	return kind >= 0
}

// Reverse returns the address that a rewritten sender stands for. It wraps
// ErrForged or ErrExpired.
func (r *Rewriter) Reverse(to mail.Address) (mail.Address, error) {
	kind, rest := split(to.Local)
	if kind < 0 || to.Domain != r.opt.Domain {
		return mail.Address{}, fmt.Errorf("<%s>: %w", to, ErrForged)
	}
	hash, hashed, ok := strings.Cut(rest[1:], "=")
	if !ok || !r.verify(hash, hashed) {
		return mail.Address{}, fmt.Errorf("<%s>: %w", to, ErrForged)
	}
	first, tail, _ := strings.Cut(hashed, "=")
	var domain, local string
	if kind == 0 {
		if !r.fresh(first) {
			return mail.Address{}, fmt.Errorf("<%s>: %w", to, ErrExpired)
		}
		domain, local, ok = strings.Cut(tail, "=")
	} else {
		// The first forwarder looks at the rest, its separator included.
		domain, local = first, "SRS0"+tail
	}
	original := mail.Address{Local: local, Domain: domain}
	if parsed, err := mail.ParseAddress(original.String()); !ok || err != nil {
		return mail.Address{}, fmt.Errorf("<%s>: %w", to, ErrForged)
	} else {
		return parsed, nil
	}
}

// split tells which kind of rewritten sender a local part is, 0 or 1, and
// returns what follows "SRS0" or "SRS1": a separator, which is "=", "+" or
// "-", and at least one more octet. It is -1 for all others.
func split(local string) (kind int, rest string) {
	if len(local) < 6 || !strings.EqualFold(local[:3], "SRS") || strings.IndexByte("=+-", local[4]) < 0 {
		return -1, ""
	}
	switch local[3] {
	case '0':
		return 0, local[4:]
	case '1':
		return 1, local[4:]
	}
	return -1, ""
}

// validFirst tells whether "host=" and a separator with more behind it begin
// what is kept of the first forwarder.
func validFirst(s string) bool {
	host, rest, ok := strings.Cut(s, "=")
	_, err := mail.ParseDomain(host)
	return ok && err == nil && len(rest) > 1 && strings.IndexByte("=+-", rest[0]) >= 0
}

// alphabet is RFC 4648's base32, for hashes and time stamps.
var alphabet = base32.StdEncoding.WithPadding(base32.NoPadding)

func (r *Rewriter) hash(secret int, hashed string) string {
	h := hmac.New(sha256.New, r.opt.Secrets[secret])
	h.Write([]byte(strings.ToLower(hashed)))
	return alphabet.EncodeToString(h.Sum(nil))[:hashLen]
}

func (r *Rewriter) verify(hash, hashed string) bool {
	ok := false
	for i := range r.opt.Secrets {
		if hmac.Equal([]byte(strings.ToUpper(hash)), []byte(r.hash(i, hashed))) {
			ok = true
		}
	}
	return ok
}

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// stamp is a day in two characters.
func stamp(t time.Time) string {
	n := days(t)
	return string([]byte{digits[n>>5], digits[n&31]})
}

func days(t time.Time) int { return int(t.Unix()/int64(day/time.Second)) & (stampDays - 1) }

// fresh tells whether a stamp was made within MaxAge.
func (r *Rewriter) fresh(s string) bool {
	if len(s) != 2 {
		return false
	}
	s = strings.ToUpper(s)
	high, low := strings.IndexByte(digits, s[0]), strings.IndexByte(digits, s[1])
	if high < 0 || low < 0 {
		return false
	}
	age := (days(r.opt.Now()) - (high<<5 | low) + ahead) & (stampDays - 1)
	return age <= int(r.opt.MaxAge/day)+ahead
}
