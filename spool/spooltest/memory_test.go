package spooltest

import (
	"errors"
	"testing"

	"restante/internal/mail"
	"restante/spool"
)

func commitOne(t *testing.T, m *Memory) (spool.Receipt, error) {
	t.Helper()
	s, err := m.Create()
	if err != nil {
		return spool.Receipt{}, err
	}
	defer s.Abort()
	if _, err := s.Write([]byte("Subject: x\r\n\r\nx\r\n")); err != nil {
		return spool.Receipt{}, err
	}
	return s.Commit(t.Context(), spool.Message{
		Deposits: []spool.Deposit{{Account: "alice"}},
		Tasks: []spool.Task{{
			Destination: spool.Destination{Route: "mx", Domain: "example.org"},
			Recipients:  []mail.Recipient{{To: mail.MustParseAddress("bob@example.org")}},
		}},
	})
}

func TestMemoryFail(t *testing.T) {
	for _, op := range []Op{OpCreate, OpWrite, OpCommit} {
		m := NewMemory(MemoryOptions{})
		m.Fail(spool.ErrFull, op)
		if _, err := commitOne(t, m); !errors.Is(err, spool.ErrFull) {
			t.Errorf("%s: %v, want ErrFull", op, err)
		}
		if boxes, err := m.ListMailboxes("alice"); len(boxes) != 0 || err != nil {
			t.Errorf("%s failed and left %v, %v", op, boxes, err)
		}
		if n := m.Staging(); n != 0 {
			t.Errorf("%s failed and left %d staging areas after Abort", op, n)
		}
		m.Fail(nil, op)
		if _, err := commitOne(t, m); err != nil {
			t.Errorf("%s still fails after Fail(nil): %v", op, err)
		}
	}
}

func TestMemoryUnacknowledgedCommit(t *testing.T) {
	m := NewMemory(MemoryOptions{})
	m.Fail(spool.ErrUncertain, OpCommitted, OpSettled)
	if _, err := commitOne(t, m); !errors.Is(err, spool.ErrUncertain) {
		t.Fatalf("commit: %v, want ErrUncertain", err)
	}
	if box, err := m.Mailbox("alice", "inbox"); box.Messages != 1 || err != nil {
		t.Errorf("INBOX has %d messages, %v; the commit was made", box.Messages, err)
	}
	leases, _, err := m.Lease(spool.Claim{Max: 1, Lifetime: 1e9})
	if len(leases) != 1 || err != nil {
		t.Fatalf("leases %v, %v", leases, err)
	}
	done := spool.Settlement{Results: []spool.Result{{Ended: true}}}
	if err := m.Settle(t.Context(), leases[0], done); !errors.Is(err, spool.ErrUncertain) {
		t.Errorf("settle: %v, want ErrUncertain", err)
	}
	if _, err := m.MessageTasks(leases[0].Task.ID.Message); !errors.Is(err, spool.ErrNotFound) {
		t.Errorf("tasks after the settle: %v, want ErrNotFound", err)
	}
}

func TestMemoryHook(t *testing.T) {
	m := NewMemory(MemoryOptions{})
	var seen []Op
	m.Hook(func(op Op) error {
		seen = append(seen, op)
		if op == OpCommit {
			return spool.ErrReadOnly
		}
		return nil
	})
	if _, err := commitOne(t, m); !errors.Is(err, spool.ErrReadOnly) {
		t.Errorf("commit: %v, want ErrReadOnly", err)
	}
	if want := []Op{OpCreate, OpWrite, OpCommit}; len(seen) != len(want) || seen[2] != OpCommit {
		t.Errorf("hook saw %v, want %v", seen, want)
	}
}
