package imapd

import (
	"bufio"
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
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/internal/sasl"
)

// logins know alice by all mechanisms; bob's certificate is bob's.
type logins struct{ keys sasl.Keys }

func (logins) Complete() bool { return true }

func (l logins) Verifier(user string) sasl.Verifier {
	v := sasl.Verifier{Salt: []byte("salt of alice"), Iterations: sasl.MinIterations}
	if user == "alice" {
		v.Keys = []sasl.Keys{l.keys}
	}
	return v
}

func (logins) Proved(user string, _ sasl.Keys) (string, error) { return user, nil }

func (logins) Certificate(chain []*x509.Certificate) (sasl.Identity, error) {
	if name := chain[0].Subject.CommonName; name == "bob" {
		return sasl.Identity{Account: name, Implicit: true}, nil
	}
	return sasl.Identity{}, mail.ErrBadCredentials
}

func (logins) Token(_ context.Context, token string) (string, error) {
	if token == "good" {
		return "alice", nil
	}
	return "", mail.ErrBadCredentials
}

func (logins) Discovery() string { return "https://id.example/.well-known/openid-configuration" }

// talk is a client of the mechanisms.
type talk struct {
	t    *testing.T
	conn *tls.Conn
	r    *bufio.Reader
}

func (h *house) talk(t *testing.T, certificates ...tls.Certificate) *talk {
	t.Helper()
	raw, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	raw.SetDeadline(time.Now().Add(time.Minute))
	config := clientTLS()
	config.Certificates = certificates
	c := &talk{t: t, conn: tls.Client(raw, config)}
	c.r = bufio.NewReader(c.conn)
	return c
}

// ask sends a line, unless it is "-", and returns the next line of the server.
func (c *talk) ask(line string) string {
	c.t.Helper()
	if line != "-" {
		if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
			c.t.Fatal(err)
		}
	}
	got, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(got)
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// scram plays SCRAM with a GS2 header, and returns the last line.
func (c *talk) scram(mechanism, gs2, password string, binding []byte) string {
	c.t.Helper()
	const bare = "n=alice,r=clientnonce"
	line := c.ask("s AUTHENTICATE " + mechanism + " " + b64(gs2+bare))
	text, ok := strings.CutPrefix(line, "+ ")
	if !ok {
		return line
	}
	server, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		c.t.Fatal(err)
	}
	nonce, _, _ := strings.Cut(strings.TrimPrefix(string(server), "r="), ",")
	salted, err := pbkdf2.Key(sha256.New, password, []byte("salt of alice"), sasl.MinIterations, 32)
	if err != nil {
		c.t.Fatal(err)
	}
	unproved := "c=" + b64(gs2+string(binding)) + ",r=" + nonce
	message := bare + "," + string(server) + "," + unproved
	key := mac(salted, "Client Key")
	stored := sha256.Sum256(key)
	proof := make([]byte, 32)
	subtle.XORBytes(proof, key, mac(stored[:], message))
	line = c.ask(b64(unproved + ",p=" + base64.StdEncoding.EncodeToString(proof)))
	if !strings.HasPrefix(line, "+ ") {
		return line
	}
	signature := "v=" + base64.StdEncoding.EncodeToString(mac(mac(salted, "Server Key"), message))
	if line != "+ "+b64(signature) {
		c.t.Errorf("signature %q", line)
	}
	return c.ask("")
}

func clientCertificate(t *testing.T, name string) tls.Certificate {
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

func TestMechanisms(t *testing.T) {
	keys, err := sasl.Derive("secret", []byte("salt of alice"), sasl.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	l := logins{keys}
	h := newHouse(t, func(o *Options) { o.Verifiers, o.Certificates, o.Tokens = l, l, l })
	const plain = "AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN AUTH=OAUTHBEARER AUTH=XOAUTH2"
	exporter := func(c *talk) []byte {
		state := c.conn.ConnectionState()
		b, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := "n,a=alice,\x01auth=Bearer good\x01\x01"
	for _, test := range []struct {
		name string
		cert string
		do   func(c *talk) string
		want string
	}{
		{"SCRAM", "", func(c *talk) string { return c.scram("SCRAM-SHA-256", "n,,", "secret", nil) }, "s OK"},
		{"SCRAM, wrong password", "", func(c *talk) string { return c.scram("SCRAM-SHA-256", "n,,", "x", nil) }, "s NO [AUTHENTICATIONFAILED]"},
		{"SCRAM, tampered with", "", func(c *talk) string { return c.scram("SCRAM-SHA-256", "y,,", "secret", nil) }, "s NO [CANNOT]"},
		{"SCRAM for another", "", func(c *talk) string { return c.scram("SCRAM-SHA-256", "n,a=bob,", "secret", nil) }, "s NO [AUTHORIZATIONFAILED]"},
		{"bound", "", func(c *talk) string { return c.scram("SCRAM-SHA-256-PLUS", "p=tls-exporter,,", "secret", exporter(c)) }, "s OK"},
		{"bound to the certificate", "", func(c *talk) string {
			sum := sha256.Sum256(c.conn.ConnectionState().PeerCertificates[0].Raw)
			return c.scram("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", "secret", sum[:])
		}, "s OK"},
		{"bound to another channel", "", func(c *talk) string {
			return c.scram("SCRAM-SHA-256-PLUS", "p=tls-exporter,,", "secret", make([]byte, 32))
		}, "s NO [AUTHENTICATIONFAILED]"},
		{"malformed", "", func(c *talk) string { return c.ask("s AUTHENTICATE SCRAM-SHA-256 " + b64("x")) }, "s BAD"},
		{"cancelled", "", func(c *talk) string {
			c.ask("s AUTHENTICATE SCRAM-SHA-256 " + b64("n,,n=alice,r=x"))
			return c.ask("*")
		}, "s BAD"},
		{"token", "", func(c *talk) string { return c.ask("s AUTHENTICATE OAUTHBEARER " + b64(good)) }, "s OK"},
		{"token asked for", "", func(c *talk) string {
			c.ask("s AUTHENTICATE OAUTHBEARER")
			return c.ask(b64(good))
		}, "s OK"},
		{"bad token", "", func(c *talk) string {
			if got := c.ask("s AUTHENTICATE OAUTHBEARER " + b64("n,,\x01auth=Bearer bad\x01\x01")); !strings.HasPrefix(got, "+ ") {
				t.Errorf("no error: %q", got)
			}
			return c.ask("AQ==")
		}, "s NO [AUTHENTICATIONFAILED]"},
		{"XOAUTH2", "", func(c *talk) string {
			return c.ask("s AUTHENTICATE XOAUTH2 " + b64("user=alice\x01auth=Bearer good\x01\x01"))
		}, "s OK"},
		{"XOAUTH2, bad token", "", func(c *talk) string {
			c.ask("s AUTHENTICATE XOAUTH2 " + b64("user=alice\x01auth=Bearer bad\x01\x01"))
			return c.ask("")
		}, "s NO [AUTHENTICATIONFAILED]"},
		{"certificate", "bob", func(c *talk) string { return c.ask("s AUTHENTICATE EXTERNAL =") }, "s OK"},
		{"certificate with a name", "bob", func(c *talk) string { return c.ask("s AUTHENTICATE EXTERNAL " + b64("bob")) }, "s OK"},
		{"certificate for another", "bob", func(c *talk) string { return c.ask("s AUTHENTICATE EXTERNAL " + b64("alice")) }, "s NO [AUTHORIZATIONFAILED]"},
		{"a stranger's certificate", "mallory", func(c *talk) string { return c.ask("s AUTHENTICATE EXTERNAL =") }, "s NO [CANNOT]"},
		{"no certificate", "", func(c *talk) string { return c.ask("s AUTHENTICATE EXTERNAL =") }, "s NO [CANNOT]"},
		// Only SMTP has logins without a command.
		{"a certificate alone", "bob", func(c *talk) string { return c.ask("s SELECT INBOX") }, "s BAD"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var certificates []tls.Certificate
			want := plain
			if test.cert != "" {
				certificates = append(certificates, clientCertificate(t, test.cert))
			}
			if test.cert == "bob" {
				want = strings.Replace(plain, "AUTH=PLAIN", "AUTH=EXTERNAL AUTH=PLAIN", 1)
			}
			c := h.talk(t, certificates...)
			if greeting := c.ask("-"); !strings.Contains(greeting, want) || !slices.Contains(strings.Fields(greeting), "SASL-IR") {
				t.Errorf("greeting %q", greeting)
			}
			got := test.do(c)
			if !strings.HasPrefix(got, test.want) {
				t.Fatalf("got %q, want %q", got, test.want)
			}
			if ok := strings.HasPrefix(c.ask("x SELECT INBOX"), "x BAD"); ok == strings.HasPrefix(test.want, "s OK") {
				t.Errorf("logged in is %v", !ok)
			}
		})
	}
}
