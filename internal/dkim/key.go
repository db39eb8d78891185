package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// KeyType is a kind of key.
type KeyType string

// The kinds: what k= says (RFC 6376 section 3.6.1, RFC 8463).
const (
	RSA     KeyType = "rsa"
	Ed25519 KeyType = "ed25519"
)

// Sizes of RSA keys, in bits. Shorter ones are worthless (RFC 8301 section
// 3.2); longer ones no verifier must know, and cost it time.
const (
	newRSA    = 2048
	minRSA    = 1024
	maxRSA    = 4096
	maxRSAKey = 8192 // that is verified with
)

// Key signs for a domain.
type Key struct {
	// Domain and Selector are d= and s=, as mail.ParseDomain gives them.
	Domain, Selector string
	// Private is an *rsa.PrivateKey or an ed25519.PrivateKey.
	Private crypto.Signer
}

// Type is the kind of key.
func (k Key) Type() KeyType {
	if _, ok := k.Private.(ed25519.PrivateKey); ok {
		return Ed25519
	}
	return RSA
}

// Name is where the public key is published.
func (k Key) Name() string { return k.Selector + "._domainkey." + k.Domain }

// Record is the text of the TXT record that publishes the public key.
func (k Key) Record() (string, error) {
	switch pub := k.Private.Public().(type) {
	case ed25519.PublicKey:
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub), nil
	case *rsa.PublicKey:
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			return "", fmt.Errorf("public key: %w", err)
		}
		return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), nil
	}
	return "", errKeyType
}

// ZoneRecord is the record as a line for a zone file, the text in strings of
// at most 255 octets (RFC 1035 section 3.3.14).
func (k Key) ZoneRecord() (string, error) {
	text, err := k.Record()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(k.Name() + ". IN TXT")
	for part := range slices.Chunk([]byte(text), 250) {
		fmt.Fprintf(&b, " %q", part)
	}
	return b.String(), nil
}

var errKeyType = errors.New("neither an RSA nor an Ed25519 key")

// Generate makes a private key: RSA of 2048 bits, or Ed25519.
func Generate(t KeyType) (crypto.Signer, error) {
	switch t {
	case RSA:
		return rsa.GenerateKey(rand.Reader, newRSA)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("no such type of key: %q", t)
}

// ParsePrivate reads a private key in PEM: PKCS #8, or PKCS #1 as opendkim-genkey
// writes it.
func ParsePrivate(text []byte) (crypto.Signer, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("no private key in PEM form")
		}
		text = rest
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("private key: %w", err)
		}
		switch key := key.(type) {
		case ed25519.PrivateKey:
			return key, nil
		case *rsa.PrivateKey:
			if n := key.N.BitLen(); n < minRSA || n > maxRSA {
				return nil, fmt.Errorf("an RSA key of %d bits; it must have %d to %d", n, minRSA, maxRSA)
			}
			return key, nil
		}
		return nil, errKeyType
	}
}

// MarshalPrivate writes a private key as PKCS #8 in PEM.
func MarshalPrivate(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// publicKey is what a key record says (RFC 6376 section 3.6.1).
type publicKey struct {
	keyType KeyType
	key     crypto.PublicKey
	testing bool // t=y
	strict  bool // t=s: no subdomains in i=
}

// errNoKey tells that a TXT record is no key record at all.
var errNoKey = errors.New("not a key record")

// parsePublic reads a key record.
func parsePublic(text string) (publicKey, error) {
	tags, err := parseTags(text)
	p, ok := tags["p"]
	if v, given := tags["v"]; err != nil || !ok || given && v != "DKIM1" {
		return publicKey{}, errNoKey
	}
	k := publicKey{keyType: RSA}
	if t, ok := tags["k"]; ok {
		k.keyType = KeyType(t)
	}
	if p = stripSpace(p); p == "" {
		return k, errors.New("key revoked")
	}
	if h, ok := tags["h"]; ok && !slices.Contains(list(h), "sha256") {
		return k, errors.New("key is not for sha256")
	}
	if s, ok := tags["s"]; ok && !slices.Contains(list(s), "*") && !slices.Contains(list(s), "email") {
		return k, errors.New("key is not for email")
	}
	if t, ok := tags["t"]; ok {
		k.testing = slices.Contains(list(t), "y")
		k.strict = slices.Contains(list(t), "s")
	}
	der, err := base64.StdEncoding.DecodeString(p)
	if err != nil {
		return k, errors.New("key is not in base64")
	}
	k.key, err = parseKeyData(k.keyType, der)
	return k, err
}

func parseKeyData(t KeyType, der []byte) (crypto.PublicKey, error) {
	switch t {
	case Ed25519:
		if len(der) != ed25519.PublicKeySize {
			return nil, errors.New("bad Ed25519 key")
		}
		return ed25519.PublicKey(der), nil
	case RSA:
		// Erratum 3017 to RFC 6376: both forms are in use.
		parsed, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			parsed, err = x509.ParsePKCS1PublicKey(der)
		}
		key, ok := parsed.(*rsa.PublicKey)
		switch {
		case err != nil || !ok:
			return nil, errors.New("bad RSA key")
		case key.N.BitLen() < minRSA:
			return nil, errors.New("key too short")
		case key.N.BitLen() > maxRSAKey:
			return nil, errors.New("key too long")
		}
		return key, nil
	}
	return nil, errors.New("unknown type of key")
}

// CheckState is what the DNS says about a key.
type CheckState string

// The states.
const (
	Published CheckState = "published" // the record is there and is the key's
	Missing   CheckState = "missing"   // there is none
	Different CheckState = "different" // it is another key's, revoked, or broken
)

// Check asks the DNS whether a key's record is published. why says more where it
// is not; an error means that nothing is known for now.
func (k Key) Check(ctx context.Context, lookupTXT LookupTXT) (state CheckState, why string, err error) {
	texts, err := lookupTXT(ctx, k.Name())
	if err != nil && !isNotFound(err) {
		return "", "", fmt.Errorf("TXT of %s: %w", k.Name(), err)
	}
	published, err := onlyKey(texts)
	switch {
	case errors.Is(err, errNoRecord):
		return Missing, err.Error(), nil
	case err != nil:
		return Different, err.Error(), nil
	}
	equal, ok := k.Private.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || published.keyType != k.Type() || !equal.Equal(published.key) {
		return Different, "it is another key", nil
	}
	if published.testing {
		return Published, "marked as a test (t=y)", nil
	}
	return Published, "", nil
}
