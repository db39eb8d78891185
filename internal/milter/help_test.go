package milter

import (
	"context"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/internal/milter/miltertest"
	"restante/internal/screen"
)

// message is one that all tests send.
func message() *screen.Message {
	return &screen.Message{
		ID: mail.ID{9: 1},
		Envelope: mail.Envelope{
			From:     mail.MustParseAddress("alice@example.org"),
			EightBit: true,
			Client:   mail.Client{Protocol: "ESMTPS", Addr: netip.MustParseAddr("192.0.2.7"), Helo: "client.example"},
		},
		Recipients: []mail.Recipient{
			{To: mail.MustParseAddress("bob@example.net")},
			{To: mail.MustParseAddress(`"c d"@example.net`)},
		},
		TLS:    "TLS1.3 TLS_AES_128_GCM_SHA256",
		Header: []byte("Received: from x\r\n\tby y\r\nSubject:  two  spaces \r\nnot a field\r\nX-Empty:\r\n"),
	}
}

// client is a Client of a filter, with a time-out that only failures wait for.
func client(t testing.TB, f *miltertest.Filter, opt Options) *Client {
	t.Helper()
	opt.Name, opt.Hostname, opt.Address = "test", "mx.example.org", f.Addr()
	opt.Network = "tcp"
	if strings.HasPrefix(opt.Address, "/") {
		opt.Network = "unix"
	}
	if opt.Timeout == 0 {
		opt.Timeout = 20 * time.Second
	}
	if opt.Dir == "" {
		opt.Dir = t.TempDir()
	}
	return New(opt)
}

// judged sends a message with a body in pieces and returns the verdict. Begin
// may say that nobody judges it.
func judged(c *Client, m *screen.Message, pieces ...string) (screen.Verdict, error) {
	ctx := context.Background()
	j, err := c.Begin(ctx, m)
	if err != nil || j == nil {
		return screen.Verdict{}, err
	}
	defer j.Close()
	for _, p := range pieces {
		if n, err := io.WriteString(j, p); n != len(p) || err != nil {
			panic("Write failed, which it never may")
		}
	}
	return j.Verdict(ctx)
}

// dialogue is what a session was told, a line for each command.
func dialogue(commands []miltertest.Command) string {
	var b strings.Builder
	for _, c := range commands {
		if c.Code == 'O' {
			continue
		}
		b.WriteString(strings.ReplaceAll(c.String(), "\x00", "~") + "\n")
	}
	return b.String()
}

// at answers one command of a letter, and continues the others.
func at(code byte, acts ...miltertest.Act) func(miltertest.Command) []miltertest.Act {
	return func(c miltertest.Command) []miltertest.Act {
		if c.Code == code {
			return acts
		}
		return nil
	}
}

func body(t testing.TB, v screen.Verdict) string {
	t.Helper()
	if v.Body == nil {
		return "(none)"
	}
	defer v.Body.Close()
	b, err := io.ReadAll(v.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
