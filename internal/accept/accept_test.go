package accept_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/internal/structure"
	"restante/spool"
	"restante/spool/spooltest"
)

// directory is local for here.example: alice and bob have accounts, team leads
// to both and to one outside.
type directory struct{}

func (directory) IsLocal(domain string) bool { return domain == "here.example" }

func (directory) Resolve(to mail.Address, _ func(accept.Step)) (accept.Targets, error) {
	switch to.Local {
	case "alice", "bob":
		return accept.Targets{Accounts: []string{to.Local + "@here.example"}}, nil
	case "team":
		return accept.Targets{
			Accounts: []string{"alice@here.example", "bob@here.example"},
			Forwards: []accept.Forward{{To: mail.Address{Local: "carol", Domain: "there.example"}}},
		}, nil
	case "postmaster":
		return accept.Targets{Accounts: []string{"alice@here.example"}}, nil
	}
	return accept.Targets{}, mail.ErrNoSuchUser
}

func newAcceptor(store spool.Store) *accept.Acceptor {
	return accept.New(accept.Options{
		Intake:    store,
		Directory: directory{},
		Route: func(w accept.Way) spool.Destination {
			return spool.Destination{Route: "mx", Domain: w.To.Domain}
		},
		Warn: time.Hour, Expire: 24 * time.Hour,
	})
}

func rcpts(list ...string) (out []mail.Recipient) {
	for _, s := range list {
		out = append(out, mail.Recipient{To: mail.MustParseAddress(s), Original: "rfc822;" + s})
	}
	return out
}

const text = "Subject: hello\r\n\r\nbody\r\n"

func TestRecipientsBecomeDepositsAndTasks(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	a := newAcceptor(store)
	m, err := a.Begin(mail.Envelope{From: mail.MustParseAddress("me@else.example")}, rcpts(
		"alice@here.example", "x@there.example", "team@here.example", "y@far.example", "carol@there.example", "postmaster",
	))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(m, text)
	r, err := m.Commit(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Deposited) != 2 || len(r.Tasks) != 2 {
		t.Fatalf("%d deposits, %d tasks; want 2 (each account once) and 2 (each destination once)", len(r.Deposited), len(r.Tasks))
	}
	tasks, err := store.MessageTasks(r.ID)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, task := range tasks {
		if d := task.Expires.Sub(task.Queued); d != 24*time.Hour {
			t.Errorf("expires after %v", d)
		}
		for _, rcpt := range task.Recipients {
			got[rcpt.To.String()] = fmt.Sprint(task.Destination, " ", rcpt.Original)
		}
	}
	want := map[string]string{
		"x@there.example":     "mx/there.example rfc822;x@there.example",
		"carol@there.example": "mx/there.example rfc822;team@here.example", // the first who asked
		"y@far.example":       "mx/far.example rfc822;y@far.example",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("remote recipients:\n%v\nwant\n%v", got, want)
	}
	e, err := store.Entry(r.Deposited[0].Mailbox, r.Deposited[0].UID)
	if err != nil {
		t.Fatal(err)
	}
	if want := "Return-Path: <me@else.example>\r\nDelivered-To: alice@here.example\r\n"; string(e.Prefix) != want {
		t.Errorf("prefix %q", e.Prefix)
	}
	s, err := store.Structure(r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err := structure.Decode(s); err != nil || parsed.Envelope().Subject != "hello" {
		t.Errorf("structure: %v", err)
	}
}

func TestUnknownUser(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	a := newAcceptor(store)
	to := rcpts("nobody@here.example")
	if err := a.Check(to[0].To); !errors.Is(err, mail.ErrNoSuchUser) {
		t.Errorf("Check: %v", err)
	}
	if err := a.Check(mail.MustParseAddress("nobody@there.example")); err != nil {
		t.Errorf("Check of a remote address: %v", err)
	}
	if _, err := a.Begin(mail.Envelope{}, to); !errors.Is(err, mail.ErrNoSuchUser) {
		t.Errorf("Begin: %v", err)
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	m, err := newAcceptor(store).Begin(mail.Envelope{}, rcpts("alice@here.example", "x@there.example"))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(m, text)
	m.Abort()
	if _, err := store.Stat(m.ID()); !errors.Is(err, spool.ErrNotFound) {
		t.Errorf("Stat after Abort: %v", err)
	}
	if _, err := m.Commit(context.Background()); err == nil {
		t.Error("Commit after Abort succeeded")
	}
}
