package sasl

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/stringprep"
)

// Bounds of the iterations of a verifier. Fewer than the least are too weak
// (RFC 7677 section 4), more than the most would make clients wait for minutes.
const (
	MinIterations = 4096
	MaxIterations = 5_000_000
)

// Verifier is what a client's proof is checked against. With several Keys, of
// passwords that share salt and iterations, any is right.
type Verifier struct {
	Salt       []byte
	Iterations int
	Keys       []Keys
}

// Keys are made from one password. Nobody can log in with them, but who has them
// can guess the password, and play the server.
type Keys struct {
	StoredKey, ServerKey [sha256.Size]byte
}

// Derive makes the keys of a password. That takes as long as there are
// iterations.
func Derive(password string, salt []byte, iterations int) (Keys, error) {
	// Clients prepare a password by RFC 4013. What that refuses some of them
	// use as it is.
	if p, err := stringprep.SASLprep.Prepare(password); err == nil {
		password = p
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return Keys{}, fmt.Errorf("derive keys: %w", err)
	}
	client := sum(salted, []byte("Client Key"))
	return Keys{StoredKey: sha256.Sum256(client[:]), ServerKey: sum(salted, []byte("Server Key"))}, nil
}

const verifierPrefix = "SCRAM-SHA-256$"

// String is the verifier as RFC 5803 writes it, with its first keys:
// SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey.
func (v Verifier) String() string {
	b64 := base64.StdEncoding
	var k Keys
	if len(v.Keys) > 0 {
		k = v.Keys[0]
	}
	return fmt.Sprintf("%s%d:%s$%s:%s", verifierPrefix, v.Iterations, b64.EncodeToString(v.Salt),
		b64.EncodeToString(k.StoredKey[:]), b64.EncodeToString(k.ServerKey[:]))
}

// ParseVerifier reads what String writes; other programs write it too.
func ParseVerifier(s string) (Verifier, error) {
	bad := errors.New("SCRAM verifier must look like SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey")
	rest, ok := strings.CutPrefix(s, verifierPrefix)
	head, tail, ok2 := strings.Cut(rest, "$")
	iterations, salt, ok3 := strings.Cut(head, ":")
	stored, server, ok4 := strings.Cut(tail, ":")
	if !ok || !ok2 || !ok3 || !ok4 || strings.ContainsAny(s, "\r\n") {
		return Verifier{}, bad
	}
	n, err := strconv.Atoi(iterations)
	if err != nil || strconv.Itoa(n) != iterations {
		return Verifier{}, bad
	}
	if n < MinIterations || n > MaxIterations {
		return Verifier{}, fmt.Errorf("SCRAM verifier: %d iterations; there must be from %d to %d", n, MinIterations, MaxIterations)
	}
	b64 := base64.StdEncoding.Strict()
	v := Verifier{Iterations: n, Keys: make([]Keys, 1)}
	if v.Salt, err = b64.DecodeString(salt); err != nil || len(v.Salt) < 8 || len(v.Salt) > 64 {
		return Verifier{}, bad
	}
	for _, k := range []struct {
		to   *[sha256.Size]byte
		text string
	}{{&v.Keys[0].StoredKey, stored}, {&v.Keys[0].ServerKey, server}} {
		b, err := b64.DecodeString(k.text)
		if err != nil || len(b) != sha256.Size {
			return Verifier{}, bad
		}
		copy(k.to[:], b)
	}
	return v, nil
}
