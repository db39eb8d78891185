package control

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAccounts(t *testing.T) {
	h := newHouse(t)
	c, ctx := h.client, t.Context()
	if err := c.AddAccount(ctx, "bob@here.example", "secret", "bobby@here.example"); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		err  error
		code Code
	}{
		{c.AddAccount(ctx, "Bob@here.example", "other"), CodeConflict},
		{c.AddAccount(ctx, "bob@far.example", "other"), CodeUnprocessable},
		{c.AddAccount(ctx, "carol@here.example", ""), CodeUnprocessable},
		{c.AddAccount(ctx, "a b", "secret"), CodeBadRequest},
		{c.SetPassword(ctx, "carol@here.example", "secret"), CodeNotFound},
		{c.SetPassword(ctx, "fixed@here.example", "secret"), CodeConflict},
		{c.RemoveAccount(ctx, "fixed@here.example", PurgeMail), CodeConflict},
		{c.RemoveAccount(ctx, "carol@here.example", KeepMail), CodeNotFound},
		{c.RemoveAccount(ctx, "carol@here.example", PurgeMail), CodeNotFound},
	} {
		wantCode(t, x.err, x.code)
	}
	if err := c.SetPassword(ctx, "bob@here.example", "better"); err != nil {
		t.Error(err)
	}
	list, err := c.Accounts(ctx)
	if err != nil || len(list) != 3 || list[2].Name != "bob@here.example" {
		t.Errorf("%+v, %v", list, err)
	}

	h.submit(t, Submission{Recipients: []string{"bob"}}, "\nhi")
	boxes := func() int {
		t.Helper()
		list, err := h.spool.ListMailboxes("bob@here.example")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if err := c.RemoveAccount(ctx, "Bob", KeepMail); err != nil || boxes() == 0 {
		t.Errorf("remove: %v, %d mailboxes", err, boxes())
	}
	if err := c.RemoveAccount(ctx, "Bob", PurgeMail); err != nil || boxes() != 0 {
		t.Errorf("purge: %v, %d mailboxes", err, boxes())
	}
	if strings.Contains(h.log.String(), "better") {
		t.Error("the log has a password in it")
	}
}

// TestStrangersMayOnlySubmit asks the handlers as a user who is nobody special.
func TestStrangersMayOnlySubmit(t *testing.T) {
	h := newHouse(t)
	ask := func(method, path, body string) *httptest.ResponseRecorder {
		ctx := context.WithValue(t.Context(), peerKey{}, Peer{UID: 1234, Name: "mallory"})
		w := httptest.NewRecorder()
		h.server.routes().ServeHTTP(w, httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body)))
		return w
	}
	for _, c := range []struct{ method, path string }{
		{"GET", "/v1/queue"},
		{"POST", "/v1/queue/remove"},
		{"GET", "/v1/messages/0000000000000000"},
		{"GET", "/v1/accounts"},
		{"POST", "/v1/accounts"},
		{"POST", "/v1/accounts/alice@here.example/password"},
		{"DELETE", "/v1/accounts/alice@here.example"},
		{"GET", "/v1/accounts/alice@here.example/mailboxes"},
		{"POST", "/v1/accounts/alice@here.example/mailboxes"},
		{"GET", "/v1/accounts/alice@here.example/mail"},
		{"GET", "/v1/accounts/alice@here.example/mail/1"},
		{"POST", "/v1/accounts/alice@here.example/mail"},
	} {
		if w := ask(c.method, c.path, "{}"); w.Code != http.StatusForbidden {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
	if w := ask("POST", "/v1/messages?to=alice", "Subject: s\n\nhi"); w.Code != http.StatusCreated {
		t.Errorf("submit: %d %s", w.Code, w.Body)
	}
	w := ask("GET", "/v1/status", "")
	var st DaemonStatus
	if err := json.Unmarshal(w.Body.Bytes(), &st); err != nil || st.Queue != nil || st.Version != "v0" {
		t.Errorf("status: %s", w.Body)
	}
}
