package token

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// issuer is a token server that takes what is asked for down.
type issuer struct {
	*httptest.Server
	mu     sync.Mutex
	forms  []url.Values
	answer func(n int, form url.Values) (code int, body string)
}

func newIssuer(t *testing.T, answer func(n int, form url.Values) (int, string)) *issuer {
	t.Helper()
	i := &issuer{answer: answer}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		form := r.PostForm
		if user, secret, ok := r.BasicAuth(); ok {
			form.Set("client_id", user)
			form.Set("client_secret", secret)
		}
		i.mu.Lock()
		i.forms = append(i.forms, form)
		n := len(i.forms)
		i.mu.Unlock()
		code, body := i.answer(n, form)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(i.Close)
	return i
}

func good(n int, _ url.Values) (int, string) {
	return 200, fmt.Sprintf(`{"access_token":"t%d","token_type":"Bearer","expires_in":3600}`, n)
}

func secret(s string) func() (string, error) { return func() (string, error) { return s, nil } }

func TestClientCredentials(t *testing.T) {
	i := newIssuer(t, good)
	now := time.Unix(1e9, 0)
	s := New(Options{URL: i.URL, ClientID: "id", Secret: secret("geheim"), Scope: []string{"a", "b"}, Now: func() time.Time { return now }})
	want := func(refused, token string) {
		t.Helper()
		if got, err := s.Token(t.Context(), refused); err != nil || got != token {
			t.Errorf("after %q: %q, %v, want %q", refused, got, err, token)
		}
	}
	want("", "t1")
	want("", "t1")
	want("t0", "t1") // another has had the refusal of that one
	want("t1", "t2")
	now = now.Add(56 * time.Minute)
	want("", "t3") // before it has run out
	f := i.forms[0]
	if f.Get("grant_type") != "client_credentials" || f.Get("client_id") != "id" || f.Get("client_secret") != "geheim" || f.Get("scope") != "a b" {
		t.Errorf("asked with %v", f)
	}
}

func TestRefreshToken(t *testing.T) {
	i := newIssuer(t, func(n int, f url.Values) (int, string) {
		if f.Get("refresh_token") == "withdrawn" {
			return 400, `{"error":"invalid_grant"}`
		}
		return 200, fmt.Sprintf(`{"access_token":"t%d","refresh_token":"%s","expires_in":3600}`, n, map[bool]string{true: "second", false: "withdrawn"}[n == 1])
	})
	s := New(Options{URL: i.URL, ClientID: "id", Secret: secret("x"), RefreshToken: secret("first")})
	refused := ""
	var used []string
	for range 3 {
		token, err := s.Token(t.Context(), refused)
		if err != nil {
			t.Fatal(err)
		}
		refused = token
	}
	for _, f := range i.forms {
		if n := len(used); n == 0 || used[n-1] != f.Get("refresh_token") {
			used = append(used, f.Get("refresh_token"))
		}
	}
	// The one we were given is used, and the file's when it is no good.
	if got := strings.Join(used, " "); got != "first second withdrawn first" {
		t.Errorf("used %q", got)
	}
}

func TestServiceAccount(t *testing.T) {
	i := newIssuer(t, good)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "x@y.iam.example", "token_uri": "https://elsewhere.example",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{URL: i.URL, ServiceAccount: secret(string(text)), User: "me@example.com", Scope: []string{"mail"}})
	if got, err := s.Token(t.Context(), ""); err != nil || got != "t1" {
		t.Fatalf("%q, %v", got, err)
	}
	if f := i.forms[0]; f.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || strings.Count(f.Get("assertion"), ".") != 2 {
		t.Errorf("asked with %v", f)
	}
	s = New(Options{ServiceAccount: secret(`{"type":"authorized_user"}`)})
	if _, err := s.Token(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "no key of a service account") {
		t.Errorf("%v", err)
	}
}

func TestFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(int, url.Values) (int, string)
		opt    Options
		says   string
	}{
		"refused": {func(int, url.Values) (int, string) {
			return 401, `{"error":"invalid_client","error_description":"AADSTS7000215:\r\n Invalid client secret"}`
		}, Options{}, "the token server says invalid_client: AADSTS7000215: Invalid client secret"},
		"broken":    {func(int, url.Values) (int, string) { return 500, `oops` }, Options{}, "the token server answers 500"},
		"no token":  {func(int, url.Values) (int, string) { return 200, `{"token_type":"Bearer"}` }, Options{}, "token"},
		"redirect":  {func(int, url.Values) (int, string) { return 302, `` }, Options{}, "the token server answers 302"},
		"no secret": {good, Options{Secret: func() (string, error) { return "", errors.New("no such file") }}, "client secret: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, tt.answer)
			now := time.Unix(1e9, 0)
			tt.opt.URL, tt.opt.ClientID, tt.opt.Now = i.URL, "id", func() time.Time { return now }
			if tt.opt.Secret == nil {
				tt.opt.Secret = secret("geheim")
			}
			s := New(tt.opt)
			_, err := s.Token(t.Context(), "")
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "geheim") || strings.ContainsAny(err.Error(), "\r\n") {
				t.Fatalf("%v", err)
			}
			// The server has a rest.
			n := len(i.forms)
			if _, again := s.Token(t.Context(), ""); again == nil || len(i.forms) != n {
				t.Errorf("%v after %d questions", again, len(i.forms))
			}
			now = now.Add(pause)
			if s.Token(t.Context(), ""); len(i.forms) == n && tt.opt.URL != "" && name != "no secret" {
				t.Error("it is not asked again")
			}
		})
	}
}

// Many connections ask once; one that does not wait gets away.
func TestOneAtATime(t *testing.T) {
	enough := make(chan struct{})
	i := newIssuer(t, func(n int, f url.Values) (int, string) { <-enough; return good(n, f) })
	s := New(Options{URL: i.URL, ClientID: "id", Secret: secret("x")})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got, err := s.Token(context.Background(), ""); err != nil || got != "t1" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	close(enough)
	all.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.turn <- struct{}{}
	if _, err := s.Token(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	<-s.turn
}
