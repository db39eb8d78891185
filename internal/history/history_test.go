package history

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/mail"
	"restante/spool"
	"restante/spool/spooltest"
)

// told stores a message that is in a mailbox, or waits in the queue.
func told(t *testing.T, m *spooltest.Memory, queued bool) mail.ID {
	t.Helper()
	s, err := m.Create()
	if err != nil {
		t.Fatal(err)
	}
	to := mail.MustParseAddress("bob@here.example")
	msg := spool.Message{Events: []spool.Event{{Kind: spool.EventAccepted, To: []mail.Address{to}}}}
	if queued {
		msg.Tasks = []spool.Task{{Destination: spool.Destination{Route: "mx"}, Recipients: []mail.Recipient{{To: to}}}}
	} else {
		msg.Deposits = []spool.Deposit{{Account: "bob"}}
		msg.Events = append(msg.Events, spool.Event{Kind: spool.EventDeposited, To: []mail.Address{to}})
	}
	r, err := s.Commit(t.Context(), msg)
	if err != nil {
		t.Fatal(err)
	}
	return r.ID
}

func count(m *spooltest.Memory) (n int) {
	for range m.Search(spool.Search{}) {
		n++
	}
	return n
}

// run gives a test a keeper that runs, in a bubble of its own.
func run(t *testing.T, keep time.Duration, f func(t *testing.T, m *spooltest.Memory, k *Keeper, stop func())) {
	synctest.Test(t, func(t *testing.T) {
		m := spooltest.NewMemory(spooltest.MemoryOptions{})
		k := New(Options{Stories: m, Keep: keep})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		stopped := false
		stop := func() {
			if !stopped {
				stopped = true
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		}
		defer stop()
		f(t, m, k, stop)
	})
}

func TestForget(t *testing.T) {
	run(t, 24*time.Hour, func(t *testing.T, m *spooltest.Memory, k *Keeper, _ func()) {
		for range 3*step + 1 {
			told(t, m, false)
		}
		told(t, m, true)
		time.Sleep(23 * time.Hour)
		if n := count(m); n != 3*step+2 {
			t.Fatalf("%d stories are left before their time", n)
		}
		time.Sleep(2 * time.Hour)
		if n := count(m); n != 1 {
			t.Errorf("%d stories are left, want that of the queue", n)
		}
		told(t, m, false)
		time.Sleep(time.Minute)
		k.SetKeep(0)
		synctest.Wait()
		if n := count(m); n != 1 {
			t.Errorf("%d stories are left when none is kept", n)
		}
	})
}

func TestNotes(t *testing.T) {
	run(t, time.Hour, func(t *testing.T, m *spooltest.Memory, k *Keeper, stop func()) {
		id := told(t, m, false)
		stories := 0
		m.Hook(func(op spooltest.Op) error {
			if op == spooltest.OpStories {
				stories++
			}
			return nil
		})
		for range 10 {
			k.Note(id, spool.Event{Kind: spool.EventCollected, By: "bob"})
		}
		k.Note(id, spool.Event{Kind: spool.EventCollected, By: "carl"})
		k.Note(mail.ID{1}, spool.Event{Kind: spool.EventCollected, By: "bob"})
		k.Note(id, spool.Event{Kind: spool.EventExpunged, By: "bob"})
		stop()
		m.Hook(nil)
		s, err := m.Story(id)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range s.Events[2:] {
			got = append(got, string(e.Kind)+" "+e.By)
		}
		if len(got) != 3 || got[0] != "collected bob" || got[1] != "collected carl" || got[2] != "expunged bob" {
			t.Errorf("noted: %q", got)
		}
		if stories != 3 {
			t.Errorf("the spool was asked %d times", stories)
		}
		// What another keeper has noted is not noted again.
		again := New(Options{Stories: m})
		again.store(note{id, spool.Event{Kind: spool.EventCollected, By: "bob"}})
		if s, _ := m.Story(id); len(s.Events) != 5 {
			t.Errorf("collected again: %+v", s.Events)
		}
	})
}

// A spool that takes nothing holds nobody up, and is tried again.
func TestTrouble(t *testing.T) {
	run(t, 0, func(t *testing.T, m *spooltest.Memory, k *Keeper, _ func()) {
		m.Fail(spool.ErrReadOnly, spooltest.OpNote)
		id := told(t, m, false)
		for range 3 * waiting {
			k.Note(id, spool.Event{Kind: spool.EventExpunged})
		}
		if k.lost.Load() == 0 {
			t.Error("no note was lost, and yet there was no room")
		}
		time.Sleep(time.Hour)
		if n := count(m); n != 1 {
			t.Errorf("%d stories", n)
		}
		m.Fail(nil, spooltest.OpNote)
		time.Sleep(time.Hour)
		if n := count(m); n != 0 {
			t.Errorf("%d stories are left when the spool works again", n)
		}
	})
}

// What is remembered of collections does not grow.
func TestRemembered(t *testing.T) {
	k := New(Options{})
	for i := range 10 * remembered {
		k.remember(collection{id: mail.ID{byte(i), byte(i >> 8), byte(i >> 16)}})
	}
	if n := len(k.recent) + len(k.former); n > remembered {
		t.Errorf("%d are remembered", n)
	}
}
