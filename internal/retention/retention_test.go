package retention

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"restante/spool"
	"restante/spool/spooltest"
)

// box makes a mailbox with messages.
func box(t *testing.T, m *spooltest.Memory, name string, use spool.Use, messages int) spool.MailboxID {
	t.Helper()
	row, err := m.CreateMailbox("alice", name, use)
	if err != nil {
		t.Fatal(err)
	}
	for range messages {
		staged, err := m.Create()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(staged, "Subject: x\r\n\r\nx\r\n")
		// Its own date is of no account.
		_, err = staged.Commit(context.Background(), spool.Message{Deposits: []spool.Deposit{{
			Account: "alice", Mailbox: name, InternalDate: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC),
		}}, Events: []spool.Event{{Kind: spool.EventAccepted}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return row.ID
}

func TestRemovesByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := spooltest.NewMemory(spooltest.MemoryOptions{Now: time.Now})
		trash := box(t, m, "Trash", spool.UseTrash, 2*step+7)
		below := box(t, m, "Trash/Project", spool.UseNone, 2)
		junk := box(t, m, "Junk", spool.UseJunk, 3)
		archive := box(t, m, "Archive", spool.UseArchive, 2)
		count := func(id spool.MailboxID) int {
			row, err := m.MailboxByID(id)
			if err != nil {
				t.Fatal(err)
			}
			return int(row.Messages)
		}
		r := New(Options{
			Mailboxes: m, Accounts: func() []string { return []string{"nobody", "alice"} },
			Trash: 30 * 24 * time.Hour, Junk: 7 * 24 * time.Hour,
		})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		for _, step := range []struct {
			pass        time.Duration
			trash, junk int
		}{
			{6 * 24 * time.Hour, 2*step + 7, 3},
			{2 * 24 * time.Hour, 2*step + 7, 0},
			{21 * 24 * time.Hour, 2*step + 7, 0},
			{2 * 24 * time.Hour, 0, 0},
		} {
			time.Sleep(step.pass)
			synctest.Wait()
			if count(trash) != step.trash || count(junk) != step.junk {
				t.Errorf("after %s: %d in Trash and %d in Junk, want %d and %d", step.pass, count(trash), count(junk), step.trash, step.junk)
			}
		}
		if count(below) != 2 || count(archive) != 2 {
			t.Error("messages of other mailboxes are gone")
		}
		told := make(map[string]int)
		for s, err := range m.Search(spool.Search{}) {
			if err != nil {
				t.Fatal(err)
			}
			told[s.Events[len(s.Events)-1].Text]++
		}
		if want := map[string]int{"alice/Trash, by its age": 2*step + 7, "alice/Junk, by its age": 3, "": 4}; !maps.Equal(told, want) {
			t.Errorf("the stories end with %v", told)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestKeepsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := spooltest.NewMemory(spooltest.MemoryOptions{Now: time.Now})
		trash := box(t, m, "Trash", spool.UseTrash, 1)
		ctx, cancel := context.WithTimeout(context.Background(), 1000*time.Hour)
		defer cancel()
		r := New(Options{Mailboxes: m, Accounts: func() []string { return []string{"alice"} }, Junk: time.Hour})
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if row, err := m.MailboxByID(trash); err != nil || row.Messages != 1 {
			t.Errorf("%d messages, %v", row.Messages, err)
		}
	})
}
