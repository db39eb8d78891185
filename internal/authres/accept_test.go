package authres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"restante/internal/accept"
	"restante/internal/authres"
	"restante/internal/dkim"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/internal/resolver"
	"restante/internal/screen"
	"restante/internal/standin"
	"restante/spool"
	"restante/spool/spooltest"
)

// everybody has alice@here.example alone.
type everybody struct{}

func (everybody) IsLocal(domain string) bool { return domain == "here.example" }

func (everybody) Resolve(mail.Address, func(accept.Step)) (accept.Targets, error) {
	return accept.Targets{Accounts: []string{"alice@here.example"}}, nil
}

// TestThroughAccept takes messages in as smtpd does, with the screen and a
// signer at work.
func TestThroughAccept(t *testing.T) {
	dns, err := standin.NewDNS(
		`good.example. TXT "v=spf1 ip4:192.0.2.1 -all"`, `_dmarc.good.example. TXT "v=DMARC1; p=reject"`,
		`_dmarc.junk.example. TXT "v=DMARC1; p=quarantine"`,
	)
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	r, err := resolver.New(resolver.Options{Server: dns.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	private, err := dkim.Generate(dkim.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	a := accept.New(accept.Options{
		Intake: store, Directory: everybody{}, Mailboxes: store, Hostname: "mx.here.example", Logger: slog.New(slog.DiscardHandler),
		Route:   func(w accept.Way) spool.Destination { return spool.Destination{Domain: w.To.Domain} },
		Screens: []screen.Screen{authres.New(authres.Options{ID: "mx.here.example", Resolver: r, DMARC: authres.Reject})},
		Signers: []accept.Signer{dkim.NewSigner(dkim.SignerOptions{Keys: []dkim.Key{{Domain: "good.example", Selector: "k", Private: private}}})},
	})
	take := func(account, client, head string) (stored, mailbox string, err error) {
		t.Helper()
		m, err := a.Submit(accept.Submission{
			Envelope: mail.Envelope{From: mail.MustParseAddress("x@good.example"), Client: mail.Client{
				Protocol: "ESMTP", Addr: netip.MustParseAddr(client), Account: account}},
			Recipients: []mail.Recipient{{To: mail.MustParseAddress("alice@here.example")}}, Screened: true,
			Complete: account != "",
			Trace:    func(id mail.ID) string { return "Received: by mx\r\n" },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Abort()
		if err := m.SetHeader(context.Background(), header.Parse([]byte(head+"\r\n"))); err != nil {
			t.Fatal(err)
		}
		io.WriteString(m, "body\r\n")
		receipt, err := m.Commit(context.Background())
		if err != nil {
			return "", "", err
		}
		body, err := store.OpenBody(receipt.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		b, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
		if err != nil {
			t.Fatal(err)
		}
		return string(b), fmt.Sprint(receipt.Deposited[0].Mailbox), nil
	}
	const claim = "Authentication-Results: mx.here.example; dmarc=pass\r\nAuthentication-Results: else.example; none\r\n"
	stored, inbox, err := take("", "192.0.2.1", claim+"From: x@good.example\r\n")
	want := "Received: by mx\r\nAuthentication-Results: mx.here.example;\r\n\tspf=pass smtp.mailfrom=x@good.example;\r\n\tdkim=none;\r\n\t" +
		"dmarc=pass header.from=good.example\r\nAuthentication-Results: else.example; none\r\nFrom: x@good.example\r\n\r\nbody\r\n"
	if err != nil || stored != want {
		t.Errorf("from outside: %v\n%q\nwant\n%q", err, stored, want)
	}
	var refused *accept.RefusedError
	if _, _, err := take("", "198.51.100.1", "From: x@good.example\r\n"); !errors.As(err, &refused) || refused.Status.Code != 550 {
		t.Errorf("forged: %v", err)
	}
	_, junk, err := take("", "198.51.100.1", "From: x@junk.example\r\n")
	if err != nil || junk == inbox {
		t.Errorf("quarantined: %v, in %s", err, junk)
	}
	stored, _, err = take("x@good.example", "192.0.2.1", claim+"From: x@good.example\r\n")
	if err != nil || !strings.HasPrefix(stored, "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=good.example;") ||
		strings.Contains(stored, "Authentication-Results: mx.here.example") {
		t.Errorf("from an account: %v\n%s", err, stored)
	}
}
