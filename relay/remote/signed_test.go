package remote

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"restante/internal/standin"
)

// What we had signed is signed again when it goes on with 7 bits, and the
// signature that does not hold any more goes. A stranger's stays.
func TestSignedAgain(t *testing.T) {
	const text = "From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n"
	for _, tt := range []struct {
		name, head string
		signed     bool
	}{
		{"ours", "DKIM-Signature: v=1; a=rsa\r\nDKIM-Signature: v=1;\r\n a=ed25519\r\nReceived: here\r\n", true},
		{"a stranger's", "Received: here\r\nDKIM-Signature: v=1; d=other\r\n", false},
		{"ours over a stranger's", "DKIM-Signature: ours\r\nReceived: here\r\nDKIM-Signature: theirs\r\n", true},
		{"nobody's", "Received: here\r\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := server(t, standin.Options{Without: []string{"8BITMIME", "SMTPUTF8"}})
			j := job(to(srv))
			j.Body = body(tt.head + text)
			j.Envelope.EightBit = true
			var fields, rest string
			j.Sign = func(_ context.Context, f []byte, w io.WriterTo) ([]byte, error) {
				var b bytes.Buffer
				_, err := w.WriteTo(&b)
				fields, rest = string(f), b.String()
				return []byte("DKIM-Signature: new\r\n"), err
			}
			if out := deliver(t, courier(t, Options{}), j); out.Results[0].Code != 250 {
				t.Fatalf("%+v", out)
			}
			got := string(srv.Messages()[0].Data)
			if !tt.signed {
				if fields != "" || !strings.HasPrefix(got, tt.head) {
					t.Errorf("sent is\n%s", got)
				}
				return
			}
			head, sent, _ := strings.Cut(got, "\r\n\r\n")
			if head+"\r\n" != "DKIM-Signature: new\r\n"+fields || sent != rest {
				t.Errorf("sent is\n%s\nsigned was\n%s\n%s", got, fields, rest)
			}
			if strings.Contains(fields, "a=rsa") || strings.Contains(fields, "ed25519") || strings.Contains(fields, "ours") ||
				!strings.HasPrefix(fields, "Received: here\r\n") || strings.Contains(tt.head, "theirs") != strings.Contains(fields, "theirs") ||
				!strings.Contains(rest, "Gr=C3=BC=C3=9Fe") {
				t.Errorf("signed was\n%s\n%s", fields, rest)
			}
		})
	}
}
