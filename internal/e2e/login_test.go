package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"restante/internal/needs"
	"restante/internal/sasl"
)

// gsasl logs in as a user and returns the exit code and all it printed.
func (d *daemon) gsasl(protocol, mechanism, user, secret string, more ...string) (code int, text string) {
	d.t.Helper()
	port := map[string]string{"--smtp": "submission", "--imap": "imap"}[protocol]
	argv := []string{"gsasl", protocol, "--starttls", "--verbose", "--mechanism", mechanism, "--authentication-id", user,
		"--password", secret, "--x509-ca-file=" + filepath.Join(d.dir, "tls.crt"), "--hostname", "localhost",
		"--connect", "127.0.0.1:" + d.port(port)}
	r := run(d.t, d.dir, []string{"LANG=C.UTF-8"}, "", append(argv, more...)...)
	return r.code, r.stdout + r.stderr
}

// TestGsasl logs in with GNU SASL, whose SCRAM is not ours: bound to channels of
// TLS 1.3 and 1.2, and not bound; with a secret; as an application; and not with
// a wrong password.
func TestGsasl(t *testing.T) {
	needs.Program(t, "gsasl")
	t.Parallel()
	d := prepare(t)
	d.write("config.toml", strings.Replace(base, "[tls]\n", "[tls]\nchannel_binding = true\n", 1)+"[smtp]\nauth_delay = \"10ms\"\n")
	d.start()
	_, secret, _ := strings.Cut(strings.TrimSpace(d.must("", "secret", "add", alice, "phone", "--imap")), ": ")
	d.must("app password\n", "user", "add", "invoices", "--application", "--password-stdin")
	d.must("st\u00f6red\n", "user", "add", "carl@example.org", "--password-stdin")
	began := time.Now()
	for _, test := range []struct {
		protocol, mechanism, user, secret string
		more                              []string
		good                              bool
	}{
		{"--smtp", "SCRAM-SHA-256-PLUS", alice, password, nil, true},
		{"--smtp", "SCRAM-SHA-256-PLUS", alice, password, []string{"--priority", "NORMAL:-VERS-TLS1.3"}, true},
		{"--smtp", "SCRAM-SHA-256", alice, password, []string{"--no-cb"}, true},
		{"--smtp", "SCRAM-SHA-256-PLUS", "alice", password, nil, true},
		{"--smtp", "SCRAM-SHA-256-PLUS", alice, secret, nil, true},
		{"--smtp", "SCRAM-SHA-256-PLUS", "invoices", "app password", nil, true},
		{"--smtp", "SCRAM-SHA-256-PLUS", "carl@example.org", "st\u00f6red", nil, true},
		{"--smtp", "PLAIN", alice, secret, nil, true},
		{"--smtp", "LOGIN", alice, password, nil, true},
		{"--imap", "SCRAM-SHA-256-PLUS", alice, password, nil, true},
		{"--imap", "SCRAM-SHA-256-PLUS", alice, password, []string{"--priority", "NORMAL:-VERS-TLS1.3"}, true},
		{"--imap", "SCRAM-SHA-256", alice, secret, []string{"--no-cb"}, true},
		{"--imap", "PLAIN", alice, password, nil, true},
		{"--smtp", "SCRAM-SHA-256-PLUS", alice, "wrong", nil, false},
		{"--smtp", "SCRAM-SHA-256-PLUS", "nobody@example.org", password, nil, false},
		{"--imap", "SCRAM-SHA-256-PLUS", "invoices", "app password", nil, false},
		{"--imap", "SCRAM-SHA-256", alice, "wrong", []string{"--no-cb"}, false},
	} {
		code, text := d.gsasl(test.protocol, test.mechanism, test.user, test.secret, test.more...)
		if (code == 0) != test.good || test.good && strings.HasPrefix(test.mechanism, "SCRAM") && !strings.Contains(text, "server trusted") {
			t.Errorf("%s %s %s %q: exit code %d\n%s", test.protocol, test.mechanism, test.user, test.more, code, text)
		}
	}
	// The hour may have changed meanwhile.
	list, hour := d.must("", "secret", "list", alice), "2006-01-02 15:"
	has(t, list, "phone")
	if !strings.Contains(list, began.Format(hour)) && !strings.Contains(list, time.Now().Format(hour)) {
		t.Errorf("it is not told when the secret was used:\n%s", list)
	}
	d.must("", "secret", "revoke", alice, "phone")
	if code, text := d.gsasl("--smtp", "SCRAM-SHA-256-PLUS", alice, secret); code == 0 {
		t.Errorf("a revoked secret logs in:\n%s", text)
	}
}

// TestGsaslKeys holds our keys against those of GNU SASL, for passwords too that
// have to be prepared.
func TestGsaslKeys(t *testing.T) {
	needs.Program(t, "gsasl")
	t.Parallel()
	salt := []byte("salt of somebody")
	for _, password := range []string{"pencil", "a,b=c", "pässword", "pa\u0308ssword", "\u212bngström", "a\u00a0b", "i\u00adx", "\u2168"} {
		r := run(t, t.TempDir(), []string{"LANG=C.UTF-8"}, "", "gsasl", "--mkpasswd", "--mechanism", "SCRAM-SHA-256",
			"--password", password, "--iteration-count", "4096", "--salt", base64.StdEncoding.EncodeToString(salt))
		keys, err := sasl.Derive(password, salt, 4096)
		if err != nil || r.code != 0 {
			t.Fatalf("%q: %v, %s", password, err, r.stderr)
		}
		fields := strings.Split(strings.TrimSpace(r.stdout), ",")
		b64 := base64.StdEncoding
		if len(fields) != 4 || fields[2] != b64.EncodeToString(keys.StoredKey[:]) || fields[3] != b64.EncodeToString(keys.ServerKey[:]) {
			t.Errorf("%q: %s is not %s %s", password, r.stdout, b64.EncodeToString(keys.StoredKey[:]), b64.EncodeToString(keys.ServerKey[:]))
		}
	}
}

// TestApplication sends with swaks as an application: as what it may send as,
// with its priority, and not more than its rate.
func TestApplication(t *testing.T) {
	needs.Program(t, "swaks")
	t.Parallel()
	d := newDaemon(t, `
[[application]]
name = "invoices"
password_file = "password"
senders = ["billing@example.org"]
priority = 3
rate = "2/1h"
[[route]]
name = "closed"
domains = ["*"]
next_hop = ["127.0.0.1:1"]
`)
	send := func(from string) result {
		argv := []string{"swaks", "--server", "127.0.0.1", "--port", "$submission", "--tls", "--tls-verify", "--tls-ca-path", "$CA",
			"--auth", "PLAIN", "--auth-user", "invoices", "--auth-password", password,
			"--from", from, "--h-From", from, "--to", "far@example.net"}
		for i := range argv {
			argv[i] = d.expand(argv[i])
		}
		return run(t, d.dir, []string{"HOME=" + d.dir}, "", argv...)
	}
	if r := send("alice@example.org"); r.code == 0 || !strings.Contains(r.stdout, "553 5.7.1") {
		t.Errorf("as alice: %d\n%s", r.code, r.stdout)
	}
	if r := send("billing@example.org"); r.code != 0 {
		t.Fatalf("as billing: %d\n%s", r.code, r.stdout)
	}
	tasks := d.queued("the message is in the queue", func(q []task) bool { return len(q) == 1 })
	has(t, d.must("", "queue", "show", tasks[0].ID), "billing@example.org")
	for range 3 {
		if r := send("billing@example.org"); strings.Contains(r.stdout, "450 4.7.1") {
			return
		}
	}
	t.Error("the rate of the application does not hold")
}

// clientCertificate writes a certificate and its key into the daemon's folder,
// signed by parent, or by itself.
func (d *daemon) clientCertificate(name string, template *x509.Certificate, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	d.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		d.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		d.t.Fatal(err)
	}
	d.write(name+".crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	d.write(name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	c, err := x509.ParseCertificate(der)
	if err != nil {
		d.t.Fatal(err)
	}
	return c, key
}

// TestClientCertificates logs in by certificates: swaks with one that is enough
// by itself, curl with AUTH EXTERNAL and one that an authority has signed.
func TestClientCertificates(t *testing.T) {
	needs.Program(t, "swaks")
	needs.Program(t, "curl")
	t.Parallel()
	d := prepare(t)
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	device, _ := d.clientCertificate("device", &x509.Certificate{Subject: pkix.Name{CommonName: "device"}, ExtKeyUsage: client}, nil, nil)
	d.clientCertificate("stranger", &x509.Certificate{Subject: pkix.Name{CommonName: "device"}, ExtKeyUsage: client}, nil, nil)
	ca, key := d.clientCertificate("ca", &x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	d.clientCertificate("alice", &x509.Certificate{EmailAddresses: []string{alice}, ExtKeyUsage: client}, ca, key)
	d.write("config.toml", strings.Replace(base, "[tls]\n", "[tls]\nclient_ca = \"ca.crt\"\n", 1)+fmt.Sprintf(`
[[certificate]]
fingerprint = "%X"
login = "bob@example.org"
implicit = true
`, sha256.Sum256(device.Raw)))
	d.start()
	swaks := func(cert string) result {
		argv := []string{"swaks", "--server", "127.0.0.1", "--port", "$submission", "--tls", "--tls-verify", "--tls-ca-path", "$CA",
			"--tls-cert", cert + ".crt", "--tls-key", cert + ".key", "--from", bob, "--h-From", bob, "--to", alice}
		for i := range argv {
			argv[i] = d.expand(argv[i])
		}
		return run(t, d.dir, []string{"HOME=" + d.dir}, "", argv...)
	}
	if r := swaks("device"); r.code != 0 {
		t.Errorf("the device's certificate: %d\n%s", r.code, r.stdout)
	}
	if r := swaks("stranger"); r.code == 0 || !strings.Contains(r.stdout, "530 5.7.0") {
		t.Errorf("a stranger's certificate: %d\n%s", r.code, r.stdout)
	}
	d.inbox(alice, 1)
	curl := func(cert, from, url string, more ...string) result {
		argv := append([]string{"curl", "--silent", "--show-error", "--max-time", "30", "--cacert", "$CA", "--ssl-reqd",
			"--cert", cert + ".crt", "--key", cert + ".key", "--login-options", "AUTH=EXTERNAL", "--user", from + ":", url}, more...)
		for i := range argv {
			argv[i] = d.expand(argv[i])
		}
		return run(t, d.dir, nil, letter("by certificate"), argv...)
	}
	if r := curl("alice", alice, "smtp://127.0.0.1:$submission", "--mail-from", alice, "--mail-rcpt", bob, "--upload-file", "-"); r.code != 0 {
		t.Errorf("EXTERNAL by SMTP: %d %s", r.code, r.stderr)
	}
	d.inbox(bob, 1)
	if r := curl("alice", alice, "imaps://127.0.0.1:$imaps/INBOX;UID=1"); r.code != 0 || !strings.Contains(r.stdout, "Subject: test") {
		t.Errorf("EXTERNAL by IMAP: %d %s\n%s", r.code, r.stderr, r.stdout)
	}
	if r := curl("stranger", alice, "imaps://127.0.0.1:$imaps/INBOX;UID=1"); r.code == 0 {
		t.Errorf("a stranger collects:\n%s", r.stdout)
	}
}

// TestBearerTokens sends and collects with curl and the tokens of an issuer.
func TestBearerTokens(t *testing.T) {
	needs.Program(t, "curl")
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var issuer *httptest.Server
	issuer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			json.NewEncoder(w).Encode(map[string]any{"issuer": issuer.URL, "jwks_uri": issuer.URL + "/keys"})
		case "/keys":
			json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1"}}})
		}
	}))
	defer issuer.Close()
	token := func(audience string) string {
		payload, err := json.Marshal(map[string]any{"iss": issuer.URL, "aud": audience, "email": alice, "email_verified": true,
			"exp": time.Now().Add(time.Hour).Unix()})
		if err != nil {
			t.Fatal(err)
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		text, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	d := newDaemon(t, "[smtp]\nauth_delay = \"10ms\"\n[oauth]\nissuer = \""+issuer.URL+"\"\naudience = \"mail\"\n")
	curl := func(mechanism, token, url string, more ...string) result {
		argv := append([]string{"curl", "--silent", "--show-error", "--max-time", "30", "--cacert", "$CA", "--ssl-reqd",
			"--login-options", "AUTH=" + mechanism, "--oauth2-bearer", token, "--user", alice + ":", url}, more...)
		for i := range argv {
			argv[i] = d.expand(argv[i])
		}
		return run(t, d.dir, nil, letter("by "+mechanism), argv...)
	}
	n := 0
	for _, mechanism := range []string{"OAUTHBEARER", "XOAUTH2"} {
		n++
		if r := curl(mechanism, token("mail"), "smtp://127.0.0.1:$submission", "--mail-from", alice, "--mail-rcpt", alice, "--upload-file", "-"); r.code != 0 {
			t.Fatalf("%s by SMTP: %d %s", mechanism, r.code, r.stderr)
		}
		d.inbox(alice, n)
		if r := curl(mechanism, token("mail"), "imaps://127.0.0.1:$imaps/INBOX;UID=1"); r.code != 0 || !strings.Contains(r.stdout, "Subject: by OAUTHBEARER") {
			t.Errorf("%s by IMAP: %d %s\n%s", mechanism, r.code, r.stderr, r.stdout)
		}
		if r := curl(mechanism, token("others"), "imaps://127.0.0.1:$imaps/INBOX;UID=1"); r.code == 0 {
			t.Errorf("%s with a token for others:\n%s", mechanism, r.stdout)
		}
		if r := curl(mechanism, token("others"), "smtp://127.0.0.1:$submission", "--mail-from", alice, "--mail-rcpt", bob, "--upload-file", "-"); r.code == 0 {
			t.Errorf("%s by SMTP with a token for others", mechanism)
		}
	}
}
