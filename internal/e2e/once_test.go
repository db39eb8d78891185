package e2e

import (
	"context"
	"strings"
	"testing"

	"restante/internal/standin"
)

// TestAcceptedOnce: a transaction that is repeated after the connection and
// the daemon have died has the queue ID it was given, and is there once.
func TestAcceptedOnce(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	d := newDaemon(t, away(hop), quick(""))
	first := d.smtp().sendAs(t, letter("once"), "<alice@example.org>", "<bob@example.org>", "<carol@example.net>")
	d.kill()
	d.start()
	second := d.smtp().sendAs(t, letter("once"), "<alice@example.org>", "<bob@example.org>", "<carol@example.net>")
	if first != second {
		t.Errorf("%s, and then %s", first, second)
	}
	third := d.smtp().sendAs(t, letter("once"), "<alice@example.org> XONCE=NO", "<bob@example.org>")
	if third == first {
		t.Error("XONCE=NO was not heard")
	}
	d.inbox(bob, 2)
	// The kill may have come between the delivery and the record of it, and
	// then the one message is delivered again.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, err := hop.Wait(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got {
		if !strings.Contains(string(m.Data), first) {
			t.Errorf("the next hop has another message than %s:\n%s", first, m.Data)
		}
	}
}
