package dkim

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"restante/internal/header"
	"restante/internal/mail"
	"restante/internal/screen"
)

// zone is a DNS of TXT records.
type zone map[string][]string

func (z zone) lookup(_ context.Context, name string) ([]string, error) {
	if texts, ok := z[strings.ToLower(name)]; ok {
		return texts, nil
	}
	return nil, &net.DNSError{Err: "no such name", Name: name, IsNotFound: true}
}

// add publishes a key.
func (z zone) add(t testing.TB, keys ...Key) {
	t.Helper()
	for _, k := range keys {
		text, err := k.Record()
		if err != nil {
			t.Fatal(err)
		}
		z[k.Name()] = []string{text}
	}
}

func newKey(t testing.TB, domain, selector string, kind KeyType) Key {
	t.Helper()
	private, err := Generate(kind)
	if err != nil {
		t.Fatal(err)
	}
	return Key{Domain: domain, Selector: selector, Private: private}
}

// crlf gives a text the line ends of mail.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// inside is a message of an account's.
func inside() *screen.Message {
	return &screen.Message{Envelope: mail.Envelope{Client: mail.Client{
		Protocol: "ESMTPSA", Account: "alice@example.org", Addr: netip.MustParseAddr("192.0.2.1"),
	}}}
}

// sign signs a message as accept does and returns it with its signatures.
func sign(t testing.TB, s *Signer, head, body string) string {
	t.Helper()
	job := s.Begin(inside())
	if job == nil {
		t.Fatal("nothing to do with the message")
	}
	io.Copy(onlyWriter{job}, io.LimitReader(strings.NewReader(body), int64(len(body))))
	fields, err := job.Sign(context.Background(), []byte(head))
	if err != nil {
		t.Fatal(err)
	}
	return string(fields) + head + "\r\n" + body
}

type onlyWriter struct{ io.Writer }

// verify verifies a whole message, body in pieces of n octets.
func verify(message string, n int, opt VerifyOptions) []Result {
	head, body, _ := strings.Cut(message, "\r\n\r\n")
	v := Verify(header.Parse([]byte(head+"\r\n")), opt)
	for len(body) > 0 {
		k := min(n, len(body))
		v.Write([]byte(body[:k]))
		body = body[k:]
	}
	return v.Results(context.Background())
}

// show is "state domain reason", one for each result.
func show(results []Result) string {
	var parts []string
	for _, r := range results {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.State, r.Domain, r.Reason)))
	}
	return strings.Join(parts, "; ")
}

func clock() time.Time { return time.Unix(1_800_000_000, 0) }
