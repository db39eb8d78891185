package sasl

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"restante/internal/mail"
)

// TestScramVector is the example of RFC 7677 section 3.
func TestScramVector(t *testing.T) {
	const (
		nonce  = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
		salt   = "W22ZaJ0SNY7soEsUEjb6gQ=="
		proof  = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
		answer = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
	)
	rawSalt, _ := base64.StdEncoding.DecodeString(salt)
	keys, err := Derive("pencil", rawSalt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	first, err := parseClientFirst([]byte("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"))
	if err != nil || first.user != "user" || first.gs2.rest != "n=user,r=rOprNGfwEbeRWgbNEkqO" {
		t.Fatalf("%+v %v", first, err)
	}
	final, err := parseClientFinal([]byte("c=biws,r=" + nonce + ",p=" + proof))
	if err != nil || final.nonce != nonce || string(final.binding) != "n,," {
		t.Fatalf("%+v %v", final, err)
	}
	message := []byte(first.gs2.rest + ",r=" + nonce + ",s=" + salt + ",i=4096," + final.unproved)
	v := Verifier{Salt: rawSalt, Iterations: 4096, Keys: []Keys{keys}}
	key, ok := v.prove(message, final.proof)
	if !ok || key != keys {
		t.Error("the proof is not accepted")
	}
	signature := sum(key.ServerKey[:], message)
	if got := base64.StdEncoding.EncodeToString(signature[:]); got != answer {
		t.Errorf("v=%s", got)
	}
	final.proof[0] ^= 1
	if _, ok := v.prove(message, final.proof); ok {
		t.Error("a wrong proof is accepted")
	}
	parsed, err := ParseVerifier(v.String())
	if err != nil || parsed.String() != v.String() || parsed.Keys[0] != keys {
		t.Errorf("%s: %v", v, err)
	}
}

func TestScram(t *testing.T) {
	f := newFake(t)
	ch, _ := channel(t, &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "mx")}}, clientConfig())
	sources := f.all()
	sources.ClearScram = true
	tests := []struct {
		name    string
		client  scramClient
		clear   bool
		want    error
		account string
	}{
		{"the account's password", scramClient{user: "alice", password: "pencil", flag: "n"}, false, nil, "alice@example.org"},
		{"another of its passwords", scramClient{user: "Alice", password: "app, secret", flag: "n"}, false, nil, "alice@example.org"},
		{"itself as identity", scramClient{user: "alice", password: "pencil", flag: "n", authzid: "a=alice@example.org"}, false, nil, "alice@example.org"},
		{"another identity", scramClient{user: "alice", password: "pencil", flag: "n", authzid: "a=bob"}, false, ErrIdentity, ""},
		{"wrong password", scramClient{user: "alice", password: "Pencil", flag: "n"}, false, mail.ErrBadCredentials, ""},
		{"unknown user", scramClient{user: "bob", password: "pencil", flag: "n"}, false, mail.ErrBadCredentials, ""},
		{"unknown user with a zero proof", scramClient{user: "bob", password: "", flag: "n", proof: func([]byte) []byte { return make([]byte, 32) }}, false, mail.ErrBadCredentials, ""},
		{"quoted user", scramClient{user: "a=b,c", password: "pencil", flag: "n"}, false, mail.ErrBadCredentials, ""},
		{"the offer was tampered with", scramClient{user: "alice", password: "pencil", flag: "y"}, false, ErrDowngrade, ""},
		{"y without TLS is true", scramClient{user: "alice", password: "pencil", flag: "y"}, true, nil, "alice@example.org"},
		{"without TLS", scramClient{user: "alice", password: "pencil", flag: "n"}, true, nil, "alice@example.org"},
		{"binding without -PLUS", scramClient{user: "alice", password: "pencil", flag: "p=tls-exporter"}, false, ErrMalformed, ""},
		{"flag changed on the way", scramClient{user: "alice", password: "pencil", flag: "n", spoil: func(s string) string {
			return strings.Replace(s, "c=biws", "c=eSws", 1)
		}}, false, ErrChannel, ""},
		{"another nonce", scramClient{user: "alice", password: "pencil", flag: "n", spoil: func(s string) string { return s + "x" }}, false, ErrMalformed, ""},
		{"an extension", scramClient{user: "alice", password: "pencil", flag: "n", spoil: func(s string) string { return s + ",x=1" }}, false, nil, "alice@example.org"},
		{"a mandatory extension", scramClient{user: "alice", password: "pencil", flag: "n", spoil: func(s string) string { return s + ",m=1" }}, false, ErrMalformed, ""},
		{"a short proof", scramClient{user: "alice", password: "pencil", flag: "n", proof: func(p []byte) []byte { return p[:31] }}, false, ErrMalformed, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := ch
			if test.clear {
				c = nil
			}
			x := start(t, sources, Scram, c)
			if err := test.client.run(t, x); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if x.Account != test.account || x.User == "" && test.want != ErrMalformed {
				t.Errorf("account %q, user %q", x.Account, x.User)
			}
			if _, done, err := x.Next(t.Context(), nil); done || !errors.Is(err, ErrMalformed) {
				t.Errorf("after the end: %v %v", done, err)
			}
		})
	}
	if !slices.Contains(f.proved, "Alice1") || !slices.Contains(f.proved, "alice0") {
		t.Errorf("told of %q", f.proved)
	}
	f.revoked = true
	if err := (scramClient{user: "alice", password: "pencil", flag: "n"}).run(t, start(t, sources, Scram, ch)); !errors.Is(err, mail.ErrBadCredentials) {
		t.Errorf("a revoked password: %v", err)
	}
}

// TestScramPlus binds to every kind of channel there is, as its other end sees
// it.
func TestScramPlus(t *testing.T) {
	f := newFake(t)
	cert := selfSigned(t, "mx")
	leaf := sha256.Sum256(cert.Certificate[0])
	export := func(state tls.ConnectionState, context []byte) []byte {
		b, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", context, 32)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := clientConfig()
		client.MaxVersion = version
		ch, far := channel(t, &tls.Config{Certificates: []tls.Certificate{cert}}, client)
		_, other := channel(t, &tls.Config{Certificates: []tls.Certificate{cert}}, client)
		type attempt struct {
			name    string
			flag    string
			binding []byte
			want    error
		}
		attempts := []attempt{
			{"exporter", "p=tls-exporter", export(far, []byte{}), nil},
			{"exporter without context", "p=tls-exporter", export(far, nil), nil},
			{"end point", "p=tls-server-end-point", leaf[:], nil},
			{"exporter of another channel", "p=tls-exporter", export(other, []byte{}), ErrChannel},
			{"another certificate", "p=tls-server-end-point", make([]byte, 32), ErrChannel},
			{"no data", "p=tls-exporter", nil, ErrChannel},
			{"one kind for the other", "p=tls-server-end-point", export(far, []byte{}), ErrChannel},
			{"unknown binding", "p=tls-magic", leaf[:], ErrChannel},
			{"no binding", "n", nil, ErrMalformed},
			{"y", "y", nil, ErrMalformed},
		}
		if version == tls.VersionTLS12 {
			attempts = append(attempts, attempt{"unique", "p=tls-unique", far.TLSUnique, nil},
				attempt{"unique of another", "p=tls-unique", other.TLSUnique, ErrChannel})
		} else {
			attempts = append(attempts, attempt{"unique is not for TLS 1.3", "p=tls-unique", make([]byte, 12), ErrChannel})
		}
		for _, a := range attempts {
			t.Run(tls.VersionName(version)+" "+a.name, func(t *testing.T) {
				x := start(t, f.all(), ScramPlus, ch)
				err := scramClient{user: "alice", password: "pencil", flag: a.flag, binding: a.binding}.run(t, x)
				if !errors.Is(err, a.want) || (err == nil) != (a.want == nil) {
					t.Errorf("got %v, want %v", err, a.want)
				}
			})
		}
	}
}

// TestResumedChannel finds the certificate of a session that showed none.
func TestResumedChannel(t *testing.T) {
	cert := selfSigned(t, "mx")
	leaf := sha256.Sum256(cert.Certificate[0])
	// One configuration for both, as a server has, for its tickets.
	server := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }}
	var key [32]byte
	server.SetSessionTicketKeys([][32]byte{key})
	client := clientConfig()
	client.ServerName = "mx.example.org"
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	channel(t, server, client)
	ch, far := channel(t, server, client)
	if !far.DidResume {
		t.Fatal("the session was not resumed")
	}
	if !equalBytes(ch.bindings(bindServerPoint), leaf[:]) {
		t.Error("the certificate was not found")
	}
	exported, err := far.ExportKeyingMaterial(exporterLabel, []byte{}, exporterLength)
	if err != nil || !equalBytes(ch.bindings(bindExporter), exported) {
		t.Errorf("exporter: %v", err)
	}
}

func TestParseVerifierRefuses(t *testing.T) {
	k := Keys{}
	good := Verifier{Salt: []byte("12345678"), Iterations: MinIterations, Keys: []Keys{k}}.String()
	if _, err := ParseVerifier(good); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		"", "secret", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$c2FsdA", good + "=", good + "\n", good[:len(good)-4],
		strings.Replace(good, "4096", "4095", 1), strings.Replace(good, "4096", "04096", 1),
		strings.Replace(good, "4096", "99999999", 1), strings.Replace(good, "SCRAM-SHA-256", "SCRAM-SHA-1", 1),
		strings.Replace(good, "MTIzNDU2Nzg=", "c2FsdA==", 1), strings.Replace(good, ":", "", 1),
	} {
		if v, err := ParseVerifier(s); err == nil {
			t.Errorf("%q is read as %v", s, v)
		}
	}
}
