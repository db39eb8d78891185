package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func read(t *testing.T, gz []byte) document {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.NewDecoder(r).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// attachment takes the report out of a message, by another's parser.
func attachment(t *testing.T, message []byte) (mail.Header, []byte) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "tlsrpt" {
		t.Fatalf("%s %v, %v", kind, params, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	if _, err := parts.NextPart(); err != nil {
		t.Fatal(err)
	}
	p, err := parts.NextPart()
	if err != nil || p.Header.Get("Content-Type")[:23] != "application/tlsrpt+gzip" {
		t.Fatalf("%v, %v", p, err)
	}
	b, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, p))
	if err != nil {
		t.Fatal(err)
	}
	return m.Header, b
}

func TestReports(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	path := filepath.Join(t.TempDir(), "tls.json")
	log := slog.New(slog.DiscardHandler)
	book, err := Open(path, log, clock)
	if err != nil {
		t.Fatal(err)
	}
	good := Event{Domain: "mail.example", Kind: STS, Policy: []string{"version: STSv1"}, Patterns: []string{"*.example"}, MX: "mx.example", Session: true}
	bad := good
	bad.Result, bad.Reason, bad.Sending = Expired, "it ran out", "192.0.2.1"
	noPolicy := Event{Domain: "mail.example", Kind: STS, Result: STSFetch, Reason: "404"}
	for _, e := range []Event{good, good, bad, noPolicy, bad, {Domain: "web.example", Kind: NoPolicy, Session: true}, {Domain: "silent.example", Kind: NoPolicy, Session: true}, {Domain: "broken.example", Kind: NoPolicy, Session: true}, {}} {
		book.Record(e)
	}
	if err := book.Save(); err != nil {
		t.Fatal(err)
	}
	// A restart forgets nothing.
	if book, err = Open(path, log, clock); err != nil {
		t.Fatal(err)
	}
	var posted []byte
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		posted, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
	}))
	defer web.Close()
	var sent [][]byte
	var asked []string
	r := NewReporter(Options{
		Book: book, Now: clock, Hostname: "relay.example", Contact: "postmaster@relay.example", Transport: web.Client().Transport,
		Submit: func(_ context.Context, from, to string, message []byte) error {
			if from != "postmaster@relay.example" || to != "tls@mail.example" {
				t.Errorf("from %s to %s", from, to)
			}
			sent = append(sent, message)
			return nil
		},
		LookupTXT: func(_ context.Context, name string) ([]string, error) {
			asked = append(asked, name)
			switch name {
			case "_smtp._tls.mail.example":
				return []string{"other", "v=TLSRPTv1; rua=mailto:tls@mail.example"}, nil
			case "_smtp._tls.web.example":
				return []string{"v=TLSRPTv1;rua=" + web.URL + "/x"}, nil
			case "_smtp._tls.broken.example":
				return nil, errors.New("SERVFAIL")
			}
			return nil, &net.DNSError{IsNotFound: true}
		},
	})
	r.after = time.Hour
	r.send(t.Context())
	now = time.Date(2026, 3, 5, 0, 59, 0, 0, time.UTC)
	r.send(t.Context())
	if len(asked) != 0 {
		t.Fatalf("reports before their time: %v", asked)
	}
	now = now.Add(time.Minute)
	r.send(t.Context())
	if len(sent) != 1 || len(asked) != 4 {
		t.Fatalf("%d reports, asked for %v", len(sent), asked)
	}
	head, gz := attachment(t, sent[0])
	if head.Get("TLS-Report-Domain") != "mail.example" || head.Get("TLS-Report-Submitter") != "relay.example" || head.Get("TLS-Required") != "No" {
		t.Errorf("header %v", head)
	}
	doc := read(t, gz)
	if doc.Range.Start != "2026-03-04T00:00:00Z" || doc.Range.End != "2026-03-04T23:59:59Z" || doc.Contact != "postmaster@relay.example" || doc.Organization != "relay.example" {
		t.Errorf("%+v", doc)
	}
	if got, want := fmt.Sprintf("%+v", doc.Policies), "[{Policy:{Type:sts String:[version: STSv1] Domain:mail.example MX:[*.example]} Summary:{Success:2 Failure:2} "+
		"Details:[{Result:certificate-expired Sending:192.0.2.1 MX:mx.example Helo: Receiving: Count:2 Reason:it ran out}]} "+
		"{Policy:{Type:sts String:[] Domain:mail.example MX:[]} Summary:{Success:0 Failure:0} Details:[{Result:sts-policy-fetch-error Sending: MX: Helo: Receiving: Count:1 Reason:404}]}]"; got != want {
		t.Errorf("policies\n%s, want\n%s", got, want)
	}
	if d := read(t, posted); d.Policies[0].Policy.Domain != "web.example" {
		t.Errorf("posted %+v", d)
	}
	// What failed is tried again, not at once, and not for ever.
	asked = nil
	r.send(t.Context())
	now = now.Add(retry)
	r.send(t.Context())
	if got := strings.Join(asked, " "); got != "_smtp._tls.broken.example" {
		t.Errorf("asked again for %q", got)
	}
	now = now.Add(maxDays * 24 * time.Hour)
	asked = nil
	if r.send(t.Context()); len(asked) != 0 || len(book.days) != 0 {
		t.Errorf("asked for %v, left %v", asked, book.days)
	}
}

func TestTargets(t *testing.T) {
	for _, tt := range []struct{ record, want string }{
		{"v=TLSRPTv1; rua=mailto:a@b.example,https://c.example/x", "[a@b.example https://c.example/x]"},
		{"v=TLSRPTv1;rua=mailto:a%2Bb@b.example;", "[a+b@b.example]"},
		{"v=TLSRPTv1; rua=http://c.example/, ftp://x, mailto:, mailto:a, https://", "[]"},
		{"v=TLSRPTv1; rua=mailto:a@b.example%0D%0ABcc:x@y.example", "[]"},
		{"v=TLSRPTv2; rua=mailto:a@b.example", "[]"},
		{"rua=mailto:a@b.example", "[]"},
		{"v=TLSRPTv1; rua=" + strings.Repeat("mailto:a@b.example,", 9), "[a@b.example a@b.example a@b.example a@b.example]"},
	} {
		if got := fmt.Sprint(targets([]string{tt.record})); got != tt.want {
			t.Errorf("%s: %s", tt.record, got)
		}
	}
	if got := targets([]string{"v=TLSRPTv1; rua=mailto:a@b.example", "v=TLSRPTv1; rua=mailto:a@b.example"}); got != nil {
		t.Errorf("two records: %v", got)
	}
}

func FuzzTargets(f *testing.F) {
	f.Add("v=TLSRPTv1; rua=mailto:a@b.example,https://c.example/x")
	f.Fuzz(func(t *testing.T, text string) {
		for _, x := range targets([]string{text}) {
			if strings.ContainsAny(x, "\r\n\x00") {
				t.Errorf("%q", x)
			}
		}
	})
}

func TestBookIsBounded(t *testing.T) {
	b, err := Open(filepath.Join(t.TempDir(), "x"), slog.New(slog.DiscardHandler), func() time.Time { return time.Unix(1e9, 0) })
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxDomains + 10 {
		b.Record(Event{Domain: fmt.Sprint("d", i), Kind: NoPolicy, Session: true})
	}
	for i := range 100 {
		b.Record(Event{Domain: "d1", Kind: STS, Policy: []string{fmt.Sprint(i)}, Session: true})
		b.Record(Event{Domain: "d1", Kind: NoPolicy, Session: true, Result: Expired, Reason: fmt.Sprint(i)})
	}
	for _, d := range b.days {
		if len(d) != maxDomains || len(d["d1"]) != maxPolicies || len(d["d1"][0].Details) != maxDetails || d["d1"][0].Failure != 100 {
			t.Errorf("%d domains, %d policies", len(d), len(d["d1"]))
		}
	}
}
