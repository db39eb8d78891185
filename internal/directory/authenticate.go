package directory

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"slices"
	"sync"
	"time"
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

// recentLogin is the keyed hash of a password that was right; key is the secret
// it was, nil for the account's own.
type recentLogin struct {
	sum   [32]byte
	key   *secretKey
	until time.Time
}

// maxRecent bounds the passwords of an account that are remembered.
const maxRecent = 16

// recents are the recent logins of one account. They are shared by the pictures
// in which nothing of the account has changed.
type recents struct {
	mu   sync.Mutex
	list []recentLogin
}

func (r *recents) find(sum [32]byte) (recentLogin, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, l := range r.list {
		if subtle.ConstantTimeCompare(sum[:], l.sum[:]) == 1 && now.Before(l.until) {
			return l, true
		}
	}
	return recentLogin{}, false
}

func (r *recents) add(login recentLogin) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.list = slices.DeleteFunc(r.list, func(l recentLogin) bool { return l.sum == login.sum || !now.Before(l.until) })
	if len(r.list) >= maxRecent {
		r.list = slices.Delete(r.list, 0, 1)
	}
	r.list = append(r.list, login)
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
