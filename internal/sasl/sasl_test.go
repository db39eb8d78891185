package sasl

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"

	"restante/internal/mail"
)

func TestOffer(t *testing.T) {
	f := newFake(t)
	server := &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "mx")}, ClientAuth: tls.RequestClientCert}
	ch, _ := channel(t, server, clientConfig())
	certified, stranger := clientConfig(), clientConfig()
	certified.Certificates = []tls.Certificate{selfSigned(t, "alice")}
	stranger.Certificates = []tls.Certificate{selfSigned(t, "mallory")}
	withCert, _ := channel(t, server, certified)
	withOther, _ := channel(t, server, stranger)

	all, clear, unbound := f.all(), f.all(), f.all()
	clear.ClearScram, unbound.NoBinding = true, true
	incomplete := newFake(t)
	incomplete.incomplete = true
	for _, test := range []struct {
		name    string
		sources Sources
		channel *Channel
		want    string
	}{
		{"all", all, ch, "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN OAUTHBEARER XOAUTH2"},
		{"with a certificate", all, withCert, "SCRAM-SHA-256-PLUS SCRAM-SHA-256 EXTERNAL PLAIN LOGIN OAUTHBEARER XOAUTH2"},
		{"with a certificate that nobody knows", all, withOther, "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN OAUTHBEARER XOAUTH2"},
		{"without binding", unbound, ch, "SCRAM-SHA-256 PLAIN LOGIN OAUTHBEARER XOAUTH2"},
		{"in the clear", all, nil, ""},
		{"in the clear, allowed", clear, nil, "SCRAM-SHA-256"},
		{"some have no verifier", incomplete.all(), ch, "PLAIN LOGIN OAUTHBEARER XOAUTH2"},
		{"passwords only", Sources{Passwords: f}, ch, "PLAIN LOGIN"},
		{"certificates only", Sources{Certificates: f}, withCert, "EXTERNAL"},
		{"nothing", Sources{}, ch, ""},
	} {
		if test.channel != nil {
			again := *test.channel // each connection has its own
			again.looked = false
			test.channel = &again
		}
		got := test.sources.Offer(test.channel)
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		// What is not offered cannot be had.
		for _, m := range []string{ScramPlus, Scram, External, Plain, Login, OAuthBearer, XOAuth2, "CRAM-MD5", "ANONYMOUS", ""} {
			_, err := test.sources.Start(strings.ToLower(m), Peer{Channel: test.channel, Offered: got})
			if (err == nil) != slices.Contains(got, m) || err != nil && !errors.Is(err, ErrMechanism) {
				t.Errorf("%s: %s: %v", test.name, m, err)
			}
		}
	}
}

// TestExchanges plays the mechanisms whose messages do not depend on each other.
func TestExchanges(t *testing.T) {
	f := newFake(t)
	client := clientConfig()
	client.Certificates = []tls.Certificate{selfSigned(t, "alice")}
	ch, _ := channel(t, &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "mx")}, ClientAuth: tls.RequestClientCert}, client)
	const bearerError = `{"openid-configuration":"https://id.example.org/.well-known/openid-configuration","status":"invalid_token"}`
	const xoauth2Error = `{"schemes":"bearer","status":"401"}`
	other := errors.New("any other error")
	for _, test := range []struct {
		name, mechanism string
		responses       []string // "" is none
		challenges      []string
		want            error
	}{
		{"at once", Plain, []string{"\x00alice\x00pencil"}, nil, nil},
		{"asked for", Plain, []string{"", "\x00alice\x00pencil"}, []string{""}, nil},
		{"own identity", Plain, []string{"alice\x00alice\x00pencil"}, nil, nil},
		{"own identity by the account's name", Plain, []string{"Alice@example.org\x00alice\x00pencil"}, nil, nil},
		{"another identity", Plain, []string{"bob\x00alice\x00pencil"}, nil, ErrIdentity},
		{"another identity, wrong password", Plain, []string{"bob\x00alice\x00x"}, nil, mail.ErrBadCredentials},
		{"wrong password", Plain, []string{"\x00alice\x00pencil "}, nil, mail.ErrBadCredentials},
		{"no NUL", Plain, []string{"alice"}, nil, ErrMalformed},
		{"three NULs", Plain, []string{"\x00alice\x00pencil\x00"}, nil, ErrMalformed},
		{"no user", Plain, []string{"\x00\x00pencil"}, nil, ErrMalformed},
		{"not UTF-8", Plain, []string{"\x00alice\x00\xff"}, nil, ErrMalformed},
		{"too long", Plain, []string{"\x00alice\x00" + strings.Repeat("x", maxMessage)}, nil, ErrMalformed},
		{"our fault", Plain, []string{"\x00broken\x00x"}, nil, other},
		{"asked for", Login, []string{"", "alice", "pencil"}, []string{"Username:", "Password:"}, nil},
		{"user at once", Login, []string{"alice", "pencil"}, []string{"Password:"}, nil},
		{"wrong password", Login, []string{"alice", "x"}, []string{"Password:"}, mail.ErrBadCredentials},
		{"certificate", External, []string{"", "="}, []string{""}, nil},
		{"certificate at once", External, []string{"="}, nil, nil},
		{"certificate with a name", External, []string{"alice@example.org"}, nil, nil},
		{"certificate with another's name", External, []string{"bob@example.org"}, nil, ErrIdentity},
		{"certificate with a NUL", External, []string{"a\x00"}, nil, ErrMalformed},
		{"token", OAuthBearer, []string{"n,a=alice@example.org,\x01host=mx\x01port=587\x01auth=Bearer good\x01\x01"}, nil, nil},
		{"token for whom it may concern", OAuthBearer, []string{"", "n,,\x01auth=bearer good\x01\x01"}, []string{""}, nil},
		{"bad token", OAuthBearer, []string{"n,,\x01auth=Bearer bad\x01\x01", "\x01"}, []string{bearerError}, mail.ErrBadCredentials},
		{"another's token", OAuthBearer, []string{"n,a=bob@example.org,\x01auth=Bearer good\x01\x01", "\x01"}, []string{bearerError}, ErrIdentity},
		{"issuer away", OAuthBearer, []string{"n,,\x01auth=Bearer unreachable\x01\x01"}, nil, other},
		{"no end", OAuthBearer, []string{"n,,\x01auth=Bearer good\x01"}, nil, ErrMalformed},
		{"no token", OAuthBearer, []string{"n,,\x01host=mx\x01\x01"}, nil, ErrMalformed},
		{"two tokens", OAuthBearer, []string{"n,,\x01auth=Bearer good\x01auth=Bearer bad\x01\x01"}, nil, ErrMalformed},
		{"another scheme", OAuthBearer, []string{"n,,\x01auth=Basic good\x01\x01"}, nil, ErrMalformed},
		{"binding is not for it", OAuthBearer, []string{"p=tls-exporter,,\x01auth=Bearer good\x01\x01"}, nil, ErrMalformed},
		{"token", XOAuth2, []string{"user=alice@example.org\x01auth=Bearer good\x01\x01"}, nil, nil},
		{"bad token", XOAuth2, []string{"", "user=alice@example.org\x01auth=Bearer bad\x01\x01", "="}, []string{"", xoauth2Error}, mail.ErrBadCredentials},
		{"another's token", XOAuth2, []string{"user=bob@example.org\x01auth=Bearer good\x01\x01", "="}, []string{xoauth2Error}, ErrIdentity},
		{"no user", XOAuth2, []string{"auth=Bearer good\x01\x01"}, nil, ErrMalformed},
	} {
		t.Run(test.mechanism+" "+test.name, func(t *testing.T) {
			x := start(t, f.all(), test.mechanism, ch)
			var err error
			for i, r := range test.responses {
				response := []byte(r)
				switch r {
				case "":
					response = nil
				case "=":
					response = []byte{}
				}
				challenge, done, e := x.Next(t.Context(), response)
				err = e
				last := i == len(test.responses)-1
				if done != (last && e == nil) || !last && e != nil {
					t.Fatalf("response %d: done %v, %v", i, done, e)
				}
				if !last && string(challenge) != test.challenges[i] {
					t.Errorf("challenge %q, want %q", challenge, test.challenges[i])
				}
			}
			switch {
			case test.want == nil:
				if err != nil || x.Account != "alice@example.org" {
					t.Errorf("got %v, account %q", err, x.Account)
				}
			case test.want == other:
				if err == nil || errors.Is(err, ErrMalformed) || errors.Is(err, mail.ErrBadCredentials) {
					t.Errorf("got %v", err)
				}
			case !errors.Is(err, test.want):
				t.Errorf("got %v, want %v", err, test.want)
			}
			if err != nil && x.Account != "" {
				t.Errorf("account %q after %v", x.Account, err)
			}
		})
	}
}

func TestParseGS2(t *testing.T) {
	for _, s := range []string{
		"", "n", "n,", "x,,", "n,bob,", "n,a=b=,", "n,a=b=2d,", "p=,,", "p=a b,,", "p,,", "y=,,", "nn,,", "n,a=\x00,",
	} {
		if h, err := parseGS2(s); err == nil {
			t.Errorf("%q is read as %+v", s, h)
		}
	}
	h, err := parseGS2("p=tls-exporter,a=x=2Cy=3Dz,rest,of,it")
	if err != nil || h.flag != 'p' || h.binding != "tls-exporter" || h.authzid != "x,y=z" ||
		h.raw != "p=tls-exporter,a=x=2Cy=3Dz," || h.rest != "rest,of,it" {
		t.Errorf("%+v %v", h, err)
	}
}

func TestParseClientFirstRefuses(t *testing.T) {
	for _, s := range []string{
		"n,,", "n,,n=user", "n,,n=user,r=", "n,,r=x,n=user", "n,,m=x,n=user,r=x", "n,,n=,r=x", "n,,n=us=er,r=x",
		"n,,n=user,r=a b", "n,,n=user,r=x,", "n,,n=user,r=x,m=y", "n,,n=user,r=\x7f", "n,,n=\xff,r=x", "n,,n=a\x00,r=x",
		"n,,n=\u0007,r=x", "n,,n=user,r=" + strings.Repeat("x", maxNonce+1),
	} {
		if m, err := parseClientFirst([]byte(s)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q is read as %+v, %v", s, m, err)
		}
	}
}

// countedCertificates counts how often certificates are looked at.
type countedCertificates struct {
	Certificates
	n int
}

func (c *countedCertificates) Certificate(chain []*x509.Certificate) (Identity, error) {
	c.n++
	return c.Certificates.Certificate(chain)
}

// TestOfferLooksOnce asks for the offer again and again; to log in is another
// matter, since the answer may have changed.
func TestOfferLooksOnce(t *testing.T) {
	client := clientConfig()
	client.Certificates = []tls.Certificate{selfSigned(t, "alice")}
	ch, _ := channel(t, &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "mx")}, ClientAuth: tls.RequestClientCert}, client)
	c := &countedCertificates{Certificates: newFake(t)}
	s := Sources{Certificates: c}
	for range 10 {
		if got := s.Offer(ch); !slices.Equal(got, []string{External}) {
			t.Fatal(got)
		}
	}
	if c.n != 1 {
		t.Errorf("looked %d times", c.n)
	}
	if _, done, err := start(t, s, External, ch).Next(t.Context(), []byte{}); !done || err != nil || c.n != 2 {
		t.Errorf("%v %v, looked %d times", done, err, c.n)
	}
}
