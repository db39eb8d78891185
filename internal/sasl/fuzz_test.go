package sasl

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"restante/internal/mail"
)

func FuzzGS2(f *testing.F) {
	for _, s := range []string{"n,,", "y,a=bob,", "p=tls-exporter,a=b=2Cc,n=user,r=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseGS2(s)
		if err != nil {
			return
		}
		if h.raw+h.rest != s || !strings.HasSuffix(h.raw, ",") {
			t.Errorf("%q is taken apart as %q %q", s, h.raw, h.rest)
		}
		quoted := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(h.authzid)
		if again, err := parseGS2("n,a=" + quoted + ","); h.authzid != "" && (err != nil || again.authzid != h.authzid) {
			t.Errorf("%q does not come back: %v", h.authzid, err)
		}
	})
}

func FuzzScramMessages(f *testing.F) {
	f.Add([]byte("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"))
	f.Add([]byte("p=tls-exporter,a=x,n=us=2Cer,r=a,x=1"))
	f.Add([]byte("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseClientFirst(b); err == nil {
			if m.user == "" || m.nonce == "" || strings.Contains(m.nonce, ",") || !strings.Contains(m.gs2.rest, "r="+m.nonce) {
				t.Errorf("%q is read as %+v", b, m)
			}
		}
		if m, err := parseClientFinal(b); err == nil {
			if !strings.HasPrefix(string(b), m.unproved+",p=") || m.nonce == "" {
				t.Errorf("%q is read as %+v", b, m)
			}
		}
	})
}

func FuzzBearer(f *testing.F) {
	f.Add([]byte("n,a=alice@example.org,\x01host=mx\x01port=587\x01auth=Bearer abc\x01\x01"))
	f.Add([]byte("user=alice@example.org\x01auth=Bearer abc\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (bearerMessage, error){parseBearer, parseXOAuth2} {
			m, err := parse(b)
			if err != nil {
				if !errors.Is(err, ErrMalformed) {
					t.Errorf("%q: %v", b, err)
				}
				continue
			}
			if m.token == "" || strings.ContainsAny(m.token, " \x00\x01\r\n") || !utf8.ValidString(m.user) {
				t.Errorf("%q is read as %+v", b, m)
			}
		}
	})
}

func FuzzVerifier(f *testing.F) {
	f.Add(Verifier{Salt: []byte("12345678"), Iterations: 4096, Keys: make([]Keys, 1)}.String())
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := ParseVerifier(s); err == nil && v.String() != s {
			t.Errorf("%q is read as %s", s, v)
		}
	})
}

// FuzzExchange sends anything to any mechanism: it ends with an error of ours,
// or with somebody who knew a secret.
func FuzzExchange(f *testing.F) {
	fake := newFake(f)
	cert := selfSigned(f, "mx")
	client := clientConfig()
	client.Certificates = []tls.Certificate{selfSigned(f, "alice")}
	ch, _ := channel(f, &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert}, client)
	offered := fake.all().Offer(ch)
	f.Add(0, []byte("p=tls-exporter,,n=alice,r=x"), []byte("c=biws,r=x,p=AAAA"), []byte{})
	f.Add(3, []byte("\x00alice\x00pencil"), []byte{}, []byte{})
	f.Add(4, []byte("alice"), []byte("pencil"), []byte{})
	f.Add(5, []byte("n,,\x01auth=Bearer bad\x01\x01"), []byte{1}, []byte{})
	f.Fuzz(func(t *testing.T, which int, a, b, c []byte) {
		mechanism := offered[(which%len(offered)+len(offered))%len(offered)]
		x := start(t, fake.all(), mechanism, ch)
		for _, response := range [][]byte{a, b, c} {
			_, done, err := x.Next(t.Context(), response)
			if done {
				if x.Account != "alice@example.org" || strings.HasPrefix(mechanism, Scram) {
					t.Errorf("%s: %q with %q %q %q", mechanism, x.Account, a, b, c)
				}
				return
			}
			if err == nil {
				continue
			}
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrChannel) && !errors.Is(err, ErrIdentity) &&
				!errors.Is(err, ErrDowngrade) && !errors.Is(err, mail.ErrBadCredentials) && !strings.Contains(err.Error(), "disk") && !strings.Contains(err.Error(), "away") {
				t.Errorf("%s: %v", mechanism, err)
			}
			return
		}
	})
}
