package control

import (
	"testing"
	"time"

	"restante/internal/directory"
)

func TestApplicationsAndSecrets(t *testing.T) {
	h := newHouse(t)
	c, ctx := h.client, t.Context()
	app := directory.Application{Rate: directory.Rate{Count: 100, Per: time.Hour}, Priority: 4}
	if err := c.AddApplication(ctx, "invoices", "secret", []string{"billing@here.example"}, app); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		err  error
		want Code
	}{
		{c.AddApplication(ctx, "invoices", "secret", nil, app), CodeConflict},
		{c.AddApplication(ctx, "a b", "secret", nil, app), CodeUnprocessable},
		{c.AddApplication(ctx, "x", "secret", nil, directory.Application{Priority: 10}), CodeUnprocessable},
		{c.RevokeSecret(ctx, "invoices", "phone"), CodeNotFound},
		{c.RevokeSecret(ctx, "nobody@here.example", "phone"), CodeNotFound},
	} {
		if got := toError(test.err); test.err == nil || got.Code != test.want {
			t.Errorf("got %v, want %s", test.err, test.want)
		}
	}
	secret, err := c.AddSecret(ctx, "invoices", "spare", true)
	if err != nil || len(secret) < 20 {
		t.Fatalf("%q %v", secret, err)
	}
	if _, err := c.AddSecret(ctx, "nobody@here.example", "x", false); toError(err).Code != CodeNotFound {
		t.Error(err)
	}
	list, err := c.Accounts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	last := list[len(list)-1]
	if last.Name != "invoices" || last.Application == nil || *last.Application != app || !last.SCRAM ||
		len(last.Secrets) != 1 || last.Secrets[0].Name != "spare" || !last.Secrets[0].IMAP {
		t.Errorf("got %+v", last)
	}
	if err := c.RevokeSecret(ctx, "invoices", "spare"); err != nil {
		t.Error(err)
	}
	if err := c.RemoveAccount(ctx, "invoices", KeepMail); err != nil {
		t.Error(err)
	}
}
