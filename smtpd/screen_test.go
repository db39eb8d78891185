package smtpd

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/spool"
)

// What a screen says is the client's to read; what is wrong with it is not.
func TestTranslateOfScreens(t *testing.T) {
	refused := func(code int, text string) error {
		return fmt.Errorf("committing: %w", &accept.RefusedError{Status: mail.Status{Code: code, Enhanced: [3]int{5, 7, 1}, Text: text}})
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{refused(550, "spam"), "550 5.7.1 spam"},
		{refused(550, "sp\r\n250 am\x00ü"), "550 5.7.1 sp  250 am  "},
		{refused(550, ""), "550 5.7.1 Message refused"},
		{&accept.RefusedError{Status: mail.Status{Code: 451, Text: "later"}}, "451 4.0.0 later"},
		{refused(250, "taken"), errUnavailable.String()},
		{refused(0, ""), errUnavailable.String()},
		{fmt.Errorf("screening: %w", errors.New("/secret/path: broken")), errUnavailable.String()},
		{fmt.Errorf("<team@x.example>: %w", accept.ErrClosed), errClosed.String()},
		{fmt.Errorf("committing: %w", spool.ErrFull), errFull.String()},
	} {
		if got := translate(c.err).String(); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
	if got := translate(refused(550, strings.Repeat("x", 5000))).String(); len(got) > 512 {
		t.Errorf("a reply of %d octets", len(got))
	}
}

// A client that has logged in can be kept out of the trace field; all others
// are in it.
func TestTraceHidesClients(t *testing.T) {
	for _, c := range []struct {
		hide    bool
		account string
		shown   bool
	}{{false, "alice", true}, {true, "alice", false}, {true, "", true}} {
		opt := testOptions(nil)
		opt.HideClients = c.hide
		s := &session{srv: New(opt), conn: &conn{}, helo: "laptop.example", esmtp: true, account: c.account}
		got := s.trace(mail.ID{})
		if strings.Contains(got, "laptop.example") != c.shown || !strings.Contains(got, "by mx.local.example") {
			t.Errorf("hide %v, account %q: %s", c.hide, c.account, got)
		}
	}
}
