package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"restante/internal/accept"
	"restante/internal/author"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/internal/screen"
)

// SignerOptions is what a Signer works with.
type SignerOptions struct {
	// Keys of all domains; those of one domain sign each message together.
	Keys []Key
	// Now is the clock for t=; time.Now.
	Now func() time.Time
}

// Signer signs what accounts, trusted networks, local programs and restante
// itself send, for the domain of the From field: with the keys of the domain
// itself, or else of the nearest domain above it down to the organisational
// domain. It is safe for concurrent use.
type Signer struct {
	now  func() time.Time
	keys atomic.Pointer[map[string][]Key]
}

var _ accept.Signer = (*Signer)(nil)

// NewSigner returns a Signer.
func NewSigner(opt SignerOptions) *Signer {
	s := &Signer{now: opt.Now}
	if s.now == nil {
		s.now = time.Now
	}
	s.Replace(opt.Keys)
	return s
}

// Replace changes the keys, for all messages whose signature is not yet made.
func (s *Signer) Replace(keys []Key) {
	byDomain := make(map[string][]Key)
	for _, k := range keys {
		byDomain[k.Domain] = append(byDomain[k.Domain], k)
	}
	for _, list := range byDomain {
		sortKeys(list)
	}
	s.keys.Store(&byDomain)
}

// Begin implements accept.Signer. Mail from outside is never signed, and
// nothing is where there are no keys.
func (s *Signer) Begin(m *screen.Message) accept.SignJob {
	if !signs(m) || len(*s.keys.Load()) == 0 {
		return nil
	}
	return &job{signer: s, body: newBody(relaxed)}
}

// signs tells whether a message comes from somebody who may use our name.
func signs(m *screen.Message) bool {
	switch m.Envelope.Client.Protocol {
	case "local", "report", mail.TLSReport:
		return true
	}
	return !m.Outside()
}

// job is the signing of one message.
type job struct {
	signer *Signer
	body   *body
}

func (j *job) Write(p []byte) (int, error) { return j.body.Write(p) }

// Sign implements accept.SignJob. A header whose author cannot be told, or that
// has so many fields that no verifier would look at them, is not signed.
func (j *job) Sign(_ context.Context, head []byte) ([]byte, error) {
	block := header.Parse(head)
	keys := j.signer.keysFor(author.Of(block))
	if len(keys) == 0 {
		return nil, nil
	}
	fields, names := choose(block)
	if len(names) > maxNames {
		return nil, nil
	}
	s := signing{time: j.signer.now(), bodyHash: j.body.sum(), fields: fields, names: names}
	var out []byte
	for _, k := range keys {
		field, err := s.field(k)
		if err != nil {
			return nil, fmt.Errorf("DKIM signature for %s: %w", k.Name(), err)
		}
		out = append(out, field...)
	}
	return out, nil
}

// keysFor finds the keys for an author: those of the first of the domains that
// has any.
func (s *Signer) keysFor(a author.Author) []Key {
	if a.Fields != 1 || a.Malformed {
		return nil
	}
	byDomain := *s.keys.Load()
	for _, d := range a.Domains {
		for _, d := range author.Parents(d) {
			if keys := byDomain[d]; len(keys) > 0 {
				return keys
			}
		}
	}
	return nil
}

// signedFields are those that are signed where they are there (RFC 6376
// section 5.4.1), and whether one more than there are is signed, so that nobody
// can add another.
func signedFields() []struct {
	name     string
	oversign bool
} {
	return []struct {
		name     string
		oversign bool
	}{
		{"From", true}, {"Subject", true}, {"To", true}, {"Date", true}, {"Cc", true}, {"Reply-To", true},
		{"MIME-Version", true}, {"Content-Type", true}, {"Content-Transfer-Encoding", true},
		{"Message-ID", false}, {"Sender", false}, {"In-Reply-To", false}, {"References", false},
		{"Content-ID", false}, {"Content-Description", false}, {"Content-Language", false},
		{"Resent-From", false}, {"Resent-Sender", false}, {"Resent-To", false}, {"Resent-Cc", false},
		{"Resent-Date", false}, {"Resent-Message-ID", false}, {"Auto-Submitted", false},
		{"List-Id", false}, {"List-Help", false}, {"List-Unsubscribe", false}, {"List-Unsubscribe-Post", false},
		{"List-Subscribe", false}, {"List-Post", false}, {"List-Owner", false}, {"List-Archive", false},
	}
}

// choose returns the fields to sign, in the order of their names in h=: those
// of one name from the last to the first (RFC 6376 section 5.4.2).
func choose(block *header.Block) (fields []header.Field, names []string) {
	byName := make(map[string][]header.Field)
	for _, f := range block.Fields() {
		name := strings.ToLower(f.Name)
		byName[name] = append(byName[name], f)
	}
	for _, f := range signedFields() {
		have := byName[strings.ToLower(f.name)]
		for i := len(have) - 1; i >= 0; i-- {
			fields = append(fields, have[i])
			names = append(names, f.name)
		}
		if f.oversign {
			names = append(names, f.name)
		}
	}
	return fields, names
}

// signing is what the signatures of one message have in common.
type signing struct {
	time     time.Time
	bodyHash []byte
	fields   []header.Field
	names    []string
}

// field makes one DKIM-Signature field.
func (s *signing) field(k Key) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "DKIM-Signature: v=1; a=%s-sha256; c=relaxed/relaxed; d=%s;\r\n\ts=%s; t=%d;\r\n\th=", k.Type(), k.Domain, k.Selector, s.time.Unix())
	column := 10
	for i, name := range s.names {
		if i > 0 {
			b.WriteByte(':')
			column++
		}
		if column+len(name) > 76 {
			b.WriteString("\r\n\t ")
			column = 9
		}
		b.WriteString(name)
		column += len(name)
	}
	fmt.Fprintf(&b, ";\r\n\tbh=%s;\r\n\tb=", base64.StdEncoding.EncodeToString(s.bodyHash))

	hash := sha256.New()
	var canonical []byte
	for _, f := range s.fields {
		canonical = appendField(canonical[:0], relaxed, f.Raw)
		hash.Write(canonical)
	}
	hash.Write(appendSignature(nil, relaxed, b.Bytes()))
	digest := hash.Sum(nil)

	// RFC 8463 section 3: Ed25519 signs the hash as if it were the message.
	var opts crypto.SignerOpts = crypto.SHA256
	if _, ok := k.Private.(ed25519.PrivateKey); ok {
		opts = crypto.Hash(0)
	}
	signature, err := k.Private.Sign(rand.Reader, digest, opts)
	if err != nil {
		return nil, err
	}
	text := base64.StdEncoding.EncodeToString(signature)
	for len(text) > 64 {
		b.WriteString(text[:64] + "\r\n\t ")
		text = text[64:]
	}
	b.WriteString(text + "\r\n")
	return b.Bytes(), nil
}
