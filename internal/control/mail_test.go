package control

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/spool"
)

const alice = "alice@here.example"

// mailOf lists a mailbox and reads its messages.
func (h *house) mailOf(t *testing.T, mailbox string) (list []Mail, texts []string) {
	t.Helper()
	for m, err := range h.client.Mail(t.Context(), alice, mailbox, 0) {
		if err != nil {
			t.Fatal(err)
		}
		in, err := h.client.MailContent(t.Context(), alice, mailbox, m.UID)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil {
			t.Fatal(err)
		}
		list, texts = append(list, m), append(texts, string(text))
	}
	return list, texts
}

func TestDepositKeepsFlagsAndDate(t *testing.T) {
	h := newHouse(t)
	made, err := h.client.MakeMailbox(t.Context(), alice, Mailbox{Name: "Old/Sent", Use: spool.UseSent, Subscribed: true})
	if err != nil || made.Name != "Old/Sent" || made.Use != spool.UseSent {
		t.Fatalf("%+v, %v", made, err)
	}
	date := time.Date(2011, 2, 3, 4, 5, 6, 0, time.FixedZone("", 3600))
	text := "Subject: s\r\n\r\nbare\nand\rnul\x00\xff"
	d := Deposit{Mailbox: "Old/Sent", Flags: []string{`\seen`, "$Forwarded", `\Answered`}, Date: date, Once: "1/1"}
	put, err := h.client.Deposit(t.Context(), alice, d, strings.NewReader(text), -1)
	if err != nil || put.UID != 1 || put.UIDValidity != made.UIDValidity || put.Before {
		t.Fatalf("%+v, %v", put, err)
	}
	again, err := h.client.Deposit(t.Context(), alice, d, strings.NewReader(text), int64(len(text)))
	if err != nil || !again.Before || again.ID != put.ID {
		t.Errorf("again: %+v, %v", again, err)
	}
	list, texts := h.mailOf(t, "Old/Sent")
	if len(list) != 1 || texts[0] != text {
		t.Fatalf("%+v %q", list, texts)
	}
	m := list[0]
	if !m.Date.Equal(date) || !slices.Equal(m.Flags, []string{`\Answered`, `\Seen`, "$Forwarded"}) || m.Size != int64(len(text)) || m.ID != put.ID {
		t.Errorf("%+v", m)
	}
	boxes, err := h.client.Mailboxes(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(boxes, func(m Mailbox) bool { return m.Name == "Old/Sent" })
	if at < 0 || boxes[at].Messages != 1 || !boxes[at].Subscribed || boxes[at].Size != m.Size {
		t.Errorf("%+v", boxes)
	}
}

func TestContentHasWhatTheMailboxPutsInFront(t *testing.T) {
	h := newHouse(t)
	h.submit(t, Submission{From: "bob@far.example", Recipients: []string{alice}}, "Subject: s\n\nhi\n")
	list, texts := h.mailOf(t, "inbox")
	if len(list) != 1 || !strings.HasPrefix(texts[0], "Return-Path: <bob@far.example>\r\n") || int64(len(texts[0])) != list[0].Size {
		t.Errorf("%+v %q", list, texts)
	}
	for range h.client.Mail(t.Context(), alice, "INBOX", list[0].UID) {
		t.Error("something is listed behind the last")
	}
}

func TestDepositsThatAreRefused(t *testing.T) {
	h := newHouse(t)
	put := func(account string, d Deposit, text string) error {
		_, err := h.client.Deposit(t.Context(), account, d, strings.NewReader(text), -1)
		return err
	}
	wantCode(t, put("nobody@here.example", Deposit{}, "x"), CodeNotFound)
	wantCode(t, put(alice, Deposit{Mailbox: "none"}, "x"), CodeNotFound)
	wantCode(t, put(alice, Deposit{Flags: []string{`\Recent`}}, "x"), CodeBadRequest)
	wantCode(t, put(alice, Deposit{Flags: []string{"a b"}}, "x"), CodeBadRequest)
	wantCode(t, put(alice, Deposit{Once: strings.Repeat("x", 2000)}, "x"), CodeBadRequest)
	wantCode(t, put(alice, Deposit{}, ""), CodeBadRequest)
	wantCode(t, put(alice, Deposit{}, strings.Repeat("x", 1<<20+1)), CodeTooLarge)
	// A message that breaks off is not there.
	broken := errors.New("broken")
	_, err := h.client.Deposit(t.Context(), alice, Deposit{}, io.MultiReader(strings.NewReader("Subject: s\r\n"), failing{broken}), -1)
	if !errors.Is(err, broken) {
		t.Errorf("broken off: %v", err)
	}
	if list, _ := h.spool.ListMailboxes(alice); len(list) > 0 && list[0].Messages > 0 {
		t.Errorf("%+v", list)
	}
	_, err = h.client.MakeMailbox(t.Context(), alice, Mailbox{Name: "a//b"})
	wantCode(t, err, CodeBadRequest)
	_, err = h.client.MakeMailbox(t.Context(), alice, Mailbox{Name: "a", Use: "None"})
	wantCode(t, err, CodeBadRequest)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
