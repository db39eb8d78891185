package smtpd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/internal/sasl"
)

// fakeLogins has the accounts of fakeDirectory for the other mechanisms, tokens
// that are their names, and certificates by their common names. "printer" needs
// no AUTH with its own.
type fakeLogins struct{ incomplete bool }

func (f fakeLogins) Complete() bool { return !f.incomplete }

// aliceKeys are derived once: that takes a moment.
var aliceKeys = sync.OnceValue(func() sasl.Keys {
	k, err := sasl.Derive("ecila", []byte("salt of alice"), sasl.MinIterations)
	if err != nil {
		panic(err)
	}
	return k
})

func (fakeLogins) Verifier(user string) sasl.Verifier {
	v := sasl.Verifier{Salt: []byte("salt of " + user), Iterations: sasl.MinIterations}
	if user == "alice" {
		v.Keys = []sasl.Keys{aliceKeys()}
	}
	return v
}

func (fakeLogins) Proved(user string, _ sasl.Keys) (string, error) { return user, nil }

func (fakeLogins) Certificate(chain []*x509.Certificate) (sasl.Identity, error) {
	switch name := chain[0].Subject.CommonName; name {
	case "alice", "bob":
		return sasl.Identity{Account: name}, nil
	case "printer":
		return sasl.Identity{Account: "bob", Implicit: true}, nil
	}
	return sasl.Identity{}, mail.ErrBadCredentials
}

func (fakeLogins) Token(_ context.Context, token string) (string, error) {
	switch {
	case token == "alice", token == "bob", strings.Trim(token, "x") == "" && len(token) > 1000:
		return strings.Replace(token, strings.Repeat("x", len(token)), "alice", 1), nil
	case token == "away":
		return "", errors.New("/secret/path: the issuer is away")
	}
	return "", mail.ErrBadCredentials
}

func (fakeLogins) Discovery() string { return "https://id.example/.well-known/openid-configuration" }

// fakeAllowance is one of every account.
type fakeAllowance struct {
	rate     Rate
	priority int
}

func (f fakeAllowance) Allowance(string) (Rate, int) { return f.rate, f.priority }

// saslPlayer is a client's side of SASL in a dialogue. There are more words:
//
//	sasl          the server has verifiers and tokens
//	incomplete    and not for all accounts
//	certificates  it asks for certificates
//	clear-scram   it offers SCRAM without TLS
//	allowance N DURATION PRIORITY   of every account
//	challenge "text"  the last reply has this in base64
//	signed        the last reply is the server's signature
//
// and in C lines {first FLAG USER} and {final PASSWORD}, the two messages of a
// SCRAM client. FLAG is n, y or p=BINDING, and what follows it up to the comma is
// the authorization identity: "n,a=bob". {final PASSWORD spoiled} binds to
// another channel, {final PASSWORD replayed} has another nonce. {bearer USER TOKEN} and
// {xoauth2 USER TOKEN} are what they are called.
type saslPlayer struct {
	last      string // the last line of the server
	gs2, bare string
	signature []byte
}

var saslBraces = regexp.MustCompile(`\{(first|final|bearer|xoauth2) ([^}]*)\}`)

func (p *player) saslSetting(word, rest string) bool {
	switch word {
	case "sasl":
		p.setUp(func(o *Options) { o.Verifiers, o.Tokens = fakeLogins{}, fakeLogins{} })
	case "incomplete":
		p.setUp(func(o *Options) { o.Verifiers = fakeLogins{incomplete: true} })
	case "certificates":
		p.setUp(func(o *Options) { o.Certificates = fakeLogins{} })
	case "clear-scram":
		p.setUp(func(o *Options) { o.ClearScram = true })
	case "allowance":
		var f fakeAllowance
		var per string
		if _, err := fmt.Sscan(rest, &f.rate.Count, &per, &f.priority); err != nil {
			p.fatalf("%v", err)
		}
		var err error
		if f.rate.Per, err = time.ParseDuration(per); err != nil {
			p.fatalf("%v", err)
		}
		p.setUp(func(o *Options) { o.Allowances = f })
	default:
		return false
	}
	return true
}

func (p *player) challenged() string {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(strings.TrimPrefix(p.sasl.last, "334 ")))
	if err != nil || !strings.HasPrefix(p.sasl.last, "334 ") {
		p.fatalf("%q is no challenge: %v", p.sasl.last, err)
	}
	return string(b)
}

func (p *player) saslCheck(word, rest string) {
	got := p.challenged()
	want := "v=" + base64.StdEncoding.EncodeToString(p.sasl.signature)
	if word == "challenge" {
		var err error
		if want, err = strconv.Unquote(rest); err != nil {
			p.fatalf("%v", err)
		}
	}
	if !like(want, got) {
		p.fatalf("challenge %q, want %q", got, want)
	}
}

func (p *player) saslExpand(s string) string {
	return saslBraces.ReplaceAllStringFunc(s, func(m string) string {
		parts := saslBraces.FindStringSubmatch(m)
		first, second, _ := strings.Cut(parts[2], " ")
		var text string
		switch parts[1] {
		case "first":
			p.sasl.gs2 = first + ","
			if !strings.Contains(first, ",") {
				p.sasl.gs2 += ","
			}
			p.sasl.bare = "n=" + second + ",r=clientnonce"
			text = p.sasl.gs2 + p.sasl.bare
		case "final":
			text = p.scramFinal(first, second)
		case "bearer":
			text = "n,a=" + first + ",\x01auth=Bearer " + second + "\x01\x01"
		case "xoauth2":
			text = "user=" + first + "\x01auth=Bearer " + second + "\x01\x01"
		}
		return base64.StdEncoding.EncodeToString([]byte(text))
	})
}

// binding is what the client sees of the channel.
func (p *player) binding() []byte {
	c, ok := p.conn.(*tls.Conn)
	if !ok || !strings.HasPrefix(p.sasl.gs2, "p=") {
		return nil
	}
	state := c.ConnectionState()
	if strings.HasPrefix(p.sasl.gs2, "p=tls-server-end-point,") {
		sum := sha256.Sum256(state.PeerCertificates[0].Raw)
		return sum[:]
	}
	b, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		p.fatalf("%v", err)
	}
	return b
}

func (p *player) scramFinal(password, how string) string {
	server := p.challenged()
	var nonce, salt string
	var iterations int
	for part := range strings.SplitSeq(server, ",") {
		switch key, value, _ := strings.Cut(part, "="); key {
		case "r":
			nonce = value
		case "s":
			salt = value
		case "i":
			iterations, _ = strconv.Atoi(value)
		}
	}
	rawSalt, err := base64.StdEncoding.DecodeString(salt)
	if err != nil {
		p.fatalf("%v", err)
	}
	salted, err := pbkdf2.Key(sha256.New, password, rawSalt, iterations, 32)
	if err != nil {
		p.fatalf("%v", err)
	}
	binding := p.binding()
	switch how {
	case "spoiled":
		binding = append(binding, 'x')
	case "replayed":
		nonce += "x"
	}
	unproved := "c=" + base64.StdEncoding.EncodeToString(append([]byte(p.sasl.gs2), binding...)) + ",r=" + nonce
	message := p.sasl.bare + "," + server + "," + unproved
	clientKey := mac(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	proof := make([]byte, 32)
	subtle.XORBytes(proof, clientKey, mac(stored[:], message))
	p.sasl.signature = mac(mac(salted, "Server Key"), message)
	return unproved + ",p=" + base64.StdEncoding.EncodeToString(proof)
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func clientCertificate(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
