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
	}
}

func TestModel(t *testing.T) { spooltest.Compare(t, openContract, 0, 0) }

func TestContract(t *testing.T) { spooltest.Run(t, openContract) }
