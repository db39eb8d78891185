package resend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/spool"
	"restante/spool/spooltest"
)

// archived takes mail in, which is archived by the rule.
func (w *world) archived(from string, to ...string) {
	w.Helper()
	s := accept.Submission{Envelope: mail.Envelope{From: address(from)}, Complete: true, Trusted: true}
	for _, r := range to {
		s.Recipients = append(s.Recipients, mail.Recipient{To: address(r)})
	}
	m, err := w.acceptor.Submit(s)
	if err != nil {
		w.Fatal(err)
	}
	fmt.Fprintf(m, "From: %s\r\nDate: x\r\nMessage-ID: <x@x>\r\nDKIM-Signature: v=1\r\n\r\nto %s\r\n", from, strings.Join(to, " "))
	if _, err := m.Commit(context.Background()); err != nil {
		w.Fatal(err)
	}
}

// clear empties the queue.
func (w *world) clear() {
	w.Helper()
	var ids []spool.TaskID
	for t, err := range w.Tasks(spool.TaskID{}) {
		if err != nil {
			w.Fatal(err)
		}
		ids = append(ids, t.ID)
	}
	for _, id := range ids {
		if _, err := w.Remove(id); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) replay(r Replay) (Counts, []Item) {
	w.Helper()
	r.Owner, r.Mailbox = address("keeper"), "Journal"
	var items []Item
	counts, err := w.sender.Replay(context.Background(), r, func(i Item, _ Counts) { items = append(items, i) })
	if err != nil {
		w.Fatal(err)
	}
	return counts, items
}

func TestReplayFilters(t *testing.T) {
	for _, c := range []struct {
		name string
		r    Replay
		want []string // "from -> to"
	}{
		{"all", Replay{}, []string{"ann@home.example -> b@one.example", "ann@home.example -> c@two.example", "bob@home.example -> d@one.example"}},
		{"by route", Replay{Route: "one"}, []string{"ann@home.example -> b@one.example", "bob@home.example -> d@one.example"}},
		{"by sender", Replay{Sender: "bob@home.example"}, []string{"bob@home.example -> d@one.example"}},
		{"by recipient", Replay{Recipient: "two.example"}, []string{"ann@home.example -> c@two.example"}},
		{"to others", Replay{Route: "two", To: []mail.Address{address("z@three.example")}}, []string{"ann@home.example -> z@three.example"}},
		{"too late", Replay{Since: time.Now().Add(time.Hour)}, nil},
		{"too early", Replay{Until: time.Now().Add(-time.Hour)}, nil},
		{"in time", Replay{Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour), Sender: "bob@home.example"}, []string{"bob@home.example -> d@one.example"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.archived("ann", "b@one.example", "c@two.example")
			w.archived("bob", "d@one.example")
			w.clear()
			dry := c.r
			dry.DryRun = true
			if counts, items := w.replay(dry); len(w.queued()) != 0 || counts.Sent != len(items) {
				t.Fatalf("a dry run: %+v, queued %q", counts, w.queued())
			}
			w.replay(c.r)
			var got []string
			for _, q := range w.queued() {
				got = append(got, strings.TrimSpace(strings.SplitN(q, ": ", 2)[0]))
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("queued %q, want %q", got, c.want)
			}
			// The same again sends nothing.
			w.clear()
			if counts, _ := w.replay(c.r); counts.Sent != 0 || len(w.queued()) != 0 {
				t.Errorf("again: %+v", counts)
			}
		})
	}
}

// A replay that is broken off, and started again as it was, sends each once.
func TestReplayBrokenOff(t *testing.T) {
	w := newWorld(t)
	const n = 600 // more than two pages
	for i := range n {
		w.archived("ann", fmt.Sprintf("x%d@one.example", i))
	}
	w.clear()
	faults := []spooltest.Op{spooltest.OpCommit, spooltest.OpCommitted, spooltest.OpCreate}
	total := 0
	for round := range 20 {
		var calls atomic.Int64
		op := faults[round%len(faults)]
		w.Hook(func(o spooltest.Op) error {
			if o == op && calls.Add(1) == 37 {
				return fmt.Errorf("injected: %w", spool.ErrUncertain)
			}
			return nil
		})
		counts, err := w.sender.Replay(context.Background(), Replay{Owner: address("keeper"), Mailbox: "Journal"}, func(Item, Counts) {})
		total += counts.Sent
		if err == nil {
			break
		}
		if !errors.Is(err, spool.ErrUncertain) {
			t.Fatal(err)
		}
	}
	w.Hook(nil)
	counts, _ := w.replay(Replay{})
	seen := make(map[string]int)
	for _, q := range w.queued() {
		seen[strings.SplitN(q, ": ", 2)[0]]++
	}
	for to, times := range seen {
		if times != 1 {
			t.Errorf("%s: %d times", to, times)
		}
	}
	if len(seen) != n || counts.Before != n {
		t.Errorf("%d of %d were sent, %d marked; %d counted", len(seen), n, counts.Before, total)
	}
}

// Another name is another replay; those who have left get nothing.
func TestReplayNames(t *testing.T) {
	w := newWorld(t)
	w.archived("ann", "b@one.example", "leaver")
	w.clear()
	w.sender.opt.Accept = leaving{w.acceptor}
	for _, name := range []string{"", "second", "Third_3"} {
		counts, items := w.replay(Replay{Name: name})
		if counts.Sent != 1 || len(items) != 1 || len(items[0].Unknown) != 1 || len(items[0].To) != 1 || items[0].ID.IsZero() {
			t.Errorf("%q: %+v, %+v", name, counts, items)
		}
	}
	if counts, items := w.replay(Replay{Name: "fourth", Recipient: "leaver@home.example"}); counts.Failed != 1 || items[0].Error == "" {
		t.Errorf("%+v, %+v", counts, items)
	}
	for _, r := range []Replay{{Name: "a b"}, {Name: strings.Repeat("x", 41)}, {Since: time.Unix(2e9, 0), Until: time.Unix(1e9, 0)}} {
		r.Owner, r.Mailbox = address("keeper"), "Journal"
		if _, err := w.sender.Replay(context.Background(), r, nil); !errors.Is(err, ErrReplay) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if _, err := w.sender.Replay(context.Background(), Replay{Owner: address("keeper"), Mailbox: "Nothing"}, nil); !errors.Is(err, spool.ErrNoMailbox) {
		t.Error(err)
	}
}

// leaving is an acceptor in a house that leaver has left.
type leaving struct{ *accept.Acceptor }

func (l leaving) Check(to mail.Address) error {
	if to.Local == "leaver" {
		return mail.ErrNoSuchUser
	}
	return l.Acceptor.Check(to)
}
