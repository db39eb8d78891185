package oauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"restante/internal/mail"
)

// standIn is an issuer: a web server with a configuration and keys.
type standIn struct {
	t   testing.TB
	web *httptest.Server

	mu       sync.Mutex
	now      time.Time
	keys     map[string]crypto.Signer
	requests map[string]int
	broken   bool
	huge     bool
}

func newStandIn(t testing.TB) *standIn {
	s := &standIn{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), keys: make(map[string]crypto.Signer), requests: make(map[string]int)}
	s.web = httptest.NewServer(s)
	t.Cleanup(s.web.Close)
	return s
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[r.URL.Path]++
	switch {
	case s.broken:
		http.Error(w, "broken", http.StatusInternalServerError)
	case r.URL.Path == "/.well-known/openid-configuration":
		json.NewEncoder(w).Encode(map[string]any{"issuer": s.web.URL, "jwks_uri": s.web.URL + "/keys"})
	case r.URL.Path == "/keys":
		var set jose.JSONWebKeySet
		for id, k := range s.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: id})
		}
		json.NewEncoder(w).Encode(set)
		if s.huge {
			w.Write([]byte(strings.Repeat(" ", 2*maxAnswer)))
		}
	}
}

func (s *standIn) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *standIn) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *standIn) asked(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[path]
}

// token signs claims over those of a good token; nil takes one out.
func (s *standIn) token(kid string, alg jose.SignatureAlgorithm, key any, claims map[string]any) string {
	s.t.Helper()
	all := map[string]any{
		"iss": s.web.URL, "aud": "restante", "sub": "1", "email": "alice@example.org",
		"exp": s.clock().Add(time.Hour).Unix(), "iat": s.clock().Unix(),
	}
	for k, v := range claims {
		if all[k] = v; v == nil {
			delete(all, k)
		}
	}
	payload, err := json.Marshal(all)
	if err != nil {
		s.t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid))
	if err != nil {
		s.t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (s *standIn) issuer(claim string) *Issuer {
	return New(Options{URL: s.web.URL, Audience: "restante", Claim: claim, Now: s.clock})
}

func TestVerify(t *testing.T) {
	s := newStandIn(t)
	ec, other := ecKey(t), ecKey(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s.keys["ec"], s.keys["rsa"] = ec, rsaKey
	type m = map[string]any
	hour := s.now.Add(time.Hour).Unix()
	for _, test := range []struct {
		name, claim, token, want string
	}{
		{"ES256", "", s.token("ec", jose.ES256, ec, nil), "alice@example.org"},
		{"RS256", "", s.token("rsa", jose.RS256, rsaKey, nil), "alice@example.org"},
		{"PS256", "", s.token("rsa", jose.PS256, rsaKey, nil), "alice@example.org"},
		{"one of several audiences", "", s.token("ec", jose.ES256, ec, m{"aud": []string{"x", "restante"}}), "alice@example.org"},
		{"another claim", "preferred_username", s.token("ec", jose.ES256, ec, m{"preferred_username": "bob"}), "bob"},
		{"verified address", "", s.token("ec", jose.ES256, ec, m{"email_verified": true}), "alice@example.org"},
		{"address not verified", "", s.token("ec", jose.ES256, ec, m{"email_verified": false}), ""},
		{"no such claim", "upn", s.token("ec", jose.ES256, ec, nil), ""},
		{"claim is no text", "", s.token("ec", jose.ES256, ec, m{"email": 1}), ""},
		{"another audience", "", s.token("ec", jose.ES256, ec, m{"aud": "other"}), ""},
		{"no audience", "", s.token("ec", jose.ES256, ec, m{"aud": nil}), ""},
		{"another issuer", "", s.token("ec", jose.ES256, ec, m{"iss": "https://id.test"}), ""},
		{"run out", "", s.token("ec", jose.ES256, ec, m{"exp": s.now.Add(-time.Second).Unix()}), ""},
		{"no expiry", "", s.token("ec", jose.ES256, ec, m{"exp": nil}), ""},
		{"not yet", "", s.token("ec", jose.ES256, ec, m{"nbf": hour, "exp": hour + 1}), ""},
		{"another's key", "", s.token("ec", jose.ES256, other, nil), ""},
		{"unknown key", "", s.token("other", jose.ES256, other, nil), ""},
		{"a public key as shared secret", "", s.token("ec", jose.HS256, []byte(strings.Repeat("x", 32)), nil), ""},
		{"no signature", "", "eyJhbGciOiJub25lIn0.e30.", ""},
		{"nothing", "", "", ""},
		{"no token", "", "a.b.c", ""},
	} {
		user, err := s.issuer(test.claim).Verify(t.Context(), test.token)
		if user != test.want || (test.want == "") != errors.Is(err, mail.ErrBadCredentials) {
			t.Errorf("%s: %q %v", test.name, user, err)
		}
	}
	if got := s.issuer("").Discovery(); got != s.web.URL+"/.well-known/openid-configuration" {
		t.Error(got)
	}
}

// TestKeysAreCached counts the questions: bad tokens cause few, and a new key is
// found in time.
func TestKeysAreCached(t *testing.T) {
	s := newStandIn(t)
	first, second := ecKey(t), ecKey(t)
	s.keys["1"] = first
	i := s.issuer("")
	good := func(what, kid string, key any, want bool) {
		t.Helper()
		_, err := i.Verify(t.Context(), s.token(kid, jose.ES256, key, nil))
		if (err == nil) != want || err != nil && !errors.Is(err, mail.ErrBadCredentials) {
			t.Errorf("%s: %v", what, err)
		}
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { good("at the same time", "1", first, true) })
	}
	wg.Wait()
	for range 50 {
		good("a key that is not there", "2", second, false)
	}
	if n, m := s.asked("/.well-known/openid-configuration"), s.asked("/keys"); n != 1 || m > 2 {
		t.Errorf("asked %d times for the configuration, %d times for the keys", n, m)
	}
	s.set(func() { s.keys["2"] = second; s.now = s.now.Add(pause) })
	// go-oidc may still hold the answer to the question before, and give it once more.
	for range 1000 {
		if _, err := i.Verify(t.Context(), s.token("2", jose.ES256, second, nil)); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	good("a new key", "2", second, true)
	good("the old one", "1", first, true)
	s.set(func() { delete(s.keys, "1"); s.now = s.now.Add(keep) })
	good("a key that was withdrawn", "1", first, false)
	good("the one that stays", "2", second, true)
	s.set(func() { s.broken = true; s.now = s.now.Add(keep) })
	good("while the issuer is broken", "2", second, true)
	s.set(func() { s.now = s.now.Add(pause) })
	if _, err := i.Verify(t.Context(), s.token("3", jose.ES256, first, nil)); err == nil || errors.Is(err, mail.ErrBadCredentials) {
		t.Errorf("an unknown key while the issuer is broken: %v", err)
	}
}

func TestFaultsOfTheIssuer(t *testing.T) {
	s := newStandIn(t)
	key := ecKey(t)
	s.keys["1"] = key
	token := s.token("1", jose.ES256, key, nil)
	fault := func(what string, i *Issuer, ctx context.Context) {
		t.Helper()
		if user, err := i.Verify(ctx, token); err == nil || errors.Is(err, mail.ErrBadCredentials) {
			t.Errorf("%s: %q %v", what, user, err)
		}
	}
	s.broken = true
	i := s.issuer("")
	fault("broken", i, t.Context())
	s.set(func() { s.broken = false; s.now = s.now.Add(2 * time.Second) })
	if _, err := i.Verify(t.Context(), token); err != nil {
		t.Errorf("mended: %v", err)
	}
	s.set(func() { s.huge = true })
	// What is cut off is white space here; it must only end.
	if _, err := s.issuer("").Verify(t.Context(), token); err != nil {
		t.Errorf("huge: %v", err)
	}
	other := New(Options{URL: s.web.URL + "/", Audience: "restante", Now: s.clock})
	fault("its name is another", other, t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fault("cancelled", s.issuer(""), ctx)
	s.web.Close()
	fault("away", s.issuer(""), t.Context())
}

func TestCheckURL(t *testing.T) {
	for s, good := range map[string]bool{
		"https://id.example.org": true, "https://id.example.org/realms/x": true, "http://127.0.0.1:8080": true,
		"http://[::1]/": true, "http://localhost": true, "http://id.example.org": false, "ftp://localhost": false,
		"id.example.org": false, "": false, "https://": false, "http://127.0.0.1.example.org": false,
	} {
		if err := CheckURL(s); (err == nil) != good {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// FuzzVerify checks anything: it is nobody's.
func FuzzVerify(f *testing.F) {
	s := newStandIn(f)
	key := ecKey(f)
	s.keys["1"] = key
	i := s.issuer("")
	good := s.token("1", jose.ES256, key, nil)
	f.Add(good[:len(good)-2])
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		user, err := i.Verify(t.Context(), token)
		if token != good && err == nil && !strings.HasPrefix(strings.TrimSpace(token), good[:strings.LastIndexByte(good, '.')]) {
			t.Errorf("%q is %q", token, user)
		}
	})
}
