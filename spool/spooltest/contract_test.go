package spooltest

import (
	"testing"
	"time"

	"restante/spool"
)

// openMemory opens a Memory, with Reopen.
func openMemory(t *testing.T, now func() time.Time) Harness {
	m := NewMemory(MemoryOptions{Now: now})
	return Harness{
		Store: m,
		Reopen: func(*testing.T) spool.Store {
			m = m.Reopen()
			return m
		},
		Forget: func(_ *testing.T, keep int) { m.Forget(keep) },
	}
}

func TestMemory(t *testing.T) { Run(t, openMemory) }

// TestMemoryKept runs the tests as for an engine that cannot be reopened.
func TestMemoryKept(t *testing.T) {
	Run(t, func(t *testing.T, now func() time.Time) Harness {
		return Harness{Store: NewMemory(MemoryOptions{Now: now})}
	})
}
