package dkim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"restante/internal/header"
)

// The example of RFC 8463 appendix A.
const rfc8463 = `DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
`

func footballZone() zone {
	return zone{
		"brisbane._domainkey.football.example.com": {"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="},
		"test._domainkey.football.example.com": {"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY" +
			"/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"},
	}
}

func TestRFC8463(t *testing.T) {
	got := verify(crlf(rfc8463), 10, VerifyOptions{LookupTXT: footballZone().lookup})
	if show(got) != "pass football.example.com; pass football.example.com" {
		t.Fatal(show(got))
	}
	if r := got[0]; r.Selector != "brisbane" || r.Algorithm != "ed25519-sha256" || r.Signature != "/gCrinpc" {
		t.Errorf("%+v", r)
	}
}

// Each case changes one thing of a message that verifies, or of its key.
func TestOutcomes(t *testing.T) {
	k := newKey(t, "example.org", "k", Ed25519)
	record, err := k.Record()
	if err != nil {
		t.Fatal(err)
	}
	z := zone{}
	z.add(t, k)
	good := sign(t, NewSigner(SignerOptions{Keys: []Key{k}, Now: clock}), "From: a@example.org\r\nSubject: x\r\n", "hello\r\n")
	if got := show(verify(good, 100, VerifyOptions{LookupTXT: z.lookup, Now: clock})); got != "pass example.org" {
		t.Fatal(got)
	}
	for _, c := range []struct {
		what, old, new string // of the message
		record         string // in the place of the key's own
		want           string
	}{
		{"version", "v=1", "v=2", "", "permerror example.org unknown version"},
		{"no version", "v=1; ", "", "", "permerror example.org no v="},
		{"twice", "v=1; ", "v=1; v=1; ", "", "permerror  malformed tag list"},
		{"sha1", "ed25519-sha256", "rsa-sha1", "", "policy example.org algorithm too weak"},
		{"algorithm", "ed25519-sha256", "dsa-sha256", "", "permerror example.org unknown algorithm"},
		{"key type", "ed25519-sha256", "rsa-sha256", "", "permerror example.org key is of another type"},
		{"canonicalisation", "relaxed/relaxed", "relaxed/loose", "", "permerror example.org unknown canonicalisation"},
		{"other canonicalisation", "relaxed/relaxed", "simple", "", "fail example.org signature did not verify"},
		{"domain", "d=example.org", "d=exam ple..org", "", "permerror  malformed d= or s="},
		{"address as domain", "d=example.org", "d=[192.0.2.1]", "", "permerror  malformed d= or s="},
		{"selector", "s=k;", "s=k/../x;", "", "permerror example.org malformed d= or s="},
		{"other selector", "s=k;", "s=other;", "", "permerror example.org no key"},
		{"other domain", "d=example.org", "d=else.example", "", "permerror else.example no key"},
		{"no From", "h=From:From", "h=Foo:Foo", "", "permerror example.org From is not signed"},
		{"many names", "h=From", "h=From" + strings.Repeat(":x", 300), "", "permerror example.org too many names in h="},
		{"long", "v=1;", "v=1; z=" + strings.Repeat("x", 17<<10) + ";", "", "permerror  signature too long"},
		{"many tags", "v=1;", "v=1;" + manyTags() + ";", "", "permerror  malformed tag list"},
		{"identity", "v=1;", "v=1; i=x@else.example;", "", "permerror example.org i= is not in d="},
		{"identity without @", "v=1;", "v=1; i=example.org;", "", "permerror example.org i= is not in d="},
		{"look-alike identity", "v=1;", "v=1; i=@notexample.org;", "", "permerror example.org i= is not in d="},
		{"subdomain, but not signed", "v=1;", "v=1; i=@a.example.org;", "", "fail example.org signature did not verify"},
		{"strict key", "v=1;", "v=1; i=@a.example.org;", record + "; t=s", "permerror example.org key is not for subdomains"},
		{"query", "v=1;", "v=1; q=http;", "", "permerror example.org unknown query method"},
		{"expired", "v=1;", "v=1; x=1799999999;", "", "permerror example.org x= before t="},
		{"time", "v=1;", "v=1; x=-1;", "", "permerror example.org malformed x="},
		{"length", "v=1;", "v=1; l=2;", "", "policy example.org part of the body is not signed"},
		{"whole length", "v=1;", "v=1; l=7;", "", "fail example.org signature did not verify"},
		{"beyond", "v=1;", "v=1; l=8;", "", "permerror example.org l= beyond the body"},
		{"body hash", "bh=", "bh=A", "", "permerror example.org malformed b= or bh="},
		{"body", "hello", "hallo", "", "fail example.org body hash did not verify"},
		{"revoked", "", "", "v=DKIM1; k=ed25519; p=", "permerror example.org key revoked"},
		{"version of key", "", "", strings.Replace(record, "DKIM1", "DKIM2", 1), "permerror example.org no key"},
		{"hash of key", "", "", record + "; h=sha1", "permerror example.org key is not for sha256"},
		{"hashes of key", "", "", record + "; h=sha1 : sha256", "pass example.org"},
		{"service of key", "", "", record + "; s=tlsrpt", "permerror example.org key is not for email"},
		{"services of key", "", "", record + "; s=tlsrpt:*", "pass example.org"},
		{"base64 of key", "", "", "p=*", "permerror example.org key is not in base64"},
		{"kind of key", "", "", "k=dsa; p=AAAA", "permerror example.org unknown type of key"},
		{"short key", "", "", shortKey, "permerror example.org key too short"},
		{"folded key", "", "", strings.Replace(record, "p=", "p= \t", 1), "pass example.org"},
	} {
		message := strings.Replace(good, c.old, c.new, 1)
		if c.old != "" && message == good {
			t.Errorf("%s: nothing has changed", c.what)
		}
		lookup := z.lookup
		if c.record != "" {
			lookup = zone{k.Name(): {c.record}}.lookup
		}
		if got := show(verify(message, 100, VerifyOptions{LookupTXT: lookup, Now: clock})); got != strings.Join(strings.Fields(c.want), " ") && got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func manyTags() string {
	var tags []string
	for i := range maxTags {
		tags = append(tags, fmt.Sprintf("x%d=1", i))
	}
	return strings.Join(tags, ";")
}

// shortKey is RSA of 512 bits.
const shortKey = "v=DKIM1; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ=="

func TestTemporary(t *testing.T) {
	lookup := func(context.Context, string) ([]string, error) { return nil, errors.New("no answer") }
	got := verify(crlf(rfc8463), 100, VerifyOptions{LookupTXT: lookup})
	if show(got) != "temperror football.example.com key could not be asked for; temperror football.example.com key could not be asked for" {
		t.Error(show(got))
	}
}

func TestTestingKey(t *testing.T) {
	k := newKey(t, "example.org", "k", Ed25519)
	record, err := k.Record()
	if err != nil {
		t.Fatal(err)
	}
	signed := sign(t, NewSigner(SignerOptions{Keys: []Key{k}}), head, "x\r\n")
	got := verify(signed, 100, VerifyOptions{LookupTXT: zone{k.Name(): {record + "; t=y"}}.lookup})
	if len(got) != 1 || got[0].State != Pass || !got[0].Testing {
		t.Errorf("%+v", got)
	}
}

// Of too many signatures those of the preferred domains are looked at, however
// far below they stand.
func TestManySignatures(t *testing.T) {
	k := newKey(t, "example.org", "k", Ed25519)
	z := zone{}
	z.add(t, k)
	var asked atomic.Int32
	lookup := func(ctx context.Context, name string) ([]string, error) {
		asked.Add(1)
		return z.lookup(ctx, name)
	}
	signed := sign(t, NewSigner(SignerOptions{Keys: []Key{k}}), head, "x\r\n")
	other := strings.Replace(signed[:strings.Index(signed, "Received:")], "d=example.org", "d=else.example", 1)
	message := strings.Repeat(other, 20) + signed
	got := verify(message, 100, VerifyOptions{LookupTXT: lookup, Prefer: func(d string) bool { return d == "example.org" }})
	if len(got) != MaxSignatures || got[0].State != Pass || asked.Load() != MaxSignatures {
		t.Errorf("%s; asked %d times", show(got), asked.Load())
	}
	got = verify(message, 100, VerifyOptions{LookupTXT: lookup})
	if len(got) != MaxSignatures || slices.ContainsFunc(got, func(r Result) bool { return r.State == Pass }) {
		t.Errorf("without a preference: %s", show(got))
	}
}

func TestLargeHeader(t *testing.T) {
	large := crlf(rfc8463)
	large = "X: " + strings.Repeat("x", MaxHeader) + "\r\n" + large
	got := verify(large, 100, VerifyOptions{LookupTXT: footballZone().lookup})
	if len(got) != 1 || got[0].State != Policy {
		t.Error(show(got))
	}
}

func TestUnsigned(t *testing.T) {
	v := Verify(header.Parse([]byte("From: a@example.org\r\n")), VerifyOptions{})
	v.Write([]byte("body"))
	if v.Signed() || v.Results(context.Background()) != nil {
		t.Error("a message without signatures has results")
	}
}

// A header made to be slow: as many continuation lines, fields and names in h=
// as there is room for. Anything quadratic would be felt here; it is not timed.
func TestHostileHeaders(t *testing.T) {
	names := "h=from" + strings.Repeat(":a", maxNames-1)
	signature := "DKIM-Signature: v=1; a=rsa-sha256; d=football.example.com; s=test; " + names + ";\r\n b=AAAA; bh=AAAA\r\n"
	for _, h := range []string{
		strings.Repeat(signature, 5) + strings.Repeat("a:\r\n", 12_000),
		strings.Repeat(signature, 5) + "a: x\r\n" + strings.Repeat(" \r\n", 16_000),
		"DKIM-Signature:" + strings.Repeat(" \r\n", 21_000),
		strings.Repeat("DKIM-Signature:\r\n", 3_800),
	} {
		v := Verify(header.Parse([]byte(h)), VerifyOptions{LookupTXT: footballZone().lookup})
		for range 5 {
			for _, s := range v.signatures {
				if s.wanted {
					v.hashHeader(s)
				}
			}
		}
		if len(v.Results(context.Background())) > MaxSignatures {
			t.Error("too many results")
		}
	}
}
