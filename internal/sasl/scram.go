package sasl

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"

	"restante/internal/mail"
)

// maxNonce bounds a client's nonce, in octets.
const maxNonce = 1024

// scram is SCRAM-SHA-256 (RFC 5802, RFC 7677), with or without binding.
type scram struct {
	*Exchange
	plus     bool
	gs2      gs2Header
	bare     string // client-first-message-bare
	server   string // server-first-message
	nonce    string // the client's and ours
	verifier Verifier
}

// first asks for the client-first-message, or takes it.
func (s *scram) first(ctx context.Context, response []byte) ([]byte, step, error) {
	if response == nil {
		return nil, s.clientFirst, nil
	}
	return s.clientFirst(ctx, response)
}

func (s *scram) clientFirst(_ context.Context, response []byte) ([]byte, step, error) {
	m, err := parseClientFirst(response)
	if err != nil {
		return nil, nil, err
	}
	s.User, s.gs2, s.bare = m.user, m.gs2, m.gs2.rest
	if err := s.named(m.user); err != nil {
		return nil, nil, err
	}
	if err := s.checkFlag(); err != nil {
		return nil, nil, err
	}
	var nonce [18]byte
	rand.Read(nonce[:])
	s.nonce = m.nonce + base64.RawStdEncoding.EncodeToString(nonce[:])
	s.verifier = s.sources.Verifiers.Verifier(m.user)
	s.server = fmt.Sprintf("r=%s,s=%s,i=%d", s.nonce,
		base64.StdEncoding.EncodeToString(s.verifier.Salt), s.verifier.Iterations)
	return []byte(s.server), s.clientFinal, nil
}

// checkFlag holds what the client says of channel binding against the mechanism
// it has chosen, and against what it was offered (RFC 5802 section 6).
func (s *scram) checkFlag() error {
	switch {
	case s.plus && s.gs2.flag != 'p', !s.plus && s.gs2.flag == 'p':
		return ErrMalformed
	case s.gs2.flag == 'y' && slices.Contains(s.peer.Offered, ScramPlus):
		return ErrDowngrade
	case s.plus && len(s.peer.Channel.bindings(s.gs2.binding)) == 0:
		return fmt.Errorf("%w: %q is not to be had", ErrChannel, s.gs2.binding)
	}
	return nil
}

func (s *scram) clientFinal(_ context.Context, response []byte) ([]byte, step, error) {
	m, err := parseClientFinal(response)
	if err != nil {
		return nil, nil, err
	}
	if m.nonce != s.nonce {
		return nil, nil, fmt.Errorf("%w: another nonce", ErrMalformed)
	}
	if !s.bound(m.binding) {
		return nil, nil, ErrChannel
	}
	message := []byte(s.bare + "," + s.server + "," + m.unproved)
	key, ok := s.verifier.prove(message, m.proof)
	if !ok {
		return nil, nil, mail.ErrBadCredentials
	}
	account, err := s.sources.Verifiers.Proved(s.User, key)
	if err != nil {
		return nil, nil, err
	}
	// The client hears that we know the key too, and says nothing more.
	signature := sum(key.ServerKey[:], message)
	final := "v=" + base64.StdEncoding.EncodeToString(signature[:])
	return []byte(final), func(_ context.Context, response []byte) ([]byte, step, error) {
		if len(response) > 0 {
			return nil, nil, ErrMalformed
		}
		return nil, nil, s.as(account, s.User, s.gs2.authzid)
	}, nil
}

// bound tells whether the client sees the header it sent, and the channel that
// we see.
func (s *scram) bound(got []byte) bool {
	if s.gs2.flag != 'p' {
		return string(got) == s.gs2.raw
	}
	for _, b := range s.peer.Channel.bindings(s.gs2.binding) {
		if subtle.ConstantTimeCompare(got, append([]byte(s.gs2.raw), b...)) == 1 {
			return true
		}
	}
	return false
}

// prove finds the key that a proof is made with. All are tried, and where there
// are none one that is nobody's, so that both take the same time.
func (v Verifier) prove(message []byte, proof [sha256.Size]byte) (key Keys, ok bool) {
	keys := v.Keys
	if len(keys) == 0 {
		keys = []Keys{{}}
	}
	for _, k := range keys {
		clientKey := sum(k.StoredKey[:], message)
		subtle.XORBytes(clientKey[:], clientKey[:], proof[:])
		stored := sha256.Sum256(clientKey[:])
		if subtle.ConstantTimeCompare(stored[:], k.StoredKey[:]) == 1 {
			key, ok = k, true
		}
	}
	return key, ok && len(v.Keys) > 0
}

func sum(key, message []byte) (out [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	h.Sum(out[:0])
	return out
}

// clientFirst is a client-first-message.
type clientFirst struct {
	gs2         gs2Header
	user, nonce string
}

func parseClientFirst(b []byte) (clientFirst, error) {
	if !utf8.Valid(b) {
		return clientFirst{}, ErrMalformed
	}
	gs2, err := parseGS2(string(b))
	if err != nil {
		return clientFirst{}, err
	}
	user, rest, ok := strings.Cut(gs2.rest, ",")
	nonce, extensions, more := strings.Cut(rest, ",")
	name, named := strings.CutPrefix(user, "n=")
	nonce, random := strings.CutPrefix(nonce, "r=")
	// "m=" in the place of the name would be an extension that we must not
	// pass over; we know none.
	if !ok || !named || !random || !printable(nonce) || len(nonce) > maxNonce || more && !attributes(extensions) {
		return clientFirst{}, ErrMalformed
	}
	if name, err = parseSaslname(name); err != nil {
		return clientFirst{}, err
	}
	if name, err = stringprep.SASLprep.Prepare(name); err != nil || name == "" {
		return clientFirst{}, ErrMalformed
	}
	return clientFirst{gs2, name, nonce}, nil
}

// clientFinal is a client-final-message. unproved is all of it but the proof.
type clientFinal struct {
	binding         []byte
	nonce, unproved string
	proof           [sha256.Size]byte
}

func parseClientFinal(b []byte) (clientFinal, error) {
	if !utf8.Valid(b) {
		return clientFinal{}, ErrMalformed
	}
	var m clientFinal
	s := string(b)
	at := strings.LastIndex(s, ",p=")
	if at < 0 {
		return m, ErrMalformed
	}
	m.unproved = s[:at]
	proof, err := base64.StdEncoding.Strict().DecodeString(s[at+3:])
	if err != nil || len(proof) != len(m.proof) || strings.ContainsAny(s, "\r\n") {
		return m, ErrMalformed
	}
	copy(m.proof[:], proof)
	binding, rest, ok := strings.Cut(m.unproved, ",")
	nonce, extensions, more := strings.Cut(rest, ",")
	binding, bound := strings.CutPrefix(binding, "c=")
	nonce, random := strings.CutPrefix(nonce, "r=")
	if !ok || !bound || !random || !printable(nonce) || more && !attributes(extensions) {
		return m, ErrMalformed
	}
	m.nonce = nonce
	if m.binding, err = base64.StdEncoding.Strict().DecodeString(binding); err != nil {
		return m, ErrMalformed
	}
	return m, nil
}

// printable tells whether s can be a nonce: printable ASCII without a comma.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ',' {
			return false
		}
	}
	return s != ""
}

// attributes tells whether s is extensions, which are passed over but for "m",
// the mandatory ones.
func attributes(s string) bool {
	for a := range strings.SplitSeq(s, ",") {
		if len(a) < 3 || a[1] != '=' || a[0] == 'm' || a[0]|0x20 < 'a' || a[0]|0x20 > 'z' || strings.IndexByte(a, 0) >= 0 {
			return false
		}
	}
	return true
}
