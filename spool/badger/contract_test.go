package badger

import (
	"path/filepath"
	"testing"
	"time"

	"restante/spool"
	"restante/spool/spooltest"
)

func openContract(t *testing.T, now func() time.Time) spooltest.Harness {
	e := open(t, Options{Dir: filepath.Join(t.TempDir(), "spool"), Now: now})
	return spooltest.Harness{
		Store: e,
		Reopen: func(t *testing.T) spool.Store {
			e = reopen(t, e)
			return e
		},
		Idle: func() { e.settled() },
		Forget: func(t *testing.T, keep int) {
			e.journal.least, e.journal.most = keep, keep
			clear(e.trimmed)
			if err := e.trimJournals(); err != nil {
				t.Fatal(err)
			}
		},
	}
}

func TestModel(t *testing.T) { spooltest.Compare(t, openContract, 0, 0) }

func TestContract(t *testing.T) { spooltest.Run(t, openContract) }
