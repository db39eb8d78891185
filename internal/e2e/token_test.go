package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"restante/internal/standin"
)

// tokenServer is an issuer of access tokens, by TLS: those that are listed, one
// after the other, and the last again and again, to who asks well.
type tokenServer struct {
	*httptest.Server
	mu     sync.Mutex
	tokens []string
	asked  []string // what was wrong with each question, "" if nothing was
}

func newTokenServer(t testing.TB, well func(server string, form url.Values) error, tokens ...string) *tokenServer {
	t.Helper()
	s := &tokenServer{tokens: tokens}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := r.ParseForm()
		if err == nil {
			if id, secret, ok := r.BasicAuth(); ok {
				r.PostForm.Set("client_id", id)
				r.PostForm.Set("client_secret", secret)
			}
			err = well(s.URL, r.PostForm)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			s.asked = append(s.asked, err.Error())
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided."}`)
			return
		}
		s.asked = append(s.asked, "")
		fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3599,"access_token":%q}`, s.tokens[0])
		if len(s.tokens) > 1 {
			s.tokens = s.tokens[1:]
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// questions are what was wrong with each of them.
func (s *tokenServer) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// trust has a daemon trust the issuer, beside nobody else, as it would the
// authorities of the system.
func (d *daemon) trust(s *tokenServer) {
	file := d.write("issuer.pem", string(pemOf(s.Certificate())))
	d.env = append(d.env, "SSL_CERT_FILE="+file, "SSL_CERT_DIR="+d.dir+"/none")
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// tokenHop is a next hop that takes XOAUTH2 alone, as Microsoft's and Google's
// do, with one token, and the route to it but for what is said of OAuth.
func tokenHop(t testing.TB, token string) (*standin.Server, *standin.Certificate) {
	t.Helper()
	cert, err := standin.NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return nextHop(t, standin.Options{
		TLS: standin.STARTTLS, Certificate: cert, Mechanisms: []string{"XOAUTH2"}, Username: "relay@example.org", Token: token,
	}), cert
}

func tokenRoute(hop *standin.Server, more string) string {
	return fmt.Sprintf(`
[[route]]
name = "away"
domains = ["*"]
next_hop = ["localhost:%d"]
tls = "verified"
tls_ca = "hop.pem"
username = "relay@example.org"
`, hop.Port()) + more
}

// TestClientCredentials follows docs/smarthost.md for Microsoft 365: the secret
// is wrong at first, and is mended in its file; the first token is one that the
// next hop does not take, and is replaced within the same attempt.
func TestClientCredentials(t *testing.T) {
	t.Parallel()
	issuer := newTokenServer(t, func(_ string, f url.Values) error {
		const want = "client_credentials the-client the-secret https://outlook.office365.com/.default"
		if got := strings.Join([]string{f.Get("grant_type"), f.Get("client_id"), f.Get("client_secret"), f.Get("scope")}, " "); got != want {
			return fmt.Errorf("asked with %s", got)
		}
		return nil
	}, "stale", "fresh")
	hop, cert := tokenHop(t, "fresh")
	d := prepare(t, quick(""))
	d.write("hop.pem", string(pemOf(cert.Certificate.Leaf)))
	d.write("secret", "wrong\n")
	d.configure(quick(""), tokenRoute(hop, `
oauth_token_url = "`+issuer.URL+`/TENANT/oauth2/v2.0/token"
oauth_client_id = "the-client"
oauth_client_secret_file = "secret"
oauth_scope = ["https://outlook.office365.com/.default"]
`))
	d.trust(issuer)
	d.start()
	d.send(letter("by token"), alice, "carol@example.net")
	eventually(t, "the queue says what the token server said", func() bool {
		return strings.Contains(d.must("", "queue", "list"), "invalid_client: AADSTS7000215")
	})
	d.write("secret", "the-secret\n")
	if m := reaches(t, hop, 1)[0]; m.Account != "relay@example.org" || !m.TLS {
		t.Errorf("%+v", m)
	}
	d.send(letter("by the same token"), alice, "carol@example.net")
	reaches(t, hop, 2)
	good := 0
	for _, wrong := range issuer.questions() {
		if wrong == "" {
			good++
		} else if !strings.Contains(wrong, " wrong ") {
			t.Error(wrong)
		}
	}
	if good != 2 {
		t.Errorf("the issuer was asked well %d times: %q", good, issuer.questions())
	}
	if log := d.log.String(); strings.Contains(log, "the-secret") || strings.Contains(log, "fresh") {
		t.Error("a secret is in the log")
	}
}

// TestServiceAccount follows docs/smarthost.md for Google Workspace: the issuer
// verifies what was signed with the key in the file.
func TestServiceAccount(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	issuer := newTokenServer(t, func(server string, f url.Values) error {
		if g := f.Get("grant_type"); g != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
			return fmt.Errorf("grant type %q", g)
		}
		signed, err := jose.ParseSignedCompact(f.Get("assertion"), []jose.SignatureAlgorithm{jose.RS256})
		if err != nil {
			return err
		}
		payload, err := signed.Verify(key.Public())
		if err != nil {
			return err
		}
		var c struct {
			Issuer   string `json:"iss"`
			Subject  string `json:"sub"`
			Audience string `json:"aud"`
			Scope    string `json:"scope"`
			Issued   int64  `json:"iat"`
			Expires  int64  `json:"exp"`
		}
		if err := json.Unmarshal(payload, &c); err != nil {
			return err
		}
		now := time.Now().Unix()
		if c.Issuer != "relay@project.example" || c.Subject != "relay@example.org" || c.Audience != server+"/token" ||
			c.Scope != "https://mail.google.com/" || c.Issued > now || c.Expires <= now || c.Expires > now+3660 || signed.Signatures[0].Header.KeyID != "k1" {
			return fmt.Errorf("claims %s", payload)
		}
		return nil
	}, "token")
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file, err := json.MarshalIndent(map[string]string{
		"type": "service_account", "project_id": "project", "private_key_id": "k1",
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
		"client_email": "relay@project.example", "client_id": "1234", "token_uri": issuer.URL + "/token",
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	hop, cert := tokenHop(t, "token")
	d := prepare(t, quick(""))
	d.write("hop.pem", string(pemOf(cert.Certificate.Leaf)))
	d.write("google.json", string(file))
	d.configure(quick(""), tokenRoute(hop, `
oauth_service_account = "google.json"
oauth_scope = ["https://mail.google.com/"]
`))
	d.trust(issuer)
	d.must("", "check")
	d.start()
	d.send(letter("as Google wants it"), alice, "carol@example.net")
	if m := reaches(t, hop, 1)[0]; m.Account != "relay@example.org" {
		t.Errorf("%+v", m)
	}
	if asked := issuer.questions(); len(asked) != 1 || asked[0] != "" {
		t.Errorf("the issuer was asked: %q", asked)
	}
}
