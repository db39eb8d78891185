package sasl

import (
	"bytes"
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
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
)

// fakeSources know alice, whose passwords are "pencil" and "app, secret", the
// token "good" of hers, and a certificate by its common name.
type fakeSources struct {
	verifier   Verifier
	incomplete bool
	proved     []string
	revoked    bool
}

const testIterations = MinIterations

func newFake(t testing.TB) *fakeSources {
	f := &fakeSources{verifier: Verifier{Salt: []byte("salt of alice"), Iterations: testIterations}}
	for _, p := range []string{"pencil", "app, secret"} {
		k, err := Derive(p, f.verifier.Salt, testIterations)
		if err != nil {
			t.Fatal(err)
		}
		f.verifier.Keys = append(f.verifier.Keys, k)
	}
	return f
}

func (f *fakeSources) all() Sources {
	return Sources{Passwords: f, Verifiers: f, Certificates: f, Tokens: f}
}

func (f *fakeSources) Authenticate(_ context.Context, user, password string, _ netip.Addr) (string, error) {
	switch {
	case strings.EqualFold(user, "alice") && password == "pencil":
		return "alice@example.org", nil
	case user == "broken":
		return "", errors.New("disk on fire")
	}
	return "", mail.ErrBadCredentials
}

func (f *fakeSources) Complete() bool { return !f.incomplete }

func (f *fakeSources) Verifier(user string) Verifier {
	if strings.EqualFold(user, "alice") {
		return f.verifier
	}
	return Verifier{Salt: []byte("salt of nobody"), Iterations: testIterations}
}

func (f *fakeSources) Proved(user string, key Keys) (string, error) {
	for i, k := range f.verifier.Keys {
		if k == key && !f.revoked {
			f.proved = append(f.proved, fmt.Sprint(user, i))
			return "alice@example.org", nil
		}
	}
	return "", mail.ErrBadCredentials
}

func (f *fakeSources) Certificate(chain []*x509.Certificate) (Identity, error) {
	if chain[0].Subject.CommonName == "alice" {
		return Identity{Account: "alice@example.org"}, nil
	}
	return Identity{}, mail.ErrBadCredentials
}

func (f *fakeSources) Token(_ context.Context, token string) (string, error) {
	switch token {
	case "good":
		return "alice@example.org", nil
	case "unreachable":
		return "", errors.New("issuer is away")
	}
	return "", mail.ErrBadCredentials
}

func (f *fakeSources) Discovery() string {
	return "https://id.example.org/.well-known/openid-configuration"
}

// scramClient is a client's side of SCRAM. flag is "n", "y" or "p=binding".
type scramClient struct {
	user, password, flag, authzid string
	binding                       []byte
	// spoil changes the client-final-message without its proof.
	spoil func(string) string
	proof func([]byte) []byte
}

// run has the client log in, and returns the exchange's error.
func (c scramClient) run(t testing.TB, x *Exchange) error {
	t.Helper()
	gs2 := c.flag + "," + c.authzid + ","
	bare := "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(c.user) + ",r=clientnonce"
	challenge, done, err := x.Next(t.Context(), []byte(gs2+bare))
	if err != nil {
		return err
	}
	if done {
		t.Fatal("done after the first message")
	}
	var nonce, salt string
	var iterations int
	parts := strings.Split(string(challenge), ",")
	if len(parts) != 3 {
		t.Fatalf("server-first-message %q", challenge)
	}
	nonce, salt = strings.TrimPrefix(parts[0], "r="), strings.TrimPrefix(parts[1], "s=")
	fmt.Sscanf(parts[2], "i=%d", &iterations)
	if !strings.HasPrefix(nonce, "clientnonce") || len(nonce) < len("clientnonce")+20 {
		t.Errorf("nonce %q", nonce)
	}
	rawSalt, err := base64.StdEncoding.DecodeString(salt)
	if err != nil {
		t.Fatal(err)
	}
	salted, err := pbkdf2.Key(sha256.New, c.password, rawSalt, iterations, 32)
	if err != nil {
		t.Fatal(err)
	}
	unproved := "c=" + base64.StdEncoding.EncodeToString(append([]byte(gs2), c.binding...)) + ",r=" + nonce
	if c.spoil != nil {
		unproved = c.spoil(unproved)
	}
	mac := func(key, text []byte) []byte {
		h := hmac.New(sha256.New, key)
		h.Write(text)
		return h.Sum(nil)
	}
	message := []byte(bare + "," + string(challenge) + "," + unproved)
	clientKey := mac(salted, []byte("Client Key"))
	stored := sha256.Sum256(clientKey)
	proof := make([]byte, 32)
	subtle.XORBytes(proof, clientKey, mac(stored[:], message))
	if c.proof != nil {
		proof = c.proof(proof)
	}
	challenge, done, err = x.Next(t.Context(), []byte(unproved+",p="+base64.StdEncoding.EncodeToString(proof)))
	if err != nil {
		return err
	}
	want := "v=" + base64.StdEncoding.EncodeToString(mac(mac(salted, []byte("Server Key")), message))
	if done || string(challenge) != want {
		t.Errorf("server-final-message %q, want %q", challenge, want)
	}
	if _, done, err = x.Next(t.Context(), []byte{}); err == nil && !done {
		t.Error("not done at the end")
	}
	return err
}

// selfSigned makes a certificate.
func selfSigned(t testing.TB, name string) tls.Certificate {
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

// channel makes a TLS channel and returns what both ends see of it.
func channel(t testing.TB, server *tls.Config, client *tls.Config) (*Channel, tls.ConnectionState) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type result struct {
		state tls.ConnectionState
		err   error
	}
	got := make(chan result, 1)
	go func() {
		c, err := tls.Dial("tcp", l.Addr().String(), client)
		if err != nil {
			got <- result{err: err}
			return
		}
		// What the server sends makes the session one to be resumed.
		_, err = c.Read(make([]byte, 1))
		got <- result{c.ConnectionState(), err}
		c.Close()
	}()
	raw, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	h := NewHandshaker(server)
	ctx, watched := h.Watch(t.Context())
	conn := tls.Server(raw, h.Config())
	if err := conn.HandshakeContext(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte{'x'}); err != nil {
		t.Fatal(err)
	}
	r := <-got
	if r.err != nil {
		t.Fatal(r.err)
	}
	return watched(conn.ConnectionState()), r.state
}

func clientConfig() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

func start(t testing.TB, s Sources, mechanism string, ch *Channel) *Exchange {
	t.Helper()
	x, err := s.Start(mechanism, Peer{Channel: ch, Offered: s.Offer(ch)})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func equalBytes(a [][]byte, b []byte) bool {
	for _, x := range a {
		if bytes.Equal(x, b) {
			return true
		}
	}
	return false
}
