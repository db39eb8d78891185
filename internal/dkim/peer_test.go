package dkim

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	peer "github.com/emersion/go-msgauth/dkim"

	"restante/internal/header"
	"restante/internal/needs"
)

// The bodies and headers that are tried with other programs.
func samples() map[string]string {
	return map[string]string{
		"plain":   head + "\r\nhello\r\n",
		"empty":   head + "\r\n",
		"spaces":  head + "\r\n a \t b  \r\n\r\n\tc\r\n \r\n\r\n",
		"folded":  "from:\r\n a@example.org\r\nSUBJECT:  x\t\r\n\ty \r\n z\r\nTo:b@else.example\r\n\r\nbody\r\n",
		"eight":   "From: J\xc3\xb6rg <a@example.org>\r\nSubject: \xc3\xbc\r\n\r\n\xc3\xa4\xff\r\n",
		"repeats": "To: 1@x.example\r\nTo: 2@x.example\r\nFrom: a@example.org\r\nReferences: <1>\r\nReferences: <2>\r\n\r\nx\r\n",
		"colon":   "From : a@example.org\r\nSubject\t: x\r\n\r\nx\r\n",
		"long":    head + "\r\n" + strings.Repeat("0123456789 abcdef\r\n", 5000),
	}
}

func peerLookup(z zone) *peer.VerifyOptions {
	return &peer.VerifyOptions{LookupTXT: func(name string) ([]string, error) { return z.lookup(context.Background(), name) }}
}

func TestGoMsgauthVerifiesOurs(t *testing.T) {
	z := zone{}
	keys := []Key{newKey(t, "example.org", "r", RSA), newKey(t, "example.org", "e", Ed25519)}
	z.add(t, keys...)
	s := NewSigner(SignerOptions{Keys: keys})
	for name, message := range samples() {
		h, body, _ := strings.Cut(message, "\r\n\r\n")
		signed := sign(t, s, h+"\r\n", body)
		got, err := peer.VerifyWithOptions(strings.NewReader(signed), peerLookup(z))
		if err != nil || len(got) != 2 || got[0].Err != nil || got[1].Err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
			for _, v := range got {
				t.Errorf("%s: %v", v.Domain, v.Err)
			}
		}
		broken := strings.Replace(signed, "\r\nReceived", "x\r\nReceived", 1)
		if got, _ := peer.VerifyWithOptions(strings.NewReader(broken+"x"), peerLookup(z)); len(got) != 2 || got[0].Err == nil {
			t.Errorf("%s: a change passes", name)
		}
	}
}

func TestWeVerifyGoMsgauths(t *testing.T) {
	z := zone{}
	for _, k := range []Key{newKey(t, "example.org", "r", RSA), newKey(t, "example.org", "e", Ed25519)} {
		z.add(t, k)
		for _, form := range []peer.Canonicalization{peer.CanonicalizationSimple, peer.CanonicalizationRelaxed} {
			for _, bodyForm := range []peer.Canonicalization{peer.CanonicalizationSimple, peer.CanonicalizationRelaxed} {
				for name, message := range samples() {
					var out bytes.Buffer
					err := peer.Sign(&out, strings.NewReader(message), &peer.SignOptions{
						Domain: k.Domain, Selector: k.Selector, Signer: k.Private,
						HeaderCanonicalization: form, BodyCanonicalization: bodyForm,
					})
					if err != nil {
						t.Fatal(err)
					}
					if got := show(verify(out.String(), 11, VerifyOptions{LookupTXT: z.lookup})); got != "pass example.org" {
						t.Errorf("%s %s/%s: %s", name, form, bodyForm, got)
					}
				}
			}
		}
	}
}

// python is Debian's, which its packages are for.
const python = "/usr/bin/python3"

// dkimpyProgram verifies or signs messages, one in base64 on each line, and
// answers with a line for each. Its name server is the record it is given.
const dkimpyProgram = `
import base64, dkim, sys
for line in sys.stdin:
    m = base64.b64decode(line)
    if sys.argv[1] == "verify":
        print(dkim.verify(m, dnsfunc=lambda name, timeout=5: sys.argv[2].encode()))
    else:
        key = open(sys.argv[2], "rb").read()
        forms = tuple(f.encode() for f in sys.argv[3].split("/"))
        s = dkim.sign(m, b"k", b"example.org", key, canonicalize=forms, length=len(sys.argv) > 4)
        print(base64.b64encode(s + m).decode())
`

// dkimpy runs the program once for all messages and returns its lines.
func dkimpy(t *testing.T, messages []string, args ...string) []string {
	t.Helper()
	var in strings.Builder
	for _, m := range messages {
		in.WriteString(base64.StdEncoding.EncodeToString([]byte(m)) + "\n")
	}
	cmd := exec.Command(python, append([]string{"-c", dkimpyProgram}, args...)...)
	cmd.Stdin = strings.NewReader(in.String())
	var fault bytes.Buffer
	cmd.Stderr = &fault
	out, err := cmd.Output()
	lines := strings.Fields(string(out))
	if err != nil || len(lines) != len(messages) {
		t.Fatalf("dkimpy: %v, %d answers to %d messages\n%s", err, len(lines), len(messages), fault.String())
	}
	return lines
}

// dkimpySamples are those that it can read: it finds no field with a space
// before the colon.
func dkimpySamples() (names, messages []string) {
	for name, message := range samples() {
		if name != "colon" {
			names, messages = append(names, name), append(messages, message)
		}
	}
	return names, messages
}

func needDkimpy(t *testing.T) {
	t.Helper()
	if exec.Command(python, "-c", "import dkim, nacl").Run() != nil {
		needs.Lacking(t, "python3-dkim with python3-nacl is not installed")
	}
}

func TestDkimpyVerifiesOurs(t *testing.T) {
	needDkimpy(t)
	names, messages := dkimpySamples()
	for _, kind := range []KeyType{RSA, Ed25519} {
		k := newKey(t, "example.org", "k", kind)
		record, err := k.Record()
		if err != nil {
			t.Fatal(err)
		}
		s := NewSigner(SignerOptions{Keys: []Key{k}})
		var signed []string
		for _, message := range messages {
			h, body, _ := strings.Cut(message, "\r\n\r\n")
			signed = append(signed, sign(t, s, h+"\r\n", body))
		}
		changed := signed[0] + "x"
		answers := dkimpy(t, append(signed, changed), "verify", record)
		for i, name := range append(names, "changed") {
			if want := map[bool]string{true: "False", false: "True"}[name == "changed"]; answers[i] != want {
				t.Errorf("%s %s: %s, want %s", kind, name, answers[i], want)
			}
		}
	}
}

func TestWeVerifyDkimpys(t *testing.T) {
	needDkimpy(t)
	names, messages := dkimpySamples()
	k := newKey(t, "example.org", "k", RSA)
	z := zone{}
	z.add(t, k)
	file := keyFile(t, k)
	for _, args := range [][]string{{"simple/relaxed"}, {"relaxed/simple"}, {"relaxed/relaxed", "length"}} {
		for i, line := range dkimpy(t, messages, append([]string{"sign", file}, args...)...) {
			signed, err := base64.StdEncoding.DecodeString(line)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(verify(string(signed), 100, VerifyOptions{LookupTXT: z.lookup})); got != "pass example.org" {
				t.Errorf("%s %s: %s", names[i], args, got)
			}
			if len(args) < 2 {
				continue
			}
			longer := string(signed) + "more\r\n"
			if got := show(verify(longer, 100, VerifyOptions{LookupTXT: z.lookup})); got != "policy example.org part of the body is not signed" {
				t.Errorf("%s: something behind l=: %s", names[i], got)
			}
		}
	}
}

func keyFile(t *testing.T, k Key) string {
	t.Helper()
	text, err := MarshalPrivate(k.Private)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// FuzzCanonical holds our canonicalisations against go-msgauth's, by letting it
// sign and our verifier verify. Bare carriage returns are left out: it takes
// them for line ends in relaxed, which RFC 6376 does not.
func FuzzCanonical(f *testing.F) {
	for _, m := range samples() {
		h, body, _ := strings.Cut(m, "\r\n\r\n")
		if len(body) < 1000 {
			f.Add(h, body, uint8(3))
		}
	}
	k := newKey(f, "example.org", "k", Ed25519)
	z := zone{}
	z.add(f, k)
	forms := []peer.Canonicalization{peer.CanonicalizationSimple, peer.CanonicalizationRelaxed}
	f.Fuzz(func(t *testing.T, h, body string, choice uint8) {
		plain := strings.ReplaceAll(h+"\r\n", "\r\n", "\n")
		if strings.ContainsRune(plain, '\r') || strings.ContainsRune(strings.ReplaceAll(body, "\r\n", "\n"), '\r') {
			return
		}
		// What is no header to both, or of which they read different fields,
		// is not about canonicalisation.
		block := header.Parse([]byte(h + "\r\n"))
		var fields []byte
		for _, f := range block.Fields() {
			fields = append(fields, f.Raw...)
			if strings.Contains(f.Name, ";") {
				return // which h= cannot name, and go-msgauth names it all the same
			}
		}
		if string(fields) != h+"\r\n" || strings.Contains(strings.ToLower(h), "dkim-signature") {
			return
		}
		var out bytes.Buffer
		err := peer.Sign(&out, strings.NewReader("From: a@example.org\r\n"+h+"\r\n\r\n"+body), &peer.SignOptions{
			Domain: k.Domain, Selector: k.Selector, Signer: k.Private,
			HeaderCanonicalization: forms[choice&1], BodyCanonicalization: forms[choice>>1&1],
		})
		if err != nil || out.Len() > MaxHeader/2 {
			return
		}
		head, rest, _ := strings.Cut(out.String(), "\r\n\r\n")
		v := Verify(header.Parse([]byte(head+"\r\n")), VerifyOptions{LookupTXT: z.lookup})
		for n := int(choice>>2) + 1; len(rest) > 0; {
			n = min(n, len(rest))
			v.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		got := v.Results(context.Background())
		if len(got) == 1 && got[0].Reason == "too many names in h=" {
			return
		}
		if show(got) != "pass example.org" {
			t.Fatalf("%s\n%q", show(got), out.String())
		}
	})
}

// FuzzVerify gives the verifier whatever: it must neither panic nor let
// something pass that go-msgauth does not.
func FuzzVerify(f *testing.F) {
	f.Add(crlf(rfc8463))
	f.Add("DKIM-Signature: v=1; a=rsa-sha256; d=football.example.com; s=test; h=from; b=; bh=\r\nFrom: x\r\n\r\n")
	z := footballZone()
	f.Fuzz(func(t *testing.T, message string) {
		got := verify(message, 5, VerifyOptions{LookupTXT: z.lookup})
		for i, r := range got {
			if r.State == "" || r.State != Pass && r.Reason == "" {
				t.Fatalf("no outcome: %+v", r)
			}
			if strings.ContainsAny(r.Domain+r.Selector+r.Algorithm+r.Signature, " \r\n\t;\"()") {
				t.Fatalf("%+v cannot stand in a field", r)
			}
			if r.State != Pass || len(got) > 1 || strings.Contains(strings.ReplaceAll(message, "\r\n", ""), "\r") {
				continue
			}
			theirs, err := peer.VerifyWithOptions(strings.NewReader(message), peerLookup(z))
			if err == nil && len(theirs) > i && theirs[i].Err != nil && !strings.Contains(theirs[i].Err.Error(), "length tag") {
				t.Fatalf("passes, but: %v", theirs[i].Err)
			}
		}
	})
}

// FuzzPublicKey: key records come from strangers too.
func FuzzPublicKey(f *testing.F) {
	for _, texts := range footballZone() {
		f.Add(texts[0])
	}
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := parsePublic(text); err == nil && k.key == nil {
			t.Fatalf("%q: neither a key nor an error", text)
		}
	})
}

// BenchmarkSign is the cost of one message with one key, body included.
func BenchmarkSign(b *testing.B) {
	for _, kind := range []KeyType{RSA, Ed25519} {
		s := NewSigner(SignerOptions{Keys: []Key{newKey(b, "example.org", "k", kind)}})
		for _, size := range []int{4 << 10, 64 << 10} {
			body := []byte(strings.Repeat("A line of text, as they are in mail  \r\n", size/39))
			b.Run(string(kind)+"/"+map[int]string{4 << 10: "4KiB", 64 << 10: "64KiB"}[size], func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					job := s.Begin(inside())
					job.Write(body)
					if _, err := job.Sign(context.Background(), []byte(head)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkHostileHeader is what a header of 64 KiB made to be slow costs, here
// and in go-msgauth.
func BenchmarkHostileHeader(b *testing.B) {
	signature := func(names int) string {
		return "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed; d=football.example.com; s=test; h=from" + strings.Repeat(":a", names) +
			";\r\n b=AAAA; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=\r\n"
	}
	z := footballZone()
	for name, h := range map[string]string{
		"names":         signature(8_000) + "From: x\r\n" + strings.Repeat("a:\r\n", 10_000),
		"fields":        strings.Repeat(signature(maxNames-1), 5) + "From: x\r\n" + strings.Repeat("a:\r\n", 14_000),
		"continuations": signature(1) + "From: x\r\n" + strings.Repeat(" \r\n", 20_000),
	} {
		b.Run(name+"/ours", func(b *testing.B) {
			for b.Loop() {
				verify(h+"\r\n", 100, VerifyOptions{LookupTXT: z.lookup})
			}
		})
		b.Run(name+"/go-msgauth", func(b *testing.B) {
			for b.Loop() {
				opt := peerLookup(z)
				opt.MaxVerifications = 5
				peer.VerifyWithOptions(strings.NewReader(h+"\r\n"), opt)
			}
		})
	}
}
