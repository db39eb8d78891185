package control

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"restante/spool"
	"restante/spool/spooltest"
)

// inbox returns what an account of here.example has got, and whole.
func (h *house) inbox(t *testing.T, account string) []string {
	t.Helper()
	box, err := h.spool.Mailbox(account, spool.Inbox)
	if errors.Is(err, spool.ErrNoMailbox) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for uid := spool.UID(1); uid < box.UIDNext; uid++ {
		e, err := h.spool.Entry(box.ID, uid)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, h.stored(t, e.Message))
	}
	return texts
}

func TestPickUp(t *testing.T) {
	h := newHouse(t)
	left := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	pick := func(sub Submission, text string) error {
		return h.server.PickUp(t.Context(), Peer{UID: 7, Name: "alice"}, sub, left, strings.NewReader(text), int64(len(text)))
	}
	// What is known goes its way, what is not comes back.
	sub := Submission{FromHeader: true, Once: "one"}
	text := "To: root, nobody@here.example, x@far.example\nBcc: fixed@here.example\nSubject: s\n\nhi\n"
	for range 2 {
		if err := pick(sub, text); err != nil {
			t.Fatal(err)
		}
	}
	got := h.inbox(t, "alice@here.example")
	if len(got) != 2 {
		t.Fatalf("alice has %q", got)
	}
	for _, want := range []string{"Received: from alice by host.example", "Date: Fri, 2 Jan 2026 03:04:05 +0000\r\n", "From: alice@here.example\r\n"} {
		if !strings.Contains(got[0], want) || strings.Contains(got[0], "Bcc") {
			t.Errorf("%q is missing in, or Bcc is in %s", want, got[0])
		}
	}
	for _, want := range []string{"Final-Recipient: rfc822; nobody@here.example", "Status: 5.1.1", "Subject: s\r\n"} {
		if !strings.Contains(got[1], want) {
			t.Errorf("%q is missing in the report %s", want, got[1])
		}
	}
	if strings.Contains(got[1], "x@far.example\r\nAction") || strings.Contains(got[1], "Bcc") {
		t.Errorf("the report tells of others: %s", got[1])
	}
	if n, m := len(h.inbox(t, "fixed@here.example")), len(h.queue(t, Filter{})); n != 1 || m != 1 {
		t.Errorf("%d deposits and %d tasks", n, m)
	}

	// Loops come back too, and who wants no report gets none.
	loop := strings.Repeat("Received: x\n", 101) + "To: x@far.example\n\n"
	if err := pick(Submission{FromHeader: true}, loop); err != nil {
		t.Fatal(err)
	}
	if err := pick(Submission{Recipients: []string{"nobody"}, Notify: []string{"never"}}, "\nhi\n"); err != nil {
		t.Fatal(err)
	}
	if err := pick(Submission{Recipients: []string{"alice"}}, "\n"+strings.Repeat("x", 1<<20)); err != nil {
		t.Fatal(err)
	}
	if got := h.inbox(t, "alice@here.example"); len(got) != 4 || !strings.Contains(got[2], "mail loop") || !strings.Contains(got[3], "larger than 1048576") {
		t.Errorf("%d messages, the last %q", len(got), got[len(got)-1])
	}

	// What can neither go nor come back is told.
	for what, err := range map[string]error{
		"no sender":        pick(Submission{From: "<>", Recipients: []string{"nobody"}}, "\nhi\n"),
		"unknown sender":   pick(Submission{From: "nobody", Recipients: []string{"no.body"}}, "\nhi\n"),
		"no recipients":    pick(Submission{}, "\nhi\n"),
		"bad address":      pick(Submission{Recipients: []string{"a b@"}}, "\nhi\n"),
		"header too large": pick(Submission{Recipients: []string{"alice"}}, "A: "+strings.Repeat("x", 300<<10)+"\n\n"),
	} {
		if !errors.Is(err, ErrUnfit) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// What passes is neither.
	err := h.server.PickUp(t.Context(), Peer{}, Submission{Recipients: []string{"alice"}}, left, iotest.ErrReader(io.ErrUnexpectedEOF), 1)
	if err == nil || errors.Is(err, ErrUnfit) {
		t.Errorf("unreadable: %v", err)
	}
	h.spool.Fail(spool.ErrFull, spooltest.OpCreate)
	for _, to := range []string{"alice", "nobody"} {
		if err := pick(Submission{Recipients: []string{to}}, "\nhi\n"); !errors.Is(err, spool.ErrFull) {
			t.Errorf("full, to %s: %v", to, err)
		}
	}
}

func TestOnce(t *testing.T) {
	h := newHouse(t)
	sub := Submission{Recipients: []string{"alice"}, Once: "the name of the transaction"}
	first := h.submit(t, sub, "\nhi\n")
	if again := h.submit(t, sub, "\nhi\n"); again != first {
		t.Errorf("%s, and then %s", first, again)
	}
	// The maildrop's way is the same way.
	if err := h.server.PickUp(context.Background(), Peer{Name: "x"}, sub, time.Now(), strings.NewReader("\nhi\n"), 4); err != nil {
		t.Error(err)
	}
	if got := h.inbox(t, "alice@here.example"); len(got) != 1 {
		t.Errorf("taken %d times", len(got))
	}
	sub.Once = strings.Repeat("x", 101)
	_, err := h.client.Submit(t.Context(), sub, strings.NewReader("\nhi\n"), -1)
	wantCode(t, err, CodeBadRequest)
}

func TestResent(t *testing.T) {
	h := newHouse(t)
	in := "Resent-To: alice\nFrom: a@b.example\nReturn-Path: <x@y.example>\nSubject: s\n\nhi\n"
	got := h.stored(t, h.submit(t, Submission{From: "bob@far.example", FromHeader: true}, in))
	for _, want := range []string{"\r\nResent-Date: ", "\r\nResent-Message-ID: <", "\r\nResent-From: bob@far.example\r\n", "\r\nFrom: a@b.example\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %s", want, got)
		}
	}
	if strings.Contains(got, "\r\nDate:") || strings.Contains(got, "Return-Path") {
		t.Errorf("the author's fields are changed: %s", got)
	}
}

func TestVet(t *testing.T) {
	opt := Options{Origin: "here.example", MaxHeader: 4 << 10}
	for text, sub := range map[string]Submission{
		"Subject: s\n\n": {Recipients: []string{"alice"}},
		"To: a@b.c\n\n":  {FromHeader: true},
	} {
		if err := Vet(opt, sub, strings.NewReader(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, c := range []struct {
		code Code
		sub  Submission
		text string
	}{
		{CodeBadRequest, Submission{}, "\n"},
		{CodeBadRequest, Submission{Recipients: []string{"a b@"}}, "\n"},
		{CodeBadRequest, Submission{FromHeader: true}, "To: a b@\n\n"},
		{CodeBadRequest, Submission{From: "@", Recipients: []string{"a"}}, "\n"},
		{CodeTooLarge, Submission{Recipients: []string{"a"}}, "A: " + strings.Repeat("x", 5<<10) + "\n\n"},
		{CodeUnprocessable, Submission{Recipients: []string{"a"}}, strings.Repeat("Received: x\n", 101) + "\n"},
	} {
		err := Vet(opt, c.sub, strings.NewReader(c.text))
		if err == nil || toError(err).Code != c.code {
			t.Errorf("%+v %q: %v", c.sub, c.text, err)
		}
	}
}
