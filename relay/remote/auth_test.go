package remote

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"hash"
	"slices"
	"strings"
	"testing"

	"restante/internal/standin"
	"restante/relay"
	"restante/spool"
)

// The examples of RFC 5802 section 5 and RFC 7677 section 3.
func TestSCRAMVectors(t *testing.T) {
	for _, tt := range []struct {
		hash                                func() hash.Hash
		nonce, first, server, final, proved string
	}{
		{
			func() hash.Hash { return sha1.New() }, "fyko+d2lbbFgONRv9qkxdawL", "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
			"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
			"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
		},
		{
			sha256.New, "rOprNGfwEbeRWgbNEkqO", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
			"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
			"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
		},
	} {
		x := scram{hash: tt.hash, username: "user", password: "pencil", gs2: "n,,", nonce: tt.nonce}
		if got := x.first(); got != tt.first {
			t.Errorf("first %q", got)
		}
		if got, err := x.final(tt.server); err != nil || got != tt.final {
			t.Errorf("final %q, %v", got, err)
		}
		if !x.proved(tt.proved) || x.proved("v=AAAA") || x.proved("e=other-error") || x.proved("") {
			t.Error("the server's proof is not told from others")
		}
	}
}

func TestSCRAMRefuses(t *testing.T) {
	for _, server := range []string{
		"", "r=other,s=AAAA,i=4096", "r=abc,s=AAAA,i=4096", "r=abcd,s=AAAA,i=100", "r=abcd,s=AAAA,i=999999999",
		"r=abcd,s=,i=4096", "r=abcd,s=!,i=4096", "r=abcd,s=AAAA,i=x", "m=x,r=abcd,s=AAAA,i=4096", "r=abcd,s=AAAA",
	} {
		x := scram{hash: sha256.New, username: "u", password: "p", gs2: "n,,", nonce: "abc"}
		x.first()
		if got, err := x.final(server); err == nil {
			t.Errorf("%q: %q", server, got)
		}
	}
}

func TestMechanisms(t *testing.T) {
	all := []string{"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "XOAUTH2", "OAUTHBEARER"}
	for _, tt := range []struct {
		name    string
		offered []string
		tls     standin.TLSMode
		order   []string
		token   bool
		user    string // "user" if empty
		secret  string // "secret" if empty
		used    string
		says    string
	}{
		{name: "the strongest", offered: all, tls: standin.STARTTLS, used: "SCRAM-SHA-256-PLUS"},
		{name: "SCRAM without TLS", offered: all, used: "SCRAM-SHA-256"},
		{name: "SCRAM, no PLUS offered", offered: []string{"PLAIN", "SCRAM-SHA-256"}, tls: standin.STARTTLS, used: "SCRAM-SHA-256"},
		{name: "SCRAM, wrong password", offered: all, tls: standin.STARTTLS, secret: "wrong", used: "SCRAM-SHA-256-PLUS", says: "login by SCRAM-SHA-256-PLUS refused: 535 5.7.8 wrong"},
		{name: "SCRAM, a name with a comma", offered: []string{"SCRAM-SHA-256"}, user: "a,b=c", used: "SCRAM-SHA-256"},
		{name: "as configured", offered: all, tls: standin.STARTTLS, order: []string{"CRAM-MD5", "LOGIN", "PLAIN"}, used: "LOGIN"},
		{name: "SCRAM although PLUS is offered", offered: all, tls: standin.STARTTLS, order: []string{"SCRAM-SHA-256"}, used: "SCRAM-SHA-256"},
		{name: "none of them", offered: []string{"PLAIN"}, order: []string{"SCRAM-SHA-256"}, says: "next hop offers AUTH PLAIN, and none of SCRAM-SHA-256"},
		{name: "token", offered: all, tls: standin.STARTTLS, token: true, used: "OAUTHBEARER"},
		{name: "token, the old way", offered: []string{"PLAIN", "XOAUTH2"}, tls: standin.STARTTLS, token: true, used: "XOAUTH2"},
		{name: "token for none", offered: []string{"PLAIN"}, tls: standin.STARTTLS, token: true, says: "none of OAUTHBEARER, XOAUTH2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			user, secret := tt.user, tt.secret
			if user == "" {
				user = "user"
			}
			if secret == "" {
				secret = "secret"
			}
			srv := server(t, standin.Options{TLS: tt.tls, Mechanisms: tt.offered, Username: user, Password: "secret", Token: "good"})
			route := to(srv)
			route.Username, route.Mechanisms = user, tt.order
			route.Password = func() (string, error) { return secret, nil }
			if tt.token {
				route.Token = func(context.Context, string) (string, error) { return "good", nil }
			}
			out := deliver(t, courier(t, Options{}), job(route))
			if (out.Reach == spool.Reached) != (tt.says == "") || !strings.Contains(out.Fault.String(), tt.says) || codes(out)[0] >= 500 {
				t.Fatalf("outcome %+v", out)
			}
			used := ""
			for _, line := range srv.Commands() {
				if rest, ok := strings.CutPrefix(line, "AUTH "); ok {
					used, _, _ = strings.Cut(rest, " ")
				}
			}
			if used != tt.used {
				t.Errorf("used %q, want %q", used, tt.used)
			}
		})
	}
}

// A token that is refused is replaced, once.
func TestTokenIsRenewed(t *testing.T) {
	for name, tt := range map[string]struct {
		tokens []string
		err    error
		reach  spool.Outcome
		says   string
	}{
		"good":         {[]string{"good"}, nil, spool.Reached, ""},
		"withdrawn":    {[]string{"old", "good"}, nil, spool.Reached, ""},
		"never good":   {[]string{"old", "bad", "good"}, nil, spool.Unreached, "refused: 535"},
		"no new one":   {[]string{"old"}, errors.New("invalid_client"), spool.Unreached, "no access token: invalid_client"},
		"none at all":  {nil, errors.New("the token server does not answer"), spool.Unreached, "no access token"},
		"says what is": {[]string{"old", "bad"}, nil, spool.Unreached, "invalid_token"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := server(t, standin.Options{TLS: standin.STARTTLS, Mechanisms: []string{"OAUTHBEARER"}, Username: "user", Token: "good"})
			route := to(srv)
			route.Username = "user"
			var asked []string
			route.Token = func(_ context.Context, refused string) (string, error) {
				asked = append(asked, refused)
				if len(asked) > len(tt.tokens) {
					return "", tt.err
				}
				return tt.tokens[len(asked)-1], nil
			}
			out := deliver(t, courier(t, Options{}), job(route))
			if out.Reach != tt.reach || !strings.Contains(out.Fault.String(), tt.says) || codes(out)[0] >= 500 {
				t.Fatalf("outcome %+v", out)
			}
			if want := []string{"", "old"}; !slices.Equal(asked, want[:len(asked)]) {
				t.Errorf("asked after %q", asked)
			}
		})
	}
}

// A next hop that asks for certificates gets ours, as it is at that moment.
func TestClientCertificate(t *testing.T) {
	ca := authority(t)
	srv := server(t, standin.Options{TLS: standin.STARTTLS, Clients: ca.Pool})
	own := issued(t, ca, standin.Spec{Names: []string{"relay.test"}})
	route := to(srv)
	route.TLS = relay.TLSRequired
	if out := deliver(t, courier(t, Options{}), job(route)); out.Reach == spool.Reached {
		t.Error("without a certificate it was let in")
	}
	route.Certificate = func() (*tls.Certificate, error) { return &own.Certificate, nil }
	if out := deliver(t, courier(t, Options{}), job(route)); out.Reach != spool.Reached {
		t.Errorf("outcome %+v", out)
	}
	route.Certificate = func() (*tls.Certificate, error) { return nil, errors.New("no such file") }
	if out := deliver(t, courier(t, Options{}), job(route)); !strings.Contains(out.Fault.Text, "our own certificate cannot be read: no such file") {
		t.Errorf("outcome %+v", out)
	}
}

// A route's own authorities are the only ones, and its version the oldest.
func TestRouteTrust(t *testing.T) {
	ours, theirs := authority(t), authority(t)
	srv := server(t, standin.Options{TLS: standin.STARTTLS, Certificate: issued(t, theirs, standin.Spec{Names: []string{"mx.test"}})})
	route := to(srv)
	route.TLS, route.TLSNames, route.MinTLS = relay.TLSVerified, []string{"mx.test"}, tls.VersionTLS13
	c := courier(t, Options{RootCAs: ours.Pool})
	if out := deliver(t, c, job(route)); !strings.Contains(out.Fault.Text, "an authority that is not trusted (the route demands it)") {
		t.Errorf("outcome %+v", out)
	}
	route.RootCAs = theirs.Pool
	if out := deliver(t, c, job(route)); out.Reach != spool.Reached || out.TLS != "TLS 1.3" {
		t.Errorf("outcome %+v", out)
	}
}
