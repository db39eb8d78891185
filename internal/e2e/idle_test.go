package e2e

import (
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// watcher is a session that waits in IDLE and passes on what it is told.
type watcher struct {
	exists   chan uint32
	flags    chan []imap.Flag
	expunged chan uint32
}

// watch selects INBOX and begins to IDLE.
func watch(d *daemon, user string) *watcher {
	d.t.Helper()
	w := &watcher{make(chan uint32, 100), make(chan []imap.Flag, 100), make(chan uint32, 100)}
	c := d.imap(user, password, &imapclient.UnilateralDataHandler{
		Mailbox: func(m *imapclient.UnilateralDataMailbox) {
			if m.NumMessages != nil {
				w.exists <- *m.NumMessages
			}
		},
		Fetch: func(m *imapclient.FetchMessageData) {
			if got, err := m.Collect(); err == nil {
				w.flags <- got.Flags
			}
		},
		Expunge: func(n uint32) { w.expunged <- n },
	})
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		d.t.Fatal(err)
	}
	idle, err := c.Idle()
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { idle.Close() })
	return w
}

// hears waits for what a watcher is told.
func hears[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no session in IDLE was told of %s", what)
	}
	panic("not reached")
}

// TestIdle has two sessions waiting while a third works in the same mailbox.
func TestIdle(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	watchers := []*watcher{watch(d, bob), watch(d, bob)}
	d.send(letter("first"), alice, bob)
	for _, w := range watchers {
		if n := hears(t, "the first message", w.exists); n != 1 {
			t.Errorf("%d messages, want 1", n)
		}
	}
	d.send(letter("second"), alice, bob)
	for _, w := range watchers {
		if n := hears(t, "the second message", w.exists); n != 2 {
			t.Errorf("%d messages, want 2", n)
		}
	}

	worker := d.imap(bob, password, nil)
	if _, err := worker.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}
	if err := worker.Store(imap.SeqSetNum(1), store, nil).Close(); err != nil {
		t.Fatal(err)
	}
	for _, w := range watchers {
		flags := hears(t, "the flag", w.flags)
		deleted := false
		for _, f := range flags {
			deleted = deleted || f == imap.FlagDeleted
		}
		if !deleted {
			t.Errorf("the flags are %q, want \\Deleted", flags)
		}
	}
	if err := worker.Expunge().Close(); err != nil {
		t.Fatal(err)
	}
	for _, w := range watchers {
		if n := hears(t, "the expunge", w.expunged); n != 1 {
			t.Errorf("message %d was expunged, want 1", n)
		}
	}
	if left := d.inbox(bob, 1); len(left) == 1 {
		sameButTrace(t, left[0].body, []byte(letter("second")), local...)
	}
}
