package directory

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"restante/internal/mail"
)

// recentFor is how long a login is remembered: a client that logs in for
// every message pays for one hash in that time.
const recentFor = 5 * time.Minute

// secret is the key of all keyed hashes that this process keeps in memory.
type secret [32]byte

func newSecret() (s secret) {
	rand.Read(s[:])
	return s
}

func (s *secret) mac(kind, text string) (sum [32]byte) {
	h := hmac.New(sha256.New, s[:])
	h.Write([]byte(kind))
	h.Write([]byte{0})
	h.Write([]byte(text))
	h.Sum(sum[:0])
	return sum
}

// credential is what a password is checked against: an argon2id hash, or for
// a static account whose password is in a file anyway, a keyed hash. That one
// costs the work of a new hash all the same, so that the time of an answer
// does not tell the two apart.
type credential struct {
	hash  phc
	plain *[32]byte
}

func (d *Directory) credential(hash, password string) (credential, error) {
	if hash != "" {
		h, err := parsePHC(hash)
		return credential{hash: h}, err
	}
	p, err := prepare(password)
	if err != nil {
		return credential{}, err
	}
	sum := d.secret.mac("plain", p)
	return credential{hash: decoy(d.cost), plain: &sum}, nil
}

func (c credential) matches(s *secret, password string) bool {
	ok := c.hash.matches(password)
	if c.plain != nil {
		sum := s.mac("plain", password)
		ok = subtle.ConstantTimeCompare(sum[:], c.plain[:]) == 1
	}
	return ok
}

// decoy is a hash of the same cost as h that nothing matches.
func decoy(h phc) phc {
	h.salt, h.sum = make([]byte, 16), nil
	return h
}

// recentLogin is the keyed hash of a password that was right.
type recentLogin struct {
	sum   [32]byte
	until time.Time
}

// Authenticate checks a user name (an account's name, in any case, or a bare
// name in the first domain) and a password, and returns the account's name.
// It fails with mail.ErrBadCredentials, whichever of the two is wrong and in
// the same time, or with the context's error if its turn did not come: only a
// few passwords are hashed at a time, since each takes its memory, and one
// address (an IPv6 /64) has at most half of the places.
func (d *Directory) Authenticate(ctx context.Context, user, password string, from netip.Addr) (string, error) {
	p := d.picture.Load()
	name := p.userName(user)
	a := p.accounts[name]
	prepared, badPassword := prepare(password)
	sum := d.secret.mac("recent", prepared)
	if a != nil && badPassword == nil && a.loggedIn(sum) {
		return a.name, nil
	}
	leave, err := d.hashing.enter(ctx, from)
	if err != nil {
		return "", fmt.Errorf("authenticate: %w", err)
	}
	defer leave()
	ok := false
	if a != nil {
		ok = a.credential.matches(&d.secret, prepared)
	} else {
		d.stranger(p, name).matches(prepared)
	}
	if !ok || badPassword != nil {
		return "", fmt.Errorf("authenticate: %w", mail.ErrBadCredentials)
	}
	a.recent.Store(&recentLogin{sum, time.Now().Add(recentFor)})
	return a.name, nil
}

func (a *account) loggedIn(sum [32]byte) bool {
	r := a.recent.Load()
	return r != nil && time.Now().Before(r.until) && subtle.ConstantTimeCompare(sum[:], r.sum[:]) == 1
}

// stranger picks the work done for a user who does not exist: that of one of
// the accounts, always the same for one name.
func (d *Directory) stranger(p *picture, name string) phc {
	if len(p.order) == 0 {
		return decoy(d.cost)
	}
	sum := d.secret.mac("stranger", name)
	return decoy(p.order[binary.BigEndian.Uint64(sum[:])%uint64(len(p.order))].credential.hash)
}
