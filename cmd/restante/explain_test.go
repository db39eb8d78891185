package main

import (
	"context"
	"strings"
	"testing"

	"restante/internal/accept"
	"restante/internal/config"
	"restante/internal/control"
	"restante/internal/directory"
	"restante/internal/screen"
	"restante/relay"
)

// keyless signs for the domain that stands in the From field.
type keyless struct{ fail error }

func (k keyless) Begin(m *screen.Message) accept.SignJob {
	if m.Outside() {
		return nil
	}
	return k
}

func (keyless) Write(p []byte) (int, error) { return len(p), nil }

func (k keyless) Sign(_ context.Context, fields []byte) ([]byte, error) {
	domain := "isp.example"
	if strings.Contains(string(fields), "@here.example") {
		domain = "here.example"
	}
	return []byte("DKIM-Signature: v=1; a=rsa-sha256; d=" + domain + ";\r\n\ts=key1; b=abc\r\n"), k.fail
}

// Who signs is found out by signing; and what a route rewrites is signed anew.
func TestExplainSigning(t *testing.T) {
	cfg := config.Default()
	cfg.Domains = []config.Domain{{Name: "here.example"}}
	cfg.Routes = []config.Route{{Name: "isp", Domains: config.Strings{"*"}, NextHop: config.Strings{"smtp.isp.example"}, TLS: config.TLSNone, RewriteFrom: "relay@isp.example"}}
	accounts, err := directory.Open(directory.Options{Path: t.TempDir() + "/accounts.json", Domains: []string{"here.example"}})
	if err != nil {
		t.Fatal(err)
	}
	routes, err := relay.NewRoutes(relayRoutes(cfg))
	if err != nil {
		t.Fatal(err)
	}
	explain := func(signer keyless, client string) string {
		x := &explainer{cfg: cfg, accounts: accounts, routes: routes, acceptor: accept.New(accept.Options{
			Directory: accounts, Route: routes.Destination, Signers: []accept.Signer{signer},
		})}
		e, err := x.explain(context.Background(), control.Question{From: "a@here.example", To: []string{"x@far.example"}, Client: client})
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, f := range e.Facts {
			if f.Kind == factSigning {
				lines = append(lines, f.About+": "+f.Text)
			}
			if f.Kind == factTLS && f.Text != "no TLS" {
				t.Errorf("TLS: %s", f.Text)
			}
		}
		return strings.Join(lines, "\n")
	}
	const want = ": signed with DKIM-Signature a=rsa-sha256 d=here.example s=key1, for the author a@here.example\n" +
		"isp: signed with DKIM-Signature a=rsa-sha256 d=isp.example s=key1, for the author relay@isp.example"
	if got := explain(keyless{}, "127.0.0.1"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := explain(keyless{context.Canceled}, "127.0.0.1"); !strings.Contains(got, "a signature cannot be made: context canceled") {
		t.Errorf("a signer that fails: %s", got)
	}
}

// The route is explained with the rule that chose it; fields of the header can
// be given.
func TestExplainRoute(t *testing.T) {
	cfg := config.Default()
	cfg.Domains = []config.Domain{{Name: "here.example"}}
	hop := config.Strings{"smtp.isp.example"}
	cfg.Routes = []config.Route{
		{Name: "bulk", Headers: config.Strings{"X-Route: bulk*"}, Senders: config.Strings{"here.example"}, NextHop: hop},
		{Name: "isp", Domains: config.Strings{"*"}, NextHop: hop},
	}
	accounts, err := directory.Open(directory.Options{Path: t.TempDir() + "/accounts.json", Domains: []string{"here.example"}})
	if err != nil {
		t.Fatal(err)
	}
	routes, err := relay.NewRoutes(relayRoutes(cfg))
	if err != nil {
		t.Fatal(err)
	}
	x := &explainer{cfg: cfg, accounts: accounts, routes: routes, acceptor: accept.New(accept.Options{Directory: accounts, Route: routes.Destination})}
	for field, want := range map[string]string{
		"X-Route: Bulk mail": `chosen by senders ["here.example"] and headers ["X-Route: bulk*"]`,
		"X-Route: other":     `chosen by domains ["*"], since no other serves the domain`,
	} {
		e, err := x.explain(context.Background(), control.Question{
			From: "a@here.example", To: []string{"x@far.example"}, Client: "127.0.0.1", Headers: []string{"Subject: x", field},
		})
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, f := range e.Facts {
			if f.Kind == factRoute {
				texts = append(texts, f.Text)
			}
		}
		if len(texts) != 2 || texts[1] != want {
			t.Errorf("%s: %q, want %q", field, texts, want)
		}
	}
}
