package dkim

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/internal/screen"
)

const head = "Received: from x\r\nFrom: Alice <alice@example.org>\r\nTo: bob@else.example\r\nSubject: a  long\r\n subject\r\nDate: Mon, 23 Nov 2026 01:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n"

func TestSignedMessagesVerify(t *testing.T) {
	z := zone{}
	keys := []Key{newKey(t, "example.org", "ed", Ed25519), newKey(t, "example.org", "r1", RSA), newKey(t, "other.example", "o", Ed25519)}
	z.add(t, keys...)
	s := NewSigner(SignerOptions{Keys: keys, Now: clock})
	for _, body := range []string{"", "\r\n", "hello\r\n", "no line end", " odd \t spaces \r\n\r\n\r\n", strings.Repeat("line \r\n", 10_000)} {
		signed := sign(t, s, head, body)
		for line := range strings.SplitSeq(signed[:strings.Index(signed, "Received:")], "\r\n") {
			if len(line) > 78 || strings.ContainsAny(line, "\r\n") {
				t.Errorf("a line of %d: %q", len(line), line)
			}
		}
		got := verify(signed, 7, VerifyOptions{LookupTXT: z.lookup, Now: clock})
		if show(got) != "pass example.org; pass example.org" || got[0].Algorithm != "rsa-sha256" || got[1].Algorithm != "ed25519-sha256" {
			t.Errorf("body %q: %s", clip(body), show(got))
		}
		for what, changed := range map[string]string{
			"subject":        strings.Replace(signed, "Subject: a", "Subject: b", 1),
			"another From":   strings.Replace(signed, "From: A", "From: x@evil.example\r\nFrom: A", 1),
			"a second To":    strings.Replace(signed, "To: b", "To: x@evil.example\r\nTo: b", 1),
			"an added Cc":    strings.Replace(signed, "To: b", "Cc: x@evil.example\r\nTo: b", 1),
			"a Content-Type": strings.Replace(signed, "To: b", "Content-Type: text/html\r\nTo: b", 1),
			"a signed tag":   strings.Replace(signed, "t=18", "t=17", -1),
			"the body":       signed + "x",
		} {
			if got := verify(changed, 1000, VerifyOptions{LookupTXT: z.lookup, Now: clock}); got[0].State != Fail || got[1].State != Fail {
				t.Errorf("%s changed: %s", what, show(got))
			}
		}
		// What relays do to a message on its way.
		for what, changed := range map[string]string{
			"a trace field": "Received: by y\r\n" + signed,
			"refolding":     strings.Replace(signed, "Subject: a  long\r\n subject", "SUBJECT:\r\n a long\tsubject ", 1),
			"more lines":    strings.TrimRight(signed, "\r\n") + "\r\n\r\n\r\n",
		} {
			if what == "more lines" && strings.TrimSpace(body) == "" {
				continue
			}
			if got := verify(changed, 1000, VerifyOptions{LookupTXT: z.lookup, Now: clock}); show(got) != "pass example.org; pass example.org" {
				t.Errorf("%s: %s", what, show(got))
			}
		}
	}
}

func TestWhoseKeySigns(t *testing.T) {
	s := NewSigner(SignerOptions{Keys: []Key{
		newKey(t, "example.org", "k", Ed25519), newKey(t, "sub.example.org", "k", Ed25519), newKey(t, "xn--bcher-kva.example", "k", Ed25519),
		newKey(t, "org", "k", Ed25519),
	}})
	for from, want := range map[string]string{
		"From: a@example.org":                                            "d=example.org;",
		"From: A <a@SUB.example.org>":                                    "d=sub.example.org;",
		"From: a@x.sub.example.org":                                      "d=sub.example.org;",
		"From: a@deep.down.example.org":                                  "d=example.org;",
		"From: a@bücher.example":                                         "d=xn--bcher-kva.example;",
		"From: a@else.example, b@example.org":                            "d=example.org;",
		"From: a@notexample.org":                                         "",
		"From: a@else.example":                                           "",
		"From: a@[192.0.2.1]":                                            "",
		"Subject: no author":                                             "",
		"From: a@example.org\r\nFrom: b@example.org":                     "",
		"From: <a@example.org> <b@example.org>":                          "",
		"From: \"x@example.org\" <a@else.example>":                       "",
		"From: a@example.org" + strings.Repeat("\r\nReferences: x", 400): "",
	} {
		job := s.Begin(inside())
		fields, err := job.Sign(context.Background(), []byte(from+"\r\n"))
		if err != nil || (want == "") != (len(fields) == 0) || !strings.Contains(string(fields), want) {
			t.Errorf("%s: %q, %v; want %q", clip(from), fields, err, want)
		}
	}
}

func TestWhatIsSigned(t *testing.T) {
	s := NewSigner(SignerOptions{Keys: []Key{newKey(t, "example.org", "k", Ed25519)}})
	for _, c := range []struct {
		m    screen.Message
		want bool
	}{
		{screen.Message{Envelope: mail.Envelope{Client: mail.Client{Account: "a@example.org", Protocol: "ESMTPSA"}}}, true},
		{screen.Message{Trusted: true, Envelope: mail.Envelope{Client: mail.Client{Protocol: "ESMTP"}}}, true},
		{screen.Message{Envelope: mail.Envelope{Client: mail.Client{Protocol: "local"}}}, true},
		{screen.Message{Envelope: mail.Envelope{Client: mail.Client{Protocol: "report"}}}, true},
		{screen.Message{Envelope: mail.Envelope{Client: mail.Client{Protocol: "ESMTPS"}}}, false},
		{screen.Message{}, false},
	} {
		if got := s.Begin(&c.m) != nil; got != c.want {
			t.Errorf("%+v: %v", c.m, got)
		}
	}
	s.Replace(nil)
	if s.Begin(inside()) != nil {
		t.Error("something to do without keys")
	}
}

// Keys that are replaced while a message streams by.
func TestReplace(t *testing.T) {
	s := NewSigner(SignerOptions{Keys: []Key{newKey(t, "example.org", "old", Ed25519)}})
	var job accept.SignJob = s.Begin(inside())
	io.WriteString(job, "body\r\n")
	s.Replace([]Key{newKey(t, "example.org", "new", Ed25519)})
	fields, err := job.Sign(context.Background(), []byte(head))
	if err != nil || !strings.Contains(string(fields), "s=new;") {
		t.Errorf("%q, %v", fields, err)
	}
}

func TestFolder(t *testing.T) {
	dir := Folder(filepath.Join(t.TempDir(), "dkim"))
	if d, err := dir.Domains(); err != nil || len(d) != 0 {
		t.Errorf("domains of no folder: %v, %v", d, err)
	}
	for _, kind := range []KeyType{RSA, Ed25519} {
		made, err := dir.Create("example.org", "s-"+string(kind), kind)
		if err != nil {
			t.Fatal(err)
		}
		read, err := dir.Load("example.org", "s-"+string(kind))
		if err != nil || read.Type() != kind {
			t.Fatalf("%s: %v, %v", kind, read.Type(), err)
		}
		a, err1 := made.Record()
		b, err2 := read.Record()
		if a != b || err1 != nil || err2 != nil {
			t.Errorf("%s: the key that was read is not the one that was made", kind)
		}
		if _, err := dir.Create("example.org", "s-"+string(kind), kind); !errors.Is(err, fs.ErrExist) {
			t.Errorf("made again: %v", err)
		}
		info, err := os.Stat(dir.path("example.org", "s-"+string(kind)))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
	os.WriteFile(dir.path("example.org", "Not A Key"), nil, 0o600)
	if s, err := dir.Selectors("example.org"); err != nil || !slices.Equal(s, []string{"s-ed25519", "s-rsa"}) {
		t.Errorf("selectors: %v, %v", s, err)
	}
	if d, err := dir.Domains(); err != nil || !slices.Equal(d, []string{"example.org"}) {
		t.Errorf("domains: %v, %v", d, err)
	}
	keys, err := dir.Export()
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	copied := Folder(filepath.Join(t.TempDir(), "dkim"))
	if err := copied.Import(keys); err != nil {
		t.Fatal(err)
	}
	if again, err := copied.Export(); err != nil || !maps.Equal(keys, again) {
		t.Errorf("what was imported is not what was exported: %v", err)
	}
	for _, name := range []string{"../x/k", "example.org/../k", "example.org", "Example.org/k"} {
		if err := copied.Import(map[string]string{name: keys["example.org/s-rsa"]}); err == nil {
			t.Errorf("%q was imported", name)
		}
	}
	if err := copied.Import(map[string]string{"example.org/x": "no key"}); err == nil {
		t.Error("what is no key was imported")
	}
	os.Chmod(dir.path("example.org", "s-rsa"), 0o640)
	if _, err := dir.Load("example.org", "s-rsa"); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
}

func TestCheck(t *testing.T) {
	k := newKey(t, "example.org", "k", RSA)
	record, err := k.Record()
	if err != nil {
		t.Fatal(err)
	}
	other, err := newKey(t, "example.org", "k", RSA).Record()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		texts []string
		state CheckState
		why   string
	}{
		{nil, Missing, "no key"},
		{[]string{"v=spf1 -all"}, Missing, "no key"},
		{[]string{record}, Published, ""},
		{[]string{"v=spf1 -all", strings.Replace(record, "k=rsa; ", "", 1)}, Published, ""},
		{[]string{strings.Replace(record, "p=", "t=y; p=", 1)}, Published, "marked as a test (t=y)"},
		{[]string{other}, Different, "it is another key"},
		{[]string{record, record}, Different, "several keys"},
		{[]string{"v=DKIM1; p="}, Different, "key revoked"},
		{[]string{"v=DKIM1; k=ed25519; p=AAAA"}, Different, "bad Ed25519 key"},
		{[]string{record[:len(record)-20]}, Different, "bad RSA key"},
	} {
		z := zone{}
		if c.texts != nil {
			z[k.Name()] = c.texts
		}
		state, why, err := k.Check(context.Background(), z.lookup)
		if state != c.state || why != c.why || err != nil {
			t.Errorf("%q: %q %q %v, want %q %q", c.texts, state, why, err, c.state, c.why)
		}
	}
	_, _, err = k.Check(context.Background(), func(context.Context, string) ([]string, error) { return nil, errors.New("timeout") })
	if err == nil {
		t.Error("a name server that does not answer is taken for an answer")
	}
}

func TestZoneRecord(t *testing.T) {
	k := newKey(t, "example.org", "k", RSA)
	line, err := k.ZoneRecord()
	if err != nil {
		t.Fatal(err)
	}
	text, err := k.Record()
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(line, "k._domainkey.example.org. IN TXT ")
	parts := strings.Split(strings.Trim(rest, `"`), `" "`)
	if !ok || len(parts) != 2 || strings.Join(parts, "") != text {
		t.Errorf("%s", line)
	}
}

func TestParsePrivateRefuses(t *testing.T) {
	for _, text := range []string{"", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ecKey} {
		if k, err := ParsePrivate([]byte(text)); err == nil {
			t.Errorf("%q was taken: %T", text, k)
		}
	}
}

// ecKey is a key of a kind that DKIM has not.
const ecKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2
OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r
1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G
-----END PRIVATE KEY-----
`
